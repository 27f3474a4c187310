"""How gic2 is trained: objectives, runs of its recipes, and files of what comes out."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from gancodec import weights
from gancodec.cli.app import main
from gancodec.codec import EncodeOptions, decode_bytes, encode_picture, verify_bytes
from gancodec.codec.api import codec_of
from gancodec.errors import UsageError
from gancodec.metrics import psnr
from gancodec.models import losses as losses_module
from gancodec.models.gic2 import slices, training
from gancodec.models.gic2.objectives import RateDistortion
from gancodec.models.gic2.training import Trained, one_level
from gancodec.models.layers import ByteLinear
from gancodec.models.levels import LEVELS, N_LIMIT
from gancodec.models.losses import random_levels
from gancodec.models.registry import MODELS
from gancodec.models.stream import Frame
from gancodec.train import perceptual
from gancodec.train.data import HELD_OUT
from gancodec.train.freeze import export_checkpoint, freeze
from gancodec.train.loop import LAST as CHECKPOINT
from gancodec.train.loop import Job, train
from gancodec.train.recipes import RECIPES
from gancodec.train.state import load_ema, networks
from gancodec.types import Geometry, Picture
from tests.tiny import held, picture, tiny_gic2_network

S1, S2 = "gic2-tiny-s1", "gic2-tiny-s2"
NS = (2.0, 0.0, -2.0)
GEOMETRY = Geometry(width=320, height=256)


# --- objectives


def losses(objective: RateDistortion, net: Trained, x: Tensor, progress: float = 0.0) -> dict[str, Tensor]:
    torch.manual_seed(7)
    return objective.losses(net, lambda a, b: (a - b).abs().mean((1, 2, 3)), x, progress)


def test_levels_of_the_stages() -> None:
    """One a picture in S1; maps in S2, half of them after the masker."""
    torch.manual_seed(3)
    importance = torch.randn(64, 3, 4)
    level, weight = one_level(importance)
    assert (level == level[:, :1, :1]).all()
    assert (weight == weight[:, :1, :1]).all()
    assert 0 <= level.min() < 6 < 25 < level.max() <= LEVELS - 1
    assert torch.equal(level[:, 0, 0].argsort(), weight[:, 0, 0].argsort())
    usual = (2 * level[:, 0, 0] / (LEVELS - 1) - 1).abs() * N_LIMIT <= 2.8
    assert 0.7 < usual.float().mean() < 1
    maps, _ = random_levels(importance)
    assert (maps[:, 0, 0] != maps[:, 1, 1]).float().mean() > 0.9
    used = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "one_level", lambda given: used.append("one") or one_level(given))
        patch.setattr(losses_module, "random_levels", lambda given: used.append("maps") or random_levels(given))
        for quantised in (False, True):
            losses(RateDistortion(quantised=quantised, natural=0), networks(RECIPES[S2]), torch.rand(1, 3, 64, 64))
    assert used == ["one", "maps"]
    assert 0 <= maps.min() <= maps.max() <= LEVELS - 1


@pytest.mark.parametrize("quantised", [False, True])
def test_matrices_are_rounded_towards_the_end_of_s2(quantised: bool) -> None:
    torch.manual_seed(0)
    net, x = networks(RECIPES[S2]), torch.rand(2, 3, 128, 128)
    assert isinstance(net, Trained)
    objective = RateDistortion(quantised=quantised)
    matrices = [m for m in net.modules() if isinstance(m, ByteLinear)]
    assert any(m in matrices for m in net.natural.modules())
    for progress, rounded in ((0.0, False), (0.69, False), (0.7, quantised), (0.99, quantised), (0.1, False)):
        losses(objective, net, x, progress)
        assert {m.rounded for m in matrices} == {rounded}
    phases = [objective.phase(progress) for progress in (0.0, 0.3, 0.69, 0.7, 0.99)]
    assert len(set(phases[:3])) == len(set(phases[3:])) == 1, "compiled once for each"
    assert (phases[0] != phases[-1]) is quantised


def test_the_natural_end_learns_and_teaches_a_little() -> None:
    torch.manual_seed(0)
    net, x = networks(RECIPES[S2]), torch.rand(4, 3, 128, 128)
    assert isinstance(net, Trained)
    alone, both = RateDistortion(quantised=True, natural=0), RateDistortion(quantised=True, natural=0.5)
    assert (alone.features, both.features) == (None, "wasserstein of vgg19_16x.safetensors")
    assert both.features in perceptual.NETWORKS
    gradients = []
    for objective in (alone, both):
        net.zero_grad()
        found = losses(objective, net, x)
        found["loss"].backward()
        natural = [p.grad is not None and bool(p.grad.any()) for p in net.natural.parameters()]
        assert any(natural) is (objective is both)
        assert ("features" in found) is (objective is both)
        gradients.append(net.model.sender.to_latent.weight.grad.clone())  # type: ignore[union-attr]
    assert not torch.equal(*gradients)


def test_the_faithful_end_is_the_same_without_the_natural_one() -> None:
    """What is frozen, and what it decodes."""
    one, other = copy.deepcopy(tiny_gic2_network()), copy.deepcopy(tiny_gic2_network())
    with torch.no_grad():
        for parameter in other.natural.parameters():
            parameter.normal_()
    frozen = [freeze(net, MODELS["gic2-tiny"], [picture(128, 128)]) for net in (one, other)]
    assert frozen[0].network.keys() == frozen[1].network.keys()
    assert not any("natural" in name for name in frozen[0].network)
    for part in ("network", "entropy"):
        for name, values in getattr(frozen[0], part).items():
            np.testing.assert_array_equal(values, getattr(frozen[1], part)[name])


def test_a_natural_end_that_is_new_begins_as_the_faithful_one() -> None:
    source, torch_seed = tiny_gic2_network(), torch.manual_seed(9)
    net = networks(RECIPES[S2])
    assert isinstance(net, Trained)
    given = {k: v for k, v in source.state_dict().items() if not k.startswith("natural.")}
    net.begin_from(given)
    latent, position = torch.randn(1, 8, 8, 8, generator=torch_seed), torch.rand(1, 2, 2, generator=torch_seed)
    with torch.no_grad():
        net.natural.noise_in.weight.zero_()
        body, content = net.model.receiver.begin(latent, position)
        expected = net.model.receiver.end(body, content, position)
        torch.testing.assert_close(net.natural(body, content, position), expected)
    net.begin_from(source.state_dict())
    assert all(torch.equal(v, net.state_dict()[k]) for k, v in source.state_dict().items())


# --- runs


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A little more than is held out, large enough for the crops of the tiny recipes."""
    folder = tmp_path_factory.mktemp("pictures")
    for seed in range(HELD_OUT + 2):
        Image.fromarray(picture(136, 144, seed)).save(folder / f"{seed:02d}.png")
    return folder


class Runs(NamedTuple):
    """Last checkpoints of both stages."""

    first: Path
    second: Path


@pytest.fixture(scope="module")
def runs(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """S1 for long enough to see something, and S2 for a few steps."""
    first = train(Job(S1, pictures, tmp_path_factory.mktemp("s1"), steps=60, log_every=12))
    second = train(Job(S2, pictures, tmp_path_factory.mktemp("s2"), steps=6, start=first))
    return Runs(first, second)


@pytest.fixture(scope="module")
def exported(runs: Runs, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of weights with the model of both stages, which GANCODEC_WEIGHTS names."""
    folder = tmp_path_factory.mktemp("weights")
    export_checkpoint(S2, runs.second, pictures, folder, "a test", 4, experimental=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(weights.ENVIRONMENT, str(folder))
        yield folder


def test_error_falls(runs: Runs) -> None:
    errors = [json.loads(line)["mse"] for line in (runs.first.parent / "log.jsonl").read_text().splitlines()]
    assert errors[-1] < 0.5 * errors[0]


def test_s1_makes_no_weights(runs: Runs, pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="from S2 on"):
        export_checkpoint(S1, runs.first, pictures, tmp_path, "", 4)


def test_s2_switches_channels_and_averages_keep_it(runs: Runs) -> None:
    net = load_ema(runs.second, S2)
    assert isinstance(net, Trained)
    tensors = load_file(runs.second)
    assert torch.equal(tensors["net.model.first"], net.model.first)
    assert not load_file(runs.first)["net.model.first"].any(), "S1 has all of them on"
    assert net.model.first.any()


@pytest.mark.parametrize("recipe", [S1, S2])
def test_resume_takes_the_same_steps_as_an_unbroken_run(
    recipe: str, runs: Runs, pictures: Path, tmp_path: Path
) -> None:
    job = Job(recipe, pictures, tmp_path / "a", start=runs.first if recipe == S2 else None, steps=4)
    unbroken = load_file(train(job))
    broken = replace(job, out=tmp_path / "b")
    train(replace(broken, stop_at=2))
    resumed = load_file(train(replace(broken, resume=True)))
    assert unbroken.keys() == resumed.keys()
    assert not [k for k in unbroken if not torch.equal(unbroken[k], resumed[k])]


def test_both_ends_are_trained(
    runs: Runs, pictures: Path, backbones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A natural end that joins in later begins as the faithful one, and moves."""
    recipe = replace(RECIPES[S2], objective=RateDistortion(quantised=True, natural=0.5))
    monkeypatch.setitem(RECIPES, S2, recipe)
    without = tmp_path / "without.safetensors"
    save_file({k: v for k, v in load_file(runs.first).items() if "natural." not in k}, without)
    job = Job(S2, pictures, tmp_path, start=without, steps=4, backbones=backbones)
    with pytest.raises(UsageError, match="backbones"):
        train(replace(job, backbones=None))
    final = load_file(train(job))
    assert (tmp_path / CHECKPOINT).exists()
    before = load_file(runs.first)
    moved = final["net.natural.own.up.weight"] - before["net.model.receiver.own.up.weight"]
    assert 0 < moved.abs().mean() < 0.5 * before["net.model.receiver.own.up.weight"].abs().mean()


def test_what_is_exported_encodes_and_decodes(exported: Path) -> None:
    """Fewer bits at larger n, and a picture."""
    rgb = picture(200, 260, 77)
    sizes, quality = [], []
    for n in (2.0, 0.0, -2.0):
        data = encode_picture(Picture(rgb), EncodeOptions(n=n)).data
        verify_bytes(data)
        decoded = decode_bytes(data).rgb
        assert decoded.shape == rgb.shape
        sizes.append(len(data))
        quality.append(psnr(decoded, rgb))
    assert sizes == sorted(set(sizes))
    assert quality[-1] > quality[0]
    assert quality[-1] > 15, "a picture, more or less"


@pytest.mark.parametrize("n", [1.0, -1.0, -3.0])
def test_more_slices_are_a_better_picture(exported: Path, n: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never worse by more than .05 dB."""
    monkeypatch.setattr(slices, "WHOLE_BELOW", 60)
    codec = codec_of(weights.get(None), "cpu")
    rgb = picture(384, 512, 3)
    geometry, analysis = Geometry(width=512, height=384), codec.analyse(rgb)
    levels = codec.levels_at(analysis, n)
    frame = Frame(geometry, "range", levels.shift)
    data = codec.write(codec.wanted_of(analysis, levels), frame)
    assert len(data) > 2
    quality = []
    for count in range(1, len(data) + 1):
        planes = codec.planes(codec.read(data[:count], frame), frame)
        quality.append(psnr(codec.network.synthesise(held(*planes), geometry, 0.0), rgb))
    assert all(b >= a - 0.05 for a, b in itertools.pairwise(quality)), quality
    assert quality[-1] > quality[0] + 0.2


def test_experimental_models_say_so(exported: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert weights.find("gic2-tiny").experimental
    (tmp_path / "a.gic").write_bytes(encode_picture(Picture(picture(64, 64)), EncodeOptions(model="gic2-tiny")).data)
    for words in (["models"], ["info", str(tmp_path / "a.gic")]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert not ended.value.code
        assert ", experimental" in capsys.readouterr().out
