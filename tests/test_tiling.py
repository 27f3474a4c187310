"""Tiles partition the picture and see their halo; a network sees the same in tiles as in the whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gancodec.codec import network
from gancodec.tiling import cover
from tests.tiny import picture, tiny_weights


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 12), st.integers(0, 6))
def test_inner_boxes_partition(rows: int, columns: int, side: int, halo: int) -> None:
    seen = np.zeros((rows * 64, columns * 64), np.uint8)
    for (ot, ob, ol, or_), (t, b, left, right) in cover(rows * 64, columns * 64, side * 64, halo * 64):
        seen[t:b, left:right] += 1
        assert 0 <= ot <= t
        assert b <= ob <= rows * 64
        assert 0 <= ol <= left
        assert right <= or_ <= columns * 64
        assert t - ot == min(halo * 64, t)
        assert or_ - right == min(halo * 64, columns * 64 - right)
    assert (seen == 1).all()


def test_tiles_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network.Network(tiny_weights(), network.pick_device("cpu"))
    rgb = picture(700, 900, 4)
    whole = net.analyse(rgb)
    latent, level = whole[0], np.full((11, 15), 14.0)
    from gancodec.types import Geometry

    geometry = Geometry(width=900, height=700)
    picture_whole = net.synthesise(latent, level, geometry, 0.0)
    monkeypatch.setattr(network, "TILE", 192)
    for a, b in zip(whole, net.analyse(rgb), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
    assert np.abs(picture_whole.astype(int) - net.synthesise(latent, level, geometry, 0.0)).max() <= 1


@pytest.mark.parametrize("name", ["gic1-small", "gic1"])
def test_halo_covers_the_reach_of_every_model(name: str) -> None:
    """Gradients reach no further than the halo, in encoder and generator."""
    import torch

    from gancodec.models.config import MODELS
    from gancodec.models.tunable import TunableModel

    model = TunableModel(MODELS[name])
    side = 2 * network.HALO + 64
    x = torch.zeros(1, 3, side, side, requires_grad=True)
    model.encoder.latents(x)[:, :, side // 32, side // 32].sum().backward()
    touched = x.grad.abs().sum((0, 1)).nonzero()
    assert (touched - side // 2).abs().max() < network.HALO
    latent = torch.zeros(1, MODELS[name].latent_channels, side // 16, side // 16, requires_grad=True)
    level = torch.full((1, side // 64, side // 64), 10.0)
    model.generator(latent, level)[:, :, side // 2, side // 2].sum().backward()
    touched = latent.grad.abs().sum((0, 1)).nonzero()
    assert (touched - side // 32).abs().max() * 16 < network.HALO
