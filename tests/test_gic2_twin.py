"""gic2 in training has the rows, latents and bits that its integers have; and what it is frozen into."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from gancodec.entropy.gaussian import gaussian_tables
from gancodec.entropy.tables import entropy_hash
from gancodec.models.gic2 import training
from gancodec.models.gic2.codec import Analysis, Gic2Codec
from gancodec.models.gic2.config import KNOTS, LADDER, NEAR_MAX
from gancodec.models.gic2.integers import KEY_LIMIT, EntropyModel
from gancodec.models.gic2.layers import around, quadrants
from gancodec.models.gic2.symbols import LAST, out_of_blocks, passes
from gancodec.models.gic2.training import Coded, Trained, channel_worth, coded_latents, freeze_entropy, ladder
from gancodec.models.levels import LEVELS, SUBLEVELS
from gancodec.models.stream import Frame, Levels
from gancodec.train.recipes import RECIPES
from gancodec.train.state import networks
from gancodec.types import Geometry
from gancodec.weights import Weights
from tests.tiny import picture, tiny_gic2_network, tiny_gic2_weights

S1, S2 = "gic2-tiny-s1", "gic2-tiny-s2"
NS = (2.0, 0.0, -2.0)
GEOMETRY = Geometry(width=320, height=256)


@pytest.fixture(scope="module")
def codec() -> Gic2Codec:
    return Gic2Codec(tiny_gic2_weights(), "cpu")


@pytest.fixture(scope="module")
def net(codec: Gic2Codec) -> Trained:
    """The tiny network with the floats that its weights have, so that both sides compute with the same."""
    result = copy.deepcopy(tiny_gic2_network())
    floats = codec.weights.network_floats()
    result.model.load_state_dict({k: torch.from_numpy(v) for k, v in floats.items()}, strict=False)
    return result


class Seen(NamedTuple):
    """What the twin made of a picture, as the codec has it: rows (hb, wb, Kh) and (C, h, w)."""

    coded: Coded
    hyper_rows: np.ndarray
    rows: np.ndarray


@torch.no_grad()
def twin(net: Trained, analysis: tuple[np.ndarray, ...], level: np.ndarray) -> Seen:
    """`coded_latents` at levels (hb, wb), with integer rows."""
    floored, seen = training.floored, []

    def spy(rows: Tensor) -> Tensor:
        seen.append(floored(rows))
        return seen[-1]

    latent, hyper = (torch.from_numpy(v.astype(np.float32)).permute(1, 2, 0)[None] for v in analysis[:2])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "floored", spy)
        coded = coded_latents(net.model, latent, hyper, torch.from_numpy(level.astype(np.float32))[None], True)
    hyper_rows, rows = (v[0].numpy() for v in seen)
    return Seen(coded, hyper_rows, rows.transpose(2, 0, 1))


@pytest.mark.parametrize("n", NS)
def test_twin_has_the_rows_and_latents_of_the_integers(net: Trained, codec: Gic2Codec, n: float) -> None:
    """At integer positions, for nearly all: floats may fall to the other side of a border."""
    analysis = codec.analyse(picture(256, 320, 9))
    levels = codec.levels_at(analysis, n)
    position = levels.values * SUBLEVELS + levels.shift
    seen = twin(net, analysis, position / SUBLEVELS)
    wanted = codec.wanted_of(analysis, levels)
    rows, _ = codec.entropy.rows_and_keys(wanted.symbols.hyper.transpose(1, 2, 0), position)
    expected = out_of_blocks(rows, position.shape, 8).astype(int)
    on = per_site(position // SUBLEVELS)[None] >= codec.entropy.first[:, None, None]
    assert np.mean(seen.rows[on] != expected[on]) < 0.005
    assert np.abs(seen.rows[on] - expected[on]).max() <= 1
    assert len(np.unique(expected)) > 25
    frame = Frame(GEOMETRY, "range", levels.shift)
    decoded = codec.planes(codec.read(codec.write(wanted, frame), frame), frame)[0].values
    error = np.abs(seen.coded.latents[0].numpy().transpose(2, 0, 1) - decoded)
    assert np.mean(error > 1e-4) < 0.01
    assert np.quantile(np.abs(decoded), 0.5) > 0.05, "latents of 0 show nothing"


@pytest.mark.parametrize("n", NS)
def test_twin_has_the_rows_of_the_hyper_latent(net: Trained, codec: Gic2Codec, n: float) -> None:
    """What has row 0 is not sent, and its neighbours see a 0."""
    analysis = codec.analyse(picture(256, 320, 9))
    levels = codec.levels_at(analysis, n)
    position = levels.values * SUBLEVELS + levels.shift
    sent = codec.wanted_of(analysis, levels).symbols.hyper.transpose(1, 2, 0)
    magnitudes = torch.from_numpy(np.minimum(np.abs(sent), NEAR_MAX))[None]
    turn, expected = quadrants(*position.shape, torch.device("cpu")), np.zeros(sent.shape, int)
    for step, (y, x) in enumerate(passes(position.shape)):
        known = around(magnitudes * (turn < step)[..., None])[0].numpy()
        expected[y, x] = codec.entropy.hyper_rows(known[y, x], position[y, x], step)
    found = twin(net, analysis, position / SUBLEVELS).hyper_rows
    assert np.mean(found != expected) < 0.04
    assert np.abs(found - expected).max() <= 1
    gained = np.rint(analysis.hyper.transpose(1, 2, 0) * codec.entropy.hyper_gains(position))
    assert n > -2 or np.count_nonzero(gained != sent) > 2, "some are not sent"


def per_site(values: np.ndarray) -> np.ndarray:
    return values.repeat(4, 0).repeat(4, 1)


@torch.no_grad()
def drawn(net: Trained, level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An analysis of which the model is right: Gaussians of the deviations of its rows, around its means."""
    generator = torch.Generator().manual_seed(5)
    levels = torch.from_numpy(level.astype(np.float32))[None]
    model, position = net.model, levels / (LEVELS - 1)
    log_gain = model.hyper_gains(position)
    silent = torch.zeros_like(log_gain)
    sigma = model.hyper_rows(silent, position, log_gain).exp()
    hyper = torch.randn(sigma.shape, generator=generator) * sigma / log_gain.exp()
    units = (hyper * log_gain.exp()).round() / log_gain.exp()
    gains = training.per_site(model.gains(position))
    rows = training.projected_rows(model, units, gains, True)
    sent = (rows >= 1) & (training.per_site(levels)[..., None] >= model.first)
    residual = torch.randn(rows.shape, generator=generator) * training.sigma_at(rows)
    wanted = torch.zeros_like(rows)

    def code(mean: Tensor, mine: Tensor) -> Tensor:
        wanted.copy_(torch.where(mine, mean + residual / gains.exp(), wanted))
        return mean + residual.round() * sent / gains.exp()

    model.means(units, code)
    return tuple(v[0].permute(2, 0, 1).numpy() for v in (wanted, hyper))  # type: ignore[return-value]


@pytest.mark.parametrize("level", [8, 16, 24])
def test_rounded_bits_are_those_of_the_file(net: Trained, level: int) -> None:
    """Where the tables are right: within 2 %. And noise tells about as much."""
    plain = copy.deepcopy(net)
    with torch.no_grad():
        for near in plain.model.hyper_rows.near:  # what is drawn knows no neighbours
            near.weight.zero_()
            near.bias.zero_()
    entropy = freeze_entropy(plain.model)
    given = tiny_gic2_weights()
    info = replace(given.info, entropy_hash=entropy_hash(entropy))
    codec = Gic2Codec(Weights(info, entropy, given.network), "cpu")
    values = np.full((8, 10), level, np.int32)
    latent, hyper = drawn(plain, values)
    analysis = (latent, hyper, np.zeros((8, 10), np.float32))
    frame = Frame(Geometry(width=640, height=512))
    wanted = codec.wanted_of(Analysis(*analysis), Levels(values, 0, (LAST,)))
    size = 8 * sum(map(len, codec.write(wanted, frame)))
    coded = twin(plain, analysis, values).coded
    assert float(coded.rounded_bits) == pytest.approx(size, rel=0.02)
    assert np.count_nonzero(wanted.symbols.latents) > 500
    assert -0.01 * size < float(coded.bits) - size < 0.4 * size, "noise costs most where rows are still"


@torch.no_grad()
def test_the_price_of_a_symbol() -> None:
    """The mass of a unit interval, and about that of an escape where there is nearly none."""
    values, sigma = torch.tensor([0.0, 1.0, -3.0, 40.0, 400.0]), torch.tensor([0.5, 0.5, 2.0, 1.0, 1.0])
    normal = torch.distributions.Normal(0.0, sigma)
    mass = normal.cdf(values + 0.5) - normal.cdf(values - 0.5)
    bits = training.gaussian_bits(values, sigma)
    torch.testing.assert_close(bits[:3], -torch.log2(mass[:3]), atol=1e-3, rtol=1e-3)
    assert 20 < bits[3] < bits[4] < 40
    assert torch.equal(bits, training.gaussian_bits(-values, sigma))


def test_the_rate_has_a_gradient_where_symbols_are_0(net: Trained) -> None:
    """A rounded zero has none: the rate sees noise. And rounding passes distortions on."""
    model = copy.deepcopy(net).model.requires_grad_(True)
    latent = (torch.randn(2, 8, 8, 8) * 0.01).requires_grad_()
    hyper = (torch.randn(2, 2, 2, 4) * 0.01).requires_grad_()
    coded = coded_latents(model, latent, hyper, torch.full((2, 2, 2), 9.0), True)
    gradients = torch.autograd.grad(coded.bits.sum(), [latent, hyper], retain_graph=True)
    assert all(g.abs().mean() > 1e-3 for g in gradients)
    (moved,) = torch.autograd.grad(coded.latents.sum(), latent)
    assert moved.any()
    assert not coded.rounded_bits.requires_grad


def test_what_is_off_is_neither_sent_nor_priced(net: Trained) -> None:
    model = copy.deepcopy(net).model
    latent, hyper = torch.randn(1, 8, 8, 8) * 9, torch.randn(1, 2, 2, 4)
    with torch.no_grad():
        model.first.fill_(20)
        off = coded_latents(model, latent, hyper, torch.full((1, 2, 2), 19.9), True)
        silent = coded_latents(model, latent * 0, hyper, torch.full((1, 2, 2), 19.9), True)
        on = coded_latents(model, latent, hyper, torch.full((1, 2, 2), 20.0), True)
        free = coded_latents(model, latent, hyper, torch.full((1, 2, 2), 19.9), False)
    assert torch.equal(off.latents, silent.latents), "means alone"
    assert float(off.rounded_bits) < 0.2 * float(on.rounded_bits)
    assert not torch.allclose(free.latents, silent.latents), "S1 has all channels on"


# --- what is frozen


def test_channels_are_on_from_where_they_say_something() -> None:
    """Eq. 3: from the first level at which a latent, times its gain, reaches half a step."""
    net = copy.deepcopy(tiny_gic2_network())
    batches = [torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(s)) for s in range(3)]
    with torch.no_grad():
        net.model.sender.to_latent.weight.mul_(torch.logspace(-4, 0, 8)[:, None])
        net.model.sender.to_latent.bias.zero_()
    net.switch_channels(iter(batches))
    first = net.model.first.int().tolist()
    with torch.no_grad():
        most = torch.cat([net.model.analyse(x).latent for x in batches]).abs().amax((0, 2, 3))
        gains = net.model.gains(torch.arange(LEVELS) / (LEVELS - 1)).exp()
    expected = [next((k for k in range(LEVELS) if gains[k, c] * most[c] >= 0.5), LEVELS - 1) for c in range(8)]
    assert all(0 <= found - wanted <= 1 for found, wanted in zip(first, expected, strict=True)), "a share may be louder"
    assert first == sorted(first, reverse=True)
    assert first[0] > 20 > first[-1]
    assert freeze_entropy(net.model)["latent.first"].tolist() == first


def test_worth_tells_how_far_a_channel_moves_pixels() -> None:
    """A channel that the receiver hears half as loud is worth less, by the rows of a half."""
    net = copy.deepcopy(tiny_gic2_network())
    before = channel_worth(net.model).astype(int)
    with torch.no_grad():
        for layer in (net.model.receiver.inp, net.model.receiver.content):
            layer.weight[:, 3] *= 1 / 16
    moved = channel_worth(net.model).astype(int) - before
    others = np.delete(moved, 3)
    assert np.ptp(others) <= 1, "but for the median, which all are told from"
    assert moved[3] - others[0] == pytest.approx(-np.log(16) * training.ROWS_A_NEPER, abs=4)


@pytest.mark.parametrize("spread", [0, 3, 60])
def test_ladders_fall_within_reach(spread: int) -> None:
    worth = np.random.default_rng(spread).integers(-spread, spread + 1, 192).astype(np.int16)
    keys = ladder(worth)
    assert (keys.shape, keys.dtype) == ((LADDER,), np.int16)
    assert (np.diff(keys) < 0).all()
    assert np.abs(keys).max() <= KEY_LIMIT
    arrays = dict(tiny_gic2_weights().entropy) | {"latent.ladder": keys}
    assert EntropyModel(arrays).ladder.tolist() == keys.tolist()


def test_shapes_and_tables_of_a_model_that_nobody_trained() -> None:
    """All of the real size, and loaded under every rule."""
    torch.manual_seed(0)
    model = networks(RECIPES["gic2-s2"]).model
    arrays = freeze_entropy(model)  # type: ignore[arg-type]
    found = EntropyModel(arrays)
    assert (found.channels, found.hyper_channels) == (192, 64)
    assert arrays["latent.gain"].shape == (KNOTS, 192)
    for name, values in gaussian_tables().items():
        np.testing.assert_array_equal(arrays[name], values)
