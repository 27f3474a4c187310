"""`gancodec eval` from end to end, with the tiny model: real files, resumed runs, broken pictures."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gancodec import metrics, weights
from gancodec.evaluate import codecs, job, run
from gancodec.evaluate.rows import Log
from tests.conftest import Ran, Run, closed_folder
from tests.tiny import picture
from tools import publish_results

BACKBONES = Path(__file__).parents[2] / "shared" / "backbones"
HEIGHT, WIDTH = 176, 192
RATES = "0.1,0.2"

Eval = Callable[..., Ran]


def save(folder: Path, *names: str) -> list[str]:
    folder.mkdir(exist_ok=True)
    for seed, name in enumerate(names):
        Image.fromarray(picture(HEIGHT, WIDTH, seed)).save(folder / name)
    return [str(folder / name) for name in names]


@pytest.fixture
def go(run: Run, monkeypatch: pytest.MonkeyPatch, tiny_folder: Path, tmp_path: Path) -> Eval:
    """`gancodec eval ... --out <tmp>/out`, with the tiny model."""
    monkeypatch.setenv(weights.ENVIRONMENT, str(tiny_folder))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "nothing"))
    codecs.get.cache_clear()
    return lambda *arguments, speed=False: run(
        "eval", *arguments, "--out", tmp_path / "out", "--speed" if speed else "--no-speed"
    )


def table(folder: Path) -> list[dict[str, str]]:
    with open(folder / "results.csv", newline="") as handle:
        return list(csv.DictReader(handle))


def test_files_are_real_and_figures_are_theirs(go: Eval, tmp_path: Path) -> None:
    paths = save(tmp_path / "in", "a.png", "b.png")
    (tmp_path / "in" / "broken.png").write_bytes(b"no picture")
    ran = go(tmp_path / "in", "--codecs", "gic,jp2", "--bpp", RATES, "--show", "1", speed=True)
    assert ran.code == 1
    assert "broken: not a picture" in ran.err
    assert "Traceback" not in ran.err
    out = tmp_path / "out"
    rows = table(out)
    assert [r["picture"] for r in rows if r["reached"] == "error"] == ["broken"], "one row for a broken picture"
    good = [r for r in rows if r["reached"] != "error"]
    assert len(good) == 2 * 2 * 2
    for row in good:
        data = (out / row["file"]).read_bytes()
        assert int(row["bytes"]) == len(data)
        assert float(row["bpp"]) == 8 * len(data) / (HEIGHT * WIDTH)
        off = abs(float(row["bpp"]) / float(row["asked"]) - 1)
        assert row["reached"] == ("yes" if off <= 0.02 else "nearest")
        assert off < 0.06, "small files grow by words and blocks"
        with Image.open(paths["ab".index(row["picture"])]) as image:
            original = np.asarray(image)
        decoded = codecs.get("gic" if row["codec"] == "gic1-tiny" else row["codec"]).decode(data)
        assert float(row["psnr"]) == pytest.approx(metrics.psnr(original, decoded), abs=1e-9)
        assert float(row["ratio"]) == pytest.approx(24 / float(row["bpp"]))
        assert (row["hq-ratio"] == "") == (row["codec"] != "gic1-tiny")
        assert float(row["encode_s"]) > 0
        assert float(row["decode_s"]) > 0
    record = json.loads((out / "results.json").read_text())
    assert len(record["means"]) == 2 * 2
    assert record["failures"][0]["picture"] == "broken"
    assert record["facts"]["gic1-tiny"].startswith("id ")
    assert set(record["speed"]) == {"gic1-tiny", "jp2"}
    assert record["speed"]["gic1-tiny"]["cold_encode_s"] > record["speed"]["gic1-tiny"]["encode_s"] > 0
    assert 20 < record["speed"]["jp2"]["encode_mib"] < record["speed"]["gic1-tiny"]["encode_mib"] < 2000
    theirs = json.loads((out / "compressai" / "jp2.json").read_text())
    assert theirs["results"].keys() >= {"bpp", "psnr-rgb", "ms-ssim-rgb", "encoding_time", "decoding_time"}
    assert len(theirs["results"]["bpp"]) == 2
    assert (out / "plots" / "rd-psnr.svg").read_text().startswith("<svg")
    page = (out / "report.html").read_text()
    assert page.count("data:image/webp") == 2 + 2 * 2 + 2 * 2, "original, saliency, decoded, levels and bits"
    assert "lpips-alex: left out, no alexnet-owt-7be5be79.pth in the folder of --backbones" in page


def test_folders_and_names_that_are_no_plain_ones(go: Eval, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "in", "a|<b>\x1b[31m.png")
    (tmp_path / "in" / "@b\n|`c`.png").write_bytes(b"no picture")
    (tmp_path / "in" / "closed").mkdir()
    closed_folder(monkeypatch, "closed")
    ran = go(tmp_path / "in", "--codecs", "jpeg", "--bpp", "1", "--show", "1")
    assert ran.code == 1
    closed = f"{tmp_path}/in/closed"
    assert f"gancodec: {closed}: folder cannot be read: Permission denied\n" in ran.err
    assert "gancodec: @b\\n|`c`: not a picture" in ran.err
    assert [row["picture"] for row in table(tmp_path / "out") if row["error"]] == ["@b\n|`c`", closed]
    page, text = ((tmp_path / "out" / name).read_text() for name in ("report.html", "report.md"))
    assert "\x1b" not in page + text
    assert "<b>" not in page.partition("<main>")[2].partition('id="samples"')[0]
    failures = [line for line in text.splitlines() if line.startswith("| &#64;")]
    assert len(failures) == 1
    assert not re.search(r"[@`]", failures[0])


def test_what_is_done_is_not_done_again(go: Eval, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "in", "a.png", "b.png")
    words = (tmp_path / "in", "--codecs", "gic,jp2", "--show", "0")
    assert go(*words, "--bpp", "0.1").code == 0
    before = (tmp_path / "out" / "results.csv").read_bytes()
    asked: list[int] = []
    real = job.run
    monkeypatch.setattr(run, "run", lambda plan, task, wanted: asked.append(len(wanted)) or real(plan, task, wanted))
    assert go(*words, "--bpp", "0.1").code == 0
    assert asked == []
    assert (tmp_path / "out" / "results.csv").read_bytes() == before
    assert go(*words, "--bpp", RATES).code == 0
    assert asked == [1] * 4, "one new rate for two pictures and two codecs"
    (tmp_path / "out" / "files" / "jp2" / "0.1-bpp" / "a.j2k").unlink()
    asked.clear()
    assert go(*words, "--bpp", RATES).code == 0
    assert asked == [1]
    Image.fromarray(picture(HEIGHT, WIDTH, 9)).save(tmp_path / "in" / "b.png")
    asked.clear()
    assert go(*words, "--bpp", RATES).code == 0
    assert asked == [2, 2], "another picture under an old name"


def test_interrupted_and_resumed(tmp_path: Path, tiny_folder: Path) -> None:
    save(tmp_path / "in", *(f"{i}.png" for i in range(8)))
    log = tmp_path / "out" / "rows.jsonl"
    command = [sys.executable, "-m", "gancodec", "eval", tmp_path / "in", "--codecs", "gic,jp2", "--bpp", RATES]
    command += ["--out", tmp_path / "out", "--show", "0", "--jobs", "2", "--no-speed"]
    environment = {**os.environ, weights.ENVIRONMENT: str(tiny_folder)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (log.is_file() and log.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.decode().splitlines()[-1] == "gancodec: interrupted"
    assert b"Traceback" not in err
    kept = len(Log(log).records)
    assert 0 < kept < 8 * 2 * 2
    done = subprocess.run(command, env=environment, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    lines = log.read_text().splitlines()
    assert len(lines) == len(Log(log).records) == 8 * 2 * 2, "no row was measured twice"


def test_processes_change_nothing(go: Eval, tmp_path: Path) -> None:
    save(tmp_path / "in", "a.png", "b.png")
    words = (tmp_path / "in", "--codecs", "gic,jp2", "--bpp", "0.15", "--show", "0")
    assert go(*words).code == 0
    first = table(tmp_path / "out")
    (tmp_path / "out" / "rows.jsonl").unlink()
    assert go(*words, "--jobs", "2").code == 0
    for one, two in zip(first, table(tmp_path / "out"), strict=True):
        assert {k: v for k, v in one.items() if not k.endswith("_s")} == {
            k: v for k, v in two.items() if not k.endswith("_s")
        }


def test_out_of_reach_has_its_lowest_rate_and_no_figures(go: Eval, tmp_path: Path) -> None:
    save(tmp_path / "in", "a.png")
    ran = go(tmp_path / "in", "--codecs", "jpeg", "--bpp", "0.01,1", "--show", "1")
    assert ran.code == 0
    low, fine = table(tmp_path / "out")
    assert (low["reached"], low["psnr"], low["file"]) == ("no", "", "")
    smallest = codecs.get("jpeg").open(picture(HEIGHT, WIDTH, 0)).at_setting(1).data
    assert float(low["bpp"]) == 8 * len(smallest) / (HEIGHT * WIDTH)
    assert fine["reached"] == "yes"
    assert f"out of reach of 1: their lowest mean {float(low['bpp']):.4f} bpp".encode() in ran.out
    assert "out of reach: the nearest file has" in (tmp_path / "out" / "report.html").read_text()


def test_sweep_uses_one_setting_for_all(go: Eval, tmp_path: Path) -> None:
    save(tmp_path / "in", "a.png", "b.png")
    ran = go(tmp_path / "in", "--codecs", "jpeg,webp", "--bpp", "", "--sweep", "--against", "jpeg", "--show", "0")
    assert ran.code == 0
    record = json.loads((tmp_path / "out" / "results.json").read_text())
    used = {float(r["setting"]) for r in table(tmp_path / "out") if r["codec"] == "jpeg"}
    assert used == set(codecs.get("jpeg").settings)
    (delta,) = [d for d in record["bd_rate"] if d["metric"] == "psnr"]
    assert (delta["anchor"], delta["test"]) == ("jpeg", "webp")
    assert -80 < delta["percent"] < 20


def test_published_page_and_inserted_table(go: Eval, tmp_path: Path) -> None:
    save(tmp_path / "in", "a.png")
    target = tmp_path / "targets.json"
    bar = {"codec": "jpeg", "metric": "psnr", "label": "the bar", "values": [20.0]}
    target.write_text(json.dumps({"rates": [0.4], "bars": [bar]}))
    anchor = tmp_path / "anchor.csv"
    anchor.write_text("codec,bpp,psnr\n" + "".join(f"published,{0.5 * i},{20 + 2 * i}\n" for i in range(1, 9)))
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- gancodec eval: targets -->\nold\n<!-- end of gancodec eval: targets -->\nafter\n")
    words = ("--bpp", "0.8,1,1.2", "--codecs", "jpeg", "--sweep", "--show", "0")
    more = ("--anchors", anchor, "--overlay", "publ*", "--title", "A few")
    published = ("--targets", target, "--insert", page, "--publish", tmp_path / "docs" / "few")
    ran = go(tmp_path / "in", *words, *more)
    assert ran.code == 0, ran.err
    assert publish_results.main([str(word) for word in (tmp_path / "out", *published)]) == 0
    lines = page.read_text().splitlines()
    assert lines[0] == "before"
    assert lines[-1] == "after"
    assert "old" not in lines
    assert any(line.startswith("| PSNR dB: the bar | 20.00 (+") for line in lines)
    text = (tmp_path / "docs" / "few.md").read_text()
    assert text.startswith("# A few\n")
    assert "few/rd-psnr.svg" in text
    assert "| PSNR dB: the bar | 20.00 (+" in text
    assert json.loads((tmp_path / "docs" / "few.json").read_text())["title"] == "A few"
    assert "published (anchor)" in (tmp_path / "docs" / "few" / "rd-psnr.svg").read_text()
    assert not list((tmp_path / "docs").rglob("*.png")), "figures only"
    again = page.read_bytes()
    assert go(tmp_path / "in", *words, *more).code == 0
    assert publish_results.main([str(word) for word in (tmp_path / "out", *published)]) == 0
    assert page.read_bytes() == again


def test_the_faithful_end_is_all_that_some_models_have(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the default's other name as under its own; peers have nothing to choose."""
    monkeypatch.setenv(weights.ENVIRONMENT, str(tiny_folder))
    for name in ("gic", "gic1-tiny", "jpeg"):
        assert codecs.realisms(name, (0.0, 1.0)) == (0.0,)
    assert codecs.realisms("gic", (1.0,)) == (1.0,), "refused later, by name"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--codecs", "nonsense"], 2, "codec nonsense: choose from gic, gic1-tiny, jpeg"),
        (["--bpp", "0"], 2, "every rate must be above 0, and at most 100"),
        (["--bpp", "x"], 2, "'x' is not a number"),
        (["--bpp", ""], 2, "nothing to measure"),
        (["--beta", "2"], 2, "--beta: numbers from 0 to 1"),
        (["--codecs", "gic", "--beta", "1"], 2, "realism 1: gic1-tiny has 0"),
        (["--backbones", "missing"], 2, "--backbones missing: no such folder"),
        (["--saliency", "x"], 2, "--saliency x: choose spectral, fine, combined"),
        (["--insert", "x.md"], 2, "--insert needs --targets"),
        (["--codecs", "jpeg", "--against", "zzz"], 2, "--against 'zzz': no such curve"),
        (["--codecs", "jpeg", "--anchors", "missing.csv"], 2, "--anchors missing.csv: not a file of curves"),
    ],
)
def test_refusals(
    go: Eval,
    tmp_path: Path,
    capsysbinary: pytest.CaptureFixture[bytes],
    words: list[str],
    code: int,
    message: str,
) -> None:
    (path,) = save(tmp_path / "in", "a.png")
    if "--insert" in words:  # of the tool that publishes what was measured
        found = publish_results.main([str(tmp_path / "out"), *words])
        out, err = capsysbinary.readouterr()
        ran = Ran(found, out, err.decode())
    else:
        ran = go(path, *words)
    assert (ran.code, ran.out) == (code, b"")
    assert message in ran.err
    assert len([line for line in ran.err.splitlines() if line.startswith("gancodec:")]) == 1


def test_published_results_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in ("report.md", "results.json", "file"):
        (out / name).write_text("[]")
    (tmp_path / "k.md").mkdir()
    for prefix in (out / "file" / "x", tmp_path / "k"):
        assert publish_results.main([str(out), "--publish", str(prefix)]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert "cannot be written" in line
    (out / "report.md").write_bytes(b"\xff\xfe\xff")
    assert publish_results.main([str(out), "--publish", str(tmp_path / "p")]) == 2
    assert not (tmp_path / "p").exists()


@pytest.mark.skipif(not BACKBONES.is_dir(), reason="feature networks are not in ../shared/backbones")
def test_perceptual_columns_name_their_network(go: Eval, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(picture(256, 256)).save(folder / "a.png")
    Image.fromarray(picture(300, 520, 3)).save(folder / "b.png")
    assert go(folder, "--codecs", "jpeg", "--bpp", "0.5,2", "--backbones", BACKBONES, "--show", "0").code == 0
    record = json.loads((tmp_path / "out" / "results.json").read_text())
    low, high = (m["figures"] for m in record["means"])
    assert set(low) >= {"lpips-squeeze", "kid256-mobilenetv2", "fid256-mobilenetv2", "kid64-mobilenetv2"}
    assert low["lpips-squeeze"] > high["lpips-squeeze"] > 0
    assert low["fid64-mobilenetv2"] > high["fid64-mobilenetv2"] > 0
    assert "lpips_squeeze.safetensors" in record["facts"]["lpips-squeeze"]
    assert "mobilenetv2" in record["facts"]["FID and KID"]
    assert not any("inception" in key for key in low)


def workers(parent: int) -> list[int]:
    """Worker processes of a parent, by what the system tells."""
    shown = subprocess.run(
        ["ps", "-e", "-ww", "-o", "pid=", "-o", "ppid=", "-o", "args="], capture_output=True, text=True, check=True
    ).stdout
    lines = [line.split(None, 2) for line in shown.splitlines()]
    return [int(pid) for pid, ppid, args in lines if int(ppid) == parent and "spawn_main" in args]


@pytest.mark.skipif(shutil.which("ps") is None, reason="finds worker processes by ps, which is not here")
def test_a_killed_worker_is_said_and_the_run_can_go_on(tmp_path: Path, tiny_folder: Path) -> None:
    save(tmp_path / "in", "a.png", "b.png")
    command = [sys.executable, "-m", "gancodec", "eval", tmp_path / "in", "--codecs", "gic,jp2", "--bpp", RATES]
    command += ["--out", tmp_path / "out", "--show", "0", "--jobs", "2", "--no-speed"]
    environment = {**os.environ, weights.ENVIRONMENT: str(tiny_folder)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not (found := workers(process.pid)) and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(found[0], signal.SIGKILL)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.decode().splitlines()[-1].startswith("gancodec: a worker process died (out of memory?)")
    assert b"Traceback" not in err
    done = subprocess.run(command, env=environment, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert len(Log(tmp_path / "out" / "rows.jsonl").rows()) == 2 * 2 * 2


def test_damaged_logs_and_files_are_measured_again(go: Eval, tmp_path: Path) -> None:
    save(tmp_path / "in", "a.png")
    words = (tmp_path / "in", "--codecs", "jp2", "--bpp", RATES, "--show", "0")
    assert go(*words).code == 0
    before = [(r["bytes"], r["psnr"]) for r in table(tmp_path / "out")]
    log = tmp_path / "out" / "rows.jsonl"
    first, second = log.read_text().splitlines()
    log.write_text(f'junk\n[1]\n{{"key": 5}}\n{first[:-9]}\n' + json.dumps(json.loads(second) | {"figures": 3}))
    (tmp_path / "out" / "speed.jsonl").write_text('{"key": "x"}\n7\n')
    (tmp_path / "out" / "files" / "jp2" / "0.2-bpp" / "a.j2k").write_bytes(b"cut")
    assert go(*words).code == 0
    assert [(r["bytes"], r["psnr"]) for r in table(tmp_path / "out")] == before


def test_results_that_cannot_be_written(go: Eval, run: Run, tmp_path: Path) -> None:
    (path,) = save(tmp_path / "in", "a.png")
    (tmp_path / "file").write_text("")
    ran = run("eval", path, "--codecs", "jpeg", "--out", tmp_path / "file")
    assert ran.code == 1
    assert ran.err.splitlines() == [f"gancodec: {tmp_path / 'file'} cannot be written: File exists"]


def test_networks_that_are_none_are_refused_before_the_work(go: Eval, tmp_path: Path) -> None:
    (path,) = save(tmp_path / "in", "a.png")
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "lpips_squeeze.safetensors").write_text("text")
    ran = go(path, "--codecs", "jpeg", "--backbones", tmp_path / "nets")
    assert ran.code == 1
    assert ran.err.startswith("gancodec: lpips_squeeze.safetensors: not a file of tensors")
    assert not (tmp_path / "out").exists()
