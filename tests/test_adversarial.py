"""Stage S3: what is frozen, what is learned, the losses, the discriminator, several processes, plots."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import gancodec
from gancodec import weights
from gancodec.codec import DecodeOptions, decode_bytes, encode_picture
from gancodec.container import read_header
from gancodec.container.spec import FLAG_SYNTHETIC
from gancodec.errors import UsageError
from gancodec.models.gic1.discriminator import Discriminator
from gancodec.models.gic1.network import TunableModel
from gancodec.models.gic1.training import (
    as_picture,
    coded_latents,
    grid_pattern,
    least_squares,
    log_loss,
    over_scales,
)
from gancodec.models.layers import TextureNoise, fixed_noise
from gancodec.models.registry import MODELS
from gancodec.train.command import main
from gancodec.train.freeze import entropy_arrays, export_checkpoint
from gancodec.train.loop import LAST, Job, train
from gancodec.train.perceptual import load
from gancodec.train.recipes import RECIPES
from gancodec.train.state import load_ema
from gancodec.types import Picture
from tests.conftest import Run
from tests.tiny import picture
from tools import plot_training

FIRST_NOISE = [-1488639, 800623, 1172383, 1594101]  # millionths
BACKBONES = Path(__file__).parent.parent.parent / "shared" / "backbones"


@pytest.fixture(scope="module")
def second(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of S2."""
    return train(Job("gic1-tiny-s2", data, tmp_path_factory.mktemp("s2"), steps=60))


@pytest.fixture(scope="module")
def third(data: Path, backbones: Path, second: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of S3, from that."""
    out = tmp_path_factory.mktemp("s3")
    return train(Job("gic1-tiny-s3", data, out, start=second, steps=120, backbones=backbones, log_every=10))


def test_only_the_natural_end_and_the_discriminator_are_trained(second: Path, third: Path) -> None:
    before, after = load_file(second), load_file(third)
    trained = ("natural.", "discriminator.")
    frozen = {k for k in after if k.startswith(("net.", "ema.")) and not any(t in k for t in trained)}
    start = {f"{k[:3]}.{k[4:]}": before[f"ema.{k[4:]}"] for k in frozen}
    assert len(frozen) > 50
    assert not [k for k in frozen if not torch.equal(start[k], after[k])]
    names = [k for k in after if k.startswith("net.model.natural.") and k.endswith("weight")]
    assert [k for k in names if torch.equal(after[k], after[k.replace("natural", "generator")])] == []


def test_the_natural_end_is_nearer_in_the_features_it_was_trained_on(third: Path, backbones: Path) -> None:
    net, features = load_ema(third, "gic1-tiny-s3"), load(backbones, "vgg19_16x.safetensors")
    x = torch.stack([torch.from_numpy(picture(128, 128, s)).permute(2, 0, 1) for s in range(8)]).float() / 255
    with torch.no_grad():
        level = torch.full((8, 2, 2), 16.0)
        latents, _ = coded_latents(net.model, net.context, net.model.analyse(x), level, quantised=True)
        distance = [features(net.model.generate(latents, level, beta), x).mean() for beta in (0.0, 0.5, 1.0)]
    assert distance[0] > distance[1] > distance[2]
    rows = [json.loads(line) for line in (third.parent / "log.jsonl").read_text().splitlines()]
    assert {"distortion", "perceptual", "adversarial", "discriminator", "realism"} <= rows[0].keys()


def test_the_masker_alone_learns_in_its_stage(third: Path, backbones: Path, data: Path, tmp_path: Path) -> None:
    big = tmp_path / "pictures"
    big.mkdir()
    for seed in range(4):
        Image.fromarray(picture(200, 200, seed)).save(big / f"{seed}.png")
    job = Job("gic1-tiny-s4", big, tmp_path / "s4", start=third, steps=8, backbones=backbones, log_every=4)
    before, after = load_file(third), load_file(train(job))
    moved = {k[4:] for k in after if k.startswith("net.") and not torch.equal(before[f"ema.{k[4:]}"], after[k])}
    assert moved
    assert all(name.startswith("model.masker.") for name in moved)
    rows = [json.loads(line) for line in (job.out / "log.jsonl").read_text().splitlines()]
    assert {"bpp", "perceptual", "spread"} <= rows[0].keys()


def test_an_exported_model_decodes_at_every_realism(
    third: Path, second: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    for recipe, checkpoint in (("gic1-tiny-s2", second), ("gic1-tiny-s3", third)):
        export_checkpoint(recipe, checkpoint, data, tmp_path / recipe, "a test", 4, realism=0.75)
    source = Picture(picture(100, 130, 77))
    monkeypatch.setenv(weights.ENVIRONMENT, str(tmp_path / "gic1-tiny-s2"))
    faithful_only = encode_picture(source).data
    with pytest.raises(UsageError, match="has 0"):
        decode_bytes(faithful_only, DecodeOptions(realism=0.5))
    plain = decode_bytes(faithful_only)

    monkeypatch.setenv(weights.ENVIRONMENT, str(tmp_path / "gic1-tiny-s3"))
    data_ = encode_picture(source).data
    faithful, default, full = (decode_bytes(data_, DecodeOptions(realism=r)) for r in (0.0, None, 1.0))
    assert np.array_equal(plain.rgb, faithful.rgb), "the faithful end stays what S2 made it"
    assert np.array_equal(default.rgb, decode_bytes(data_, DecodeOptions(realism=0.75)).rgb)
    assert not np.array_equal(faithful.rgb, full.rgb)
    assert np.array_equal(full.rgb, decode_bytes(data_, DecodeOptions(realism=1.0)).rgb)
    assert (faithful.comment, plain.comment) == (None, None)
    assert "realism 0.75" in (default.comment or "")
    flags = [read_header(d)[0].flags for d in (faithful_only, data_)]
    assert flags == [0, FLAG_SYNTHETIC]
    assert len(faithful_only) == len(data_), "the mark costs nothing"
    image = gancodec.decode(data_, realism=1.0)
    assert np.array_equal(np.asarray(image), full.rgb)
    assert image.info["comment"] == full.comment
    source_file, target = tmp_path / "a.gic", tmp_path / "a.png"
    source_file.write_bytes(data_)
    for words, note in (([], b"realism 0.75"), (["--realism", "1"], b"realism 1:"), (["--realism", "0"], None)):
        assert run("decode", source_file, "-o", target, "-f", *words).code == 0
        assert (b"realism" in target.read_bytes()) is (note is not None)
        assert note is None or note in target.read_bytes()
    assert json.loads(run("info", source_file, "--json").out)["synthetic_detail"] is True
    for wrong in (-0.1, 1.5, float("nan")):
        with pytest.raises(UsageError, match=r"\[0, 1\]"):
            decode_bytes(data_, DecodeOptions(realism=wrong))


def test_generator_weights_lie_between_the_ends() -> None:
    model = TunableModel(MODELS["gic1-tiny"], natural=True).eval()
    latent, level = torch.randn(1, 8, 8, 8), torch.full((1, 2, 2), 9.0)
    with torch.no_grad():
        faithful, half, natural = (model.generate(latent, level, beta) for beta in (0.0, 0.5, 1.0))
        assert torch.equal(faithful, model.generator(latent, level))
        assert model.natural is not None
        assert torch.equal(natural, model.natural(latent, level))
        assert not torch.equal(half, faithful)
        for name, weight in model.generator_weights(0.25).items():
            ends = model.generator.get_parameter(name), model.natural.get_parameter(name)
            assert torch.allclose(weight, 0.75 * ends[0] + 0.25 * ends[1], atol=1e-6)
    with pytest.raises(ValueError, match="natural end"):
        TunableModel(MODELS["gic1-tiny"]).generate(latent, level, 0.5)


def test_discriminator_scores_three_scales_and_reads_latents_and_levels() -> None:
    torch.manual_seed(0)
    judge = Discriminator(8, 4).eval()
    x, latent, level = torch.rand(2, 3, 128, 192), torch.randn(2, 8, 8, 12), torch.rand(2, 2, 3)
    scores = judge(x, latent, level)
    assert [tuple(s.shape) for s in scores] == [(2, 1, 16, 24), (2, 1, 8, 12), (2, 1, 4, 6)]
    for other in (judge(x, -latent, level), judge(x, latent, 1 - level), judge(1 - x, latent, level)):
        assert all(not torch.allclose(a, b) for a, b in zip(scores, other, strict=True))


def test_both_adversarial_losses_want_the_same() -> None:
    for loss in (least_squares, log_loss):
        good, bad = torch.full((1, 1, 2, 2), 1.0), torch.zeros(1, 1, 2, 2)
        assert loss(good, True) < loss(bad, True)
        assert loss(bad, False) < loss(good, False)
    assert float(log_loss(torch.zeros(1), True)) == pytest.approx(np.log(2))
    scores = [torch.full((1, 1, 2, 2), v) for v in (0.0, 1.0, 2.0)]
    assert float(over_scales(scores, True, "lsgan")) == pytest.approx(0.5 * 1 + 0.25 * 0 + 0.25 * 1)


def test_log_loss_trains(data: Path, backbones: Path, second: Path, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    recipe = RECIPES["gic1-tiny-s3"]
    monkeypatch.setitem(RECIPES, "gic1-tiny-s3", replace(recipe, objective=replace(recipe.objective, gan="log")))
    final = load_file(train(Job("gic1-tiny-s3", data, tmp_path, start=second, steps=3, backbones=backbones)))
    assert all(torch.isfinite(v).all() for v in final.values())


def test_grid_pattern_sees_what_repeats_with_the_grids_and_nothing_else() -> None:
    torch.manual_seed(0)
    for period in (4, 8, 16):
        pattern = torch.randn(1, 3, period, period).repeat(1, 1, 128 // period, 128 // period) * 5 / 255
        assert float(grid_pattern(pattern)) > 5, period
    texture = (torch.randn(1, 3, 128, 128) * 5 / 255).requires_grad_()
    found = grid_pattern(texture)
    assert 0 <= float(found.detach()) < 0.25, "what random phase gives is taken off"
    found.backward()
    assert texture.grad is not None
    # of a form of the second degree this is twice its value: more, as nothing flows through what is taken off
    assert float((texture.grad * texture.detach()).sum()) > 2.2 * float(found.detach())
    assert float(grid_pattern(torch.ones(1, 3, 64, 64))) == pytest.approx(0, abs=1e-6), "colour shifts are no grid"


def test_noise_is_the_same_everywhere_and_looks_random() -> None:
    noise = fixed_noise(4)
    assert (noise[0, 0, 0, :4] * 1e6).round().int().tolist() == FIRST_NOISE
    assert abs(float(noise.mean())) < 0.02
    assert float(noise.var()) == pytest.approx(1, abs=0.02)
    for a, b in ((noise[..., 1:], noise[..., :-1]), (noise[:, :, 1:], noise[:, :, :-1]), (noise[:, 1:], noise[:, :-1])):
        assert abs(float((a * b).mean())) < 0.03


def test_closed_gates_add_nothing_and_open_ones_a_texture_that_depends_on_the_place() -> None:
    torch.manual_seed(0)
    layer = TextureNoise(8, 2).eval()
    x = torch.rand(1, 8, 72, 150)
    with torch.no_grad():
        assert torch.equal(layer(x, (0, 0)), x)
        layer.gate.bias.fill_(0.5)
        texture, moved = layer(x, (0, 0)) - x, layer(x, (64 + 5, 9)) - x
    inner = slice(1, 60)
    assert float(texture.std()) > 0.05
    assert torch.allclose(texture[:, :, 1:60, 2:80], texture[:, :, 1:60, 66:144], atol=1e-5), "repeats every 64 sites"
    assert not torch.allclose(texture[:, :, inner, inner], moved[:, :, inner, inner], atol=1e-2)
    assert torch.allclose(texture[:, :, 6:65, 10:69], moved[:, :, inner, inner], atol=1e-5), "tiles agree"


def test_a_generator_of_its_own_has_all_that_the_shared_one_has() -> None:
    model = TunableModel(MODELS["gic1-tiny"], natural=True).eval()
    assert model.natural is not None
    assert model.natural.texture is not None
    with torch.no_grad():
        model.natural.texture.gate.bias.fill_(1.0)
        latent, level = torch.randn(1, 8, 8, 8), torch.full((1, 2, 2), 9.0)
        for realism in (0.0, 0.3, 1.0):
            own = model.generator_at(realism)
            assert {v.device.type for v in (*own.parameters(), *own.buffers())} == {"cpu"}
            assert torch.allclose(own(latent, level, (3, 5)), model.generate(latent, level, realism, (3, 5)), atol=1e-6)


def test_pictures_are_clipped_and_rounded_with_a_straight_gradient() -> None:
    decoded = torch.tensor([-0.2, 0.5001, 1.3], requires_grad=True)
    shown = as_picture(decoded)
    assert torch.allclose(shown, torch.tensor([0.0, 128 / 255, 1.0]))
    shown.sum().backward()
    assert decoded.grad is not None
    assert torch.equal(decoded.grad, torch.ones(3))


@pytest.mark.parametrize("name", ["vgg19_16x.safetensors", "lpips_squeeze.safetensors"])
def test_feature_distances(backbones: Path, name: str) -> None:
    network = load(backbones, name)
    a = torch.rand(2, 3, 64, 64, requires_grad=True)
    b = torch.rand(2, 3, 64, 64)
    assert torch.allclose(network(a, a), torch.zeros(2), atol=1e-6)
    distance = network(a, b)
    assert distance.shape == (2,)
    assert (distance > 0).all()
    distance.sum().backward()
    assert a.grad is not None
    assert torch.isfinite(a.grad).all()
    black = torch.zeros(1, 3, 64, 64, requires_grad=True)
    network(black, b[:1]).sum().backward()
    assert black.grad is not None
    assert torch.isfinite(black.grad).all()


@pytest.mark.skipif(not BACKBONES.is_dir(), reason="feature networks are not in ../shared/backbones")
def test_squeeze_in_the_loss_is_the_lpips_of_the_metrics() -> None:
    pytest.importorskip("torchmetrics")
    from gancodec.evaluate.metrics.backbones import Lpips

    a, b = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    metric = Lpips("squeeze", BACKBONES / "lpips_squeeze.safetensors")
    assert torch.allclose(load(BACKBONES, "lpips_squeeze.safetensors")(a, b), metric(a, b), rtol=1e-3, atol=1e-5)


def test_what_s3_needs_is_said(data: Path, backbones: Path, second: Path, tmp_path: Path) -> None:
    job = Job("gic1-tiny-s3", data, tmp_path / "out", steps=1)
    with pytest.raises(UsageError, match="--start"):
        train(replace(job, backbones=backbones))
    with pytest.raises(UsageError, match="--backbones"):
        train(replace(job, start=second))
    (tmp_path / "vgg19_16x.safetensors").write_bytes((backbones / "lpips_squeeze.safetensors").read_bytes())
    with pytest.raises(UsageError, match="not the weights"):
        train(replace(job, start=second, backbones=tmp_path))
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    for start, message in (("junk.safetensors", "not a checkpoint"), ("none.safetensors", "no such checkpoint")):
        with pytest.raises(UsageError, match=message):
            train(replace(job, start=tmp_path / start, backbones=backbones))
    with pytest.raises(UsageError, match="another recipe"):
        train(Job("gic1-tiny-s3", data, second.parent, steps=100, resume=True, backbones=backbones))
    for wrong in ({"workers": 0}, {"minutes": 0.0}, {"steps": 0}, {"workers": 2, "distributed": True}):
        with pytest.raises(UsageError, match="--"):
            train(replace(job, start=second, backbones=backbones, **wrong))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="torchrun"):
        train(Job("gic1-tiny-s1", data, tmp_path / "out", steps=1, distributed=True))


def test_torchrun_takes_the_steps_of_two_workers(data: Path, tmp_path: Path) -> None:
    """Two CPU processes through gloo, started by torchrun: the very weights of --workers 2."""
    words = ["gic1-tiny-s1", "--data", str(data), "--steps", "5", "--out"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "-m"]
    environment = {"OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [*torchrun, "gancodec.train", *words, str(tmp_path / "a"), "--distributed"],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    main([*words, str(tmp_path / "b"), "--workers", "2"])
    main([*words, str(tmp_path / "c")])
    a, b, alone = (load_file(tmp_path / name / LAST) for name in "abc")
    assert not [k for k in a if not torch.equal(a[k], b[k])]
    assert [k for k in a if k.startswith("net.") and not torch.equal(a[k], alone[k])], "the second process took part"


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are listed in /proc")
def test_the_threads_of_a_group_end_with_the_training(data: Path, tmp_path: Path) -> None:
    """A thread of gloo that lives on into the interpreter's end takes the process down with it, now and then."""
    program = (
        "import sys; from pathlib import Path\n"
        "from gancodec.train import loop; from gancodec.train.command import main\n"
        "def threads(): return [(t / 'comm').read_text().strip() for t in Path('/proc/self/task').iterdir()]\n"
        "end = loop._leave\n"
        "def leave(): print('during', *threads()); end()\n"
        "loop._leave = leave; main(sys.argv[1:]); print('after', *threads())\n"
    )
    alone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "0"}
    words = ["gic1-tiny-s1", "--data", str(data), "--steps", "1", "--out", str(tmp_path), "--distributed"]
    ran = subprocess.run(
        [sys.executable, "-c", program, *words],
        env=os.environ | alone,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    during, after = (line for line in ran.stdout.splitlines() if line.startswith(("during", "after")))
    assert "gloo" in during
    assert "gloo" not in after


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_losses_are_plotted(third: Path, tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib")
    target = tmp_path / f"losses{suffix}"
    assert plot_training.main([str(third.parent), "-o", str(target)]) == 0
    start = target.read_bytes()[:8]
    assert start.startswith(b"<?xml" if suffix == ".svg" else b"\x89PNG")
    series = plot_training.read_log(third.parent)
    assert series["perceptual"][0] == list(range(10, 121, 10))


def test_torn_and_resumed_logs(tmp_path: Path) -> None:
    rows = [{"step": s, "loss": v} for s, v in ((10, 3.0), (20, 2.0), (30, 9.0), (20, 1.5), (30, 1.0))]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, rows)) + '\n{"step": 40, "lo')
    assert plot_training.read_log(tmp_path) == {"loss": ([10, 20, 30], [3.0, 1.5, 1.0])}


def test_a_released_model_keeps_its_integers(third: Path, second: Path, data: Path, tmp_path: Path) -> None:
    export_checkpoint("gic1-tiny-s3", third, data, tmp_path, "a test", 4)
    before = entropy_arrays(tmp_path / "gic1-tiny.safetensors")
    export_checkpoint("gic1-tiny-s3", third, data, tmp_path, "with other pictures", 2)
    after = entropy_arrays(tmp_path / "gic1-tiny.safetensors")
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[k], after[k]) for k in before)
    state = load_file(third)
    state["ema.model.gains.start"] += 1
    save_file(state, tmp_path / "moved.safetensors", {"step": "1", "seconds": "1"})
    with pytest.raises(UsageError, match="new name"):
        export_checkpoint("gic1-tiny-s3", tmp_path / "moved.safetensors", data, tmp_path, "a test", 4)
    for realism in (-0.5, 7.0, float("nan")):
        with pytest.raises(UsageError, match=r"\[0, 1\]"):
            export_checkpoint("gic1-tiny-s3", third, data, tmp_path, "a test", 4, realism)


def test_the_faithful_end_invents_nothing(second: Path, third: Path) -> None:
    for checkpoint in (second, third):
        gates = {k: v for k, v in load_file(checkpoint).items() if "generator.texture.gate" in k}
        assert len(gates) >= 4
        assert not any(v.any() for v in gates.values())
    natural = load_file(third)["net.model.natural.texture.gate.weight"]
    assert natural.any(), "the natural end opens its gates"


def test_bad_logs_are_usage_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(name: str, reason: str, target: str = "x.svg") -> None:
        assert plot_training.main([str(tmp_path / name), "-o", str(tmp_path / target)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("gancodec: ")
        assert re.search(reason, line), line
        assert not (tmp_path / target).exists()

    for name, text in (("empty", ""), ("junk", "[1, 2]\n"), ("words", "step one\n")):
        (tmp_path / name).write_text(text)
        refused(name, "figures|log of")
    refused("none", "No such file")
    refused("empty", "choose a name", "x.txt")
