"""The child process that `speed` times: ``encode`` or ``decode`` one file, or do both in turn, and print the peak
memory and how long a warm codec takes. Imports nothing that the codec itself does not need."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

REPEATS = 4  # the first is the warm-up


def _peak() -> float | None:
    """Peak memory of this process, or of a tool that it started if that is more, in MiB.

    The system's own accounting of children starts with what their parent had, hence not by `wait4` in the parent.
    """
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1024**2 if sys.platform == "darwin" else 1024
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    status = Path("/proc/self/status")
    if status.is_file():
        own = next(int(s.split()[1]) / 1024 for s in status.read_text().splitlines() if s.startswith("VmHWM"))
    return max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / unit)


def _run(
    action: str, name: str, realism: str, device: str, setting: str, max_pixels: str, *files: str
) -> dict[str, float]:
    """Do one action; the seconds of a warm codec."""
    from gancodec import imageio
    from gancodec.evaluate import codecs
    from gancodec.types import Picture

    codec = codecs.get(name, device, float(realism))
    source, target = map(Path, files)
    if action == "decode":
        picture = Picture(codec.decode(source.read_bytes()))
        with open(target, "wb") as handle:
            imageio.save(picture, handle, "png")
        return {}
    rgb = imageio.load(source, int(max_pixels)).rgb
    if action == "encode":
        target.write_bytes(codec.open(rgb).at_setting(float(setting)).data)
        return {}
    encode, decode = [], []
    for _ in range(REPEATS):
        started = time.perf_counter()
        data = codec.open(rgb).at_setting(float(setting)).data
        middle = time.perf_counter()
        codec.decode(data)
        encode.append(middle - started)
        decode.append(time.perf_counter() - middle)
    return {"encode_s": min(encode[1:]), "decode_s": min(decode[1:])}


if __name__ == "__main__":
    print(json.dumps(_run(*sys.argv[1:]) | {"mib": _peak()}))
