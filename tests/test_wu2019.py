"""wu2019: the paper's equations, its symbol order, real files, and its training."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from gancodec import container, weights
from gancodec.codec import (
    Box,
    DecodeOptions,
    EncodeOptions,
    decode_bytes,
    encode_picture,
    read_allocation,
    read_symbols,
    verify_bytes,
)
from gancodec.codec.api import codec_of
from gancodec.container import spec
from gancodec.entropy.huffman import HuffmanReader, HuffmanWriter
from gancodec.entropy.rangecoder import RangeReader, RangeWriter
from gancodec.errors import CorruptFile, CorruptTable, UnsupportedFile, UsageError
from gancodec.models import stream
from gancodec.models.inference import build
from gancodec.models.registry import CODECS, MODELS
from gancodec.models.stream import Levels
from gancodec.models.wu2019.codec import TRIM, Analysis, Wu2019Codec
from gancodec.models.wu2019.config import STRIDE, Wu2019Config
from gancodec.models.wu2019.inference import Wu2019Network
from gancodec.models.wu2019.network import (
    VALUES,
    Discriminator,
    PyramidEncoder,
    ResidualBlock,
    Wu2019Model,
    importance_matrix,
    standardise,
)
from gancodec.models.wu2019.recipes import Paper
from gancodec.models.wu2019.symbols import END, PlaneModel, Symbols, around, row_count, walk
from gancodec.models.wu2019.training import Wu2019Trained, hold_statistics, log_of, plane_tables
from gancodec.tiling import Area
from gancodec.train import loop
from gancodec.train.data import Crops
from gancodec.train.freeze import export_checkpoint, install
from gancodec.train.loop import LAST, Job, learning_rate, train
from gancodec.train.recipes import RECIPES
from gancodec.train.state import networks
from gancodec.types import IntArray, Picture, is_gray
from tests.conftest import Run
from tests.tiny import ODD_PICTURES, picture, tiny_weights, tiny_wu2019_network, tiny_wu2019_weights

TINY = "wu2019-tiny"
CODERS = {"range": (RangeWriter, RangeReader), "huffman": (HuffmanWriter, HuffmanReader)}
both = pytest.mark.parametrize("entropy", list(CODERS))


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """GANCODEC_WEIGHTS with both tiny models, wu2019's by default."""
    place = tmp_path_factory.mktemp("weights")
    install(tiny_wu2019_weights(), MODELS[TINY], place, {"description": "seeded, for tests"})
    install(tiny_weights(), MODELS["gic1-tiny"], place, {"description": "seeded, for tests"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(weights.ENVIRONMENT, str(place))
        yield place


def codec() -> Wu2019Codec:
    found = codec_of(weights.get(TINY), "cpu")
    assert isinstance(found, Wu2019Codec)
    return found


# --- the model of section 3.1


def layers(module: nn.Module, kind: type[nn.Module]) -> list[nn.Module]:
    return [m for m in module.modules() if isinstance(m, kind)]


def test_wu2019_has_the_papers_layers() -> None:
    config = MODELS["wu2019"]
    assert isinstance(config, Wu2019Config)
    assert config.channels == 16
    with torch.device("meta"):
        model, discriminator = Wu2019Model(config), Discriminator(config)
    generator = [(c.out_channels, c.kernel_size, c.stride) for c in layers(model.generator, nn.Conv2d)]  # type: ignore[attr-defined]
    assert generator == [(128, (3, 3), (1, 1)), (256, (3, 3), (1, 1))] + 30 * [(256, (3, 3), (1, 1))]
    assert len(layers(model.generator, ResidualBlock)) == 15
    assert [c.stride for c in layers(model.generator, nn.ConvTranspose2d)] == 3 * [(2, 2)]  # type: ignore[attr-defined]
    masker = [c.out_channels for c in layers(model.masker.blocks, nn.Conv2d)]  # type: ignore[attr-defined]
    assert masker == 4 * [256]
    assert model.masker.score.out_channels == 1
    down = [[c.stride[0] for c in layers(s, nn.Conv2d) if c.stride[0] > 1] for s in model.encoder.scales]  # type: ignore[attr-defined]
    assert down == [[2, 2, 2], [2, 2], [2]]
    assert len(discriminator.scales) == 3


@pytest.mark.parametrize("name", sorted(n for n, c in MODELS.items() if isinstance(c, Wu2019Config) and n != "wu2019"))
def test_shapes_and_ranges(name: str) -> None:
    config = MODELS[name]
    assert isinstance(config, Wu2019Config)
    model = Wu2019Model(config).eval()
    x = torch.rand(2, 3, 64, 96)
    omega, importance = model.analyse(x)
    assert omega.shape == (2, 16, 8, 12)
    assert importance.shape == (2, 8, 12)
    assert 0 <= omega.min() <= omega.max() <= VALUES - 1
    decoded, matrix = model(x, 0.5)
    assert decoded.shape == x.shape
    assert matrix.shape == omega.shape
    assert [s.shape for s in Discriminator(config)(x)] == [(2, 1, 64 >> i, 96 >> i) for i in (3, 4, 5)]


def test_scales_weigh_a_half_and_two_quarters() -> None:
    encoder = PyramidEncoder(MODELS[TINY]).eval()  # type: ignore[arg-type]

    class Constant(nn.Module):
        def __init__(self, value: float) -> None:
            super().__init__()
            self.value = value

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.full((1,), self.value)

    encoder.scales = nn.ModuleList(Constant(v) for v in (1.0, 10.0, 100.0))
    seen: list[torch.Tensor] = []
    encoder.last = nn.Sequential(nn.Identity())
    encoder.last.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    encoder(torch.rand(1, 3, 16, 16))
    assert float(seen[0]) == pytest.approx(0.5 * 1 + 0.25 * 10 + 0.25 * 100)


def test_equation_2() -> None:
    y = torch.randn(2, 5, 7) * torch.tensor([3.0, 0.2])[:, None, None] + 4
    standard = standardise(y)
    assert torch.allclose(standard.mean((1, 2)), torch.zeros(2), atol=1e-5)
    assert torch.allclose(standard.std((1, 2), correction=0), torch.ones(2), atol=1e-4)
    assert not standardise(torch.full((1, 3, 3), 7.5)).any(), "a flat map stays flat"


def test_equation_3_as_written() -> None:
    m = torch.linspace(0, 1, 97).reshape(1, 1, 97)
    matrix = importance_matrix(m, 16)
    for k in range(1, 17):
        for j in range(97):
            assert matrix[0, k - 1, 0, j] == (1 if m[0, 0, j] >= (k - 1) / 16 else 0), (k, j)


def test_the_step_of_equation_3_passes_the_gradient_of_its_ramp() -> None:
    m = torch.tensor([[[0.30, 0.97]]], requires_grad=True)
    matrix = importance_matrix(m, 16)
    gradient = torch.autograd.grad(matrix[0, :, 0, 0].sum(), m, retain_graph=True)[0]
    assert gradient.tolist() == [[[16.0, 0.0]]], "of the one channel that is about to go"
    by_channel = [float(torch.autograd.grad(matrix[0, k, 0, 0], m, retain_graph=True)[0][0, 0, 0]) for k in range(16)]
    assert by_channel == [16.0 if k == 4 else 0.0 for k in range(16)]


def test_equation_4_rounds_to_the_nearest_of_four() -> None:
    analysis = codec().analyse(picture(64, 64))
    target = codec().wanted_of(analysis, Levels(np.full((8, 8), 16, np.int32)))
    distance = np.abs(analysis.omega[..., None] - np.arange(4))
    np.testing.assert_array_equal(target.z, distance.argmin(-1))
    assert set(np.unique(target.z)) == {0, 1, 2, 3}


# --- losses and training


def trained(**changes: object) -> tuple[Wu2019Trained, torch.Tensor]:
    torch.manual_seed(1)
    fields = {k: v for k, v in changes.items() if k in Paper.__dataclass_fields__}
    others = {k: v for k, v in changes.items() if k not in fields}
    recipe = replace(RECIPES[TINY], objective=Paper(**fields), **others)  # type: ignore[arg-type]
    net = networks(recipe)
    assert isinstance(net, Wu2019Trained)
    return net, torch.rand(2, 3, 64, 64)


def losses(net: Wu2019Trained, x: torch.Tensor, progress: float = 0.0, **changes: object) -> dict[str, torch.Tensor]:
    """Of the paper's objective, or of one that is changed, in full precision."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
        return Paper(**changes).losses(net, None, x, progress)  # type: ignore[arg-type]


def detached(parts: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: part.detach() for name, part in parts.items()}


def test_equations_5_to_7() -> None:
    """With eta = 1 and kappa = 16, in numbers: D takes what eq. 5 gives it, G what is left of eq. 7."""
    net, x = trained()
    torch.manual_seed(5)
    parts = detached(losses(net, x))
    torch.manual_seed(5)
    n = -2 + 4 * torch.rand(()).item()
    again, _ = trained()
    with torch.no_grad():
        decoded, matrix = again.model(x, n)
    assert again.discriminator is not None
    fake, real = ([torch.sigmoid(s.detach()) for s in again.discriminator(v)] for v in (decoded, x))
    beta = (0.5, 0.25, 0.25)
    log_fake = sum(b * torch.log(1 - s).mean() for b, s in zip(beta, fake, strict=True))
    log_real = sum(b * torch.log(s).mean() for b, s in zip(beta, real, strict=True))
    mse = ((decoded - x) ** 2).mean() * 255**2
    assert float(parts["n"]) == pytest.approx(n)
    assert float(parts["on"]) == pytest.approx(float(matrix.mean()))
    assert float(parts["adversarial"]) == pytest.approx(float(log_fake), rel=1e-4)
    assert float(parts["discriminator"]) == pytest.approx(float(-log_real - log_fake), rel=1e-4)
    assert float(parts["mse"]) == pytest.approx(float(mse), rel=1e-4)
    assert float(parts["loss"]) == pytest.approx(16 * float(mse) + float(log_fake - log_real - log_fake), rel=1e-4)


def test_both_players_get_their_own_gradient() -> None:
    """The generator's is of eq. 5's second term as it stands, the discriminator's of both with the sign turned."""
    net, x = trained(kappa=0.0)
    hold_statistics(net.model, True)
    parts = losses(net, x, 1.0, kappa=0.0)
    parts["loss"].backward()
    played = {k: p.grad.clone() for k, p in net.named_parameters() if p.grad is not None}
    judge = net.discriminator
    assert judge is not None
    decoded = net.model(x, float(parts["n"]))[0]
    assert float(parts["loss"].detach()) == pytest.approx(
        float((parts["adversarial"] + parts["discriminator"]).detach())
    )
    generator, discriminator = dict(net.model.named_parameters()), dict(judge.named_parameters())
    last = generator["generator.up.6.weight"]
    listened = torch.autograd.grad(log_of(judge(decoded), False), last, retain_graph=True)[0]
    assert torch.allclose(played["model.generator.up.6.weight"], listened, atol=1e-7)
    assert listened.abs().max() > 1e-5, "or this shows nothing"
    judged = -log_of(judge(x), True) - log_of(judge(decoded.detach()), False)
    for (name, _), gradient in zip(
        discriminator.items(), torch.autograd.grad(judged, list(discriminator.values())), strict=True
    ):
        assert torch.allclose(played[f"discriminator.{name}"], gradient, atol=1e-6), name


def test_a_step_that_overflows_leaves_weights_and_statistics(data: Path, tmp_path: Path) -> None:
    job = Job(TINY, data, tmp_path, steps=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Paper, "losses", overflowing)
        final = load_file(train(job))
    assert all(v.isfinite().all() for v in final.values() if v.is_floating_point())
    assert not any(v.any() for k, v in final.items() if k.startswith("net.") and k.endswith("running_mean"))


LOSSES = Paper.losses


def overflowing(
    objective: Paper, net: Wu2019Trained, features: None, x: torch.Tensor, progress: float
) -> dict[str, torch.Tensor]:
    """A step whose activations are not finite."""
    return LOSSES(objective, net, features, x * torch.inf, progress)


def test_workers_share_their_statistics(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they share gradients: each has seen other crops, and a run that is resumed has one set of them."""
    shared: list[int] = []
    monkeypatch.setattr(loop, "average", lambda tensors: shared.append(len(tensors)))
    train(Job(TINY, data, tmp_path, steps=2))
    norms = len(layers(tiny_wu2019_network(), nn.BatchNorm2d))
    assert shared == [2 * norms] * 2, "means and variances, once a step (gradients are shared among several alone)"


def test_n_has_nothing_to_do_with_the_crops(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are drawn anew for each step, from seeds that follow from its number."""
    picks, drawn = [], []
    batch = Crops.batch

    def seen(self: Crops, count: int, generator: torch.Generator) -> torch.Tensor:
        state = generator.get_state()
        picks.append(torch.rand(count, 4, generator=generator)[0].tolist())
        generator.set_state(state)
        return batch(self, count, generator)

    def noted(*given: object, **named: object) -> dict[str, torch.Tensor]:
        parts = LOSSES(*given, **named)  # type: ignore[arg-type]
        drawn.append((float(parts["n"]) + 2) / 4)
        return parts

    monkeypatch.setattr(Crops, "batch", seen)
    monkeypatch.setattr(Paper, "losses", noted)
    train(Job(TINY, data, tmp_path, steps=30))
    correlation = np.corrcoef(np.array(picks).T, np.array(drawn))[-1, :-1]
    assert np.abs(correlation).max() < 0.7


def test_without_gan_there_is_no_discriminator() -> None:
    net, x = trained(eta=0.0)
    assert net.discriminator is None
    parts = detached(losses(net, x, eta=0.0))
    assert float(parts["loss"]) == pytest.approx(16 * float(parts["mse"]))


def test_without_masker_every_site_is_treated_alike() -> None:
    net, x = trained(held_at_zero=("model.masker.score.",))
    assert not net.model.analyse(x).importance.any()
    decoded, matrix = net.model(x, 1.0)
    assert torch.equal(matrix, matrix[:1, :, :1, :1].expand_as(matrix))
    assert 0 < float(matrix.detach().mean()) < 1
    decoded.square().mean().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())


def test_n_is_drawn_for_each_batch_within_its_range() -> None:
    net, x = trained()
    drawn = [float(losses(net, x)["n"]) for _ in range(40)]
    assert -2 <= min(drawn) < -1 < 1 < max(drawn) <= 2
    assert {float(losses(net, x, n_range=(0.5, 0.5))["n"]) for _ in range(3)} == {0.5}


def test_statistics_are_held_in_the_second_half() -> None:
    net, x = trained()
    norm = net.model.generator.head[1]
    for progress, moves in ((0.0, True), (0.49, True), (0.5, False), (0.9, False)):
        before = norm.running_mean.clone()  # type: ignore[union-attr,operator]
        losses(net, x, progress)
        assert torch.equal(before, norm.running_mean) is not moves, progress  # type: ignore[arg-type]


def test_the_rate_falls_once() -> None:
    recipe = RECIPES["wu2019"]
    assert (recipe.rate, recipe.final_rate, recipe.batch, recipe.objective.kappa) == (2e-3, 2e-4, 8, 16)
    assert learning_rate(recipe, 10_000, 0.499) == pytest.approx(2e-3)
    assert learning_rate(recipe, 10_000, 0.5) == learning_rate(recipe, 10_000, 1.0) == pytest.approx(2e-4)


def test_the_error_falls() -> None:
    """On one batch at one n, far below what a picture of one colour would have."""
    net, _ = trained(n_range=(-2.0, -2.0))
    x = torch.stack([torch.from_numpy(picture(64, 64, s)).permute(2, 0, 1) for s in range(2)]).float() / 255
    optimiser = torch.optim.Adam(net.model.parameters(), 5e-3)
    errors = []
    for _ in range(60):
        parts = losses(net, x, n_range=(-2.0, -2.0))
        optimiser.zero_grad()
        parts["loss"].backward()
        optimiser.step()
        errors.append(float(parts["mse"].detach()))
    assert errors[-1] < 0.5 * errors[0]


def test_training_resumes_and_exports(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(TINY, data, tmp_path / "a", steps=40, log_every=10, validate_every=40)
    unbroken = load_file(train(job))
    broken = replace(job, out=tmp_path / "b", validate_every=None)
    train(replace(broken, stop_at=27))
    resumed = load_file(train(replace(broken, resume=True)))
    assert unbroken.keys() == resumed.keys()
    assert [k for k in unbroken if not torch.equal(unbroken[k], resumed[k])] == []
    lines = [json.loads(line) for line in (job.out / "log.jsonl").read_text().splitlines()]
    assert len([line for line in lines if "mse" in line]) == 4
    assert [line["validation_n"] for line in lines if "validation_n" in line] == [2.0, 0.0, -2.0]
    export_checkpoint(TINY, job.out / LAST, data, tmp_path / "weights", "a test", 4)
    entry = json.loads((tmp_path / "weights" / "manifest.json").read_text())["models"][TINY]
    assert entry["calibration"]["logit_slope"] == 1.0, "n is the paper's, not stretched"
    assert entry["held_out"]["n=2"]["bpp"] < entry["held_out"]["n=-2"]["bpp"]
    monkeypatch.setenv(weights.ENVIRONMENT, str(tmp_path / "weights"))
    rgb = picture(100, 130, 77)
    assert decode_bytes(encode_picture(Picture(rgb)).data).rgb.shape == rgb.shape


# --- the symbol order


def plane_model(channels: int = 3, seed: int = 0) -> PlaneModel:
    """Uneven tables, another one for each row."""
    rng = np.random.default_rng(seed)
    histograms = [np.zeros(2)] + [
        rng.integers(0, 300, 6) * np.array([1, 1, 2, 1, 1, 0]) for _ in range(row_count(channels) - 1)
    ]
    return PlaneModel(plane_tables(channels, [h.astype(np.float64) for h in histograms]))


def random_planes(rng: np.random.Generator, channels: int, shape: tuple[int, int], least: int = 0) -> Symbols:
    depth = rng.integers(least, channels + 1, shape).astype(np.int32)
    z = rng.integers(0, 4, (channels, *shape)).astype(np.int32)
    return Symbols(depth, z * (np.arange(channels)[:, None, None] < depth).astype(np.int32))


@both
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999), height=st.integers(1, 9), width=st.integers(1, 9))
def test_planes_round_trip(entropy: str, seed: int, height: int, width: int) -> None:
    model, planes = plane_model(), random_planes(np.random.default_rng(seed), 3, (height, width))
    writer, reader = CODERS[entropy]
    coder = writer(model.tables)
    written = walk(coder, model, (height, width), entropy == "range", planes)
    back = reader(model.tables, coder.finish())
    read = walk(back, model, (height, width), entropy == "range", None)
    back.finish()
    for a, b, c in zip(planes, written, read, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)


class Recorder:
    """Keeps batches."""

    def __init__(self) -> None:
        self.batches: list[tuple[list[int], list[int]]] = []

    def code(self, rows: IntArray, symbols: IntArray | None) -> IntArray:
        assert symbols is not None
        self.batches.append((rows.tolist(), symbols.tolist()))
        return symbols

    def finish(self) -> bytes:
        return b""


def test_order_is_channel_by_channel_with_one_termination_a_site() -> None:
    """By hand: 2 x 2 sites of 3 channels, with 1, 3, 2 and 0 of them on."""
    depth = np.array([[1, 3], [2, 0]], np.int32)
    z = np.zeros((3, 2, 2), np.int32)
    z[:, 0, 0], z[:, 0, 1], z[:, 1, 0] = (3, 0, 0), (0, 1, 2), (2, 3, 0)
    recorder = Recorder()
    walk(recorder, plane_model(), (2, 2), False, Symbols(depth, z))
    first, second, third = recorder.batches
    assert first == ([61] * 4, [2, -2, 1, END])
    assert second == ([62] * 3, [END, -1, 2])
    assert third == ([63] * 2, [1, END])
    recorder = Recorder()
    walk(recorder, plane_model(), (2, 2), True, Symbols(depth, z))
    assert [symbols for _, symbols in recorder.batches] == [b[1] for b in (first, second, third)]
    # Around a site of channel 1 two others are on; around one of channel 2, one other.
    assert [rows for rows, _ in recorder.batches] == [[1] * 4, [21 + 4 + 3, 21 + 4 + 0, 21 + 4 + 2], [41 + 1, 41 + 3]]


def test_rows_depend_on_nothing_that_comes_later() -> None:
    rng = np.random.default_rng(4)
    planes = random_planes(rng, 3, (6, 7), least=1)
    last = planes.z.copy()
    last[2] = rng.integers(0, 4, (6, 7)) * (planes.depth > 2)
    found = []
    for z in (planes.z, last):
        recorder = Recorder()
        walk(recorder, plane_model(), (6, 7), True, planes._replace(z=z))
        found.append([rows for rows, _ in recorder.batches])
    assert found[0] == found[1]


def test_sites_outside_are_not_on() -> None:
    assert around(np.ones((3, 3), bool)).tolist() == [[3, 5, 3], [5, 8, 5], [3, 5, 3]]
    assert around(np.ones((1, 1), bool)).tolist() == [[0]]


@both
def test_values_beyond_the_quantisers_are_refused(entropy: str) -> None:
    model = plane_model()
    writer, reader = CODERS[entropy]
    coder = writer(model.tables)
    coder.code(np.array([1 if entropy == "range" else 61], np.int32), np.array([3], np.int32))
    with pytest.raises(CorruptFile, match="quantiser"):
        walk(reader(model.tables, coder.finish()), model, (1, 1), entropy == "range", None)


def test_wrong_tables_are_refused() -> None:
    arrays = plane_tables(3)
    with pytest.raises(CorruptTable, match="tables"):
        PlaneModel(arrays | {"channels": np.array([4], np.int32)})
    with pytest.raises(CorruptTable, match="integers"):
        PlaneModel(arrays | {"channels": np.array([3.0])})


# --- real files


@both
@pytest.mark.parametrize("name", list(ODD_PICTURES))
def test_files_of_odd_pictures(name: str, entropy: str) -> None:
    rgb = ODD_PICTURES[name]
    data = encode_picture(Picture(rgb), EncodeOptions(n=0.0, entropy=entropy)).data
    verify_bytes(data)
    header = container.read(data).header
    assert (header.codec, header.model) == (spec.CODEC_WU2019, MODELS[TINY].id)
    assert header.flags == spec.FLAG_SYNTHETIC | spec.FLAG_GRAY * is_gray(rgb)
    symbols = read_symbols(data)
    analysis = codec().analyse(np.ascontiguousarray(rgb))
    on = np.arange(16)[:, None, None] < symbols.depth
    np.testing.assert_array_equal(symbols.z, np.rint(analysis.omega) * on)
    m = 1 / (1 + np.exp(-analysis.importance.astype(np.float64)))
    np.testing.assert_array_equal(symbols.depth, sum((m >= (k - 1) / 16).astype(int) for k in range(1, 17)))
    assert decode_bytes(data).rgb.shape == rgb.shape


def test_the_file_alone_decides_what_the_generator_gets() -> None:
    data = encode_picture(Picture(picture(70, 90, 3)), EncodeOptions(n=-0.5)).data
    z = torch.from_numpy(read_symbols(data).z).float()[None]
    with torch.no_grad():
        decoded = tiny_wu2019_network().model.generator(z)
    expected = (decoded[0].clamp(0, 1) * 255).round().permute(1, 2, 0).numpy()[:70, :90]
    assert np.abs(decode_bytes(data).rgb - expected).max() <= 1, "but for weights that are float16 in the file"


def noisy(height: int, width: int, seed: int = 0) -> Picture:
    """Latents that are not all alike even for a network that has learnt nothing."""
    noise = np.random.default_rng(seed).normal(0, 30, (height, width, 3))
    return Picture(np.clip(picture(height, width, seed) + noise, 0, 255).astype(np.uint8))


def test_n_steers_the_rate_all_the_way() -> None:
    sizes = [len(encode_picture(noisy(200, 300), EncodeOptions(n=n)).data) for n in np.linspace(-1, 3, 9)]
    assert sizes == sorted(sizes, reverse=True)
    levels = [read_symbols(encode_picture(Picture(picture(99, 64)), EncodeOptions(n=n)).data).depth for n in (-8, 8)]
    assert [set(np.unique(v)) for v in levels] == [{16}, {1}], "all channels, and the one that eq. 3 never masks"


@both
def test_any_rate_between_the_ends_is_hit(entropy: str) -> None:
    source = noisy(300, 420, 6)
    most, least = (len(encode_picture(source, EncodeOptions(n=n, entropy=entropy)).data) for n in (-8.0, 8.0))
    for share in (0.05, 0.2, 0.4, 0.6, 0.8):
        size = round(least + share * (most - least))
        found = encode_picture(source, EncodeOptions(size=size, entropy=entropy))
        assert 0.99 * size <= len(found.data) <= size, share
        assert found.hit
        verify_bytes(found.data)


def test_flat_pictures_are_trimmed_to_size() -> None:
    """Most of their sites change at the same n; what lies in between masks a channel more at a part of them."""
    source = Picture(np.full((512, 512, 3), (40, 120, 200), np.uint8))
    most, least = (len(encode_picture(source, EncodeOptions(n=n, entropy="huffman")).data) for n in (-8.0, 8.0))
    trimmed = 0
    for share in (0.3, 0.5, 0.8):
        found = encode_picture(source, EncodeOptions(size=round(least + share * (most - least)), entropy="huffman"))
        assert found.hit, share
        trimmed += found.data != encode_picture(source, EncodeOptions(n=found.n, entropy="huffman")).data
    assert trimmed, "or this shows nothing"


def test_trimming_takes_the_last_channels_evenly() -> None:
    depth = np.full((32, 64), 5, np.int32)
    analysis = Analysis(np.zeros((16, 32, 64), np.float32), np.zeros((32, 64), np.float32))
    for amount in (0, 1, 100, TRIM // 2, TRIM, TRIM + 300):
        left = codec().wanted_of(analysis, Levels(depth), trim=amount).depth
        assert (5 - left).mean() == pytest.approx(amount / TRIM, abs=0.01)
        assert (5 - left).max() <= -(-amount // TRIM)
        halves = [(5 - part).mean() for part in (left[:16], left[16:], left[:, :32], left[:, 32:])]
        assert max(halves) - min(halves) < 0.03
    assert codec().wanted_of(analysis, Levels(depth), trim=40 * TRIM).depth.min() == 1


def test_regions_and_saliency_get_more_channels() -> None:
    source = Picture(picture(192, 256, 4))
    plain = encode_picture(source, EncodeOptions(n=0.0))
    boxed = encode_picture(source, EncodeOptions(n=0.0, roi_boxes=(Box(64, 64, 64, 64),)))
    inside = np.s_[8:16, 8:16]
    before, after = (read_symbols(v.data).depth for v in (plain, boxed))
    assert after[inside].mean() > before[inside].mean() + 3
    assert after.sum() < before.sum() * 1.3, "the others pay for it"
    salient = encode_picture(source, EncodeOptions(n=0.0, saliency="spectral"))
    assert not np.array_equal(read_symbols(salient.data).depth, before)


def test_bits_and_levels_of_blocks() -> None:
    data = encode_picture(Picture(picture(130, 200)), EncodeOptions(n=0.0)).data
    found = read_allocation(data)
    assert found.bits is not None
    levels, bits = found.maps[0].plane.values, found.bits.values
    assert levels.shape == bits.shape == (3, 4)
    assert bits.sum() == pytest.approx(8 * len(container.read(data).image))
    symbols = read_symbols(data)
    share = symbols.depth[:8, :8].mean() / 16
    assert levels[0, 0] == pytest.approx(share)


def test_tiles_hold_the_same_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Picture(picture(330, 600, 7))
    whole = encode_picture(source, EncodeOptions(n=-0.5)).data
    monkeypatch.setattr(stream, "TILE_SIDE", 256)
    monkeypatch.setattr(stream, "TILED_FROM", 0)
    data = encode_picture(source, EncodeOptions(n=-0.5)).data
    tiles = container.read(data).tiles
    assert tiles is not None
    assert len(tiles.lengths) == 6
    for a, b in zip(read_symbols(data), read_symbols(whole), strict=True):
        np.testing.assert_array_equal(a, b)
    decoded = decode_bytes(whole).rgb
    np.testing.assert_array_equal(decode_bytes(data).rgb, decoded)
    part = decode_bytes(data, DecodeOptions(region=(250, 30, 77, 90))).rgb
    assert np.abs(part.astype(int) - decoded[30:120, 250:327]).max() <= 1
    small = decode_bytes(data, DecodeOptions(reduce=4)).rgb
    assert small.shape == (83, 150, 3)


def test_networks_see_the_same_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    from gancodec.models import inference as network

    net = build(weights.get(TINY), torch.device("cpu"))
    rgb = picture(700, 900, 4)
    whole = net.analyse(rgb)
    monkeypatch.setattr(network, "TILE", 192)
    for a, b in zip(whole, net.analyse(rgb), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_halos_cover_the_reach() -> None:
    """Of networks as deep as wu2019's: gradients of a block end before the halo does."""
    config = replace(MODELS[TINY], generator_blocks=MODELS["wu2019"].generator_blocks)  # type: ignore[call-overload,union-attr]
    model = Wu2019Model(config).eval()
    for module in layers(model, nn.BatchNorm2d):
        nn.init.ones_(module.weight)  # type: ignore[arg-type]  # of a new residual block it is 0
    parts = (
        (Wu2019Network.encoder_halo, 3, 1, STRIDE, lambda x: model.masker(model.encoder(x))),
        (Wu2019Network.generator_halo, config.channels, STRIDE, 1, model.generator),
    )
    for halo, channels, before, after, network in parts:
        side = 2 * halo + 64
        x = torch.rand(1, channels, side // before, side // before, requires_grad=True)
        network(x)[Area(halo, halo + 64, halo, halo + 64).sites(after)].sum().backward()
        touched = x.grad.abs().sum((0, 1)).nonzero()  # type: ignore[union-attr]
        assert 0 < touched.min() < halo / before, "reaches beyond the block, but not out of the halo"
        assert touched.max() < side // before - 1


def test_folded_networks_compute_the_same() -> None:
    net, model = build(tiny_wu2019_weights(), torch.device("cpu")), tiny_wu2019_network().model
    assert not layers(net.model, nn.BatchNorm2d)
    assert layers(model, nn.BatchNorm2d)
    x = torch.rand(1, 3, 64, 64)
    z = torch.randint(0, 4, (1, 16, 8, 8)).float()
    with torch.no_grad():
        torch.testing.assert_close(net.model.encoder(x), model.encoder(x), atol=0.02, rtol=0.02)
        torch.testing.assert_close(net.model.generator(z), model.generator(z), atol=0.02, rtol=0.02)


def test_a_codec_that_is_not_the_models_is_refused() -> None:
    """Under good checksums, either way."""
    for name, wrong in ((TINY, spec.CODEC_GIC1), ("gic1-tiny", spec.CODEC_WU2019)):
        parsed = container.read(encode_picture(Picture(picture(64, 64)), EncodeOptions(n=0.0, model=name)).data)
        header = replace(parsed.header, codec=wrong, level_shift=0)
        with pytest.raises(CorruptFile, match=f"is not that of model {name}"):
            decode_bytes(container.write(replace(parsed, header=header)))


def test_it_has_one_generator() -> None:
    data = encode_picture(Picture(picture(64, 64))).data
    with pytest.raises(UsageError, match="0 \\(most faithful\\) only"):
        decode_bytes(data, DecodeOptions(realism=0.5))
    comment = decode_bytes(data).comment
    assert comment is not None
    assert comment.startswith("Decoded by gancodec: fine detail may be synthesised"), "no realism to speak of"


def test_builds_that_do_not_know_it_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode_picture(Picture(picture(64, 64))).data
    monkeypatch.delitem(CODECS, spec.CODEC_WU2019)
    with pytest.raises(UnsupportedFile, match="codec 2"):
        decode_bytes(data)


def test_the_command_line(tmp_path: Path, run: Run) -> None:
    rgb = picture(200, 300)
    Image.fromarray(rgb).save(tmp_path / "a.png")
    for entropy in CODERS:
        coded = tmp_path / f"{entropy}.gic"
        assert (
            run("encode", tmp_path / "a.png", "-o", coded, "--model", TINY, "--size", 1000, "--entropy", entropy).code
            == 0
        )
        assert 990 <= coded.stat().st_size <= 1000
        assert run("verify", coded).code == 0
        told = json.loads(run("info", coded, "--json").out)
        assert (told["codec"], told["model_name"], told["coder"]) == ("wu2019", TINY, entropy)
        assert run("decode", coded, "-o", tmp_path / f"{entropy}.png").code == 0
        with Image.open(tmp_path / f"{entropy}.png") as image:
            assert image.size == (300, 200)
    assert run("inspect", tmp_path / "range.gic", "--out", tmp_path / "maps").code == 0
    refused = run("decode", tmp_path / "range.gic", "--realism", "1", "-o", tmp_path / "no.png")
    assert refused.code == 2
    assert len(refused.err.splitlines()) == 1
    assert not (tmp_path / "no.png").exists()
