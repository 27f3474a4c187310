"""Pillow file to Picture and back; the only file that knows ICC, EXIF, XMP, alpha and pixel modes."""

from __future__ import annotations

import ctypes
import io
import logging
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, TiffTags, UnidentifiedImageError, _imaging

from gancodec.errors import UnreadablePicture, UsageError
from gancodec.types import Picture

MAX_PIXELS = 1 << 28
INPUT_FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF")  # MPO comes with JPEG
SUFFIX_FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".tif": "tiff", ".tiff": "tiff"}
ORIENTATION = 0x0112  # EXIF tag
TURNS = {  # by orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
EXIF_PREFIX = b"Exif\0\0"  # as JPEG has it; the other formats start at the TIFF header behind it
# TIFF tags that tell of the picture, not of its storage: description, maker, model, orientation, resolution, software,
# date, artist, host, copyright, and the directories of camera and place.
TELLING_TAGS = (270, 271, 272, ORIENTATION, 282, 283, 296, 305, 306, 315, 316, 33432, 34665, 34853)
TIFF_DIRECTORIES = (34665, 34853)
METADATA_LIMIT = 1 << 22  # bytes of ICC, EXIF and XMP each: what a .gic file may hold
JPEG_EXIF_LIMIT = 65533
JPEG_XMP_LIMIT = 65533 - 29
JPEG_SIDE_LIMIT = 65500
TIFF_XMP = 700  # TIFF tag of an XMP packet
OPAQUE = 255
_PILLOW = threading.Lock()  # over the state of Pillow and of `warnings`, both global to the process
SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")


def load(source: str | Path | BinaryIO | Image.Image, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a picture file.

    Parameters
    ----------
    source : path, binary stream, or open Pillow image
    max_pixels : int
        Larger pictures are refused before any pixel is decoded.

    Returns
    -------
    Picture
        Orientation applied; `notices` tells what was dropped. UnreadablePicture for whatever cannot be read.
    """
    with _PILLOW, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        picture = _load(source, max_pixels)
    # What Pillow says of damaged metadata is worth knowing; its bomb warning is not, as our own limit counts.
    told = [str(w.message).strip() for w in caught if issubclass(w.category, UserWarning)]
    return replace(picture, notices=(*picture.notices, *(line.splitlines()[0] for line in dict.fromkeys(told) if line)))


def _load(source: str | Path | BinaryIO | Image.Image, max_pixels: int) -> Picture:
    """`load`, but for Pillow's warnings."""
    _hush()
    try:
        if isinstance(source, Image.Image):
            return from_image(source, max_pixels)
        with _pillow_limit(max_pixels), Image.open(source, formats=INPUT_FORMATS) as image:
            return from_image(image, max_pixels)
    except UnreadablePicture:
        raise
    except Image.DecompressionBombError as error:
        raise UnreadablePicture(
            f"the picture has more than {max_pixels} pixels; raise --max-pixels to allow it"
        ) from error
    except FileNotFoundError as error:
        raise UnreadablePicture("no such file") from error
    except UnidentifiedImageError as error:
        raise UnreadablePicture(
            "not a picture in a format that is read here (JPEG PNG WebP AVIF TIFF BMP GIF)"
        ) from error
    except Exception as error:  # for damaged files Pillow raises nearly anything, struct.error and zlib.error included
        why = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
        raise UnreadablePicture(f"unreadable picture: {why}".splitlines()[0]) from error


@lru_cache(maxsize=1)
def _hush() -> None:
    """What libtiff prints of damaged files, and Pillow where nobody set up logging, comes back as an exception too."""
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    with suppress(AttributeError, OSError):  # a Pillow without libtiff, or one that hides its functions
        set_handler = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
        set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
        set_handler(None)


@contextmanager
def _pillow_limit(max_pixels: int) -> Iterator[None]:
    """Pillow refuses, from within its decoders, twice what it is set to; make that our limit while we hold the lock."""
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, -(-max_pixels // 2)
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def from_image(image: Image.Image, max_pixels: int = MAX_PIXELS) -> Picture:
    """Turn an open Pillow image into a Picture; raises as `load` does, or Pillow's own errors for damaged data."""
    if image.width * image.height > max_pixels:
        raise UnreadablePicture(
            f"{image.width}x{image.height} is more than {max_pixels} pixels; raise --max-pixels to allow it"
        )
    if image.width == 0 or image.height == 0:
        raise UnreadablePicture("the picture has no pixels")
    notices: list[str] = []
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        notices.append(f"only the first of {frames} frames is kept")
        image.seek(0)
    stored_exif = _tiff_exif(image, notices) if image.format == "TIFF" else None  # before its file is closed
    deep_colour = image.mode in ("RGB", "RGBA") and ";16" in str(getattr(image, "tile", ""))  # Pillow keeps high bytes
    image.load()
    if deep_colour:
        notices.append("more than 8 bits per sample: reduced to 8")
        if "transparency" in image.info:
            image.info["transparency"] = tuple(value >> 8 for value in image.info["transparency"])
    turn = TURNS.get(_orientation(image, notices))
    turned = image if turn is None else image.transpose(turn)
    converted, icc = _to_rgb(turned, image.info.get("icc_profile") or None, notices)
    exif, xmp = _upright_exif(stored_exif or image.info.get("exif"), notices), _xmp(image)
    icc, exif, xmp = (_within_limit(*pair, notices) for pair in (("ICC profile", icc), ("EXIF", exif), ("XMP", xmp)))
    rgb = np.asarray(converted.convert("RGB"))
    alpha = np.asarray(converted.getchannel("A")) if converted.mode == "RGBA" else None
    if alpha is not None and (alpha == OPAQUE).all():
        alpha = None
    return Picture(np.ascontiguousarray(rgb), alpha, icc, exif, xmp, tuple(notices))


def _within_limit(name: str, value: bytes | None, notices: list[str]) -> bytes | None:
    if value is None or len(value) <= METADATA_LIMIT:
        return value
    notices.append(f"{name} of {len(value)} bytes is longer than {METADATA_LIMIT}: dropped")
    return None


def _orientation(image: Image.Image, notices: list[str]) -> int:
    """By EXIF, or by XMP where EXIF has none; 1 for TIFF, which Pillow has turned already."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # damaged EXIF takes nothing from the pixels
        notices.append("EXIF is damaged: orientation unknown")
        return 1


def _xmp(image: Image.Image) -> bytes | None:
    """XMP as stored, its orientation reset to 1."""
    value = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    if value is None and image.format == "TIFF":
        value = image.tag_v2.get(TIFF_XMP)  # type: ignore[attr-defined]
    if isinstance(value, str):
        value = value.encode("utf-8")
    return _upright_xmp(bytes(value)) if value else None


def _upright_xmp(raw: bytes) -> bytes:
    return re.sub(rb'(tiff:Orientation(?:="|>))[2-8]', rb"\g<1>1", raw)


def _telling(tags: Image.Exif) -> Image.Exif:
    """Those tags that tell of the picture, with the directories that they point to."""
    kept = Image.Exif()
    for tag in TELLING_TAGS:
        if tag in tags:
            kept[tag] = tags.get_ifd(tag) if tag in TiffTags.TAGS_V2_GROUPS else tags[tag]
    return kept


def _tiff_exif(image: Image.Image, notices: list[str]) -> bytes | None:
    """The telling tags of a TIFF file as EXIF."""
    try:
        kept = _telling(image.getexif())
        return kept.tobytes() if set(kept) - {ORIENTATION, 282, 283, 296} else None
    except Exception:
        notices.append("EXIF is damaged: dropped")
        return None


def _upright_exif(raw: bytes | None, notices: list[str]) -> bytes | None:
    """EXIF as stored, byte for byte (maker notes hold offsets), but for its orientation, which is set to 1."""
    body = bytearray(re.sub(rb"^(Exif\0\0)+", b"", raw or b""))
    order: Literal["little", "big"] = "little" if body.startswith(b"II*\0") else "big"
    if order == "big" and not body.startswith(b"MM\0*"):
        if body:
            notices.append("EXIF is damaged: dropped")
        return None
    start = int.from_bytes(body[4:8], order)
    count = int.from_bytes(body[start : start + 2], order)
    for at in range(start + 2, min(start + 2 + 12 * count, len(body) - 11), 12):
        if int.from_bytes(body[at : at + 2], order) == ORIENTATION:
            one = b"".join(value.to_bytes(size, order) for value, size in ((3, 2), (1, 4), (1, 2), (0, 2)))
            body[at + 2 : at + 12] = one  # type SHORT, count 1, value 1
    return EXIF_PREFIX + bytes(body)


def _to_rgb(image: Image.Image, icc: bytes | None, notices: list[str]) -> tuple[Image.Image, bytes | None]:
    """Any mode to RGB or RGBA, with the ICC profile that still describes it."""
    mode = image.mode
    if mode == "CMYK":
        notices.append("CMYK converted to RGB")
        return _from_cmyk(image, icc, notices), None
    if icc and (icc[16:20] != b"RGB " or mode in ("LAB", "YCbCr", "HSV")):  # the colour space that a profile is of
        notices.append(f"ICC profile does not describe RGB: dropped (the original is {mode})")
        icc = None
    if mode in SIXTEEN_BIT or mode == "F":
        notices.append("more than 8 bits per sample: reduced to 8")
        return _from_deep(image), icc
    if mode in ("LAB", "YCbCr", "HSV"):
        notices.append(f"{mode} converted to RGB")
        return image.convert("RGB"), None
    has_alpha = mode in ("LA", "La", "PA", "RGBa", "RGBA") or "transparency" in image.info
    if mode == "La":
        image = image.convert("LA")  # Pillow has no direct way
    return image.convert("RGBA" if has_alpha else "RGB"), icc


def _from_deep(image: Image.Image) -> Image.Image:
    """16-bit gray by its full range; 32-bit and float by theirs, as nothing says what white is."""
    values = np.asarray(image).astype(np.float64)
    if image.mode == "F":
        finite = values[np.isfinite(values)]
        low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
        low, high = (0.0, 1.0) if 0 <= low and high <= 1 else (low, max(high, low + 1e-9))
        values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    else:
        low, high = 0.0, 65535.0 if values.max() <= 65535 else float(values.max())
    scaled = Image.fromarray(np.clip(np.rint((values - low) / (high - low) * 255), 0, 255).astype(np.uint8))
    if "transparency" not in image.info:
        return scaled.convert("RGB")
    opaque = Image.fromarray(np.where(values == image.info["transparency"], 0, 255).astype(np.uint8))
    return Image.merge("RGBA", (scaled, scaled, scaled, opaque))


def _from_cmyk(image: Image.Image, icc: bytes | None, notices: list[str]) -> Image.Image:
    """Through the embedded profile where there is a usable one, else by the plain formula."""
    if icc:
        try:
            srgb = ImageCms.createProfile("sRGB")
            turned = ImageCms.profileToProfile(image, io.BytesIO(icc), srgb, outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):
            notices.append("its ICC profile is unusable: colours are approximate")
        else:
            if turned is not None:
                return turned
    return image.convert("RGB")


def to_image(picture: Picture) -> Image.Image:
    """Picture to an RGB or RGBA Pillow image with ICC, EXIF, XMP and comment in its `info`."""
    pixels: NDArray[np.uint8] = picture.rgb if picture.alpha is None else np.dstack((picture.rgb, picture.alpha))
    image = Image.fromarray(pixels)
    info = {"icc_profile": picture.icc, "exif": picture.exif, "xmp": picture.xmp, "comment": picture.comment}
    image.info.update({k: v for k, v in info.items() if v})
    return image


def format_for(path: str | Path) -> str:
    """Output format by suffix; UsageError for one that is not written here."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIX_FORMATS:
        raise UsageError(f"{path}: cannot write {suffix or 'a file without suffix'}; use .png, .jpg, .webp or .tif")
    return SUFFIX_FORMATS[suffix]


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
    # Orientations are 1 by the format, but a hostile file may hold others, and viewers would turn the picture again.
    exif, xmp = _upright_exif(picture.exif, notices), picture.xmp and _upright_xmp(picture.xmp)
    picture = replace(picture, exif=exif, xmp=xmp)
    image = to_image(picture)
    image.info.clear()
    if format == "jpeg" and image.mode == "RGBA":
        notices.append("JPEG has no transparency: laid over white")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
    writers = {"png": _png_options, "jpeg": _jpeg_options, "webp": _webp_options, "tiff": _tiff_options}
    if format not in writers:
        raise UsageError(f"format {format}: choose {', '.join(writers)}")
    options = writers[format](picture, notices)
    try:
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
    exif, xmp = picture.exif, picture.xmp
    if exif and len(exif) > JPEG_EXIF_LIMIT:
        notices.append("EXIF is too long for JPEG: dropped")
        exif = None
    if xmp and len(xmp) > JPEG_XMP_LIMIT:
        notices.append("XMP is too long for JPEG: dropped")
        xmp = None
    comment = picture.comment.encode() if picture.comment else None
    return {"quality": 95, "subsampling": 0, "icc_profile": picture.icc, "exif": exif, "xmp": xmp, "comment": comment}


def _webp_options(picture: Picture, notices: list[str]) -> dict[str, Any]:
    return {"lossless": True, "exact": True, "icc_profile": picture.icc, "exif": picture.exif, "xmp": picture.xmp}


def _tiff_options(picture: Picture, notices: list[str]) -> dict[str, Any]:
    tags, kept = Image.Exif(), Image.Exif()
    try:
        tags.load(picture.exif or b"")
        kept = _telling(tags)
        if [kept.pop(tag) for tag in TIFF_DIRECTORIES if tag in kept]:  # libtiff, through Pillow, writes none
            notices.append("EXIF of camera settings and place is not written to TIFF: dropped")
        kept.tobytes()
    except Exception:
        notices.append("EXIF is damaged: dropped")
        kept = Image.Exif()
    if picture.xmp:
        kept[TIFF_XMP] = picture.xmp
    return {"compression": "tiff_adobe_deflate", "icc_profile": picture.icc, "exif": kept}
