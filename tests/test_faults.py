"""Faults of the world around: real processes that are killed, run out of disk, may not write, or lose their pipes.

No half file, no lost input, and what was stopped goes on where it stopped. The split codec does the work, which needs
no model: what is tried here is the command line.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.tiny import picture

ROOT = Path(__file__).resolve().parent.parent
HOW = ("--profile", "split", "--roi-box", "0,0,40,40")
COUNT = 12  # pictures in a batch
WAIT = 60.0  # seconds
PR_CAPBSET_DROP = 24  # of Linux' prctl
ROOT_USER = os.name == "posix" and os.geteuid() == 0
pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and pipes of POSIX")


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "gancodec", *map(str, arguments)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def run(*arguments: object, stdin: int | None = None) -> subprocess.CompletedProcess[bytes]:
    """A command in a process of its own, to its end."""
    return subprocess.run(command(*arguments), env=environment(), capture_output=True, timeout=WAIT, stdin=stdin)


def shell(line: str) -> subprocess.CompletedProcess[bytes]:
    """A line of the shell, in which G is the command."""
    script = f"G=\"'{sys.executable}' -m gancodec\"\n{line}"
    return subprocess.run(["bash", "-c", script], env=environment(), capture_output=True, timeout=WAIT)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def one_line(ran: subprocess.CompletedProcess[bytes], code: int, words: str = "") -> None:
    """Fail unless a command ended with a code and one line."""
    said = ran.stderr.decode()
    assert ran.returncode == code, said
    assert len(said.splitlines()) == 1, said
    assert said.startswith("gancodec: "), said
    assert words in said


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures, some below another."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "below").mkdir()
    for i in range(COUNT):
        Image.fromarray(picture(200, 150 + i, i)).save(folder / ("below" if i % 3 == 2 else "") / f"{i:02d}.png")
    return folder


@pytest.fixture(scope="module")
def whole(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What encoding the folder gives where nothing happens."""
    folder = tmp_path_factory.mktemp("whole")
    ran = run("encode", photos, "-d", folder, *HOW, "-q")
    assert ran.returncode == 0, ran.stderr
    assert len(contents(folder)) == COUNT
    return contents(folder)


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture whose file is larger than what a pipe holds."""
    path = tmp_path_factory.mktemp("noise") / "noise.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (300, 400, 3), dtype=np.uint8)).save(path)
    return path


@contextmanager
def batch(photos: Path, out: Path, *more: str, least: int = 1) -> Iterator[subprocess.Popen[bytes]]:
    """The same in a process that is now in the middle of it: it has written `least` files more than were there."""
    before = len(contents(out))
    line = command("encode", photos, "-d", out, *HOW, *more)
    with subprocess.Popen(line, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        end = time.monotonic() + WAIT
        while len(list(out.rglob("*.gic"))) < before + least and child.poll() is None and time.monotonic() < end:
            time.sleep(0.002)
        yield child


def nothing_half(out: Path, whole: dict[str, bytes]) -> None:
    """Fail unless every file with a name of its own is the whole one."""
    for name, data in contents(out).items():
        if not Path(name).name.startswith(".gancodec-"):
            assert data == whole[name], name


# --- killed


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGKILL, -9)]
)
def test_a_batch_that_is_ended_goes_on(
    number: signal.Signals, code: int, photos: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    originals = contents(photos)
    with batch(photos, tmp_path, "-q", least=2) as child:
        child.send_signal(number)
        _, said = child.communicate(timeout=WAIT)
    assert child.returncode == code, said
    assert said.decode().splitlines() == (["gancodec: interrupted"] if number == signal.SIGINT else [])
    nothing_half(tmp_path, whole)
    assert 2 <= len(list(tmp_path.rglob("*.gic"))) < COUNT
    if number != signal.SIGKILL:
        assert list(tmp_path.rglob(".gancodec-*")) == []
    ran = run("encode", photos, "-d", tmp_path, *HOW, "--skip-existing", "-q")
    assert ran.returncode == 0, ran.stderr
    assert {k: v for k, v in contents(tmp_path).items() if k.endswith(".gic")} == whole
    assert contents(photos) == originals


def test_a_batch_that_is_killed_again_and_again_ends(photos: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    for delay in (0.0, 0.003, 0.01, 0.03):
        with batch(photos, tmp_path, "-q", "--skip-existing") as child:
            time.sleep(delay)
            child.kill()
        nothing_half(tmp_path, whole)
    assert run("encode", photos, "-d", tmp_path, *HOW, "--skip-existing", "-q").returncode == 0
    assert {k: v for k, v in contents(tmp_path).items() if k.endswith(".gic")} == whole


# The real writing, which stops where data is written but the file has no name yet.
STOPPED = """
import os, sys, time
fsync = os.fsync
def stop(descriptor):
    fsync(descriptor)
    print("writing", flush=True)
    time.sleep(60)
os.fsync = stop
from gancodec.cli.app import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize("work", ["encode", "decode"])
def test_a_kill_in_the_middle_of_writing(work: str, photos: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    """The old file stays; all that is left is a hidden temporary file, which no later run takes for anything."""
    (tmp_path / "in.gic").write_bytes(whole["00.gic"])
    source = photos / "00.png" if work == "encode" else tmp_path / "in.gic"
    target = tmp_path / ("out.gic" if work == "encode" else "out.png")
    target.write_bytes(b"old")
    arguments = [work, str(source), "-f", "-o", str(target), *(HOW if work == "encode" else ())]
    line = [sys.executable, "-c", STOPPED, *arguments]
    with subprocess.Popen(line, env=environment(), stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"writing\n"
        child.kill()
    assert target.read_bytes() == b"old"
    left = [path.name for path in tmp_path.iterdir() if path.name not in ("in.gic", target.name)]
    assert len(left) == 1
    assert left[0].startswith(".gancodec-")
    assert left[0].endswith(".tmp")
    ran = run("verify", tmp_path)  # a folder: what is hidden is no input
    assert ran.returncode == (0 if work == "decode" else 1)
    assert b".tmp" not in ran.stdout + ran.stderr
    ran = run(*arguments)
    assert ran.returncode == 0, ran.stderr
    if work == "encode":
        assert target.read_bytes() == whole["00.gic"]


# --- disks


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A file system of its own."""
    folder.mkdir()
    line = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if not ROOT_USER or not shutil.which("mount") or subprocess.run(line, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system is not permitted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(photos: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    """What does not fit is told of and leaves nothing; what is there stays; with more room the rest follows."""
    largest = max(map(len, whole.values()))
    room = sum(map(len, whole.values())) // 2
    assert room > 3 * largest
    with mounted(tmp_path / "disk", f"size={room}") as disk:
        ran = run("encode", photos, "-d", disk, *HOW, "-q")
        assert ran.returncode == 1
        lines = ran.stderr.decode().splitlines()
        failed = [
            line for line in lines if line.startswith("gancodec: ") and "cannot be written: No space left" in line
        ]
        made = contents(disk)
        assert len(made) + len(failed) == COUNT
        assert 0 < len(made) < COUNT
        assert lines[len(failed)] == f"gancodec: {len(failed)} of {COUNT} failed"
        nothing_half(disk, whole)
        assert list(disk.rglob(".gancodec-*")) == []
        one_line(run("encode", photos / "00.png", "-f", "-o", disk / "00.gic", "--profile", "split",
                     "--inner", "lossless", "--roi-box", "0,0,999,999", "-q"), 1, "No space left")  # fmt: skip
        assert (disk / "00.gic").read_bytes() == whole["00.gic"]  # the old one
        subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)
        assert run("encode", photos, "-d", disk, *HOW, "--skip-existing", "-q").returncode == 0
        assert contents(disk) == whole


def test_a_folder_that_may_not_be_written(photos: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=1m") as disk:
        (disk / "old.gic").write_bytes(whole["00.gic"])
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        encode = ("encode", photos / "00.png", *HOW)
        one_line(run(*encode, "-o", disk / "new.gic"), 1, "new.gic cannot be written: Read-only file system")
        one_line(run(*encode, "-f", "-o", disk / "old.gic"), 1, "old.gic cannot be written: Read-only file system")
        one_line(run(*encode, "-d", disk / "new"), 1, "cannot be written: Read-only file system")
        one_line(run("decode", disk / "old.gic"), 1, "old.png cannot be written: Read-only file system")
        assert contents(disk) == {"old.gic": whole["00.gic"]}


# --- pipes


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_the_reader_goes_away(unbuffered: str, noise: Path, tmp_path: Path) -> None:
    """No word of it, but no success either; Python may be told to pass on writes that are done in part only."""
    encode = f"encode {noise} --profile split --inner lossless --roi-box 0,0,400,300 -o"
    assert run(*encode.split(), tmp_path / "noise.gic", "-q").returncode == 0
    for line in (f"{encode} -", f"decode {tmp_path}/noise.gic -o -"):
        ran = shell(f"PYTHONUNBUFFERED={unbuffered} eval $G {line} | head -c 10 | wc -c; exit ${{PIPESTATUS[0]}}")
        assert (ran.returncode, ran.stdout.strip(), ran.stderr) == (1, b"10", b"")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_redirection_to_a_full_disk(unbuffered: str, noise: Path, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=128k") as disk:
        line = f"encode {noise} --profile split --inner lossless --roi-box 0,0,400,300 -o - > {disk}/out.gic"
        one_line(
            shell(f"PYTHONUNBUFFERED={unbuffered} eval $G {line}"), 1, "standard output cannot be written: No space"
        )


@pytest.mark.parametrize("work", ["encode", "decode", "info", "verify"])
def test_nothing_or_half_comes_in(work: str, photos: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    """Closed, empty and cut standard input; the output does not appear."""
    out = tmp_path / ("out.gic" if work == "encode" else "out.png")
    writes = work in ("encode", "decode")
    line = f"eval $G {work} - {f'-o {out}' if writes else ''} {' '.join(HOW) if work == 'encode' else ''}"
    (tmp_path / "in").write_bytes((photos / "00.png").read_bytes() if work == "encode" else whole["00.gic"])
    one_line(shell(f"{line} <&-"), 3, "standard input is closed")
    one_line(shell(f"{line} </dev/null"), 3)
    one_line(shell(f"head -c 1000 {tmp_path}/in | {line}"), 3)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_standard_output_is_full_or_closed(whole: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "in.gic").write_bytes(whole["00.gic"])
    for line in ("info", "info --json", "verify", "decode -o -"):
        ran = shell(f"eval $G {line} {tmp_path}/in.gic >/dev/full")
        one_line(ran, 1, "standard output cannot be written: No space left")
    one_line(shell(f"eval $G decode {tmp_path}/in.gic -o - >&-"), 2, "standard output is closed")


def test_messages_never_mix_with_a_picture(whole: dict[str, bytes], tmp_path: Path) -> None:
    """With standard error closed, Python would print messages to standard output."""
    (tmp_path / "in.gic").write_bytes(whole["00.gic"])
    expected = run("decode", tmp_path / "in.gic", "-o", "-").stdout
    assert expected.startswith(b"\x89PNG")
    assert shell(f"eval $G decode {tmp_path}/in.gic -o - 2>&-").stdout == expected


# --- inputs


def _without_privileges() -> None:
    """Drop what lets root read everything (the capabilities DAC_OVERRIDE and DAC_READ_SEARCH) from what comes next."""
    for capability in (1, 2):
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and capabilities")
def test_unreadable_inputs_take_nothing_from_the_others(photos: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    """A file that may not be read, one that is gone, and one that fails while being read."""
    inputs, out = tmp_path / "in", tmp_path / "out"
    inputs.mkdir()
    for name in ("a.png", "e.png"):
        shutil.copy(photos / "00.png", inputs / name)
    (inputs / "b.png").write_bytes(b"secret")
    (inputs / "b.png").chmod(0)
    (inputs / "c.png").symlink_to(tmp_path / "gone.png")  # listed, but not there any more
    (inputs / "d.png").symlink_to("/proc/self/mem")
    line = command("encode", inputs, "-d", out, *HOW, "-q")
    ran = subprocess.run(
        line,
        env=environment(),
        capture_output=True,
        timeout=WAIT,
        preexec_fn=_without_privileges if ROOT_USER else None,
    )
    said = ran.stderr.decode()
    assert ran.returncode == 1, said
    assert "Traceback" not in said
    assert "b.png: cannot be read: Permission denied" in said
    assert "c.png: cannot be read: no such file" in said
    assert "d.png: cannot be read: " in said
    assert contents(out) == {"a.gic": whole["00.gic"], "e.gic": whole["00.gic"]}


def test_a_folder_named_as_a_file_and_a_read_error(tmp_path: Path) -> None:
    (tmp_path / "x.gic").mkdir()
    for work in ("decode", "info"):
        one_line(run(work, tmp_path / "x.gic"), 3, "no .gic file in this folder")
        if Path("/proc/self/mem").exists():
            one_line(run(work, "/proc/self/mem"), 3, "cannot be read: Input/output error")
    assert list((tmp_path / "x.gic").iterdir()) == []
