"""Batches on one machine: the job function, worker processes and their deaths, the manifest, going on."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from gancodec import container, workers
from gancodec.batch import job, local, manifest
from gancodec.batch.files import Job, Saving
from gancodec.batch.job import Task
from gancodec.container import header
from gancodec.errors import GicError, OutputExists, UsageError
from gancodec.options import DecodeOptions, EncodeOptions
from tests import planted
from tests.conftest import FakeCodec, Run
from tests.tiny import picture

# The split codec with a region needs no model, no PyTorch and no OpenCV: workers start at once.
LIGHT = EncodeOptions(profile="split", roi_boxes=((0, 0, 16, 16),))
LIGHT_WORDS = ("--profile", "split", "--roi-box", "0,0,16,16")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Five small pictures and a broken one."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(5):
        Image.fromarray(picture(60 + 4 * number, 80, number)).save(folder / f"{number}.png")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


def jobs_of(folder: Path, out: Path) -> list[Job]:
    return [Job(str(path), str(out / f"{path.stem}.gic")) for path in sorted(folder.iterdir())]


# --- the job function


def test_a_record_says_what_was_done(pictures: Path, tmp_path: Path) -> None:
    source, target = pictures / "0.png", tmp_path / "0.gic"
    record = job.run(Job(str(source), str(target)), Task(LIGHT)).record
    data = source.read_bytes()
    assert record["sha256"] == hashlib.sha256(data).hexdigest()
    assert record["source_bytes"] == len(data)
    assert record["bytes"] == target.stat().st_size
    assert record["bpp"] == 8 * record["bytes"] / (80 * 60)
    assert (record["width"], record["height"], record["model"], record["n"]) == (80, 60, None, None)
    assert json.loads(json.dumps(record)) == record


def test_a_failure_is_a_record_too(pictures: Path, tmp_path: Path) -> None:
    outcome = job.run(Job(str(pictures / "broken.png"), str(tmp_path / "x.gic")), Task(LIGHT))
    assert outcome.record["exit_code"] == 3
    assert outcome.record["sha256"] == hashlib.sha256(b"\x89PNG\r\n\x1a\n").hexdigest()
    assert "\n" not in outcome.record["error"]
    assert "Traceback" in outcome.trace
    assert not (tmp_path / "x.gic").exists()


def test_headers_are_not_parsed_for_the_record(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    unpack = header.unpack
    monkeypatch.setattr(header, "unpack", lambda data: (parsed.append("whole"), unpack(data))[1])
    monkeypatch.setattr(container, "read_header", lambda data: (parsed.append("start"), unpack(data))[1])
    gic = tmp_path / "0.gic"
    assert job.run(Job(str(pictures / "0.png"), str(gic)), Task(LIGHT)).record["bytes"] == gic.stat().st_size
    assert parsed == []
    record = job.run(Job(str(gic), str(tmp_path / "0.png")), Task(DecodeOptions())).record
    assert (record["width"], record["height"], record["model"]) == (80, 60, None)
    assert record["bpp"] == 8 * gic.stat().st_size / (80 * 60)
    assert parsed == ["start"]  # it may refuse the file before the rest is read
    job.run(Job(str(gic), str(tmp_path / "1.png")), Task(DecodeOptions()), gic.read_bytes())
    assert parsed == ["start"] * 2, "nobody has parsed what was read elsewhere"


def test_content_that_was_read_already_gives_the_same_file(pictures: Path, tmp_path: Path) -> None:
    source = pictures / "1.png"
    job.run(Job(str(source), str(tmp_path / "a.gic")), Task(LIGHT))
    job.run(Job("elsewhere.png", str(tmp_path / "b.gic")), Task(LIGHT), source.read_bytes())
    assert (tmp_path / "a.gic").read_bytes() == (tmp_path / "b.gic").read_bytes()


def test_devices_without_an_end_are_not_hashed(tmp_path: Path) -> None:
    record = job.run(Job("/dev/zero", str(tmp_path / "x.gic")), Task(LIGHT)).record
    assert (record["exit_code"], record["sha256"]) == (3, None)


def test_an_output_with_the_same_bytes_is_a_success_and_stays(pictures: Path, tmp_path: Path) -> None:
    asked, target = Job(str(pictures / "0.png"), str(tmp_path / "0.gic")), tmp_path / "0.gic"
    task = Task(LIGHT, Saving(repeat=True))
    job.run(asked, task)
    before = target.stat()
    assert "error" not in job.run(asked, task).record
    assert target.stat().st_mtime_ns == before.st_mtime_ns
    target.write_bytes(b"other")
    assert job.run(asked, task).record["exit_code"] == OutputExists.exit_code
    assert target.read_bytes() == b"other"


# --- worker processes


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `planted` logs."""
    path = tmp_path / "starts"
    path.touch()
    monkeypatch.setenv(planted.LOG, str(path))


def test_workers_write_what_one_process_writes(pictures: Path, tmp_path: Path) -> None:
    alone = [job.run(asked, Task(LIGHT)).record for asked in jobs_of(pictures, tmp_path / "alone")]
    shared = [o.record for o in local.run(jobs_of(pictures, tmp_path / "shared"), Task(LIGHT), 2, 1)]
    assert [r.get("exit_code", 0) for r in alone] == [0] * 5 + [3]
    assert len({r["worker"] for r in shared}) == 2
    by_name = {r["file"]: r for r in shared}
    assert len(shared) == len(by_name) == 6
    for record in alone:
        other = by_name[record["file"]]
        assert {**record, "seconds": 0, "output": ""} == {
            k: v for k, v in (other | {"seconds": 0, "output": ""}).items() if k != "worker"
        }
    for path in (tmp_path / "alone").iterdir():
        assert path.read_bytes() == (tmp_path / "shared" / path.name).read_bytes()


def test_a_dead_worker_takes_its_own_input_only(pictures: Path, tmp_path: Path, log: None) -> None:
    (pictures / "2.png").rename(pictures / "2-deadly.png")
    (pictures / "3.png").rename(pictures / "3-once.png")
    asked = jobs_of(pictures, tmp_path / "out")
    outcomes = {Path(o.record["file"]).name: o for o in local.run(asked, planted.PlantedTask(LIGHT), 2, 1)}
    assert sorted(outcomes) == sorted(path.name for path in pictures.iterdir())
    failed = {name for name, o in outcomes.items() if "error" in o.record}
    assert failed == {"2-deadly.png", "3-once.png", "broken.png"}
    text = "a worker process was killed by SIGKILL; out of memory? while it had this input in hand"
    assert outcomes["2-deadly.png"].record["error"] == text
    assert outcomes["2-deadly.png"].record["exit_code"] == 1
    assert len(planted.starts()) == 6


def test_retries_are_bounded(pictures: Path, tmp_path: Path, log: None) -> None:
    (pictures / "2.png").rename(pictures / "2-deadly.png")
    (pictures / "3.png").rename(pictures / "3-once.png")
    asked = jobs_of(pictures, tmp_path / "out")
    outcomes = [o.record for o in local.run(asked, planted.PlantedTask(LIGHT), 2, 1, retries=1)]
    assert {Path(r["file"]).name for r in outcomes if "error" in r} == {"2-deadly.png", "broken.png"}
    names = [name for name, _ in planted.starts()]
    assert {name: names.count(name) for name in names} == {
        "0.png": 1, "1.png": 1, "2-deadly.png": 2, "3-once.png": 2, "4.png": 1, "broken.png": 1,
    }  # fmt: skip


def test_where_no_worker_lives_the_batch_ends(tmp_path: Path, log: None) -> None:
    asked = [Job(f"{number}-deadly.png", str(tmp_path / f"{number}.gic")) for number in range(1000)]
    with pytest.raises(GicError, match="workers cannot run here"):
        list(local.run(asked, planted.PlantedTask(LIGHT), 2, 1))
    assert len(planted.starts()) < 20


def test_jobs_are_asked_for_as_workers_become_free(pictures: Path, tmp_path: Path) -> None:
    asked: list[Job] = []

    def endless() -> Iterator[Job]:
        while True:
            asked.append(Job(str(pictures / "0.png"), str(tmp_path / f"{len(asked)}.gic")))
            yield asked[-1]

    outcomes = local.run(endless(), Task(LIGHT), 2, 1)
    for _ in range(4):
        next(outcomes)
    outcomes.close()
    assert len(asked) <= 4 + 2


def test_named_pipes_of_this_process_reach_a_worker(pictures: Path, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, (pictures / "0.png").read_bytes())  # less than a pipe holds
    os.close(writing)
    asked = [Job(f"/dev/fd/{reading}", str(tmp_path / "0.gic")), Job(str(pictures / "1.png"), str(tmp_path / "1.gic"))]
    assert [o.record.get("error") for o in local.run(asked, Task(LIGHT), 2, 1)] == [None, None]
    os.close(reading)


@pytest.mark.parametrize(("quota", "count"), [("max 100000", None), ("150000 100000", 1), ("50000 100000", 1)])
def test_cores_are_within_the_quota_of_a_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, count: int | None
) -> None:
    path = tmp_path / "cpu.max"
    path.write_text(quota)
    monkeypatch.setattr(workers, "QUOTA", str(path))
    assert workers.cores() == (count or len(os.sched_getaffinity(0)))


def test_workers_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "cores", lambda: 8)
    assert [workers.share(n) for n in (1, 2, 3, 8, 20)] == [8, 4, 2, 1, 1]


# --- the command line with workers


def start(*words: str | Path, **environment: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "gancodec", *map(str, words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=os.environ | environment, start_new_session=True, **pipes)  # type: ignore[call-overload, no-any-return]


def test_the_model_gives_the_same_files_with_workers(pictures: Path, tmp_path: Path, tiny_folder: Path) -> None:
    for name, words in (("alone", ["--threads", "1"]), ("shared", ["--jobs", "2"])):
        with start(
            "encode", pictures, "-d", tmp_path / name, "--bpp", "0.5", *words, GANCODEC_WEIGHTS=str(tiny_folder)
        ) as child:
            _, told = child.communicate(timeout=300)
        assert child.returncode == 1
        assert b"1 of 6 failed" in told
        assert b"Traceback" not in told
    written = sorted(path.name for path in (tmp_path / "alone").iterdir())
    assert written == [f"{number}.gic" for number in range(5)]
    for name in written:
        assert (tmp_path / "alone" / name).read_bytes() == (tmp_path / "shared" / name).read_bytes()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interruption_ends_the_workers(tmp_path: Path, number: signal.Signals, code: int) -> None:
    folder, out, log = tmp_path / "in", tmp_path / "out", tmp_path / "log.jsonl"
    folder.mkdir()
    Image.fromarray(picture(900, 1200)).save(folder / "0.png")
    for other in range(1, 400):
        os.link(folder / "0.png", folder / f"{other}.png")
    with start("encode", folder, "-d", out, *LIGHT_WORDS, "--jobs", "2", "--manifest", log) as child:
        deadline = time.monotonic() + 120
        while (not log.exists() or len(lines(log)) < 3) and time.monotonic() < deadline:
            time.sleep(0.02)
        if number == signal.SIGINT:
            os.killpg(child.pid, number)  # as a terminal does it
        else:
            child.send_signal(number)
        _, told = child.communicate(timeout=60)
    assert child.returncode == code
    assert b"Traceback" not in told
    done = lines(log)
    assert 3 <= len(done) < 400
    assert all(Path(record["output"]).is_file() for record in done)
    assert [path.name for path in out.iterdir() if path.suffix != ".gic"] == []
    for process in {int(record["worker"].split(":")[1]) for record in done}:
        assert not Path(f"/proc/{process}").exists()


def test_standard_input_among_others_is_refused_with_jobs(run: Run, photo: Path) -> None:
    ran = run("encode", "-", photo, "--jobs", "2")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "--jobs" in ran.err


@pytest.mark.parametrize("words", ["--jobs -1", "--jobs many", "--manifest -"])
def test_wrong_words(run: Run, photo: Path, words: str) -> None:
    ran = run("encode", photo, *words.split())
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, b"", 1)


# --- manifest


def test_lines_reach_the_file_at_once_and_a_cut_one_stays_alone(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    good = {"file": "a", "output": "a.gic", "bytes": 3, "settings": "s", "sha256": "0"}
    with manifest.Manifest(str(path)) as log:
        log.add(good)
        assert lines(path) == [good]
    with open(path, "a") as handle:
        handle.write('{"file": "b", "outp')
    assert list(manifest.read(str(path))) == ["a"]
    with manifest.Manifest(str(path)) as log:
        log.add({**good, "file": "c"})
        log.add({**good, "file": "d"})
    assert list(manifest.read(str(path))) == ["a", "c", "d"]
    assert len(path.read_text().splitlines()) == 4


def test_the_last_line_of_an_input_counts(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    good = {"file": "a", "output": "a.gic", "bytes": 3, "settings": "s", "sha256": "0"}
    path.write_text("".join(json.dumps(r) + "\n" for r in (good, {**good, "bytes": 4})))
    assert manifest.read(str(path))["a"].bytes == 4
    with open(path, "a") as handle:
        handle.write(json.dumps({"file": "a", "output": "a.gic", "error": "no", "exit_code": 1}) + "\n")
    assert manifest.read(str(path)) == {}


def test_other_files_are_not_appended_to(run: Run, photo: Path, fake_codec: FakeCodec) -> None:
    before = photo.read_bytes()
    ran = run("encode", photo, "--manifest", photo)
    assert (ran.code, ran.err) == (2, f"gancodec: {photo} is there and is no manifest\n")
    assert photo.read_bytes() == before
    assert fake_codec.encoded == []


def test_settings_are_what_decides_an_output(tmp_path: Path) -> None:
    def key(options: EncodeOptions | DecodeOptions, kind: str = "png") -> str:
        return manifest.settings_key(options, kind)

    mask = tmp_path / "mask.png"
    mask.write_bytes(b"one")
    asked = EncodeOptions(bpp=0.1, roi=str(mask))
    before = key(asked)
    assert before == key(EncodeOptions(bpp=0.1, roi=str(mask), device="cpu", strict=True))
    assert len({before, key(EncodeOptions(bpp=0.1)), key(EncodeOptions(bpp=0.2, roi=str(mask)))}) == 3
    mask.write_bytes(b"two")
    assert key(asked) != before
    assert len({key(DecodeOptions()), key(DecodeOptions(realism=0.5)), key(DecodeOptions(), "webp")}) == 3
    assert key(DecodeOptions(partial=True)) == key(DecodeOptions())


def test_encode_keeps_a_manifest(run: Run, pictures: Path, tmp_path: Path, fake_codec: FakeCodec) -> None:
    log = tmp_path / "deep" / "m.jsonl"
    ran = run("encode", pictures, "-d", tmp_path / "out", "--manifest", log)
    assert ran.code == 1
    found = {Path(record["file"]).name: record for record in lines(log)}
    assert len(found) == len(lines(log)) == 6
    assert found["broken.png"]["exit_code"] == 3
    record = found["0.png"]
    assert set(record) >= {
        "file", "output", "sha256", "source_bytes", "bytes", "width", "height", "bpp", "n", "seconds", "version",
        "model", "settings",
    }  # fmt: skip
    assert ran.err.splitlines()[-2].startswith("5 done, 0 skipped, 1 failed, ")
    quiet = run("encode", pictures, "-d", tmp_path / "out", "-f", "-q")
    assert "skipped" not in quiet.err


# --- batch: going on


def batch(run: Run, pictures: Path, out: Path, *words: str) -> tuple[int, str]:
    """Exit code, and what became of the inputs in their order: d(one), s(kipped) or the exit code."""
    ran = run("batch", pictures, "-d", out, "--jobs", "1", "--json", "-q", *words)
    records = {r["file"]: r for r in map(json.loads, ran.out.splitlines())}
    assert len(records) == len(ran.out.splitlines())
    fates = ("s" if r.get("skipped") else str(r.get("exit_code", "d")) for _, r in sorted(records.items()))
    return ran.code, "".join(fates)


def test_batch_goes_on_where_it_stopped(run: Run, pictures: Path, tmp_path: Path, fake_codec: FakeCodec) -> None:
    out = tmp_path / "out"
    assert batch(run, pictures, out, "--n", "1") == (1, "ddddd3")
    assert len(fake_codec.encoded) == 5
    assert batch(run, pictures, out, "--n", "1") == (1, "sssss3")
    Image.fromarray(picture(60, 80, 9)).save(pictures / "broken.png")
    (out / "1.gic").unlink()
    (out / "2.gic").write_bytes(b"cut")
    Image.fromarray(picture(60, 81, 9)).save(pictures / "3.png")
    assert batch(run, pictures, out, "--n", "1") == (1, "sd66sd")  # -f would replace what is not ours any more
    assert batch(run, pictures, out, "--n", "1", "-f") == (0, "dddddd")
    assert batch(run, pictures, out, "--n", "1") == (0, "ssssss")


def test_batch_with_other_settings_touches_nothing(
    run: Run, pictures: Path, tmp_path: Path, fake_codec: FakeCodec
) -> None:
    out = tmp_path / "out"
    batch(run, pictures, out, "--n", "1")
    assert batch(run, pictures, out, "--n", "2") == (1, "666663")
    assert len(fake_codec.encoded) == 5  # refused before any work


def test_batch_knows_its_own_output_without_a_line(
    run: Run, pictures: Path, tmp_path: Path, fake_codec: FakeCodec
) -> None:
    out = tmp_path / "out"
    batch(run, pictures, out)
    log = out / "manifest.jsonl"
    text = log.read_text(encoding="utf-8")
    log.write_text("".join(text.splitlines(keepends=True)[:2]) + text.splitlines()[2][:40], encoding="utf-8")
    before = (out / "4.gic").stat().st_mtime_ns
    assert batch(run, pictures, out) == (1, "ssddd3")
    assert (out / "4.gic").stat().st_mtime_ns == before
    assert batch(run, pictures, out) == (1, "sssss3")


def test_batch_passes_every_option_on(run: Run, photo: Path, tmp_path: Path, fake_codec: FakeCodec) -> None:
    arguments = "--size 2kB --strict --model m --entropy huffman --device cpu --strip all --max-pixels 5000 --jobs 1"
    where = "--saliency none --saliency-strength 0.5 --roi mask.png --roi-box 0,1,20,30 --roi-box 4,5,6,7:0.25"
    assert (
        run("batch", photo, "-d", tmp_path / "out", *arguments.split(), *where.split(), "--protect", "text").code == 0
    )
    boxes = ((0, 1, 20, 30, 1.0), (4, 5, 6, 7, 0.25))
    chosen = EncodeOptions(
        size=2000, strict=True, model="m", entropy="huffman", device="cpu", strip=("exif", "xmp"), max_pixels=5000,
        saliency="none", saliency_strength=0.5, roi="mask.png", roi_boxes=boxes, protect=("text",),
    )  # fmt: skip
    assert fake_codec.encoded == [chosen]


REGIONS = ["--roi-box 0,0,16,16 --roi-box 20,20,30,30:0.6", "--roi {mask}", "--roi {mask} --inner lossless --factor 8"]


@pytest.mark.parametrize("words", [f"--profile split {words}" for words in REGIONS])
def test_batch_writes_what_encode_writes_and_goes_on(run: Run, pictures: Path, tmp_path: Path, words: str) -> None:
    for path in pictures.glob("?.png"):
        Image.fromarray(picture(64, 64, int(path.stem))).save(path)
    mask = tmp_path / "mask.png"
    Image.linear_gradient("L").save(mask)
    asked = words.format(mask=mask).split()
    assert run("encode", pictures, "-d", tmp_path / "alone", *asked).code == 1
    out = tmp_path / "out"
    assert batch(run, pictures, out, *asked) == (1, "ddddd3")
    for path in (tmp_path / "alone").iterdir():
        assert path.read_bytes() == (out / path.name).read_bytes()
    records = [record for record in lines(out / "manifest.jsonl") if "error" not in record]
    assert {(record["profile"], record["model"], record["n"]) for record in records} == {("split", None, None)}
    (out / "1.gic").unlink()
    assert batch(run, pictures, out, *asked) == (1, "sdsss3")
    Image.linear_gradient("L").rotate(90).save(mask)  # other settings, where it is asked for
    assert batch(run, pictures, out, *asked) == (1, "666663" if "mask" in words else "sssss3")
    assert batch(run, pictures, out, "--profile", "split", "--roi-box", "0,0,9,9") == (1, "666663")


def test_batch_writes_what_encode_writes_with_a_model(
    run: Run, pictures: Path, tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANCODEC_WEIGHTS", str(tiny_folder))
    words = ("--bpp", "0.5", "--roi-box", "0,0,40,40", "--entropy", "huffman")
    run("encode", pictures / "0.png", "-d", tmp_path / "alone", *words)
    assert batch(run, pictures / "0.png", tmp_path / "out", *words) == (0, "d")
    assert (tmp_path / "alone" / "0.gic").read_bytes() == (tmp_path / "out" / "0.gic").read_bytes()
    (record,) = lines(tmp_path / "out" / "manifest.jsonl")
    assert (record["model"], record["profile"]) == ("gic1-tiny", "tunable")
    (tmp_path / "out" / "0.gic").rename(tmp_path / "0.gic")
    assert batch(run, tmp_path / "0.gic", tmp_path / "back", "--decode") == (0, "d")
    (record,) = lines(tmp_path / "back" / "manifest.jsonl")
    assert record["model"] == "gic1-tiny"


def test_batch_gives_outputs_the_times_of_inputs(run: Run, photo: Path, tmp_path: Path, fake_codec: FakeCodec) -> None:
    os.utime(photo, ns=(10**18, 10**18))
    assert batch(run, photo, tmp_path / "out", "--preserve-times") == (0, "d")
    assert (tmp_path / "out" / "photo.gic").stat().st_mtime_ns == 10**18


def test_batch_decodes(run: Run, pictures: Path, tmp_path: Path, fake_codec: FakeCodec) -> None:
    batch(run, pictures, tmp_path / "coded")
    words = ("--decode", "--format", "webp")
    assert batch(run, tmp_path / "coded", tmp_path / "back", *words) == (0, "ddddd")
    assert batch(run, tmp_path / "coded", tmp_path / "back", *words) == (0, "sssss")
    assert sorted(p.suffix for p in (tmp_path / "back").iterdir()) == [".jsonl", *[".webp"] * 5]


@pytest.mark.parametrize(
    "words",
    [
        "--decode --bpp 1",
        "--realism 1",
        "--gpus 1",
        "--address somewhere:1",
        "--engine ray --address somewhere:1",
        "--bpp 1 --n 1",
        "--n 99",
        "--realism 0",
        "--format png",
        "--decode --n 0",
        "--decode --roi-box 0,0,9,9",
        "--decode --roi mask.png",
        "--decode --profile split",
        "--decode --factor 8",
        "--decode --saliency-strength 2",
        "--profile split --n 1",
        "--factor 8",
        "--roi-box 0,0,9",
        "--saliency-strength 2",
    ],
)
def test_options_that_do_not_go_together(run: Run, photo: Path, tmp_path: Path, words: str) -> None:
    ran = run("batch", photo, "-d", tmp_path / "out", *words.split())
    assert (ran.code, ran.err.count("\n")) == (2, 1), ran.err
    assert not (tmp_path / "out").exists()


def test_a_manifest_that_cannot_be_written_is_one_line(run: Run, photo: Path, fake_codec: FakeCodec) -> None:
    ran = run("batch", photo, "-d", photo.parent / "out", "--manifest", photo / "m.jsonl")
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert "cannot be" in ran.err
    assert fake_codec.encoded == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_pipes_and_devices_in_folders_are_passed_over(jobs: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a", "b"):
        Image.fromarray(picture(40, 50)).save(folder / f"{name}.png")
    os.mkfifo(folder / "pipe.png")
    (folder / "zero.png").symlink_to("/dev/zero")
    command = [sys.executable, "-m", "gancodec", "encode", str(folder), "-d", str(tmp_path / "out"), "--jobs", jobs]
    ran = subprocess.run([*command, "--profile", "split", "--roi-box", "0,0,9,9"], capture_output=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.gic", "b.gic"]


def test_a_missed_size_is_not_done_when_strict(tmp_path: Path) -> None:
    line = {
        "file": "a.png",
        "output": str(tmp_path / "a.gic"),
        "bytes": 4,
        "settings": "s",
        "sha256": "x",
        "hit": False,
    }
    (tmp_path / "log").write_text(json.dumps(line) + "\n")
    (tmp_path / "a.gic").write_bytes(b"four")
    done, asked = manifest.read(str(tmp_path / "log"))["a.png"], Job("a.png", line["output"])
    assert manifest.resumed(asked, done, "s", Saving()).known == "x"
    with pytest.raises(OutputExists, match="missed the size"):
        manifest.resumed(asked, done, "s", Saving(), strict=True)


def test_a_manifest_is_a_file(tmp_path: Path) -> None:
    read, write = os.pipe()
    with pytest.raises(UsageError, match="name a file"):
        manifest.Manifest(f"/dev/fd/{write}")
    os.close(read)
    os.close(write)


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel, and glibc")
def test_trimming_takes_memory_back() -> None:
    code = (
        "from gancodec.batch import job\nfrom gancodec.batch.job import trim_memory\n"
        "def resident():\n    return int(open('/proc/self/statm').read().split()[1]) * 4096\n"
        "kept = []\nparts = [bytearray(50_000) for _ in range(4000)]\nkept.append(bytearray(50_000))\ndel parts\n"
        "before = resident()\ntrim_memory()\nprint(before - resident())\n"
        "job.ctypes = None  # nothing has grown since: not tried again\ntrim_memory()"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert int(ran.stdout) > 50_000_000
