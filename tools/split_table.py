"""Table 1 of the context-aware paper on animal photographs, with real bytes. Writes build/bench/split.md.

    python tools/split_table.py [--data ../shared/data] [--nets FOLDER] [--output docs/results/split.md]

The paper kept both layers uncompressed and gave a theoretical size; here every figure is of a real .gic file of
profile split.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gancodec.codec import EncodeOptions, decode_bytes, encode_picture
from gancodec.codec.guidance import guidance_of
from gancodec.container.spec import CELL
from gancodec.evaluate.metrics.quality import ssim
from gancodec.evaluate.report.tables import plain_markdown
from gancodec.metrics import psnr
from gancodec.models.split.codec import salient_cells
from gancodec.models.split.config import CODERS
from gancodec.models.split.image import QUALITY
from gancodec.saliency import adaptive_mask, saliency_map
from gancodec.types import Picture

Pixels = NDArray[np.uint8]

OUTPUT = Path("build/bench/split.md")
NAMES = Path(__file__).with_name("animals.txt")
FACTORS = (2, 4, 8)
FACTOR = 4  # of the table of methods
COUNT = 200  # pictures that the paper's times are for
PAPER = {  # MSE, PSNR, SSIM, theoretical %, seconds for 200 pictures
    "OpenCV (spectral residual)": ("45.23", "31.58", "0.9150", "36.5", "3"),
    "Grad-CAM": ("47.49", "31.36", "0.9366", "30.6", "55"),
    "SAM2": ("106.20", "27.87", "0.9661", "24.3", "7200"),
}


class Figures(NamedTuple):
    """Of one picture: fidelity with the lossless inner coder; percent saved, in theory and in real bytes against the
    whole picture by the same inner coder; with the lossy one bpp, and PSNR of the whole and within salient cells,
    beside plain WebP of the same size."""

    mse: float
    psnr: float
    ssim: float
    theoretical: float
    lossless: float
    lossy: float
    bpp: float
    lossy_psnr: float
    webp_psnr: float
    lossy_salient: float
    webp_salient: float
    seconds: float


def webp(rgb: Pixels, **options: object) -> bytes:
    """The whole picture as the inner coder would write it."""
    data = io.BytesIO()
    Image.fromarray(rgb).save(data, "WEBP", method=6, **options)
    return data.getvalue()


def webp_at(rgb: Pixels, size: int) -> Pixels:
    """Plain lossy WebP, decoded: the best quality of at most `size` bytes."""
    low, high = 0, 200  # halves of a quality
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if len(webp(rgb, quality=middle / 2)) <= size else (low, middle)
    return np.asarray(Image.open(io.BytesIO(webp(rgb, quality=low / 2))).convert("RGB"))


def measure(rgb: Pixels, method: str, model: str | None, factor: int) -> Figures:
    """Every figure of one picture."""
    started = time.perf_counter()
    adaptive_mask(saliency_map(rgb, method, model))
    seconds = time.perf_counter() - started
    asked = {
        inner: EncodeOptions(profile="split", inner=inner, factor=factor, saliency=method, saliency_model=model)
        for inner in CODERS
    }
    files = {inner: encode_picture(Picture(rgb), options).data for inner, options in asked.items()}
    exact, coarse = (decode_bytes(files[inner]).rgb for inner in ("lossless", "lossy"))
    cells = salient_cells(guidance_of(rgb, asked["lossy"]), Picture(rgb).geometry)
    salient = float(cells.mean())
    kept = cells.repeat(CELL, 0).repeat(CELL, 1)[: rgb.shape[0], : rgb.shape[1]].astype(np.float64)
    plain = webp_at(rgb, len(files["lossy"]))
    whole = {"lossless": len(webp(rgb, lossless=True)), "lossy": len(webp(rgb, quality=QUALITY))}
    saved = {inner: 100 * (1 - len(files[inner]) / whole[inner]) for inner in files}
    return Figures(
        mse=float(np.mean((rgb.astype(np.float64) - exact) ** 2)),
        psnr=psnr(rgb, exact),
        ssim=float(ssim(rgb, exact) or 0),
        theoretical=100 * (1 - salient - (1 - salient) / factor**2),
        lossless=saved["lossless"],
        lossy=saved["lossy"],
        bpp=8 * len(files["lossy"]) / (rgb.shape[0] * rgb.shape[1]),
        lossy_psnr=psnr(rgb, coarse),
        webp_psnr=psnr(rgb, plain),
        lossy_salient=psnr(rgb, coarse, kept),
        webp_salient=psnr(rgb, plain, kept),
        seconds=seconds,
    )


def row(name: str, found: Sequence[Figures]) -> list[str]:
    """Means over pictures as the cells of a table."""
    mean = Figures(*np.mean(found, axis=0).tolist())
    return [
        name,
        f"{mean.mse:.1f}",
        f"{mean.psnr:.2f}",
        f"{mean.ssim:.4f}",
        f"{mean.theoretical:.1f}",
        f"{mean.lossless:.1f}",
        f"{mean.lossy:.1f}",
        f"{mean.bpp:.2f}",
        f"{mean.lossy_salient:.2f} / {mean.webp_salient:.2f}",
        f"{mean.lossy_psnr:.2f} / {mean.webp_psnr:.2f}",
        f"{COUNT * mean.seconds:.0f}",
    ]


def ways(nets: Path | None) -> dict[str, str | None]:
    """Saliency methods that can be run here, with their networks."""
    found: dict[str, str | None] = dict.fromkeys(("spectral", "fine", "combined", "spectral-center", "center"))
    for name in ("gradcam", "segment"):
        if nets is None:
            break
        if not (nets / name).is_dir():
            raise SystemExit(f"{nets} has no folder {name}")
        found[name] = str(nets / name)
    return found


def main() -> int:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--nets", type=Path, help="folder with gradcam/ and segment/, from tools/shared_networks.py")
    parser.add_argument("--every", type=int, default=1, help="of the pictures, every so many")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    if not (options.data / "train").is_dir():
        print(f"no pictures in {options.data}: nothing measured")
        return 0
    names = [line.split()[0] for line in NAMES.read_text(encoding="utf-8").splitlines()][:: options.every]
    methods = ways(options.nets)
    found: dict[tuple[str, int], list[Figures]] = {}
    for number, name in enumerate(names):
        print(f"{number + 1} of {len(names)}: {name}", file=sys.stderr, flush=True)
        rgb = np.asarray(Image.open(options.data / name).convert("RGB"))
        for method, model in methods.items():
            for factor in FACTORS if method == "spectral" else (FACTOR,):
                found.setdefault((method, factor), []).append(measure(rgb, method, model, factor))
    by_method = [row(method, figures) for (method, factor), figures in found.items() if factor == FACTOR]
    by_factor = [row(f"{factor}", figures) for (method, factor), figures in found.items() if method == "spectral"]
    page = PAGE.format(
        count=len(names),
        held_out=sum(not name.startswith("train/") for name in names),
        paper="\n".join(plain_markdown(PAPER_HEAD, [[name, *cells] for name, cells in PAPER.items()])),
        methods="\n".join(plain_markdown(HEAD, by_method)),
        factors="\n".join(plain_markdown(["factor", *HEAD[1:]], by_factor)),
        factor=FACTOR,
        quality=QUALITY,
    )
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(page, encoding="utf-8")
    print(page, end="")
    return 0


PAPER_HEAD = ["paper, 200 horses", "MSE", "PSNR", "SSIM", "theoretical %", "s / 200 pictures"]
HEAD = [
    "method",
    "MSE",
    "PSNR",
    "SSIM",
    "theoretical %",
    "lossless: real %",
    "lossy: real %",
    "lossy: bpp",
    "PSNR salient, split / WebP",
    "PSNR all, split / WebP",
    "s / 200 pictures",
]
PAGE = """# Split codec: table 1 of the context-aware paper, with real bytes

```
python tools/shared_networks.py ../shared/backbones NETS
python tools/split_table.py --nets NETS --output docs/results/split.md
```

Salient cells at full resolution, the rest at 1/{factor} of it in either direction; masks by section 5.1. MSE, PSNR (dB)
and SSIM are with the lossless inner coder, as the paper stored both layers as they were. *Theoretical %* is the share
of pixels that need not be stored, the paper's estimate. *Real %* is what the whole .gic file saves against the whole
picture by the same inner coder (WebP lossless; WebP at quality {quality:g}). The lossy file then stands beside plain
WebP of the same number of bytes, in the salient cells and everywhere. Seconds: saliency and mask, one core.

## The paper

{paper}

## Ours

{count} photographs of animals (`tools/animals.txt`; the data at hand has two of horses; {held_out} are from outside the
collection that our models were trained on, which play no part here). Means over pictures. SAM 2 is missing as its
weights could not be had.

{methods}

## Other factors, spectral

{factors}
"""


if __name__ == "__main__":
    sys.exit(main())
