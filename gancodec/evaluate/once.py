"""The child process that `speed` times: ``encode`` or ``decode`` one file, or do both in turn and print how long a
warm codec takes. Imports nothing that the codec itself does not need."""

from __future__ import annotations

import sys
import time
from pathlib import Path

REPEATS = 4  # the first is the warm-up


def main(action: str, name: str, realism: str, device: str, setting: str, max_pixels: str, *files: str) -> None:
    """Do one action."""
    from gancodec import imageio
    from gancodec.evaluate import codecs
    from gancodec.types import Picture

    codec = codecs.get(name, device, float(realism))
    source, target = map(Path, files)
    if action == "decode":
        picture = Picture(codec.decode(source.read_bytes()))
        with open(target, "wb") as handle:
            imageio.save(picture, handle, "png")
        return
    rgb = imageio.load(source, int(max_pixels)).rgb
    if action == "encode":
        target.write_bytes(codec.open(rgb).at_setting(float(setting)).data)
        return
    encode, decode = [], []
    for _ in range(REPEATS):
        started = time.perf_counter()
        data = codec.open(rgb).at_setting(float(setting)).data
        middle = time.perf_counter()
        codec.decode(data)
        encode.append(middle - started)
        decode.append(time.perf_counter() - middle)
    print(min(encode[1:]), min(decode[1:]))


if __name__ == "__main__":
    main(*sys.argv[1:])
