"""`gancodec batch --engine ray` on a real local cluster of two workers, one of which is killed on the way."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from gancodec.errors import MissingExtra
from tests import planted
from tests.conftest import Run
from tests.tiny import picture

ROOT = Path(__file__).parent.parent
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
PICTURES = 36


def lines(path: Path) -> list[dict[str, object]]:
    """All whole lines."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.split("\n")[:-1]]


def test_without_ray_the_message_says_what_to_install(run: Run, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    ran = run("batch", photo, "-d", photo.parent / "out", "--engine", "ray")
    assert (ran.code, ran.err.count("\n")) == (MissingExtra.exit_code, 1)
    assert "pip install 'gancodec[ray]'" in ran.err


@needs_ray
@pytest.mark.slow
def test_a_killed_worker_loses_nothing_and_doubles_nothing(
    tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gancodec.batch.ray import TASK

    monkeypatch.setenv("GANCODEC_WEIGHTS", str(tiny_folder))
    folder, out, log = tmp_path / "in", tmp_path / "out", tmp_path / "out" / "manifest.jsonl"
    (folder / "deep").mkdir(parents=True)
    for number in range(PICTURES - 2):
        Image.fromarray(picture(256, 320, number)).save(folder / ("deep" if number % 2 else ".") / f"{number}.png")
    (folder / "broken.png").write_bytes(b"\x89PNG")
    Image.fromarray(picture(40, 40)).save(folder / "deadly.png")  # kills every worker that opens it
    starts = tmp_path / "starts"
    starts.touch()
    monkeypatch.setenv(planted.LOG, str(starts))
    words = ["batch", folder, "-d", out, "--bpp", "0.5"]
    ray = ["--engine", "ray", "--jobs", "2", "--threads", "1", "--retries", "1"]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.planted", *map(str, words + ray)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        victim = _kill_one(log, child)
        _, told = child.communicate(timeout=300)
    assert child.returncode == 1, told
    assert b"Traceback" not in told
    records = lines(log)
    assert Counter(r["file"] for r in records).most_common(1)[0][1] == 1  # nothing twice …
    assert len(records) == PICTURES  # … and nothing lost
    failed = {Path(str(r["file"])).name: r["exit_code"] for r in records if "error" in r}
    assert failed == {"broken.png": 3, "deadly.png": 1}
    assert {int(str(r["worker"]).split(":")[1]) for r in records if "worker" in r} > {victim}
    _check_starts(TASK)
    for record in records:
        if "error" not in record:
            _same_as_here(record)
    others = [path.name for path in out.rglob("*") if path.is_file() and path.suffix != ".gic"]
    hidden = [name for name in others if name.startswith(".gancodec-")]
    assert sorted(set(others) - set(hidden)) == ["manifest.jsonl"]
    assert len(hidden) <= 1  # SIGKILL in the middle of writing: docs/scale.md says so


def _kill_one(log: Path, child: subprocess.Popen[bytes]) -> int:
    """Kill the worker of the newest line, as soon as there are a few; its process number."""
    deadline = time.monotonic() + 240
    while True:
        workers = [int(str(r["worker"]).split(":")[1]) for r in lines(log) if "worker" in r]
        with contextlib.suppress(ProcessLookupError):  # the deadly input may have killed that one just now
            if len(workers) >= 6:
                os.kill(workers[-1], signal.SIGKILL)
                return workers[-1]
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _check_starts(task: int) -> None:
    """Every input was begun; again only those that were in hand when a worker died."""
    begun = Counter(name for name, _ in planted.starts())
    assert set(begun) == {f"{number}.png" for number in range(PICTURES - 2)} | {"broken.png", "deadly.png"}
    tries = 2  # one retry
    assert 2 <= begun.pop("deadly.png") <= 2 * tries  # with its neighbours, then alone
    # One task of the killed worker's, and the neighbours of the deadly input: begun in each of its tries, and alone.
    again = sum(count - 1 for count in begun.values())
    assert again <= task + (task - 1) * tries


def _same_as_here(record: dict[str, object]) -> None:
    import gancodec

    assert Path(str(record["output"])).read_bytes() == gancodec.encode(str(record["file"]), bpp=0.5)
