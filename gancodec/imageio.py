"""Pillow file to Picture and back; the only file that knows ICC, EXIF, XMP, alpha and pixel modes."""

from __future__ import annotations

import io
import re
import struct
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError

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
EXIF_DIRECTORIES = (0x8769, 0x8825)  # camera and place, as TIFF tags
JPEG_EXIF_LIMIT = 65533 - 6
JPEG_SIDE_LIMIT = 65500
TIFF_XMP = 700  # TIFF tag of an XMP packet
OPAQUE = 255
SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")


def load(source: str | Path | BinaryIO, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a picture file.

    Parameters
    ----------
    source : path or binary stream
    max_pixels : int
        Larger pictures are refused before any pixel is decoded.

    Returns
    -------
    Picture
        Orientation applied; `notices` tells what was dropped. UnreadablePicture for whatever cannot be read.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        picture = _load(source, max_pixels)
    # What Pillow says of damaged metadata is worth knowing; its bomb warning is not, as our own limit counts.
    told = [str(w.message).strip() for w in caught if issubclass(w.category, UserWarning)]
    return replace(picture, notices=(*picture.notices, *(line.splitlines()[0] for line in dict.fromkeys(told) if line)))


def _load(source: str | Path | BinaryIO, max_pixels: int) -> Picture:
    """`load`, but for Pillow's warnings."""
    try:
        with Image.open(source, formats=INPUT_FORMATS) as image:
            return from_image(image, max_pixels)
    except UnreadablePicture:
        raise
    except Image.DecompressionBombError as error:  # Pillow's own limit, twice MAX_IMAGE_PIXELS
        raise UnreadablePicture(f"too many pixels for Pillow: {error}") from error
    except FileNotFoundError as error:
        raise UnreadablePicture("no such file") from error
    except UnidentifiedImageError as error:
        raise UnreadablePicture(
            "not a picture in a format that is read here (JPEG PNG WebP AVIF TIFF BMP GIF)"
        ) from error
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        TypeError,
        KeyError,
        IndexError,
        OverflowError,
        RuntimeError,
        struct.error,
    ) as error:
        # Pillow raises all of these for damaged files.
        raise UnreadablePicture(f"unreadable picture: {str(error) or type(error).__name__}".splitlines()[0]) from error


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
    if image.mode.startswith("RGB") and ";16" in str(getattr(image, "tile", "")):  # Pillow keeps the high bytes
        notices.append("more than 8 bits per sample: reduced to 8")
    image.load()
    icc, xmp = image.info.get("icc_profile") or None, _xmp(image)
    exif = image.getexif()  # orientation from XMP too, where EXIF has none
    turn = TURNS.get(exif.get(ORIENTATION))
    turned = image if turn is None else image.transpose(turn)
    exif_bytes = _upright_exif(image, exif, notices)
    converted, icc = _to_rgb(turned, icc, notices)
    rgb = np.asarray(converted.convert("RGB"))
    alpha = np.asarray(converted.getchannel("A")) if converted.mode == "RGBA" else None
    if alpha is not None and (alpha == OPAQUE).all():
        alpha = None
    return Picture(np.ascontiguousarray(rgb), alpha, icc, exif_bytes, xmp, tuple(notices))


def _xmp(image: Image.Image) -> bytes | None:
    """XMP as stored, its orientation reset to 1."""
    value = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    if value is None and image.format == "TIFF":
        value = image.tag_v2.get(TIFF_XMP)  # type: ignore[attr-defined]
    if isinstance(value, str):
        value = value.encode("utf-8")
    return re.sub(rb'(tiff:Orientation(?:="|>))[2-8]', rb"\g<1>1", bytes(value)) if value else None


def _upright_exif(image: Image.Image, exif: Image.Exif, notices: list[str]) -> bytes | None:
    """EXIF as stored, its orientation reset to 1. TIFF's own tags are no EXIF of the picture's."""
    if image.format == "TIFF" and "exif" not in image.info:
        if any(directory in exif for directory in EXIF_DIRECTORIES):
            notices.append("EXIF of the TIFF original dropped")
        return None
    if not len(exif):
        return None
    if ORIENTATION in exif:
        exif[ORIENTATION] = 1
    try:
        return exif.tobytes()
    except (struct.error, ValueError, TypeError, AttributeError, OverflowError):
        notices.append("EXIF is damaged: dropped")
        return None


def _to_rgb(image: Image.Image, icc: bytes | None, notices: list[str]) -> tuple[Image.Image, bytes | None]:
    """Any mode to RGB or RGBA, with the ICC profile that still describes it."""
    mode = image.mode
    if mode in ("RGB", "RGBA") and "transparency" not in image.info:
        return image, icc
    if mode in SIXTEEN_BIT or mode == "F":
        notices.append("more than 8 bits per sample: reduced to 8")
        _drop_icc(icc, "gray", notices)
        return _from_deep(image), None
    if mode == "CMYK":
        notices.append("CMYK converted to RGB")
        return _from_cmyk(image, icc, notices), None
    if mode in ("LAB", "YCbCr", "HSV"):
        notices.append(f"{mode} converted to RGB")
        _drop_icc(icc, mode, notices)
        return image.convert("RGB"), None
    has_alpha = mode in ("LA", "La", "PA", "RGBa", "RGBA") or "transparency" in image.info
    if mode in ("1", "L", "LA", "La"):
        _drop_icc(icc, "gray", notices)
        icc = None
    if mode == "La":
        image = image.convert("LA")  # Pillow has no direct way
    return image.convert("RGBA" if has_alpha else "RGB"), icc


def _drop_icc(icc: bytes | None, kind: str, notices: list[str]) -> None:
    if icc:
        notices.append(f"ICC profile of the {kind} original dropped")


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
    scaled = np.clip(np.rint((values - low) / (high - low) * 255), 0, 255)
    return Image.fromarray(scaled.astype(np.uint8)).convert("RGB")


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
    """Picture to an RGB or RGBA Pillow image with ICC, EXIF and XMP in its `info`."""
    pixels: NDArray[np.uint8] = picture.rgb if picture.alpha is None else np.dstack((picture.rgb, picture.alpha))
    image = Image.fromarray(pixels)
    info = {"icc_profile": picture.icc, "exif": picture.exif, "xmp": picture.xmp}
    image.info.update({k: v for k, v in info.items() if v})
    return image


def format_for(path: str | Path) -> str:
    """Output format by suffix; UsageError for one that is not written here."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIX_FORMATS:
        raise UsageError(f"{path}: cannot write {suffix or 'a file without suffix'}; use .png, .jpg, .webp or .tif")
    return SUFFIX_FORMATS[suffix]


def save(picture: Picture, target: BinaryIO, format: str, note: str | None = None) -> tuple[str, ...]:
    """Write a picture as PNG, JPEG (quality 95, 4:4:4), WebP (lossless) or TIFF (deflate).

    Parameters
    ----------
    format : {"png", "jpeg", "webp", "tiff"}
    note : str, optional
        Comment for formats with a place for one (PNG, JPEG).

    Returns
    -------
    tuple of str
        What the format could not hold, one line each.
    """
    notices: list[str] = []
    image = to_image(picture)
    image.info.clear()
    if format == "jpeg" and image.mode == "RGBA":
        notices.append("JPEG has no transparency: laid over white")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
    writers = {"png": _png_options, "jpeg": _jpeg_options, "webp": _webp_options, "tiff": _tiff_options}
    if format not in writers:
        raise UsageError(f"format {format}: choose {', '.join(writers)}")
    options = writers[format](picture, note, notices)
    try:
        image.save(target, format=format, **{k: v for k, v in options.items() if v is not None})
    except ValueError as error:  # sides or metadata beyond what the format holds
        raise UsageError(f"cannot write as {format}: {error}") from error
    return tuple(notices)


def _png_options(picture: Picture, note: str | None, notices: list[str]) -> dict[str, Any]:
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    if note:
        text.add_text("Comment", note)
    if picture.xmp:
        text.add_itxt("XML:com.adobe.xmp", picture.xmp.decode("utf-8", "replace"))
    return {"icc_profile": picture.icc, "exif": picture.exif, "pnginfo": text}


def _jpeg_options(picture: Picture, note: str | None, notices: list[str]) -> dict[str, Any]:
    if max(picture.rgb.shape[:2]) > JPEG_SIDE_LIMIT:
        raise UsageError(f"cannot write as jpeg: a side is longer than {JPEG_SIDE_LIMIT} pixels")
    exif, xmp = picture.exif, picture.xmp
    if exif and len(exif) > JPEG_EXIF_LIMIT:
        notices.append("EXIF is too long for JPEG: dropped")
        exif = None
    if xmp and len(xmp) > JPEG_EXIF_LIMIT - 29:
        notices.append("XMP is too long for JPEG: dropped")
        xmp = None
    comment = note.encode() if note else None
    return {"quality": 95, "subsampling": 0, "icc_profile": picture.icc, "exif": exif, "xmp": xmp, "comment": comment}


def _webp_options(picture: Picture, note: str | None, notices: list[str]) -> dict[str, Any]:
    return {"lossless": True, "exact": True, "icc_profile": picture.icc, "exif": picture.exif, "xmp": picture.xmp}


def _tiff_options(picture: Picture, note: str | None, notices: list[str]) -> dict[str, Any]:
    if picture.exif:
        notices.append("EXIF is not written to TIFF: dropped")
    tags = {TIFF_XMP: picture.xmp} if picture.xmp else None
    return {"compression": "tiff_adobe_deflate", "icc_profile": picture.icc, "tiffinfo": tags}
