"""What ``--roi`` and ``--saliency`` gain and cost at equal bytes. Writes build/bench/regions.md.

    python tools/regions.py [--shared ../shared] [--output docs/results/regions.md] [--nets FOLDER]

Every figure is of real files of the default model. Files that are compared have the same number of bytes within 0.5 %:
where the rate search lands farther away, the target is moved and the picture coded again.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gancodec import metrics, weights
from gancodec.codec import Box, DecodeOptions, EncodeOptions, decode_bytes
from gancodec.codec.api import encode_with
from gancodec.codec.guidance import painted
from gancodec.evaluate.metrics.quality import Meter
from gancodec.evaluate.report.tables import plain_markdown
from gancodec.models import guidance
from gancodec.models.gic1.codec import TunableCodec
from gancodec.types import Picture

Pixels = NDArray[np.uint8]
Weight = NDArray[np.float64]
Note = Callable[[str], None]

OUTPUT = Path("build/bench/regions.md")
EQUAL = 0.005  # largest distance between files that are compared
# Targets over the size wanted until files are equal: a file lies up to 1 % below its target, mostly 0.4 %.
TARGETS = (1.004, 1.006, 1.002, 1.008, 1.0, 1.01, 0.998)
RATE = 0.1  # bpp
STRENGTHS = (0.5, 1.0, 2.0)
SALIENCY_STRENGTHS = (0.5, 1.0, 2.0)
WHOLE, WHOLE_STRENGTHS = "spectral-center", (0.5, 1.0)
WHOLE_COLUMNS = ("psnr", "ms-ssim", "lpips-squeeze")
HUMAN = "fixations"  # the row whose map is the ground truth itself: more than any method can give


class Gain(NamedTuple):
    """Change of one file against the plain one of the same size: decibels and MS-SSIM where the weight lies, the same
    elsewhere (for saliency: over the whole picture), and the ratio of sizes minus 1."""

    psnr: float
    ms_ssim: float
    rest_psnr: float
    rest_ms_ssim: float
    size: float


class Coder:
    """Codes pictures with the default model; the plain file of each is made once."""

    def __init__(self) -> None:
        self.codec = TunableCodec(weights.get(None), "cpu")

    def plain(self, rgb: Pixels) -> bytes:
        """File at RATE, without any wish."""
        return encode_with(self.codec, Picture(rgb), EncodeOptions(bpp=RATE)).data

    def equal(self, rgb: Pixels, size: int, asked: EncodeOptions) -> bytes:
        """File as large as `size`, within EQUAL; the nearest where none is."""
        best = b""
        for over in TARGETS:
            data = encode_with(self.codec, Picture(rgb), replace(asked, size=round(over * size))).data
            best = min(best, data, key=lambda file: abs(len(file) - size))
            if abs(len(best) - size) <= EQUAL * size:
                break
        return best


def gain(rgb: Pixels, plain: bytes, raised: bytes, where: Weight, rest: Weight | None) -> Gain:
    """What `raised` has over `plain`, by a weight (H, W) and by another one."""
    before, after = (decode_bytes(data, DecodeOptions(realism=0)).rgb for data in (plain, raised))
    psnr, rest_psnr = (metrics.psnr(rgb, after, w) - metrics.psnr(rgb, before, w) for w in (where, rest))
    similar, rest_similar = (metrics.ms_ssim(rgb, after, w) - metrics.ms_ssim(rgb, before, w) for w in (where, rest))
    return Gain(psnr, similar, rest_psnr, rest_similar, len(raised) / len(plain) - 1)


def boxes(width: int, height: int) -> dict[str, Box]:
    """Boxes of a quarter of the picture: in the middle, in a corner, and off the grid of blocks."""
    return {
        "in the middle": Box(width // 4, height // 4, width // 2, height // 2),
        "top left corner": Box(0, 0, width // 2, height // 2),
        "off the block grid": Box(width // 2 - 37, height // 2 - 29, width // 2, height // 2),
    }


def regions(data: Path, coder: Coder, note: Note) -> list[str]:
    """Table of boxes and strengths over the Kodak pictures."""
    gains: dict[tuple[str, float], list[Gain]] = {}
    for path in sorted((data / "kodak").glob("*.png")):
        note(f"regions in {path.stem}")
        rgb = np.asarray(Image.open(path).convert("RGB"))
        plain = coder.plain(rgb)
        for where, box in boxes(rgb.shape[1], rgb.shape[0]).items():
            inside = painted(np.zeros(rgb.shape[:2], np.float32), (box,)).astype(np.float64)
            for strength in STRENGTHS:
                raised = coder.equal(rgb, len(plain), EncodeOptions(roi_boxes=(box,), saliency_strength=strength))
                gains.setdefault((where, strength), []).append(gain(rgb, plain, raised, inside, 1 - inside))
    rows = []
    for (where, strength), found in gains.items():
        mean = Gain(*np.mean(found, axis=0).tolist())
        least = min(g.psnr for g in found)
        over = sum(g.psnr >= 1 for g in found)
        rows.append(
            [
                where,
                f"{strength:g}",
                f"{mean.psnr:+.2f} / {mean.ms_ssim:+.4f}",
                f"{least:+.2f}",
                f"{over} of {len(found)}",
                f"{mean.rest_psnr:+.2f} / {mean.rest_ms_ssim:+.4f}",
                f"{100 * max(abs(g.size) for g in found):.2f} %",
            ]
        )
    return plain_markdown(["box", "strength", "inside", "least", "1 dB or more", "outside", "size within"], rows)


def ways(nets: Path | None) -> dict[str, dict[str, str]]:
    """Options of the saliency methods that can be run here."""
    found = {method: {"saliency": method} for method in ("center", "spectral", "fine", "combined", "spectral-center")}
    for method in ("gradcam", "segment"):
        if nets is None:
            break
        if not (nets / method).is_dir():
            raise SystemExit(f"{nets} has no folder {method}")
        found[method] = {"saliency": method, "saliency_model": str(nets / method)}
    return found


def saliency(data: Path, coder: Coder, nets: Path | None, every: int, note: Note) -> list[str]:
    """Table of saliency methods and strengths, weighted by where people looked."""
    gains: dict[tuple[str, float], list[Gain]] = {}
    for path in sorted((data / "saliency" / "images").glob("*.avif"))[::every]:
        note(f"saliency of {path.stem}")
        rgb = np.asarray(Image.open(path).convert("RGB"))
        density = Image.open(data / "saliency" / "maps" / f"{path.stem}.png").convert("L")
        density = density.resize((rgb.shape[1], rgb.shape[0]), Image.Resampling.BILINEAR)
        looked = np.asarray(density, np.float64)
        plain = coder.plain(rgb)
        for method, words in ways(nets).items():
            for strength in SALIENCY_STRENGTHS:
                asked = EncodeOptions(saliency_strength=strength, **words)  # type: ignore[arg-type]
                raised = coder.equal(rgb, len(plain), asked)
                gains.setdefault((method, strength), []).append(gain(rgb, plain, raised, looked, None))
        for strength in SALIENCY_STRENGTHS:
            raised = coder.equal(rgb, len(plain), EncodeOptions(saliency=density, saliency_strength=strength))
            gains.setdefault((HUMAN, strength), []).append(gain(rgb, plain, raised, looked, None))
    rows = []
    for (method, strength), found in gains.items():
        mean = Gain(*np.mean(found, axis=0).tolist())
        won = sum(g.psnr > 0 for g in found)
        rows.append(
            [
                method,
                f"{strength:g}",
                f"{mean.psnr:+.2f} / {mean.ms_ssim:+.4f}",
                f"{won} of {len(found)}",
                f"{mean.rest_psnr:+.2f} / {mean.rest_ms_ssim:+.4f}",
                f"{100 * max(abs(g.size) for g in found):.2f} %",
            ]
        )
    return plain_markdown(["map", "strength", "where people look", "PSNR up in", "whole picture", "size within"], rows)


def whole(shared: Path, coder: Coder, note: Note) -> list[str]:
    """Table of what saliency does to whole Kodak pictures, at both ends that users see."""
    meter = Meter(shared / "backbones")
    figures_of: dict[tuple[str, float], list[list[float]]] = {}
    for path in sorted((shared / "data" / "kodak").glob("*.png")):
        note(f"whole of {path.stem}")
        rgb = np.asarray(Image.open(path).convert("RGB"))
        plain = coder.plain(rgb)
        files = {("none", 0.0): plain}
        for strength in WHOLE_STRENGTHS:
            asked = EncodeOptions(saliency=WHOLE, saliency_strength=strength)
            files[WHOLE, strength] = coder.equal(rgb, len(plain), asked)
        for way, data in files.items():
            found = [meter.measure(rgb, decode_bytes(data, DecodeOptions(realism=r)).rgb) for r in (0.0, None)]
            cells = [float(figures[column] or 0) for figures in found for column in WHOLE_COLUMNS]
            figures_of.setdefault(way, []).append(cells)
    rows = []
    for (method, strength), values in figures_of.items():
        psnr, similarity, distance, psnr2, similarity2, distance2 = np.mean(values, axis=0)
        faithful = f"{psnr:.2f} / {similarity:.4f} / {distance:.4f}"
        natural = f"{psnr2:.2f} / {similarity2:.4f} / {distance2:.4f}"
        rows.append([method, f"{strength:g}", faithful, natural])
    return plain_markdown(["map", "strength", "realism 0", "default realism"], rows)


def main() -> int:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="folder with data/ and backbones/")
    parser.add_argument("--nets", type=Path, help="folder with gradcam/ and segment/, from tools/shared_networks.py")
    parser.add_argument("--every", type=int, default=3, help="of the pictures with fixations, every so many")
    parser.add_argument("--only", choices=list(SECTIONS), action="append", help="sections to measure; all without")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    data = options.shared / "data"
    if not (data / "kodak").is_dir():
        print(f"no pictures in {data}: nothing measured")
        return 0
    started = time.perf_counter()

    def note(what: str) -> None:
        print(f"{time.perf_counter() - started:6.1f} s  {what}", file=sys.stderr, flush=True)

    coder = Coder()
    measure: dict[str, Callable[[], list[str]]] = {
        "regions": lambda: regions(data, coder, note),
        "saliency": lambda: saliency(data, coder, options.nets, options.every, note),
        "whole": lambda: whole(options.shared, coder, note),
    }
    facts = {
        "model": weights.find(None).name,
        "rate": RATE,
        "equal": 100 * EQUAL,
        "region": guidance.REGION_STRENGTH,
        "saliency": guidance.SALIENCY_STRENGTH,
        "pictures": len(list((data / "saliency" / "images").glob("*.avif"))[:: options.every]),
    }
    page = PAGE.format(**facts)
    for name in options.only or SECTIONS:
        page += SECTIONS[name].format(**facts) + "\n" + "\n".join(measure[name]()) + "\n"
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(page, encoding="utf-8")
    print(page, end="")
    return 0


PAGE = """# Regions and saliency at equal bytes: {model}

```
python tools/shared_networks.py ../shared/backbones NETS
python tools/regions.py --nets NETS --output docs/results/regions.md
```

Changes against the plain file of the same picture at {rate:g} bpp and of the same size (within {equal:g} %, or as
the last column says), PSNR in dB / MS-SSIM, means over pictures, decoded at realism 0.
"""
SECTIONS = {
    "regions": """
## Regions

`--roi-box` on a quarter of the 24 Kodak pictures. At strength 1 a white block lies {region:g} logits of importance
above a black one. "least" is the PSNR inside of the picture that gains least.
""",
    "saliency": """
## Saliency

`--saliency METHOD` on {pictures} photographs that 15 people looked at (OSIE). At strength 1 one standard deviation of
the saliency of blocks is worth {saliency:g} logits. "where people look" weights every pixel with the density of
fixations; the last rows take that density itself as the map, which no method can know.
""",
    "whole": """
## Whole pictures

The 24 Kodak pictures: PSNR in dB / MS-SSIM / LPIPS-squeeze (lower is better) of the whole picture, not weighted.
""",
}


if __name__ == "__main__":
    sys.exit(main())
