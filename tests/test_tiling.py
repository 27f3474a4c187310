"""Tiles partition the picture and see their halo; a network sees the same in tiles as in the whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gancodec.codec import network
from gancodec.models.config import MODELS
from gancodec.models.tunable import TunableModel
from gancodec.tiling import cover
from gancodec.types import Geometry
from tests.test_onnx import two_ended
from tests.tiny import picture


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
    """At both ends of realism, the noise of the natural one at full strength, on borders that fit no period of it."""
    net = network.Network(two_ended(), network.pick_device("cpu"))
    rgb = picture(700, 900, 4)
    whole = net.analyse(rgb)
    latent, level = whole[0], np.full((11, 15), 14.0)
    geometry = Geometry(width=900, height=700)
    pictures = [net.synthesise(latent, level, geometry, realism) for realism in (0.0, 1.0)]
    monkeypatch.setattr(network, "TILE", 192)
    for a, b in zip(whole, net.analyse(rgb), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
    for realism, expected in zip((0.0, 1.0), pictures, strict=True):
        assert np.abs(expected.astype(int) - net.synthesise(latent, level, geometry, realism)).max() <= 1


@pytest.mark.parametrize("name", sorted(MODELS))
def test_halo_covers_the_reach_of_every_model(name: str) -> None:
    """Gradients reach no further than the halo, in encoder and generator, from either side of a seam."""
    model = TunableModel(MODELS[name])
    side = 2 * network.HALO + 128
    x = torch.zeros(1, 3, side, side, requires_grad=True)
    middle = side // 32
    model.encoder.latents(x)[:, :, middle, middle].sum().backward()
    touched = x.grad.abs().sum((0, 1)).nonzero()  # type: ignore[union-attr]
    assert touched.min() >= 16 * middle - network.HALO
    assert touched.max() < 16 * (middle + 1) + network.HALO
    latent = torch.randn(1, MODELS[name].latent_channels, side // 16, side // 16, requires_grad=True)
    level = torch.full((1, side // 64, side // 64), 10.0)
    seam = side // 2
    for pixel in (seam, seam - 1):  # the first that a tile keeps, and the last of the one before
        latent.grad = None
        model.generator(latent, level)[:, :, pixel, pixel].sum().backward()
        touched = latent.grad.abs().sum((0, 1)).nonzero()  # type: ignore[attr-defined]
        assert 16 * touched.min() >= seam - network.HALO
        assert 16 * (touched.max() + 1) <= seam + network.HALO
