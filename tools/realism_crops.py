"""Crops for the documentation: original, realism 0 and realism 1 side by side, decoded from real files.

python tools/realism_crops.py kodak docs/results/realism
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from gancodec import imageio
from gancodec.codec import DecodeOptions, EncodeOptions, decode_bytes, encode_picture

SIDE = 256  # pixels
# Picture, bits per pixel, left and top of the crop: texture, faces, buildings, water, thin lines, lettering.
CROPS = (
    ("05", 0.1, 120, 120),
    ("08", 0.2, 200, 120),
    ("13", 0.1, 200, 240),
    ("15", 0.05, 250, 80),
    ("20", 0.1, 200, 200),
    ("24", 0.2, 300, 200),
)


def main() -> None:
    """Write one lossy WebP a crop, with the file's rate in its name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kodak", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name, bpp, left, top in CROPS:
        picture = imageio.load(options.kodak / f"{name}.png")
        data = encode_picture(picture, EncodeOptions(bpp=bpp)).data
        decoded = [decode_bytes(data, DecodeOptions(realism=realism)).rgb for realism in (0.0, 1.0)]
        parts = [rgb[top : top + SIDE, left : left + SIDE] for rgb in (picture.rgb, *decoded)]
        target = options.out / f"kodak-{name}-{bpp:g}bpp.webp"
        Image.fromarray(np.hstack(parts)).save(target, quality=92, method=6)
        print(target, target.stat().st_size)


if __name__ == "__main__":
    main()
