"""No command that encodes, decodes or looks at files opens a socket: watched in Python, by the kernel, and without a
network."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image

from gancodec import weights
from tests.tiny import picture

ROOT = Path(__file__).parent.parent
# Without a socket there is no network, but for io_uring, which can open one by itself.
CALL = re.compile(r"\b(socket|socketpair|io_uring_setup)\(")  # not the end of one that was interrupted
TRACE = "--trace=socket,socketpair,io_uring_setup"
STRACE = ("strace", "--follow-forks", "--seccomp-bpf", "--quiet=all", "--signal=none", TRACE)
WITHOUT_NETWORK = ("unshare", "--net") if hasattr(os, "getuid") and os.getuid() == 0 else ("unshare", "-r", "--net")

# In one process, since each would import PyTorch; the exit code of each is printed. "in" has pictures.
COMMANDS = """
import sys
from gancodec.cli import app
for line in sys.argv[1:]:
    try:
        app.main(line.split())
    except SystemExit as ended:
        print(ended.code, line, flush=True)
"""
LINES = {
    "--version": 0,
    "models": 0,
    "encode in -d out --bpp 0.5": 0,
    "encode in/0.png -o fine.gic --bpp 0.5 --saliency fine": 0,
    "encode in/0.png -o spectral.gic --bpp 0.5 --saliency spectral-center --protect text,faces": 0,
    "encode in/0.png -o huffman.gic --n 1 --entropy huffman --roi-box 0,0,32,32": 0,
    "encode in/0.png -o split.gic --profile split": 0,
    "encode in/0.png -o grad.gic --saliency gradcam": 4,  # its network would have to be downloaded
    "info split.gic fine.gic --json": 0,
    "verify split.gic fine.gic huffman.gic": 0,
    "decode fine.gic split.gic -d back": 0,
    "decode fine.gic -o back.jpg": 0,
    "decode fine.gic -o part.png --region 0,0,90,90 --scale 1/2": 0,
    "saliency in/0.png --overlay": 0,
    "inspect in/0.png --bpp 0.5 --out look": 0,
    "decode in/0.png -o no.png": 3,
}


class Watched(NamedTuple):
    """What a process printed, and every socket that it and its children asked for: of any kind in Python, beyond this
    machine from the kernel (glibc asks a local service for the names of users)."""

    code: int
    output: str
    in_python: str
    by_kernel: str


@lru_cache
def works(*command: str) -> bool:
    """Can this machine watch a process so? A container may forbid it."""
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run([*command, "true"], capture_output=True).returncode == 0


def watch(program: str, *arguments: str, folder: Path, **environment: str) -> Watched:
    """Run a Python program without a network, where that can be, and log its sockets."""
    log, trace = folder / "sockets.log", folder / "strace.log"
    command = [sys.executable, "-c", program, *arguments]
    if works(*STRACE):
        command = [*STRACE, f"--output={trace}", *command]
    if works(*WITHOUT_NETWORK):
        command = [*WITHOUT_NETWORK, *command]
    path = os.pathsep.join(map(str, (ROOT / "tests" / "offline", ROOT)))
    everything = {**os.environ, "PYTHONPATH": path, "SOCKETS": str(log), **environment}
    ran = subprocess.run(command, cwd=folder, env=everything, capture_output=True, text=True, timeout=300)
    in_python, calls = (file.read_text(encoding="utf-8") if file.exists() else "" for file in (log, trace))
    opened = [line for line in calls.splitlines() if CALL.search(line) and "AF_UNIX" not in line]
    return Watched(ran.returncode, ran.stdout + ran.stderr, in_python, "\n".join(opened))


@pytest.fixture(scope="module")
def watched(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """All of `LINES`, run once."""
    folder = tmp_path_factory.mktemp("offline")
    (folder / "in").mkdir()
    for seed in range(2):
        Image.fromarray(picture(96, 128, seed)).save(folder / "in" / f"{seed}.png")
    homes = {name: str(folder / "home") for name in ("HOME", "HF_HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR")}
    return watch(COMMANDS, *LINES, folder=folder, **homes, **{weights.ENVIRONMENT: str(tiny_folder)})


needs_strace = pytest.mark.skipif(not works(*STRACE), reason="strace is not installed, or may not trace here")
needs_namespaces = pytest.mark.skipif(not works(*WITHOUT_NETWORK), reason="network namespaces cannot be made here")


@pytest.mark.parametrize("line", LINES)
def test_commands_end_as_they_do_online(watched: Watched, line: str) -> None:
    """Those with `needs_namespaces` run where there is no network interface at all."""
    assert f"{LINES[line]} {line}" in watched.output.splitlines(), watched.output


def test_python_opens_no_socket(watched: Watched) -> None:
    assert watched.code == 0, watched.output
    assert watched.in_python == ""


@needs_strace
def test_no_library_opens_a_socket(watched: Watched) -> None:
    assert watched.by_kernel == ""


# --- what watches, watches


def test_a_socket_is_seen_and_refused(tmp_path: Path) -> None:
    found = watch("import socket; socket.socket()", folder=tmp_path)
    assert found.code == 1
    assert "promised to stay offline" in found.output
    assert found.in_python.startswith("socket.__new__")


def test_a_look_up_is_seen_and_refused(tmp_path: Path) -> None:
    found = watch("import socket; socket.getaddrinfo('localhost', 80)", folder=tmp_path)
    assert found.code == 1
    assert found.in_python.startswith("socket.getaddrinfo")


def test_a_socket_that_is_forgiven_is_seen(tmp_path: Path) -> None:
    """As of a library that goes on without the network."""
    program = "import socket\ntry: socket.create_connection(('localhost', 9))\nexcept OSError: pass"
    found = watch(program, folder=tmp_path)
    assert found.code == 0
    assert found.in_python != ""


@pytest.mark.parametrize("start", ["spawn", "fork"])
def test_a_socket_of_a_worker_is_seen(tmp_path: Path, start: str) -> None:
    program = (
        "import multiprocessing, socket\nif __name__ == '__main__':\n"
        f"    worker = multiprocessing.get_context('{start}').Process(target=socket.socket)\n"
        "    worker.start(); worker.join(); print(worker.exitcode)"
    )
    found = watch(program, folder=tmp_path)
    assert found.output.splitlines()[0] == "1"
    assert found.in_python.startswith("socket.__new__")


@needs_strace
def test_a_socket_behind_pythons_back_is_seen(tmp_path: Path) -> None:
    found = watch("import ctypes; ctypes.CDLL(None).socket(2, 1, 0)", folder=tmp_path)
    assert found.in_python == ""
    assert "socket(AF_INET, SOCK_STREAM" in found.by_kernel


@needs_namespaces
def test_there_is_no_network(tmp_path: Path) -> None:
    found = watch("import socket; print([name for _, name in socket.if_nameindex()])", folder=tmp_path)
    assert found.output.strip() == "['lo']"
