"""One model beside another in one run: decoding, entropy decoding, encoding at an n. Writes build/bench/models.jsonl.

    python benchmarks/bench_models.py gic2 gic1-small-2 [--pictures FOLDER] [--threads 1]

Both code each picture to the same sizes; the two take turns, and each figure is a median. Ratios are of the first model
to the second.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from bench_codec import machine

from gancodec import container, imageio
from gancodec.codec.api import codec_of, decode_with, encode_with
from gancodec.options import EncodeOptions
from gancodec.types import Picture
from gancodec.weights import get

OUTPUT = Path("build/bench/models.jsonl")
RATES = (0.05, 0.1, 0.2, 0.4)
PICTURES = ("03.png", "08.png", "20.png")  # of Kodak's
ROUNDS = 7
PARTS = ("decode", "entropy", "encode")


def works(codec: Any, picture: Picture, bpp: float) -> dict[str, Callable[[], object]]:
    """What is timed, by part; `entropy` reads all symbols, without torch."""
    coded = encode_with(codec, picture, EncodeOptions(bpp=bpp))
    parsed = container.read(coded.data)
    return {
        "decode": lambda: decode_with(parsed, codec),
        "entropy": lambda: codec.verify(parsed),
        "encode": lambda: encode_with(codec, picture, EncodeOptions(n=coded.n)),
    }


def seconds(both: list[Callable[[], object]]) -> list[float]:
    """Median seconds of each, in turns."""
    times: list[list[float]] = [[] for _ in both]
    for _ in range(ROUNDS):
        for work, kept in zip(both, times, strict=True):
            started = time.perf_counter()
            work()
            kept.append(time.perf_counter() - started)
    return [statistics.median(kept) for kept in times]


def main() -> int:
    """Print a line for each picture and rate, and the mean ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs=2, metavar="MODEL")
    parser.add_argument("--pictures", type=Path, default=Path("../shared/data/kodak"), help="folder with Kodak's PNG")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    codecs = [codec_of(get(model), "cpu") for model in options.models]
    lines, ratios = [], []
    for name in PICTURES:
        picture = imageio.load(options.pictures / name)
        for bpp in RATES:
            both = [works(codec, picture, bpp) for codec in codecs]
            found = {part: seconds([work[part] for work in both]) for part in PARTS}
            ratios.append([a / b for a, b in found.values()])
            lines.append({"benchmark": "models", "picture": name, "bpp": bpp, "threads": options.threads, **found})
            told = "  ".join(f"{k} {1e3 * a:.0f} / {1e3 * b:.0f} ms = {a / b:.2f}" for k, (a, b) in found.items())
            print(f"{name} {bpp:g}: {told}", flush=True)
    means = [statistics.mean(column) for column in zip(*ratios, strict=True)]
    print("mean ratios: " + "  ".join(f"{part} {mean:.3f}" for part, mean in zip(PARTS, means, strict=True)))
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    about = machine() | {"models": options.models}
    OUTPUT.write_text("".join(json.dumps(line | about) + "\n" for line in lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
