"""Behind ``gancodec inspect``: everything there is to see of one picture in one file."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gancodec import atomic, container, imageio, metrics
from gancodec.codec import DecodeOptions, EncodeOptions, decode_bytes, encode_picture, read_allocation, split
from gancodec.codec.priority import Wishes, wishes
from gancodec.container.spec import CELL
from gancodec.errors import GicError
from gancodec.evaluate import maps
from gancodec.evaluate.plots import png
from gancodec.models.config import SUBLEVELS
from gancodec.types import Picture

SHEET = "inspect.png"
METHOD = "combined"  # of the saliency that is shown where none is named


@dataclass(frozen=True)
class Look:
    """Panels by file name, facts, and the decoded picture's note on synthesised detail."""

    panels: dict[str, maps.Panel]
    facts: dict[str, Any]
    comment: str | None


def at_picture(picture: Picture, encode: EncodeOptions, decode: DecodeOptions) -> Look:
    """Encode a picture, decode the file, and look at both; saliency that is not asked for is shown, not used."""
    found = _maps(picture, encode)
    used = found if encode.saliency is not None else found._replace(saliency=None)
    data = encode_picture(picture, encode, used).data
    return _look(data, decode_bytes(data, decode), picture, found, encode)


def at_file(data: bytes, decode: DecodeOptions, asked: EncodeOptions, original: Picture | None = None) -> Look:
    """Look at a .gic file; without `original` there is no error map, and saliency is that of the decoded picture.

    Of `asked` the saliency is shown. Raises GicError where the original has another size.
    """
    decoded = decode_bytes(data, decode)
    if original is not None and original.rgb.shape != decoded.rgb.shape:
        sizes = ["{1}x{0}".format(*picture.rgb.shape) for picture in (original, decoded)]
        raise GicError(f"the original is {sizes[0]}, the file {sizes[1]}")
    return _look(data, decoded, original, _maps(original or decoded, asked), asked)


def _maps(picture: Picture, asked: EncodeOptions) -> Wishes:
    """The maps asked for, whatever their strength, and saliency in any case."""
    return wishes(picture.rgb, replace(asked, saliency=asked.saliency or METHOD, saliency_strength=1.0))


def _look(data: bytes, decoded: Picture, original: Picture | None, found: Wishes, asked: EncodeOptions) -> Look:
    height, width = decoded.rgb.shape[:2]
    bpp = 8 * len(data) / (width * height)
    method = str(asked.saliency or METHOD)
    titles = {"saliency": f"saliency ({method})", "region": "region of interest", "protection": "protected"}
    areas = {k: maps.map_panel(v, titles[k]) for k, v in found._asdict().items() if v is not None}
    spent, known = _spent(data, asked.max_pixels, width, height)
    (first, beside), *others = spent.items()
    panels = {} if original is None else {"original": maps.Panel("original", original.rgb)}
    # Saliency and bits side by side, as in figure 5 of the context-aware paper.
    panels |= {"saliency": areas.pop("saliency"), first: beside, **areas, **dict(others)}
    panels["decoded"] = maps.Panel(f"decoded, {len(data)} bytes, {bpp:.4f} bpp", decoded.rgb)
    facts = {
        "width": width,
        "height": height,
        "bytes": len(data),
        "bpp": bpp,
        "comment": decoded.comment,
        **known,
    }
    if original is not None:
        panels["error"] = maps.error_panel(original.rgb, decoded.rgb)
        facts |= {
            "psnr": metrics.psnr(original.rgb, decoded.rgb),
            "ms_ssim": metrics.ms_ssim(original.rgb, decoded.rgb),
            "saliency": method,
        }
    return Look(panels, facts, decoded.comment)


def _spent(data: bytes, max_pixels: int, width: int, height: int) -> tuple[dict[str, maps.Panel], dict[str, Any]]:
    """Where the bits of a file went: panels, the first of which belongs beside saliency, and facts."""
    if container.read(data, max_pixels).header.codec == split.CODEC_ID:
        cells, factor = split.read_cells(data, max_pixels)
        kept = cells.repeat(CELL, 0).repeat(CELL, 1)[:height, :width].astype(np.float32)
        title = f"full resolution (the rest is shrunk by {factor})"
        return {"kept": maps.map_panel(kept, title)}, {"kept_share": float(cells.mean()), "factor": factor}
    allocation = read_allocation(data, max_pixels=max_pixels)
    panels = {
        "bits": maps.bits_panel(allocation, width, height),
        "levels": maps.level_panel(allocation, width, height),
    }
    bits, levels = allocation.bits, allocation.levels / SUBLEVELS
    return panels, {
        "blocks": bits.size,
        "level_min": float(levels.min()),
        "level_max": float(levels.max()),
        "bits_per_block_min": float(bits.min()),
        "bits_per_block_max": float(bits.max()),
        "coded_bits": float(bits.sum()),
        "hq_ratio": float((bits > bits.mean()).mean()),
    }


def write(look: Look, folder: Path) -> list[Path]:
    """Write every panel and the sheet of all of them as PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {f"{name}.png": maps.encoded(look.panels[name].pixels) for name in look.panels if name != "decoded"}
    noted = io.BytesIO()
    imageio.save(Picture(look.panels["decoded"].pixels, comment=look.comment), noted, "png")
    files["decoded.png"] = noted.getvalue()
    files[SHEET] = png(maps.sheet(look.panels), 130)
    for name, data in files.items():
        atomic.replace(folder / name, data)
    return [folder / name for name in files]
