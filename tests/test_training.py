"""Training: shards, exact resume, falling loss, Muon, freezing and export of a tiny model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from PIL import Image
from safetensors.torch import load_file, save_file
from torch._dynamo.utils import counters
from torch.multiprocessing.spawn import ProcessRaisedException

from gancodec import weights
from gancodec.errors import GicError, UsageError
from gancodec.models.layers import residual_stack
from gancodec.models.losses import box_ms_ssim
from gancodec.models.recipe import Objective
from gancodec.models.training import grow
from gancodec.train import loop, muon
from gancodec.train.command import main
from gancodec.train.compiled import compiled
from gancodec.train.data import Crops, pack
from gancodec.train.freeze import export_checkpoint
from gancodec.train.loop import LAST, Job, learning_rate, step_seed, train
from gancodec.train.muon import orthogonalise, orthogonalise_all, suits
from gancodec.train.recipes import RECIPES
from gancodec.train.signals import Signals
from gancodec.train.state import State, checkpoint_meta, ema_of, load_ema, write_ema
from gancodec.train.together import agreed
from tests.tiny import picture


@pytest.fixture(scope="module")
def start(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint to start S2 and S3 from."""
    return train(Job("gic1-tiny-s2", data, tmp_path_factory.mktemp("start"), steps=3))


def _final(job: Job) -> dict[str, torch.Tensor]:
    return load_file(train(job))


@pytest.mark.parametrize("stage", ["s1", "s2", "s3"])
def test_resume_takes_the_same_steps_as_an_unbroken_run(
    data: Path, backbones: Path, start: Path, tmp_path: Path, stage: str
) -> None:
    job = Job(f"gic1-tiny-{stage}", data, tmp_path / "a", start=start, steps=40, backbones=backbones)
    unbroken = _final(job)
    broken = replace(job, out=tmp_path / "b")
    train(replace(broken, stop_at=20))
    resumed = _final(replace(broken, resume=True))
    assert unbroken.keys() == resumed.keys()
    different = [k for k in unbroken if not torch.equal(unbroken[k], resumed[k])]
    assert not different


def test_two_workers_train_and_stop_on_time(data: Path, tmp_path: Path) -> None:
    final = _final(Job("gic1-tiny-s1", data, tmp_path, minutes=0.05, workers=2, log_every=1))
    assert all(torch.isfinite(v).all() for v in final.values() if v.is_floating_point())
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) >= 1


def test_error_falls_and_the_model_exports_and_encodes(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Job("gic1-tiny-s1", data, tmp_path / "s1", steps=120, log_every=30)
    train(first)
    errors = [json.loads(line)["mse"] for line in (first.out / "log.jsonl").read_text().splitlines()]
    assert errors[-1] < 0.7 * errors[0]
    second = replace(
        first, recipe="gic1-tiny-s2", out=tmp_path / "s2", start=first.out / LAST, steps=5, validate_every=5
    )
    checkpoint = train(second)
    validations = [
        json.loads(line) for line in (second.out / "log.jsonl").read_text().splitlines() if "validation_n" in line
    ]
    assert [v["bpp"] for v in validations] == sorted(v["bpp"] for v in validations), "smaller n, more bits"
    folder = tmp_path / "weights"
    few = tmp_path / "few"
    few.mkdir()
    Image.fromarray(picture(128, 128)).save(few / "one.png")
    with pytest.raises(UsageError, match="or but one, which is held out"):
        export_checkpoint("gic1-tiny-s2", checkpoint, few, folder, "a test", 4)
    export_checkpoint("gic1-tiny-s2", checkpoint, data, folder, "a test", 4)
    monkeypatch.setenv(weights.ENVIRONMENT, str(folder))
    from gancodec.codec import decode_bytes, encode_picture
    from gancodec.types import Picture

    rgb = picture(100, 130, 77)
    assert decode_bytes(encode_picture(Picture(rgb)).data).rgb.shape == rgb.shape


def test_only_integer_stages_make_weights(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="from S2 on"):
        export_checkpoint("gic1-tiny-s1", tmp_path / LAST, data, tmp_path, "", 4)


def test_shards_hold_what_the_folder_holds(data: Path, tmp_path: Path) -> None:
    shards = pack(data, tmp_path / "shards", shard_mib=1)
    from_shards, from_files = (Crops(f, 64, torch.device("cpu")) for f in (tmp_path / "shards", data))
    assert len(shards) >= 1
    assert len(from_shards.held_out) == len(from_files.held_out) == 2
    for a, b in zip(from_shards.pictures, from_files.pictures, strict=True):
        assert torch.equal(a, b)


def test_new_shards_are_picked_up(data: Path, tmp_path: Path) -> None:
    for shard in pack(data, tmp_path):
        shard.rename(tmp_path / "shard-000.zip")
    crops = Crops(tmp_path, 64, torch.device("cpu"))
    before = len(crops.pictures)
    extra = tmp_path / "extra"
    extra.mkdir()
    Image.fromarray(picture(80, 80, 99)).save(extra / "late.png")
    pack(extra, extra)[0].rename(tmp_path / "shard-001.zip")
    crops.refresh()
    assert len(crops.pictures) == before + 1


def test_bad_jobs_say_what_is_wrong(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown recipe"):
        train(Job("no-such", data, tmp_path, steps=1))
    with pytest.raises(UsageError, match="no such checkpoint"):
        train(Job("gic1-tiny-s1", data, tmp_path / "none", steps=1, resume=True))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no pictures"):
        train(Job("gic1-tiny-s1", tmp_path / "empty", tmp_path, steps=1))


def test_averaged_weights_travel_in_small_files(data: Path, tmp_path: Path) -> None:
    checkpoint = train(Job("gic1-tiny-s1", data, tmp_path, steps=1))
    wide = {f"ema.{i}": torch.randn(300_000) for i in range(5)} | {"net.x": torch.zeros(3)}
    save_file(wide, tmp_path / "wide.safetensors", {"step": "1", "seconds": "2"})
    for source in (checkpoint, tmp_path / "wide.safetensors"):
        files = write_ema(source, tmp_path / source.stem, file_mib=1)
        assert max(f.stat().st_size for f in files) <= 1 << 20
        before, after = ema_of(source), ema_of(tmp_path / source.stem)
        assert before.keys() == after.keys()
        assert all(torch.allclose(before[k], after[k], atol=2e-3, rtol=1e-3) for k in before)
        assert checkpoint_meta(tmp_path / source.stem) == checkpoint_meta(source)


def test_learning_rate_warms_up_and_falls() -> None:
    recipe = RECIPES["gic1-small-s1"]
    assert learning_rate(recipe, 0, 0.0) < recipe.rate / 100
    assert learning_rate(recipe, 10_000, 0.1) > learning_rate(recipe, 10_000, 0.9)
    assert learning_rate(recipe, 10_000, 1.0) == pytest.approx(recipe.final_rate)


def test_orthogonalised_updates_have_even_singular_values() -> None:
    matrix = torch.randn(24, 90, generator=torch.Generator().manual_seed(1))
    for m in (matrix, matrix.T):
        values = torch.linalg.svdvals(orthogonalise(m))
        assert 0.5 < float(values.min())
        assert float(values.max()) < 1.5


def test_box_ms_ssim_orders_pictures_as_the_metric_does() -> None:
    from gancodec.metrics import ms_ssim

    a = picture(192, 192, 2)
    rng = np.random.default_rng(0)
    noisy = [np.clip(a + rng.normal(0, s, a.shape), 0, 255).astype(np.uint8) for s in (2, 8, 20, 50)]
    true = [ms_ssim(a, b) for b in noisy]
    as_tensor = [torch.from_numpy(v.copy()).permute(2, 0, 1)[None].float() / 255 for v in (a, *noisy)]
    box = [float(box_ms_ssim(as_tensor[0], b, torch.ones(1, 3, 3))) for b in as_tensor[1:]]
    assert true == sorted(true, reverse=True)
    assert box == sorted(box, reverse=True)
    assert max(abs(t - b) for t, b in zip(true, box, strict=True)) < 0.1


def test_a_grown_network_computes_what_the_small_one_did() -> None:
    small, large = torch.nn.Conv2d(4, 6, 3), torch.nn.Conv2d(7, 9, 3)
    grow(large, small.state_dict())
    x = torch.randn(1, 7, 5, 5)
    assert torch.allclose(large(x)[:, :6], small(x[:, :4]), atol=1e-6)
    with pytest.raises(UsageError, match="another architecture"):
        grow(small, large.state_dict())
    short, long = residual_stack(4, 1), residual_stack(4, 3)
    grow(long, short.state_dict())
    x = torch.randn(1, 4, 5, 5)
    assert torch.equal(long(x), short(x)), "blocks that were added start as the identity"


def test_training_runs_with_nothing_but_torch_numpy_pillow_and_safetensors(data: Path, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "for name in ('typer', 'rich', 'click', 'constriction'): sys.modules[name] = None\n"
        "from gancodec.train.command import main\n"
        f"main(['gic1-tiny-s1', '--data', {str(data)!r}, '--out', {str(tmp_path)!r}, '--steps', '1'])"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / LAST).exists()


@pytest.mark.parametrize(
    "words", [[], ["no-such"], ["gic1-tiny-s1"], ["gic1-tiny-s1", "--data", ".", "--out", "."], ["pack", "a"]]
)
def test_bad_words_are_usage_errors(words: list[str]) -> None:
    with pytest.raises(UsageError):
        main(words)


def test_the_seed_of_a_step_follows_from_integers_alone() -> None:
    """Not from Python's `hash`, which changed between versions and depends on the size of words."""
    known = {(0, 0, 0): 851381352, (0, 1, 0): 496832271, (0, 0, 1): 918361880, (7, 123456, 3): 31631047}
    assert {numbers: step_seed(*numbers) for numbers in known} == known
    many = {step_seed(seed, step, worker) for seed in range(5) for step in range(400) for worker in range(2)}
    assert len(many) == 4000, "no two steps draw the same"
    assert all(0 <= seed < 1 << 31 for seed in many)


@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_saves_a_checkpoint_that_goes_on(data: Path, tmp_path: Path, workers: int) -> None:
    words = ["--data", str(data), "--steps", "100000", "--workers", str(workers)]
    command = [sys.executable, "-m", "gancodec.train", "gic1-tiny-s1", *words, "--out"]
    running = subprocess.Popen([*command, str(tmp_path)], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "log.jsonl").exists() and time.monotonic() < deadline:  # the first is written at step 100
        assert running.poll() is None
        time.sleep(0.1)
    running.send_signal(signal.SIGTERM)
    _, said = running.communicate(timeout=60)
    assert (running.returncode, said) == (128 + signal.SIGTERM, "")
    step = int(checkpoint_meta(tmp_path / LAST)["step"])
    assert 100 <= step < 100_000
    train(Job("gic1-tiny-s1", data, tmp_path, steps=100_000, stop_at=step + 2, resume=True, workers=workers))
    assert int(checkpoint_meta(tmp_path / LAST)["step"]) == step + 2


def test_a_pause_is_no_time_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGCONT tells of it: of the step that it fell into no more counts than is usual."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    before = signal.getsignal(signal.SIGTERM)
    with Signals() as signals:
        now[0] = 2.0
        assert signals.worked(1.5) == 2.0
        os.kill(os.getpid(), signal.SIGCONT)
        now[0] = 7200.0
        assert signals.worked(1.5) == 1.5
        now[0] = 7202.0
        assert signals.worked(1.5) == 2.0
        assert not signals.ended
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.ended
    assert signal.getsignal(signal.SIGTERM) is before
    with pytest.raises(SystemExit) as left:
        signals.leave()
    assert left.value.code == 128 + signal.SIGTERM


def test_a_paused_run_finds_its_process_group_again(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All clocks go on while a run is paused: what processes wait for each other must outlast it."""
    asked: list[dict[str, object]] = []
    monkeypatch.setattr(dist, "init_process_group", lambda *given, **named: asked.append(named))
    monkeypatch.setattr(loop, "_work", lambda rank, job: Signals())
    monkeypatch.setattr(loop, "_leave", lambda: None)
    monkeypatch.setattr(dist, "get_rank", lambda: 0)
    job = Job("gic1-tiny-s1", data, tmp_path, steps=1, workers=2)
    loop._join_workers(0, job, "file://nowhere")
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.setenv(name, "0")
    loop._join_torchrun(replace(job, workers=1, distributed=True))
    assert [named["timeout"] >= timedelta(days=2) for named in asked] == [True, True]  # type: ignore[operator]


@pytest.mark.parametrize("told", [True, False])
def test_a_worker_that_fails_is_told_of(
    told: bool, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a line where the run was to end; SIGTERM must not hide it, for the last step may not be saved."""

    class Running:
        processes = ()

        def join(self, timeout: float) -> bool:
            if told:
                os.kill(os.getpid(), signal.SIGTERM)
            raise ProcessRaisedException("\n\nTraceback ...\nOSError: disk full\n", 0, 1)

    monkeypatch.setattr(loop, "spawn", lambda *_, **__: Running())
    with pytest.raises(GicError if told else ProcessRaisedException, match="OSError: disk full") as raised:
        train(Job("gic1-tiny-s1", data, tmp_path / "out", steps=1, workers=2))
    assert not told or str(raised.value) == "ended, but a worker failed: OSError: disk full"


def test_one_worker_s_signal_ends_all_of_them_at_the_same_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wish of any process counts for all, and the slowest clock, so that none goes on alone."""

    def gather(everyone: list[torch.Tensor], mine: torch.Tensor) -> None:
        everyone[0].copy_(mine)
        everyone[1].copy_(torch.tensor([3.0, 0.5, 1.0]))

    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "all_gather", gather)
    assert agreed(5.0, 0.25, False, torch.device("cpu")) == (3.0, 0.75, True)


def test_cpu_seconds_are_those_of_all_workers_and_go_on(data: Path, tmp_path: Path) -> None:
    job = Job("gic1-tiny-s1", data, tmp_path, steps=4, stop_at=2, workers=2, log_every=1)
    first = checkpoint_meta(train(job))
    assert first["recipe"] == "gic1-tiny-s1"
    old = load_file(tmp_path / LAST)
    state = State("gic1-tiny-s1", torch.device("cpu"), 0, None)
    state.load(tmp_path / LAST)
    assert (str(state.seconds), str(state.cpu_seconds)) == (first["seconds"], first["cpu_seconds"])
    train(replace(job, stop_at=None, workers=1, resume=True))
    second = checkpoint_meta(tmp_path / LAST)
    for name in ("seconds", "cpu_seconds"):
        assert 0 < float(first[name]) < float(second[name])
    hours = [json.loads(line)["cpu_hours"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert hours == sorted(hours)
    assert hours[-1] == pytest.approx(float(second["cpu_seconds"]) / 3600, abs=1e-6)
    save_file(old, tmp_path / LAST, {"step": "2", "seconds": "1.5"})  # as checkpoints once were
    state.load(tmp_path / LAST)
    assert (state.step, state.seconds, state.cpu_seconds) == (2, 1.5, 0.0)


def test_matrices_suit_muon_and_tables_and_depthwise_kernels_do_not() -> None:
    assert all(suits(torch.empty(shape)) for shape in ((32, 48), (320, 1280), (64, 3, 3, 3)))
    assert not any(suits(torch.empty(shape)) for shape in ((9, 320), (31, 320), (320,), (320, 1, 3, 3)))


def test_workers_share_the_work_of_muon_and_get_what_one_alone_does(monkeypatch: pytest.MonkeyPatch) -> None:
    matrices = [torch.randn(shape) for shape in ((40, 64), (96, 32), (32, 32))]
    alone = orthogonalise_all(matrices)
    done: list[int] = []
    sent: dict[int, torch.Tensor] = {}
    orthogonal = muon.orthogonalise

    def counting(matrix: torch.Tensor) -> torch.Tensor:
        done.append(matrix.numel())
        return orthogonal(matrix)

    def broadcast(flat: torch.Tensor, owner: int) -> None:
        if owner == dist.get_rank():
            sent[owner] = flat.clone()
        elif owner in sent:
            flat.copy_(sent[owner])

    monkeypatch.setattr(muon, "orthogonalise", counting)
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "broadcast", broadcast)
    monkeypatch.setattr(dist, "get_rank", lambda: 0)
    orthogonalise_all(matrices)
    monkeypatch.setattr(dist, "get_rank", lambda: 1)
    shared = orthogonalise_all(matrices)
    assert done == [96 * 32, 32 * 32, 40 * 64]
    assert all(torch.equal(a, b) for a, b in zip(alone, shared, strict=True))


@pytest.mark.parametrize("int8", [False, True])
def test_saved_averages_go_on_at_their_step(data: Path, tmp_path: Path, int8: bool) -> None:
    job = Job("gic1-tiny-s1", data, tmp_path / "first", steps=6, stop_at=4)
    before = checkpoint_meta(train(job))
    (file,) = write_ema(job.out / LAST, tmp_path / "ema", 15, int8)
    for start in (file, file.parent, job.out / LAST):
        state = State("gic1-tiny-s1", torch.device("cpu"), 0, start)
        assert (state.step, str(state.seconds), str(state.cpu_seconds)) == (4, before["seconds"], before["cpu_seconds"])
        assert all(torch.allclose(v, state.ema[k], atol=2e-3) for k, v in ema_of(job.out / LAST).items())
        assert State("gic1-tiny-s2", torch.device("cpu"), 0, start).step == 0
    after = checkpoint_meta(train(replace(job, out=tmp_path / "second", start=file, stop_at=None)))
    assert after["step"] == "6"
    assert float(after["seconds"]) > float(before["seconds"])


def test_matrices_of_bytes_are_as_near_as_their_scales(tmp_path: Path) -> None:
    tensors = {
        "ema.matrix": torch.randn(40, 64) * torch.logspace(-3, 1, 40)[:, None],
        "ema.zeros": torch.zeros(32, 32),
        "ema.table": torch.randn(9, 64),
        "ema.kernel": torch.randn(64, 32, 3, 3),
    }
    save_file(tensors, tmp_path / "whole.safetensors", {"recipe": "r", "step": "1", "seconds": "2", "cpu_seconds": "3"})
    (file,) = write_ema(tmp_path / "whole.safetensors", tmp_path / "ema", 15, int8=True)
    written = load_file(file)
    assert {k for k, v in written.items() if v.dtype == torch.int8} == {"matrix", "zeros"}
    scale = written["matrix@scale"]
    assert (scale.dtype, scale.shape) == (torch.float16, (40, 1))
    before, after = ema_of(tmp_path / "whole.safetensors"), ema_of(file)
    assert before.keys() == after.keys()
    assert bool(((before["matrix"] - after["matrix"]).abs() <= 0.6 * scale.float()).all())
    assert torch.equal(after["zeros"], before["zeros"])
    assert all(torch.equal(after[k], before[k].half().float()) for k in ("table", "kernel"))
    assert checkpoint_meta(file) == checkpoint_meta(tmp_path / "whole.safetensors")


def test_files_without_averaged_weights_are_usage_errors(data: Path, tmp_path: Path) -> None:
    paths = {name: tmp_path / f"{name}.safetensors" for name in ("garbage", "nothing", "foreign", "part")}
    paths["garbage"].write_bytes(b"\xff" * 100)
    save_file({}, paths["nothing"])
    save_file({"of.another": torch.zeros(3)}, paths["foreign"])
    train(Job("gic1-tiny-s1", data, tmp_path / "run", steps=1))
    some = dict(list(ema_of(tmp_path / "run" / LAST).items())[:3])
    save_file(some, paths["part"], checkpoint_meta(tmp_path / "run" / LAST))
    (tmp_path / "empty").mkdir()
    said = ("not a checkpoint", "no averaged weights", "another architecture", "only a part", "no averaged weights")
    for path, words in zip((*paths.values(), tmp_path / "empty"), said, strict=True):
        with pytest.raises(UsageError, match=words):
            train(Job("gic1-tiny-s1", data, tmp_path / "out", start=path, steps=2))
        with pytest.raises(UsageError):
            load_ema(path, "gic1-tiny-s1")


def test_what_cannot_be_compiled_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="change from step to step"):
        compiled(RECIPES["gic1-tiny-s3"].objective, "gic1-tiny-s3", torch.device("cpu"))

    def broken(*_: object, **__: object) -> object:
        raise RuntimeError("No working C++ compiler found\nmore")

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(UsageError, match=r"--compile needs .*: No working C\+\+ compiler found$"):
        compiled(RECIPES["gic1-tiny-s1"].objective, "gic1-tiny-s1", torch.device("cpu"))


class Phased(Objective[torch.nn.Linear]):
    """Of a layer and some noise, another one from the middle of the run on."""

    def networks(self, model: str) -> torch.nn.Linear:
        return torch.nn.Linear(4, 4)

    def phase(self, progress: float) -> float:
        return float(progress >= 0.5)

    def losses(
        self, net: torch.nn.Linear, features: object, x: torch.Tensor, progress: float
    ) -> dict[str, torch.Tensor]:
        y = net(x + torch.rand_like(x))
        return {"loss": (y.abs() if progress >= 0.5 else y.square()).mean()}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of PyTorch's own compiler
def test_compiled_losses_are_the_plain_ones_and_compiled_once_for_each_phase() -> None:
    objective, counted = Phased(), counters["stats"]
    run, net, x = compiled(objective, "phased", torch.device("cpu")), objective.networks(""), torch.rand(8, 4)
    before = counted["unique_graphs"]
    for step in range(8):
        found = []
        for losses in (objective.losses, run):
            net.zero_grad()
            torch.manual_seed(step)
            loss = losses(net, None, x, step / 8)["loss"]
            loss.backward()
            found.append((loss.detach(), net.weight.grad))
        torch.testing.assert_close(found[1], found[0])
    assert counted["unique_graphs"] - before == 2


@pytest.mark.slow
def test_two_compiled_steps_are_two_plain_ones(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the compiler sees the losses of a real model; C++ of so many kernels would take minutes."""
    job = Job("gic1-tiny-s1", data, tmp_path / "plain", steps=2)
    plain = _final(job)
    compile_it = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **_: compile_it(f, dynamic=False, backend="aot_eager"))
    before = counters["stats"]["unique_graphs"]
    compiled_ones = _final(replace(job, out=tmp_path / "compiled", compile=True))
    assert counters["stats"]["unique_graphs"] > before
    change = max(float((plain[k] - v).abs().max()) for k, v in compiled_ones.items() if k.startswith("net."))
    assert change < 1e-3


def test_a_run_of_another_recipe_is_not_resumed(data: Path, tmp_path: Path) -> None:
    """S1 and S2 have the same shapes, and S2 has to prepare its networks first."""
    train(Job("gic1-tiny-s1", data, tmp_path, steps=1))
    with pytest.raises(UsageError, match="checkpoint of another recipe"):
        train(Job("gic1-tiny-s2", data, tmp_path, steps=2, resume=True))


def test_a_finished_run_does_not_go_on(data: Path, tmp_path: Path) -> None:
    done = train(Job("gic1-tiny-s1", data, tmp_path / "a", steps=2))
    with pytest.raises(UsageError, match="at step 2 of 2 already"):
        train(Job("gic1-tiny-s1", data, tmp_path / "b", steps=2, start=done))
