"""Picture to file, in the formats that decoding writes."""

from __future__ import annotations

import warnings
from contextlib import suppress
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gancodec import exif
from gancodec.errors import UsageError
from gancodec.formats import xmp
from gancodec.formats.modes import shown_mode
from gancodec.imageio.lock import PILLOW
from gancodec.types import Picture

JPEG_EXIF_LIMIT = 65533
JPEG_XMP_LIMIT = 65533 - 29
JPEG_SIDE_LIMIT = 65500


def _upright(picture: Picture, notices: list[str]) -> Picture:
    """With orientations of 1: a hostile file may hold others, and viewers would turn the picture once more."""
    block = picture.exif and exif.upright(picture.exif)
    if picture.exif and (not block or _turns(block)):
        notices.append("EXIF is damaged: dropped")
        block = None
    return replace(picture, exif=block, xmp=picture.xmp and xmp.upright(picture.xmp))


def _turns(block: bytes) -> bool:
    """Does Pillow find an orientation all the same? It reads directories from places where there cannot be any."""
    tags = Image.Exif()
    with PILLOW, warnings.catch_warnings(), suppress(Exception):
        warnings.simplefilter("ignore")
        tags.load(block)
        return bool(tags.get(exif.ORIENTATION, 1) != 1)
    return False


def _pixels(picture: Picture) -> NDArray[np.uint8]:
    """(H, W, channels) of the mode that it is shown in."""
    mode = shown_mode(picture.gray, picture.alpha is not None, picture.icc)
    colours = picture.rgb[..., :1] if mode in ("L", "LA") else picture.rgb
    return colours if picture.alpha is None else np.dstack((colours, picture.alpha))


def _plain_image(picture: Picture) -> Image.Image:
    pixels = _pixels(picture)
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def to_image(picture: Picture) -> Image.Image:
    """Picture to a Pillow image of its mode (L, LA, RGB or RGBA) with ICC, EXIF, XMP and comment in its `info`."""
    image = _plain_image(picture)
    info = {"icc_profile": picture.icc, "exif": picture.exif, "xmp": picture.xmp, "comment": picture.comment}
    image.info.update({k: v for k, v in info.items() if v})
    return image


def save(picture: Picture, target: BinaryIO, format: str) -> tuple[str, ...]:
    """Write a picture as PNG, JPEG (quality 95, 4:4:4), WebP (lossless) or TIFF (deflate).

    Its comment goes into PNG and JPEG files.

    Parameters
    ----------
    format : {"png", "jpeg", "webp", "tiff"}

    Returns
    -------
    tuple of str
        What the format could not hold, one line each.
    """
    notices: list[str] = []
    picture = _upright(picture, notices)
    writers = {"png": _png_options, "jpeg": _jpeg_options, "webp": _webp_options}
    if format not in (*writers, "tiff"):
        raise UsageError(f"format {format}: choose {', '.join(writers)} or tiff")
    try:
        if format == "tiff":
            _save_tiff(picture, target, notices)
            return tuple(notices)
        image = _plain_image(picture)
        if format == "jpeg" and picture.alpha is not None:
            notices.append("JPEG has no transparency: laid over white")
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image.convert("RGBA")).convert(image.mode[:-1])
        options = writers[format](picture, notices)
        image.save(target, format=format, **{k: v for k, v in options.items() if v is not None})
    except ValueError as error:  # sides or metadata beyond what the format holds
        raise UsageError(f"cannot write as {format}: {error}") from error
    return tuple(notices)


def _png_options(picture: Picture, notices: list[str]) -> dict[str, Any]:
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    if picture.comment:
        text.add_text("Comment", picture.comment)
    try:
        if picture.xmp:
            text.add_itxt("XML:com.adobe.xmp", picture.xmp.decode("utf-8"))
    except UnicodeDecodeError:
        notices.append("XMP is not UTF-8, which PNG wants: dropped")
    return {"icc_profile": picture.icc, "exif": picture.exif, "pnginfo": text}


def _jpeg_options(picture: Picture, notices: list[str]) -> dict[str, Any]:
    if max(picture.rgb.shape[:2]) > JPEG_SIDE_LIMIT:
        raise UsageError(f"cannot write as jpeg: a side is longer than {JPEG_SIDE_LIMIT} pixels")
    block, packet = picture.exif, picture.xmp
    if block and len(block) > JPEG_EXIF_LIMIT:
        notices.append("EXIF is too long for JPEG: dropped")
        block = None
    if packet and len(packet) > JPEG_XMP_LIMIT:
        notices.append("XMP is too long for JPEG: dropped")
        packet = None
    comment = picture.comment.encode() if picture.comment else None
    metadata = {"icc_profile": picture.icc, "exif": block, "xmp": packet, "comment": comment}
    return {"quality": 95, "subsampling": 0, **metadata}


def _webp_options(picture: Picture, notices: list[str]) -> dict[str, Any]:
    return {"lossless": True, "exact": True, "icc_profile": picture.icc, "exif": picture.exif, "xmp": picture.xmp}


def _save_tiff(picture: Picture, target: BinaryIO, notices: list[str]) -> None:
    """By our own writer: libtiff, which Pillow writes with, has no way to write EXIF's directories."""
    start = exif.EMPTY_TIFF
    try:
        start = exif.to_tiff(picture.exif) if picture.exif else start
    except ValueError:
        notices.append("EXIF is damaged: dropped")
    for part in exif.tiff_file(_pixels(picture), start, picture.xmp, picture.icc):
        target.write(part)
