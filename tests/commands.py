"""The command line in a process of its own, with little memory, and all that it writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
ADDRESS_SPACE = 4 << 30  # bytes; a request for more fails
SECONDS, MIB = 10.0, 600  # for a file; the second is all that the process has

# Each line of standard input is one command; all run in one process, with what they write to its real descriptors.
HARNESS = """
import json, os, resource, sys, tempfile, time
from gancodec.cli.app import main
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
def peak():
    try:
        return next(int(s.split()[1]) for s in open("/proc/self/status") if s.startswith("VmHWM")) / 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
stdin, kept = sys.stdin.read(), (os.dup(1), os.dup(2))
for line in stdin.splitlines():
    files = tempfile.TemporaryFile(), tempfile.TemporaryFile()
    for number, file in zip((1, 2), files):
        os.dup2(file.fileno(), number)
    try:
        open("/proc/self/clear_refs", "w").write("5")  # each command has a peak of its own
    except OSError:
        pass
    started = time.process_time()
    try:
        main(json.loads(line))
    except SystemExit as stopped:
        code = stopped.code
    seconds = time.process_time() - started
    sys.stdout.flush(), sys.stderr.flush()
    for number in (1, 2):
        os.dup2(kept[number - 1], number)
    said = [(file.seek(0), file.read().decode())[1] for file in files]
    loaded = [name for name in ("numpy", "PIL", "torch") if name in sys.modules]
    print(json.dumps([code, *said, seconds, peak(), loaded]), flush=True)
"""


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str
    seconds: float
    peak: float
    loaded: list[str]


def in_one_process(commands: Iterable[Iterable[object]]) -> list[Ended]:
    """Run commands one after the other, in a fresh process that may ask for so much memory only."""
    lines = "".join(json.dumps([str(word) for word in command]) + "\n" for command in commands)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    run = [sys.executable, "-c", HARNESS, str(ADDRESS_SPACE)]
    ran = subprocess.run(run, input=lines, capture_output=True, text=True, env=environment, timeout=600)
    assert ran.returncode == 0, ran.stderr
    return [Ended(*json.loads(line)) for line in ran.stdout.splitlines()]
