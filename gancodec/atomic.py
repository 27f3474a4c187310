"""Write a file whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def replace(target: Path, data: bytes, times: os.stat_result | None = None) -> None:
    """Write `data` beside `target`, then rename it into place, with the modification time of `times` if given.

    Raises OSError; no part of the file is left behind then.
    """
    temporary = target.with_name(f".gancodec-{os.urandom(6).hex()}.tmp")
    try:
        with open(temporary, "xb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        if times is not None:
            os.utime(temporary, ns=(times.st_atime_ns, times.st_mtime_ns))
        os.replace(temporary, target)
    except BaseException:  # also Ctrl-C: no half-written file stays behind
        temporary.unlink(missing_ok=True)
        raise
