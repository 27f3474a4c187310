"""What a codec costs: seconds of fresh processes and of a warm one, and peak memory, alone on the machine."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gancodec.errors import GicError
from gancodec.evaluate.job import Plan

REPEATS = 3
Figures = dict[str, float | None]


def measure(codec: str, realism: float, plan: Plan, picture: str, setting: float) -> Figures:
    """Seconds to encode and to decode a picture, least of three each, and peak memory of a process in MiB.

    Cold is a Python process from its start to its end, PNG or JPEG in and PNG out; warm is the codec alone in a process
    that has done it before.
    """
    with tempfile.TemporaryDirectory(prefix="gancodec-") as folder:
        coded, decoded = Path(folder, "coded"), Path(folder, "decoded.png")
        common = [codec, str(realism), plan.device, str(setting), str(plan.max_pixels)]
        cold_encode, encode_mib, _ = _least(["encode", *common, picture, str(coded)])
        cold_decode, decode_mib, _ = _least(["decode", *common, str(coded), str(decoded)])
        _, _, printed = _process(["warm", *common, picture, str(coded)])
    warm_encode, warm_decode = map(float, printed.split())
    return {
        "encode_s": warm_encode,
        "decode_s": warm_decode,
        "cold_encode_s": cold_encode,
        "cold_decode_s": cold_decode,
        "encode_mib": encode_mib,
        "decode_mib": decode_mib,
    }


def _least(arguments: list[str]) -> tuple[float, float | None, str]:
    runs = [_process(arguments) for _ in range(REPEATS)]
    memory = [m for _, m, _ in runs if m is not None]
    return min(seconds for seconds, _, _ in runs), max(memory) if memory else None, runs[0][2]


def _process(arguments: list[str]) -> tuple[float, float | None, str]:
    """Seconds, MiB where the system tells, and the standard output of a child process."""
    command = [sys.executable, "-m", "gancodec.evaluate.once", *arguments]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        printed = process.stdout.read()
    memory = None
    if hasattr(os, "wait4"):
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        memory = usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
    code = process.wait()
    seconds = time.perf_counter() - started
    if code:
        raise GicError(f"timing of {arguments[1]}: a process ended with {code}")
    return seconds, memory, printed
