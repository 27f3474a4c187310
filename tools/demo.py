"""``make demo``: encode and decode a real photograph with the command line, and show what it cost and how it looks."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from gancodec import metrics

FOLDER = Path("build/demo")
CAPTION = 20  # pixels


def sample() -> Image.Image:
    """The photograph of a cup of coffee that ships inside scikit-image (600x400)."""
    from skimage import data

    return Image.fromarray(data.coffee())


def gancodec(*arguments: str) -> None:
    """Run and show one command."""
    print("$ gancodec " + " ".join(arguments), flush=True)
    subprocess.run([sys.executable, "-m", "gancodec", *arguments], check=True)


def side_by_side(before: Image.Image, after: Image.Image, captions: tuple[str, str]) -> Image.Image:
    """Both pictures in one, each below its caption."""
    width, height = before.size
    sheet = Image.new("RGB", (2 * width, height + CAPTION), "white")
    draw = ImageDraw.Draw(sheet)
    for x, image, caption in ((0, before, captions[0]), (width, after, captions[1])):
        sheet.paste(image, (x, CAPTION))
        draw.text((x + 6, 4), caption, fill="black")
    return sheet


def main() -> int:
    """Run the demonstration; the exit code of a command that failed is passed on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bpp", default="0.2", help="bits per pixel of the whole file")
    parser.add_argument("--photo", type=Path, help="your own picture instead of the sample")
    options = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    with Image.open(options.photo) if options.photo else sample() as opened:
        before = ImageOps.exif_transpose(opened).convert("RGB")
    photo, coded, decoded = FOLDER / "photo.png", FOLDER / "photo.gic", FOLDER / "decoded.png"
    before.save(photo)
    try:
        gancodec("encode", str(photo), "-o", str(coded), "--bpp", options.bpp, "--overwrite")
        gancodec("info", str(coded))
        gancodec("verify", str(coded))
        gancodec("decode", str(coded), "-o", str(decoded), "--overwrite")
    except subprocess.CalledProcessError as error:
        return error.returncode
    with Image.open(decoded) as opened:
        after = opened.convert("RGB")
    rate = 8 * coded.stat().st_size / (before.width * before.height)
    psnr = metrics.psnr(np.asarray(before), np.asarray(after))
    ms_ssim = metrics.ms_ssim(np.asarray(before), np.asarray(after))
    captions = (
        f"original: {photo.stat().st_size} bytes as PNG",
        f"gancodec: {coded.stat().st_size} bytes, {rate:.3f} bpp",
    )
    side_by_side(before, after, captions).save(FOLDER / "side-by-side.png")
    print(f"rate {rate:.4f} bpp (asked: {options.bpp}), PSNR {psnr:.2f} dB, MS-SSIM {ms_ssim:.4f}")
    print(f"see {FOLDER / 'side-by-side.png'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
