"""Tiles partition the picture and see their halo; a network sees the same in tiles as in the whole, and pictures have
no seams."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gancodec import weights
from gancodec.codec.api import codec_of
from gancodec.models import inference as network
from gancodec.models.gic1.config import TunableConfig
from gancodec.models.gic1.inference import TunableNetwork
from gancodec.models.gic1.network import TunableModel
from gancodec.models.registry import MODELS
from gancodec.models.stream import Frame
from gancodec.tiling import Area, View, cover
from gancodec.types import Geometry
from tests.conftest import needs_weights
from tests.test_onnx import two_ended
from tests.tiny import held, held_levels, picture, wanted_at

SEAM = 0.5  # of 255: what a seam may be at most


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


@given(st.data())
def test_boxes_of_a_part_partition_it(data: st.DataObject) -> None:
    top, left = (data.draw(st.integers(0, 9)) for _ in range(2))
    bottom, right = (data.draw(st.integers(low + 1, 10)) for low in (top, left))
    part = Area(*(64 * v for v in (top, bottom, left, right)))
    seen = np.zeros((640, 640), np.uint8)
    for outer, inner in cover(640, 640, 128, 64, part):
        seen[inner.slices()] += 1
        assert outer.common(Area(0, 640, 0, 640)) == outer
        assert inner.common(outer) == inner
    assert (seen[part.slices()] == 1).all()
    assert seen.sum() == seen[part.slices()].size


def test_tiles_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """At both ends of realism, the noise of the natural one at full strength, on borders that fit no period of it."""
    net = network.build(two_ended(), network.pick_device("cpu"))
    rgb = picture(700, 900, 4)
    whole = net.analyse(rgb)
    source = held_levels(whole[0], np.full((11, 15), 14.0))
    geometry = Geometry(width=900, height=700)
    pictures = [net.synthesise(source, geometry, realism) for realism in (0.0, 1.0)]
    monkeypatch.setattr(network, "TILE", 192)
    for a, b in zip(whole, net.analyse(rgb), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
    for realism, expected in zip((0.0, 1.0), pictures, strict=True):
        assert np.abs(expected.astype(int) - net.synthesise(source, geometry, realism)).max() <= 1


@pytest.mark.parametrize("name", sorted(name for name, c in MODELS.items() if isinstance(c, TunableConfig)))
def test_halo_covers_the_reach_of_every_encoder(name: str) -> None:
    """Gradients of latents, hyper-latents and scores reach no further than the halo, to either side."""
    model = TunableModel(MODELS[name])
    halo = TunableNetwork.encoder_halo
    side = 2 * halo + 128
    x = torch.zeros(1, 3, side, side, requires_grad=True)
    block = Area(halo, halo + 64, halo, halo + 64)
    model.encoder.latents(x)[block.sites(16)].sum().backward()
    _check_reach(x, 1, block)
    omega = torch.randn(1, MODELS[name].latent_channels, side // 16, side // 16, requires_grad=True)
    for layer in (model.encoder.hyper, lambda z: torch.nn.functional.avg_pool2d(model.masker.body(z), 4)):
        omega.grad = None
        layer(omega)[block.sites(64)].sum().backward()
        _check_reach(omega, 16, block)


def _check_reach(x: torch.Tensor, stride: int, block: Area) -> None:
    touched = x.grad.abs().sum((0, 1)).nonzero()  # type: ignore[union-attr]
    assert touched.min() * stride >= block.top - TunableNetwork.encoder_halo
    assert (touched.max() + 1) * stride <= block.bottom + TunableNetwork.encoder_halo


@needs_weights
@pytest.mark.parametrize("name", [model.name for model in weights.available() if model.installed])
def test_pictures_of_released_models_have_no_seams(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In pixels before they are rounded, with a seam every 128 of them."""
    codec = codec_of(weights.get(name), "cpu")
    rgb = picture(768, 896, 5)
    geometry = Geometry(width=896, height=768)
    realism = 0.0 if codec.weights.info.default_realism is None else 1.0
    for n in (-2.0, 2.0):
        wanted, shift = wanted_at(codec, codec.analyse(rgb), n)
        frame = Frame(geometry, "range", shift)
        source = held(*codec.planes(codec.read(codec.write(wanted, frame), frame), frame))
        found = []
        for side, count in ((4096, 1), (128, 42)):
            monkeypatch.setattr(network, "TILE", side)
            pixels, tiles = _exact(codec.network, source, geometry, realism)
            assert tiles == count
            found.append(pixels)
        assert np.abs(found[0] - found[1]).max() < SEAM / 10, "photographs may be worse than this picture"


def _exact(net: network.Network, source: network.Source, geometry: Geometry, realism: float) -> tuple[np.ndarray, int]:
    """Pixels in 1/255 before they are rounded, from the same tiles, and the number of these."""
    generate, parts = net._generator(realism), []

    class Seen(torch.nn.Module):
        def forward(self, *given: object) -> torch.Tensor:
            pixels = generate(*given)
            parts.append(pixels[0].detach())
            return pixels

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(net, "_generator", lambda *_: Seen())
        net.synthesise(source, geometry, realism)
    whole = np.zeros((3, *geometry.padded), np.float32)
    tiles = cover(*geometry.padded, network.TILE, net.generator_halo)
    for (outer, inner), part in zip(tiles, parts, strict=True):
        whole[inner.sites(1)] = 255 * part[inner.seen_from(outer).sites(1)].clamp(0, 1).numpy()
    return whole, len(parts)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_a_reduced_generator_makes_means(factor: int) -> None:
    """Of what the whole one makes before it is clipped; here latents are small enough for nothing to clip."""
    net = network.build(two_ended(), network.pick_device("cpu"))
    rgb = picture(128, 192, 2) // 4 + 96
    latent = net.analyse(rgb)[0] * 0.02
    source = held_levels(latent, np.full((2, 3), 14.0))
    geometry = Geometry(width=192, height=128)
    whole = net.synthesise(source, geometry, 0.0).astype(float)
    assert 0 < whole.min()
    assert whole.max() < 255
    means = whole.reshape(128 // factor, factor, 192 // factor, factor, 3).mean((1, 3))
    reduced = net.synthesise(source, geometry, 0.0, View.whole(geometry, factor))
    assert np.abs(reduced - means).max() <= 1
    assert np.ptp(reduced) > 3, "a flat picture shows nothing"
