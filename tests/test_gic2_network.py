"""gic2's networks: means that writer and reader share, receivers, tiles, importance."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gancodec.models import inference
from gancodec.models.gic2 import inference as gic2_inference
from gancodec.models.gic2.codec import Gic2Codec
from gancodec.models.gic2.config import MODELS, STEPS, Gic2Config
from gancodec.models.gic2.inference import Gic2Network, HalfBlock, reduced
from gancodec.models.gic2.layers import Block
from gancodec.models.gic2.network import Gic2Model, Masker
from gancodec.models.levels import LEVELS, SUBLEVELS
from gancodec.models.stream import Frame
from gancodec.tiling import Area, View
from gancodec.types import BLOCK, LATENT_STRIDE, SITES, Geometry, Plane, Planes
from tests.tiny import held, picture, tiny_gic2_weights

FULL, TINY = MODELS
DECODER = ("means.", "receiver.", "projection.", "gains.", "hyper_gains.", "hyper_rows.")


@pytest.fixture(scope="module")
def codec() -> Gic2Codec:
    return Gic2Codec(tiny_gic2_weights(), "cpu")


@pytest.fixture(scope="module")
def net() -> Gic2Network:
    """One of its own: tests change how it computes."""
    return Gic2Network(tiny_gic2_weights(), torch.device("cpu"))


def rough(geometry: Geometry, seed: int = 0) -> Planes:
    """Latents and positions that nobody coded, as lively as a stream's, over all levels."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(0, 1, (TINY.channels, *geometry.latent)).astype(np.float32)
    position = rng.uniform(0, 1, geometry.blocks).astype(np.float32)
    return Plane(latent, LATENT_STRIDE), Plane(position, BLOCK)


# --- means


@pytest.mark.parametrize("blocks", [(1, 1), (2, 3)])
def test_every_latent_has_its_turn_once(net: Gic2Network, blocks: tuple[int, int]) -> None:
    """A quarter of the channels in each step at every site, and each latent at the mean of its own step."""
    seen = []

    def code(mean: Tensor, mine: Tensor) -> Tensor:
        seen.append(mine.clone())
        return torch.full_like(mean, len(seen))

    with torch.inference_mode():
        latent = net.model.means(torch.randn(1, *blocks, TINY.hyper_channels), code)
    turns = torch.stack(seen)
    assert turns.shape == (STEPS, blocks[0] * SITES, blocks[1] * SITES, TINY.channels)
    assert (turns.sum(0) == 1).all()
    assert (turns.sum(-1) == TINY.channels // STEPS).all()
    assert torch.equal(latent[0], (turns * torch.arange(1, STEPS + 1)[:, None, None, None]).sum(0).float())


@pytest.mark.parametrize("n", [2.0, 0.0, -2.5])
@pytest.mark.parametrize("trim", [0, 100])
def test_writer_and_reader_have_the_same_latents(codec: Gic2Codec, n: float, trim: int) -> None:
    """Every latent is within half a step of what was wanted where it is sent, a trim aside; and by the means where it
    is not."""
    rgb = picture(200, 300, 5)
    geometry, analysis = Geometry(width=300, height=200), codec.analyse(rgb)
    levels = codec.levels_at(analysis, n)
    wanted = codec.wanted_of(analysis, levels, None, trim)
    frame = Frame(geometry, "range", levels.shift)
    decoded = codec.planes(codec.read(codec.write(wanted, frame), frame), frame)
    written = codec.planes(wanted.symbols, frame)
    np.testing.assert_array_equal(decoded[0].values, written[0].values)
    position = levels.values * SUBLEVELS + levels.shift
    gain = codec.entropy.gains(position).transpose(2, 0, 1).repeat(SITES, 1).repeat(SITES, 2)
    error = np.abs(decoded[0].values - analysis.latent.astype(np.float32)) * gain
    coded = wanted.symbols.latents != 0
    assert coded.any()
    assert error[coded].max() < 0.501 + trim / gic2_inference.TRIM_STEPS
    assert np.quantile(error[coded], 0.9) > 0.3, "these are not exact by chance"
    assert decoded[1].values.tolist() == (np.minimum(position, 496) / np.float32(496)).astype(np.float32).tolist()


def test_means_have_a_say(codec: Gic2Codec) -> None:
    """Else the tests above would show nothing: symbols that are all 0 are no latents of 0."""
    analysis = codec.analyse(picture(128, 128, 5))
    levels = codec.levels_at(analysis, 0.0)
    wanted = codec.wanted_of(analysis, levels)
    silent = wanted.symbols._replace(latents=np.zeros_like(wanted.symbols.latents))
    frame = Frame(Geometry(width=128, height=128), "range", levels.shift)
    fine, rough = (codec.planes(symbols, frame)[0].values for symbols in (wanted.symbols, silent))
    assert 0.05 < np.abs(rough).mean() < np.abs(fine).mean()


# --- receivers


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_a_reduced_receiver_makes_means(net: Gic2Network, factor: int) -> None:
    geometry = Geometry(width=192, height=128)
    planes = rough(geometry)
    with torch.inference_mode():
        tensors = tuple(torch.from_numpy(p.values)[None] for p in planes)
        whole, small = (net._generator(0.0, f)(tensors, (0, 0)) for f in (1, factor))
    assert small.shape == (1, 3, 128 // factor, 192 // factor)
    torch.testing.assert_close(small, F.avg_pool2d(whole, factor), atol=1e-5, rtol=1e-5)
    assert whole.std() > 0.05, "a flat picture shows nothing"
    assert small.std() > 0.01
    view = net.synthesise(held(*planes), geometry, 0.0, View.whole(geometry, factor))
    assert np.abs(view - 255 * small[0].clamp(0, 1).permute(1, 2, 0).numpy()).max() < 0.51


def test_reducing_leaves_the_receiver_alone(net: Gic2Network) -> None:
    receiver = net.model.receiver
    before = copy.deepcopy(receiver.state_dict())
    assert reduced(receiver, 4).render.to_rgb.out_features == 3
    assert reduced(receiver, 1).render.to_rgb.out_features == 48
    assert receiver.render.to_rgb.out_features == 48
    assert all(torch.equal(v, receiver.state_dict()[k]) for k, v in before.items())


def test_the_level_reaches_the_receiver_without_steps(net: Gic2Network) -> None:
    """Two halves of other levels: pixels differ between the levels, and no more at the border than near it."""
    latent = torch.zeros(1, 16, 32, TINY.channels) + torch.randn(TINY.channels)
    with torch.inference_mode():
        halves = torch.tensor([0.2, 0.2, 0.2, 0.2, 0.8, 0.8, 0.8, 0.8]).expand(1, 4, 8)
        low, high, mixed = (net.model.receiver(latent, p)[0] for p in (halves * 0 + 0.2, halves * 0 + 0.8, halves))
    assert (low - high).abs().mean() > 0.01
    torch.testing.assert_close(mixed[96:160, :96], low[96:160, :96], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(mixed[96:160, 416:], high[96:160, 416:], atol=1e-5, rtol=1e-4)
    cells = mixed[96:160].reshape(16, 4, 128, 4, 3).mean((0, 1, 3))  # 1/4, by column
    steps = cells.diff(dim=0).abs().amax(1)
    assert steps[63] <= 1.5 * torch.cat((steps[56:63], steps[64:72])).max()


def test_realism_is_0_alone(codec: Gic2Codec) -> None:
    assert not codec.synthesises(0.0)
    assert codec.synthesises(0.1)
    assert codec.info.default_realism is None


# --- tiles and regions


@pytest.mark.parametrize("fast", [False, True])
def test_tiles_give_what_the_whole_gives(net: Gic2Network, fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The encoder in float32, and as it comes (bfloat16 where the CPU has it)."""
    if not fast:
        monkeypatch.setattr(gic2_inference, "half_precision", lambda _: False)
    rgb, geometry = picture(700, 900, 4), Geometry(width=900, height=700)
    whole, planes = net.analyse(rgb), rough(Geometry(width=900, height=700))
    decoded = net.synthesise(held(*planes), geometry, 0.0)
    monkeypatch.setattr(inference, "TILE", 192)
    for a, b in zip(whole, net.analyse(rgb), strict=True):
        assert a.shape == b.shape
        tolerance = 2.0**-6 if fast else 2.0**-10 if a.dtype == np.float16 else 1e-4
        np.testing.assert_allclose(a.astype(float), b, atol=tolerance * np.abs(a).max())
    tiled = net.synthesise(held(*planes), geometry, 0.0)
    assert np.abs(decoded.astype(int) - tiled).max() <= 1
    assert np.mean(decoded != tiled) < 1e-4


@pytest.mark.parametrize("config", MODELS, ids=lambda c: c.name)
@torch.no_grad()
def test_halos_cover_the_reach(config: Gic2Config) -> None:
    """Nothing further away has a say in latents, hyper-latents, scores or pixels of a block; and what is near has."""
    torch.manual_seed(0)
    model = Gic2Model(config)
    for parameter in model.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))  # blocks start as the identity, which reaches nowhere
    halo, blocks = Gic2Network.encoder_halo, 7
    assert halo == Gic2Network.generator_halo == 2 * BLOCK
    block = Area(3 * BLOCK, 4 * BLOCK, 3 * BLOCK, 4 * BLOCK)

    def changed(x: Tensor, stride: int, reach: int) -> Tensor:
        """Other values but for what is within `reach` pixels of the block; two axes behind the first."""
        other = torch.rand_like(x)
        kept = Area(block.top - reach, block.bottom + reach, block.left - reach, block.right + reach)
        places = (slice(None), *kept.slices(stride))
        other[places] = x[places]
        return other

    def encoded(x: Tensor) -> list[Tensor]:
        latent = model.sender(x.permute(0, 3, 1, 2))
        parts = (latent, 16), (model.hyper_encoder(latent), 64), (model.masker.scores(latent), 64)
        return [part[(slice(None), *block.slices(stride))] for part, stride in parts]

    x = torch.rand(1, blocks * BLOCK, blocks * BLOCK, 3)
    for near, far, less in zip(encoded(x), encoded(changed(x, 1, halo)), encoded(changed(x, 1, 0)), strict=True):
        torch.testing.assert_close(near, far, atol=1e-5, rtol=1e-5)
        assert not torch.allclose(near, less, atol=1e-5)
    latent, position = torch.randn(1, 4 * blocks, 4 * blocks, config.channels), torch.rand(1, blocks, blocks)
    pixels = [
        model.receiver(changed(latent, 16, ours), changed(position, BLOCK, theirs))[(slice(None), *block.slices())]
        for ours, theirs in ((3 * BLOCK, 3 * BLOCK), (halo, halo), (0, halo), (halo, 0))
    ]
    torch.testing.assert_close(pixels[0], pixels[1], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(pixels[0], pixels[2], atol=1e-5)
    assert not torch.allclose(pixels[0], pixels[3], atol=1e-5)


@pytest.mark.parametrize("reduce", [1, 2, 8])
def test_a_region_is_a_crop_of_the_whole(codec: Gic2Codec, reduce: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one stream, in one tile and in several: the same within a level, and the same for nearly all."""
    rgb, geometry = picture(500, 620, 2), Geometry(width=620, height=500)
    analysis = codec.analyse(rgb)
    levels = codec.levels_at(analysis, -1.0)
    planes = codec.planes(codec.wanted_of(analysis, levels).symbols, Frame(geometry, "range", levels.shift))
    whole = codec.network.synthesise(held(*planes), geometry, 0.0, View.whole(geometry, reduce))
    for tile in (2048, 192):
        monkeypatch.setattr(inference, "TILE", tile)
        for area in (Area(0, 8, 0, 8), Area(200, 329, 72, 400), Area(440, 500, 600, 620)):
            view = View(area, reduce)
            part = codec.network.synthesise(held(*planes), geometry, 0.0, view)
            crop = whole[view.cells.slices()]
            assert part.shape == crop.shape
            assert np.abs(part.astype(int) - crop).max() <= 1
            assert np.mean(part != crop) < 1e-3


def test_strips_may_lie_below_a_picture(net: Gic2Network) -> None:
    """Edges are repeated up to a whole block, and a strip of a wide picture is lower than one."""
    rgb = picture(66, 3200)
    assert len(list(gic2_inference.strips_of(Area(0, 128, 0, 2176)))) == 4
    low, whole = net.analyse(rgb), net.analyse(np.pad(rgb, ((0, 62), (0, 0), (0, 0)), mode="edge"))
    for a, b in zip(low, whole, strict=True):
        np.testing.assert_array_equal(a, b)


# --- importance


def test_scores_are_standardised_and_flat_ones_stay_flat() -> None:
    """Eq. 2."""
    torch.manual_seed(0)
    masker, latent = Masker(TINY), torch.randn(2, 32, 48, TINY.channels)
    assert not masker(latent).any(), "no importance at the start"
    with torch.no_grad():
        masker.out.weight.normal_(0, 100)
        busy, flat = masker(latent), masker(torch.zeros_like(latent) + 0.3)
        masker.out.weight.mul_(1e-4)
        quiet, scores = masker(latent), masker.scores(latent)
    assert busy.shape == (2, 8, 12)
    assert busy.mean((1, 2)).abs().max() < 1e-4
    assert (busy.std((1, 2), correction=0) - 1).abs().max() < 1e-3
    assert flat[:, 1:-1, 1:-1].std() < 0.1
    torch.testing.assert_close(quiet, scores - scores.mean((1, 2), keepdim=True))


def test_the_importance_of_a_picture_is_that_of_the_whole(net: Gic2Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles are scored apart and standardised together."""
    monkeypatch.setattr(gic2_inference, "half_precision", lambda _: False)
    rgb = picture(256, 320, 4)
    x = torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        expected = net.model.analyse(x)
    monkeypatch.setattr(inference, "TILE", 128)
    for found, wanted in zip(net.analyse(rgb), expected, strict=True):
        np.testing.assert_allclose(found.astype(float), wanted[0].numpy(), atol=2e-3 * float(wanted.abs().max()))
    assert np.ptp(net.analyse(rgb)[2]) > 0.5


def test_importance_moves_levels(codec: Gic2Codec) -> None:
    analysis = codec.analyse(picture(512, 640, 4))
    maps = [codec.levels_at(analysis, n) for n in (2.0, 0.0, -2.0)]
    means = [float((m.values + m.shift / SUBLEVELS).mean()) for m in maps]
    assert means == sorted(means)
    assert np.ptp(maps[1].values) > 2
    assert all(0 <= m.values.min() <= m.values.max() < LEVELS for m in maps)
    order = np.corrcoef(maps[1].values.ravel(), analysis.importance.ravel())[0, 1]
    assert order > 0.9


def test_strips_are_the_whole(net: Gic2Network, monkeypatch: pytest.MonkeyPatch) -> None:
    latent, position = (torch.from_numpy(plane.values)[None] for plane in rough(Geometry(320, 192)))
    latent, receiver = latent.permute(0, 2, 3, 1), net.model.receiver
    with torch.no_grad():
        whole = receiver(latent, position)
        for sites in (1, 50, 10_000):
            monkeypatch.setattr(gic2_inference, "STRIP", sites)
            assert (gic2_inference.in_strips(receiver, latent, position) - whole).abs().max() < 1e-5


def test_half_blocks_stay_near(net: Gic2Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a CPU has bfloat16, the body's corrections are rounded; pixels keep to what is promised of them."""
    geometry = Geometry(320, 256)
    planes, shown = rough(geometry), []
    for fast, kind in ((False, Block), (True, HalfBlock)):
        monkeypatch.setattr(gic2_inference, "fast_bfloat16", lambda fast=fast: fast)
        monkeypatch.setattr(net, "_prepared", None)
        assert isinstance(net.receiver().own, kind)
        shown.append(net.synthesise(held(*planes), geometry, 0.0).astype(int))
    off = np.abs(shown[0] - shown[1])
    assert 0 < off.max() <= 2
    assert (off > 1).mean() <= 1e-4


def test_means_without_memory_on_a_device_go_on_with_the_cpu(codec: Gic2Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that is full when the means of a stream are computed: the receiver follows to the CPU."""
    net = Gic2Network(tiny_gic2_weights(), torch.device("cpu"))
    here, away = net.model, copy.deepcopy(net.model).to("meta")

    def full(*_: object) -> Tensor:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(away.means, "forward", full)
    monkeypatch.setattr(away, "to", lambda _: here)
    monkeypatch.setattr(net, "model", away)
    monkeypatch.setattr(net, "device", torch.device("meta"))
    geometry, planes = Geometry(128, 64), rough(Geometry(128, 64))
    hyper, gain = (np.ones((1, 2, n), np.float32) for n in (TINY.hyper_channels, TINY.channels))

    def source(area: Area) -> Planes:
        latent = net.latents(hyper, gain, np.zeros((TINY.channels, 4, 8), np.int32))
        return Plane(latent, LATENT_STRIDE), planes[1]

    with pytest.warns(RuntimeWarning, match="out of GPU memory"):
        assert net.synthesise(source, geometry, 0.0).shape == (64, 128, 3)
    assert net.device.type == "cpu"
