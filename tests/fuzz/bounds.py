"""What all targets promise: errors of the package in one line, and bounds of time and memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import ParamSpec, TypeVar

from gancodec.codec import verify_bytes
from gancodec.errors import GicError

SECONDS = 2.0  # of processor time that an input may take
MIB = 512  # that it may take
PIXELS = 1 << 16  # limit given to the readers

P = ParamSpec("P")
R = TypeVar("R")
Target = Callable[[bytes], None]


def run(call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R | None:
    """What the package returns; None where it refuses, which it must do in one line."""
    try:
        return call(*args, **kwargs)
    except GicError as error:
        text = str(error)
        assert text, "an error without a word"
        assert text.isprintable(), f"an error of several lines or with control characters: {text!r}"
        return None


def verified(data: bytes) -> bool:
    """True; raises as `verify_bytes` does."""
    verify_bytes(data)
    return True


def first_byte(data: bytes) -> tuple[int, bytes]:
    """What chooses how the package is used, and the rest."""
    return (data[0], data[1:]) if data else (0, b"")


def within(mib: float, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """What `call` returns, within the bound of time and one of memory."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # what was the most is forgotten
    peak, started = _peak_mib(), time.process_time()
    result = call(*args, **kwargs)
    seconds, grown = time.process_time() - started, _peak_mib() - peak
    assert seconds < SECONDS, f"{seconds:.1f} s"
    assert grown < mib, f"{grown:.0f} MiB"
    return result


def _peak_mib() -> float:
    """The most memory of this process since `within` began; where that is not told, since the process began."""
    try:
        return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1 << 20)
