"""Behind ``gancodec inspect``: everything there is to see of one picture in one file."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gancodec import atomic, imageio, metrics
from gancodec.codec import DecodeOptions, EncodeOptions, decode_bytes, encode_picture, read_allocation
from gancodec.codec.guidance import guidance_of
from gancodec.codec.options import completed
from gancodec.errors import GicError
from gancodec.evaluate.inspect import maps
from gancodec.models.guidance import Guidance
from gancodec.types import Picture

SHEET = "inspect.png"
METHOD = "combined"  # of the saliency that is shown where none is named


@dataclass(frozen=True)
class Look:
    """Panels by file name, facts, and one line on where the bits went."""

    panels: dict[str, maps.Panel]
    facts: dict[str, Any]
    summary: str


def at_picture(picture: Picture, encode: EncodeOptions, decode: DecodeOptions) -> Look:
    """Encode a picture, decode the file, and look at both; saliency that is not asked for is shown, not used."""
    encode = completed(encode)
    found = _maps(picture, encode)
    used = found._replace(strength=encode.saliency_strength)
    data = encode_picture(picture, encode, used if encode.saliency is not None else used._replace(saliency=None)).data
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


def _maps(picture: Picture, asked: EncodeOptions) -> Guidance:
    """The maps asked for, whatever their strength, and saliency in any case."""
    return guidance_of(picture.rgb, replace(asked, saliency=asked.saliency or METHOD, saliency_strength=1.0))


def _look(data: bytes, decoded: Picture, original: Picture | None, found: Guidance, asked: EncodeOptions) -> Look:
    height, width = decoded.rgb.shape[:2]
    bpp = 8 * len(data) / (width * height)
    method = str(asked.saliency or METHOD)
    titles = {"saliency": f"saliency ({method})", "region": "region of interest", "protection": "protected"}
    given = {"saliency": found.saliency, "region": found.region, "protection": found.protection}
    areas = {k: maps.map_panel(v, titles[k]) for k, v in given.items() if v is not None}
    allocation = read_allocation(data, max_pixels=asked.max_pixels)
    (first, beside), *others = maps.allocation_panels(allocation, width, height).items()
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
        **allocation.facts,
    }
    if original is not None:
        panels["error"] = maps.error_panel(original.rgb, decoded.rgb)
        facts |= {
            "psnr": metrics.psnr(original.rgb, decoded.rgb),
            "ms_ssim": metrics.ms_ssim(original.rgb, decoded.rgb),
            "saliency": method,
        }
    return Look(panels, facts, allocation.summary)


def write(look: Look, folder: Path) -> list[Path]:
    """Write every panel and the sheet of all of them as PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {f"{name}.png": maps.encoded(look.panels[name].pixels) for name in look.panels if name != "decoded"}
    noted = io.BytesIO()
    imageio.save(Picture(look.panels["decoded"].pixels, comment=look.facts["comment"]), noted, "png")
    files["decoded.png"] = noted.getvalue()
    files[SHEET] = maps.png(maps.sheet(look.panels), 130)
    for name, data in files.items():
        atomic.replace(folder / name, data)
    return [folder / name for name in files]
