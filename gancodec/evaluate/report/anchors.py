"""Published curves, to lie beside measured ones."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

from gancodec.errors import GicError, UsageError
from gancodec.evaluate.curves import Curve, curve_of
from gancodec.evaluate.metrics.quality import decibel
from gancodec.sources import read_small

NAMES = {"psnr": ("psnr_rgb", "psnr-rgb", "psnr"), "ms-ssim": ("ms_ssim", "ms-ssim-rgb", "ms-ssim", "ms_ssim_rgb")}


def read_anchors(path: Path) -> list[Curve]:
    """Published or measured curves from a file.

    A CSV file has columns `codec`, `bpp` and any of PSNR (psnr, psnr_rgb) and MS-SSIM (ms_ssim, ms-ssim-rgb), one line
    a point; `variant` or `metric_optimised` become part of the name, and of files with a column `kind` only lines of
    kind "curve" are taken. A JSON file is CompressAI's: name, results of bpp, psnr-rgb, ms-ssim-rgb.

    Raises UsageError where it is neither.
    """
    try:
        text = read_small(str(path)).decode()
        found = _from_json(json.loads(text)) if path.suffix == ".json" else _from_csv(text)
    except (GicError, ValueError, KeyError, TypeError, AttributeError) as error:
        why = str(error) if isinstance(error, GicError) else repr(error)
        raise UsageError(f"--anchors {path}: not a file of curves: {why}") from error
    if not found:
        raise UsageError(f"--anchors {path}: no curve with bpp and PSNR or MS-SSIM in it")
    return found


def _from_json(data: dict[str, Any]) -> list[Curve]:
    results = data["results"]
    points = [
        (float(bpp), {k: float(results[n][i]) for k, names in NAMES.items() for n in names if n in results})
        for i, bpp in enumerate(results["bpp"])
    ]
    return [_published(str(data["name"]), points)]


def _from_csv(text: str) -> list[Curve]:
    found: dict[str, list[tuple[float, dict[str, float]]]] = {}
    for line in csv.DictReader(text.splitlines()):
        if line.get("kind", "curve") != "curve":
            continue
        figures = {k: float(line[n]) for k, names in NAMES.items() for n in names if line.get(n)}
        if not (math.isfinite(float(line["bpp"])) and float(line["bpp"]) > 0):
            raise ValueError(f"bpp {line['bpp']}")
        if figures:
            found.setdefault(_name(line), []).append((float(line["bpp"]), figures))
    return [_published(name, points) for name, points in found.items()]


def _name(line: dict[str, str]) -> str:
    optimised = line.get("metric_optimised", "")
    extra = line.get("variant") or (f"({optimised})" if optimised and not optimised.startswith("n/a") else "")
    return f"{line['codec']} {extra}".strip()


def _published(name: str, points: list[tuple[float, dict[str, float]]]) -> Curve:
    for _, figures in points:
        if "ms-ssim" in figures:
            figures["ms-ssim-db"] = decibel(figures["ms-ssim"])
    return curve_of(name, "published", points)
