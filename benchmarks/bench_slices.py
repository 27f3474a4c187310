"""What slices cost, and what a cut file is worth. Writes build/bench/slices.jsonl.

    python benchmarks/bench_slices.py [--model gic2] [--pictures FOLDER]

Cost: each Kodak picture at four n, as it is and in a single slice; files above 6 kB count. Worth: ten mosaics of 12
megapixels, of Kodak pictures in ten orders, cut behind each slice and decoded with `partial`: bytes and PSNR. Exit code
1 where slices cost more than 1 % or PSNR falls.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from bench_codec import machine
from numpy.typing import NDArray

from gancodec import container, imageio
from gancodec.codec.api import decode_bytes, encode_picture
from gancodec.container import spec
from gancodec.metrics import psnr
from gancodec.models.gic2 import slices
from gancodec.options import DecodeOptions, EncodeOptions
from gancodec.types import Picture

OUTPUT = Path("build/bench/slices.jsonl")
NS = (2.0, 0.0, -2.0, -4.0)
MOST_COST = 0.01
MOSAICS, SIDES = 10, (3000, 4000)
RATES = (0.05, 0.1, 0.2, 0.4, 0.8)


def mosaic(photos: list[NDArray[np.uint8]], seed: int) -> Picture:
    """Pictures in a random order, side by side, (3000, 4000)."""
    rng = np.random.default_rng(seed)
    landscape = [photo if photo.shape[0] < photo.shape[1] else np.rot90(photo) for photo in photos]
    rows, columns = -(-SIDES[0] // 512), -(-SIDES[1] // 768)
    picked = [landscape[i] for i in rng.integers(len(landscape), size=rows * columns)]
    lines = [np.hstack(picked[row * columns : (row + 1) * columns]) for row in range(rows)]
    return Picture(np.ascontiguousarray(np.vstack(lines)[: SIDES[0], : SIDES[1]]))


def cost(model: str, photos: list[NDArray[np.uint8]]) -> list[dict[str, Any]]:
    """Bytes with and without slices."""
    records, whole = [], slices.WHOLE_BELOW
    for number, rgb in enumerate(photos):
        for n in NS:
            options, sizes = EncodeOptions(model=model, n=n), []
            for below in (whole, 1 << 40):
                slices.WHOLE_BELOW = below
                sizes.append(len(encode_picture(Picture(rgb), options).data))
            slices.WHOLE_BELOW = whole
            records.append({"picture": number, "n": n, "bytes": sizes[0], "one_slice": sizes[1]})
    return records


def worth(model: str, picture: Picture, bpp: float) -> list[tuple[int, float]]:
    """Bytes and PSNR behind each slice of a file."""
    data = encode_picture(picture, EncodeOptions(model=model, bpp=bpp)).data
    chunks = container.read(data).chunks
    ends = [c.offset for before, c in zip(chunks, chunks[1:], strict=False) if before.type in (spec.IMAGE, spec.MORE)]
    return [(end, psnr(decode_bytes(data[:end], DecodeOptions(partial=True)).rgb, picture.rgb)) for end in ends]


def main() -> int:
    """Print both, 1 where a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="gic2")
    parser.add_argument("--pictures", type=Path, default=Path("../shared/data/kodak"), help="folder of PNG photographs")
    options = parser.parse_args()
    photos = [imageio.load(path).rgb for path in sorted(options.pictures.glob("*.png"))]
    records = cost(options.model, photos)
    counted = [r["bytes"] / r["one_slice"] - 1 for r in records if r["one_slice"] > slices.WHOLE_BELOW]
    print(f"{len(counted)} files above {slices.WHOLE_BELOW} bytes: slices cost {100 * np.mean(counted):.2f} %, at most"
          f" {100 * max(counted):.2f} %")  # fmt: skip
    kept, lines = max(counted) <= MOST_COST, [{"benchmark": "slices", **record, **machine()} for record in records]
    for seed in range(MOSAICS):
        bpp = RATES[seed % len(RATES)]
        found = worth(options.model, mosaic(photos, seed), bpp)
        kept &= all(a[1] < b[1] for a, b in zip(found, found[1:], strict=False))
        told = ", ".join(f"{size} {quality:.2f}" for size, quality in found)
        print(f"mosaic {seed}, {bpp:g} bpp, bytes and PSNR behind each slice: {told}", flush=True)
        lines.append({"benchmark": "slices", "mosaic": seed, "bpp": bpp, "ends": found, **machine()})
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
