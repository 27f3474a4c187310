"""The worker pool on its own: results, errors, deaths, and workers whose parent is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gancodec.errors import MissingExtra
from gancodec.workers import THREAD_VARIABLES, Dead, Pool


def square(number: int) -> tuple[int, int]:
    return number**2, os.getpid()


def threads() -> list[str | None]:
    return [os.environ.get(name) for name in THREAD_VARIABLES]


def lacking(what: str) -> None:
    raise MissingExtra(what, "eval")


def die(mark: Path | None) -> str:
    """Kill the process, but for the second time that it is tried with a mark."""
    if mark is None or not mark.exists():
        if mark is not None:
            mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def wait_long(mark: Path) -> None:
    """Say that the wait has begun, and how it ends."""
    try:
        mark.write_text(str(os.getpid()))
        time.sleep(600)
    finally:
        mark.unlink()


def test_workers_stay_from_one_work_to_the_next() -> None:
    with Pool(2, 3) as pool:
        found = dict(pool.run(square, [(number,) for number in range(7)]))
        assert {item: result[0] for item, result in found.items() if not isinstance(result, Dead)} == {
            (number,): number**2 for number in range(7)
        }
        again = dict(pool.run(square, [(9,)]))
        assert again[(9,)][1] in {result[1] for result in found.values() if not isinstance(result, Dead)}
        assert list(pool.run(threads, [()])) == [((), ["3"] * len(THREAD_VARIABLES))]
    assert threads() != ["3"] * len(THREAD_VARIABLES)


def test_an_error_of_the_work_is_raised_here_as_it_is() -> None:
    with (
        Pool(1, 1) as pool,
        pytest.raises(MissingExtra, match=r"this needs .*pip install 'gancodec\[eval\]'") as raised,
    ):
        list(pool.run(lacking, [("this",)]))
    assert "in lacking" in str(raised.value.__cause__), "where it happened, for -vv"


def test_a_death_is_the_result_unless_the_item_is_tried_again(tmp_path: Path) -> None:
    items = [(None,), (tmp_path / "once",)]
    with Pool(1, 1) as pool:
        found = dict(pool.run(die, items, retries=1))
    assert found == {items[0]: Dead("a worker process was killed by SIGKILL; out of memory?"), items[1]: "alive"}


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    code = "import sys; from pathlib import Path; from gancodec.workers import Pool; from tests import test_workers\n"
    code += "with Pool(1, 1) as pool:\n    list(pool.run(test_workers.wait_long, [(Path(sys.argv[1]),)]))"
    with subprocess.Popen([sys.executable, "-c", code, str(mark)], cwd=Path(__file__).parent.parent) as parent:
        deadline = time.monotonic() + 60
        while not (mark.exists() and mark.read_text()) and time.monotonic() < deadline:
            time.sleep(0.02)
        worker = int(mark.read_text())
        parent.kill()
    while mark.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not mark.exists(), "its clean-up code ran"
    while Path(f"/proc/{worker}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not Path(f"/proc/{worker}").exists()
