"""What a codec costs: seconds of fresh processes and of a warm one, and peak memory, alone on the machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

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
        cold_encode, encode_mib = _least(["encode", *common, picture, str(coded)])
        cold_decode, decode_mib = _least(["decode", *common, str(coded), str(decoded)])
        _, warm = _process(["warm", *common, picture, str(coded)])
    return {
        "encode_s": warm["encode_s"],
        "decode_s": warm["decode_s"],
        "cold_encode_s": cold_encode,
        "cold_decode_s": cold_decode,
        "encode_mib": encode_mib,
        "decode_mib": decode_mib,
    }


def _least(arguments: list[str]) -> tuple[float, float | None]:
    runs = [_process(arguments) for _ in range(REPEATS)]
    memory = [float(printed["mib"]) for _, printed in runs if printed["mib"] is not None]
    return min(seconds for seconds, _ in runs), max(memory, default=None)


def _process(arguments: list[str]) -> tuple[float, dict[str, Any]]:
    """Seconds of a child process from its start to its end, and what it printed."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "gancodec.evaluate.once", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, "PYTHONSAFEPATH": "1"},  # a json.py in the user's folder is none of ours
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        raise GicError(f"timing of {arguments[1]}: a process ended with {done.returncode}")
    printed: dict[str, Any] = json.loads(done.stdout)
    return seconds, printed
