"""Behind ``gancodec inspect``: everything there is to see of one picture in one file."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gancodec import atomic, container, imageio, metrics
from gancodec.codec import DecodeOptions, EncodeOptions, decode_bytes, encode_picture, read_allocation, split
from gancodec.codec.priority import wishes
from gancodec.container.spec import CELL
from gancodec.errors import GicError
from gancodec.evaluate import maps
from gancodec.evaluate.plots import png
from gancodec.models.config import SUBLEVELS
from gancodec.types import Picture

SHEET = "inspect.png"


@dataclass(frozen=True)
class Look:
    """Panels by file name, facts, and the decoded picture's note on synthesised detail."""

    panels: dict[str, maps.Panel]
    facts: dict[str, Any]
    comment: str | None


def at_picture(picture: Picture, encode: EncodeOptions, decode: DecodeOptions) -> Look:
    """Encode a picture, decode the file, and look at both."""
    coded = encode_picture(picture, encode)
    return at_file(coded.data, decode, encode, picture)


def at_file(data: bytes, decode: DecodeOptions, asked: EncodeOptions, original: Picture | None = None) -> Look:
    """Look at a .gic file; without `original` there is no error map, and saliency is that of the decoded picture.

    Of `asked` the maps are shown: saliency (combined, where it names none), regions, what is protected. Raises
    GicError where the original has another size.
    """
    picture = decode_bytes(data, decode)
    decoded = picture.rgb
    height, width = decoded.shape[:2]
    if original is not None and original.rgb.shape != decoded.shape:
        size = "{1}x{0}".format(*original.rgb.shape)
        raise GicError(f"the original is {size}, the file {width}x{height}")
    seen = decoded if original is None else original.rgb
    panels = {} if original is None else {"original": maps.Panel("original", seen)}
    method = asked.saliency or "combined"
    found = wishes(seen, replace(asked, saliency=method, saliency_strength=1.0))
    named = {"saliency": f"saliency ({method})", "region": "region of interest", "protection": "protected"}
    areas = {k: maps.map_panel(getattr(found, k), title) for k, title in named.items() if getattr(found, k) is not None}
    panels["saliency"] = areas.pop("saliency")
    shown, known = _spent(data, decode.max_pixels, width, height)
    panels |= shown | areas
    bpp = 8 * len(data) / (width * height)
    panels["decoded"] = maps.Panel(f"decoded, {len(data)} bytes, {bpp:.4f} bpp", decoded)
    facts = {
        "width": width,
        "height": height,
        "bytes": len(data),
        "bpp": bpp,
        "comment": picture.comment,
        **known,
    }
    if original is not None:
        panels["error"] = maps.error_panel(original.rgb, decoded)
        facts |= {
            "psnr": metrics.psnr(original.rgb, decoded),
            "ms_ssim": metrics.ms_ssim(original.rgb, decoded),
            "saliency": str(method),
        }
    return Look(panels, facts, picture.comment)


def _spent(data: bytes, max_pixels: int, width: int, height: int) -> tuple[dict[str, maps.Panel], dict[str, Any]]:
    """Where the bits of a file went: panels, the first of which belongs beside saliency as in figure 5 of the
    context-aware paper, and facts."""
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
