"""Rates and quality of real files: every picture is encoded to bytes, decoded from them, and compared.

`python tools/measure.py PICTURE... --bpp 0.05 0.1` gives each picture the same rate. `--n 2 1.5 ...` gives each picture
the same n, as conventional codecs are compared at one quality setting, and `--at 0.05 0.1` interpolates the means in
log rate. One JSON line a setting, on standard output.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gancodec import imageio, metrics
from gancodec.codec import EncodeOptions, decode_bytes, encode_picture


def measure(paths: Sequence[Path], options: EncodeOptions) -> dict[str, Any]:
    """Means over pictures, with the range of sizes and probes."""
    rows = []
    for path in paths:
        picture = imageio.load(path)
        coded = encode_picture(picture, options)
        decoded = decode_bytes(coded.data).rgb
        quality = metrics.psnr(decoded, picture.rgb), metrics.ms_ssim(decoded, picture.rgb)
        rows.append((coded.bpp, *quality, coded.probes, coded.n))
    table = np.array(rows)
    bpp, psnr, ms_ssim, probes, n = table.T
    record: dict[str, Any] = {"bpp": bpp.mean(), "psnr": psnr.mean(), "ms_ssim": ms_ssim.mean()}
    record = {k: round(float(v), 5) for k, v in record.items()} | {"n": [round(n.min(), 3), round(n.max(), 3)]}
    if options.bpp is not None:
        share = bpp / options.bpp
        record |= {
            "target": options.bpp,
            "share_of_target": [round(share.min(), 4), round(share.max(), 4)],
            "within_1_percent_below": int(((share <= 1) & (share >= 0.99)).sum()),
            "above": int((share > 1).sum()),
            "probes": [int(probes.max()), round(probes.mean(), 2)],
        }
    return record | {"pictures": len(paths)}


def main() -> None:
    """Measure every setting asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--bpp", type=float, nargs="*", default=[])
    parser.add_argument("--n", type=float, nargs="*", default=[])
    parser.add_argument("--at", type=float, nargs="*", default=[], help="rates to interpolate to, among those of --n")
    parser.add_argument("--entropy", default="range")
    options = parser.parse_args()
    for bpp in options.bpp:
        print(json.dumps(measure(options.pictures, EncodeOptions(bpp=bpp, entropy=options.entropy))), flush=True)
    curve = [measure(options.pictures, EncodeOptions(n=n, entropy=options.entropy)) for n in options.n]
    for record in curve:
        print(json.dumps(record), flush=True)
    curve.sort(key=lambda r: r["bpp"])
    rates = np.log([r["bpp"] for r in curve])
    for bpp in options.at:
        if curve and rates[0] <= np.log(bpp) <= rates[-1]:
            means = {k: np.interp(np.log(bpp), rates, [r[k] for r in curve]).round(4) for k in ("psnr", "ms_ssim")}
            print(json.dumps({"interpolated_at": bpp, **means}), flush=True)


if __name__ == "__main__":
    main()
