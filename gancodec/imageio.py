"""Pillow file to Picture and back: orientation, alpha and metadata; pixel modes and profiles are in `colour`, the bytes
of EXIF in `exif`."""

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
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError, _imaging

from gancodec import colour, exif
from gancodec.errors import UnreadablePicture, UsageError
from gancodec.formats.modes import shown_mode
from gancodec.types import Picture

MAX_PIXELS = 1 << 28
RAISE = "raise --max-pixels to allow it"
INPUT_FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF")  # MPO comes with JPEG
TURNS = {  # by orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
METADATA_LIMIT = 1 << 22  # bytes of ICC, EXIF and XMP each: what a .gic file may hold
JPEG_EXIF_LIMIT = 65533
JPEG_XMP_LIMIT = 65533 - 29
JPEG_SIDE_LIMIT = 65500
OPAQUE = 255
# Over the state of Pillow and of `warnings`, both global to the process. A picture may hold another: split files do.
_PILLOW = threading.RLock()
# The property as attribute or as element.
XMP_ORIENTATION = re.compile(rb"""(tiff:Orientation(?:\s*=\s*["']|>\s*))([1-8])""")
KEPT_TEXTS = ("XML:com.adobe.xmp", "Raw profile type exif", "Raw profile type xmp", "Raw profile type APP1")
KEPT_SEGMENTS = (b"JFIF\0", b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0", b"Adobe", b"MPF\0")
OTHER_SEGMENTS = {
    b"http://ns.adobe.com/xmp/extension/\0": "extended XMP",
    b"FPXR\0": "FlashPix",
    b"JP": "content credentials (JUMBF)",
    b"JFXX\0": "thumbnail (JFXX)",
}


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
        raise UnreadablePicture(f"the picture has more than {max_pixels} pixels; {RAISE}") from error
    except FileNotFoundError as error:
        raise UnreadablePicture("no such file") from error
    except UnidentifiedImageError as error:
        known = "JPEG PNG WebP AVIF TIFF BMP GIF"
        raise UnreadablePicture(f"not a picture in a format that is read here ({known})") from error
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
    """Pillow refuses, from within its decoders, twice what it is set to; make that our limit, where it is larger, while
    we hold the lock. A smaller one, which `from_image` keeps, would meet other threads that use Pillow."""
    before = Image.MAX_IMAGE_PIXELS
    if before is not None:
        Image.MAX_IMAGE_PIXELS = max(before, -(-max_pixels // 2))
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def from_image(image: Image.Image, max_pixels: int = MAX_PIXELS) -> Picture:
    """Turn an open Pillow image into a Picture; raises as `load` does, or Pillow's own errors for damaged data."""
    if image.width * image.height > max_pixels:
        raise UnreadablePicture(f"{image.width}x{image.height} is more than {max_pixels} pixels; {RAISE}")
    if image.width == 0 or image.height == 0:
        raise UnreadablePicture("the picture has no pixels")
    notices: list[str] = []
    if getattr(image, "n_frames", 1) > 1:
        image.seek(0)
    # What is read from the file itself, which loading may close.
    tiff = image.format == "TIFF"
    stored_exif = tiff_exif(image, notices) if tiff else None
    stored_orientation = _orientation(image, notices) if tiff else 1
    coding = colour.coding_points(image)
    deep_colour = image.mode in ("RGB", "RGBA", "CMYK") and ";16" in str(getattr(image, "tile", ""))
    image.load()
    notices += _left_behind(image)
    if deep_colour:  # of which Pillow keeps the high bytes
        notices.append(colour.DEEP)
    clear = image.info.get("transparency")
    if isinstance(clear, tuple) and max(clear) > OPAQUE:  # of 16 bits, whatever is left of the pixels
        image = image.copy()  # its colours are not the caller's
        image.info["transparency"] = tuple(value >> 8 for value in clear)
    orientation = stored_orientation if tiff else _orientation(image, notices)
    turn = None if tiff else TURNS.get(orientation)  # Pillow turns TIFF itself
    turned = image if turn is None else image.transpose(turn)
    icc = image.info.get("icc_profile")
    if not icc or (coding and image.format == "PNG"):  # where code points come before a profile
        icc = colour.stated_profile(image, coding, notices)
    converted, icc = colour.to_rgb(turned, icc, notices)
    xmp = XMP_ORIENTATION.sub(rb"\g<1>1", _xmp(image) or b"") or None
    told = ("ICC profile", icc), ("EXIF", _exif(image, stored_exif, orientation, notices)), ("XMP", xmp)
    icc, exif_block, xmp = (_within_limit(*pair, notices) for pair in told)
    rgb, alpha = _arrays(converted)
    return Picture(rgb, alpha, icc, exif_block, xmp, tuple(notices))


def _arrays(image: Image.Image) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Pixels of an RGB or RGBA image, and its alpha unless that is opaque; in strips, or Pillow would hold all of them
    two times more."""
    rgb = np.empty((image.height, image.width, 3), np.uint8)
    alpha = np.empty(rgb.shape[:2], np.uint8) if image.mode == "RGBA" else None
    for top, strip in colour.strips(image):
        rgb[top : top + strip.height] = np.asarray(strip.convert("RGB"))
        if alpha is not None:
            alpha[top : top + strip.height] = np.asarray(strip.getchannel("A"))
    return rgb, None if alpha is None or (alpha == OPAQUE).all() else alpha


def _within_limit(name: str, value: bytes | None, notices: list[str]) -> bytes | None:
    if value is None or len(value) <= METADATA_LIMIT:
        return value
    notices.append(f"{name} of {len(value)} bytes is longer than {METADATA_LIMIT}: dropped")
    return None


def _orientation(image: Image.Image, notices: list[str]) -> int:
    """1..8, by EXIF, or by XMP where EXIF has none."""
    try:
        stated: Any = image.getexif().get(exif.ORIENTATION)
    except Exception:  # damaged EXIF takes nothing from the pixels
        notices.append("EXIF is damaged: orientation unknown")
        return 1
    if stated is None and (found := XMP_ORIENTATION.search(_xmp(image) or b"")):
        stated = int(found[2])
    return int(stated) if stated in range(1, 9) else 1


def _xmp(image: Image.Image) -> bytes | None:
    """XMP as stored."""
    value = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or _raw_profile(image, "xmp")
    if value is None and image.format == "TIFF":
        value = image.tag_v2.get(exif.XMP)  # type: ignore[attr-defined]
    return value.encode("utf-8") if isinstance(value, str) else value and bytes(value)


def _exif(image: Image.Image, stored: bytes | None, orientation: int, notices: list[str]) -> bytes | None:
    """EXIF as stored, but for what turning the picture made wrong."""
    raw = stored or image.info.get("exif") or _raw_profile(image, "exif") or _raw_profile(image, "APP1")
    if not raw:
        return None
    turned = exif.upright(raw, orientation)
    if turned is None:
        notices.append("EXIF is damaged: dropped")
    return turned


def _raw_profile(image: Image.Image, name: str) -> bytes | None:
    """What ImageMagick wrote into a PNG file as text: name, length and hexadecimal digits."""
    text = image.info.get(f"Raw profile type {name}")
    try:
        return bytes.fromhex("".join(str(text).split()[2:])) if text else None
    except ValueError:
        return None


def tiff_exif(image: Image.Image, notices: list[str]) -> bytes | None:
    """What a TIFF file tells of its picture; without camera and place once loading has closed the file."""
    file = getattr(image, "fp", None)
    try:
        if file is None or file.closed:
            file = _first_directory(image, notices)
        return exif.from_tiff(file)
    except Exception:
        notices.append("EXIF is damaged or in BigTIFF: dropped")
        return None


def _first_directory(image: Image.Image, notices: list[str]) -> BinaryIO:
    """A TIFF file of those tags that Pillow holds."""
    tags, known = Image.Exif(), image.getexif()
    tags.update({tag: value for tag, value in known.items() if tag not in exif.STORAGE})
    if [tags.pop(tag) for tag in (exif.CAMERA, exif.PLACE) if tag in tags]:
        notices.append("EXIF of camera and place is read from a TIFF file, which is closed: dropped")
    return io.BytesIO(tags.tobytes().removeprefix(exif.PREFIX))


def _left_behind(image: Image.Image) -> Iterator[str]:
    """What a file holds that has no place in a .gic file, in words."""
    frames, pictures = getattr(image, "n_frames", 1), image.format == "MPO"
    if frames > 1:
        yield f"only the first of {frames} {'pictures' if pictures else 'frames'} is kept"
    names = dict.fromkeys(_segments(image))
    if image.format == "PNG" and any(not key.startswith(KEPT_TEXTS) for key in getattr(image, "text", ())):
        names["text"] = None
    if image.format == "GIF" and image.info.get("comment"):
        names["comment"] = None
    if image.format == "TIFF" and exif.PHOTOSHOP in image.tag_v2:  # type: ignore[attr-defined]
        names["Photoshop resources"] = None
    if names:
        yield f"not kept: {', '.join(names)}"


def _segments(image: Image.Image) -> Iterator[str]:
    """Names of a JPEG file's segments that are not kept."""
    for marker, data in getattr(image, "applist", ()):
        if marker == "COM":
            yield "comment"
        elif data.startswith(b"Photoshop 3.0\0"):
            yield "IPTC" if b"8BIM\x04\x04" in data else "Photoshop resources"
        elif data.startswith(b"MPF\0") and image.format == "JPEG":
            yield "further pictures (preview, HDR gain map)"
        elif not data.startswith(KEPT_SEGMENTS):
            known = (name for start, name in OTHER_SEGMENTS.items() if data.startswith(start))
            yield next(known, marker)


def _upright(picture: Picture, notices: list[str]) -> Picture:
    """With orientations of 1: a hostile file may hold others, and viewers would turn the picture once more."""
    block = picture.exif and exif.upright(picture.exif)
    if picture.exif and (not block or _turns(block)):
        notices.append("EXIF is damaged: dropped")
        block = None
    return replace(picture, exif=block, xmp=picture.xmp and XMP_ORIENTATION.sub(rb"\g<1>1", picture.xmp))


def _turns(block: bytes) -> bool:
    """Does Pillow find an orientation all the same? It reads directories from places where there cannot be any."""
    tags = Image.Exif()
    with _PILLOW, warnings.catch_warnings(), suppress(Exception):
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
    block, xmp = picture.exif, picture.xmp
    if block and len(block) > JPEG_EXIF_LIMIT:
        notices.append("EXIF is too long for JPEG: dropped")
        block = None
    if xmp and len(xmp) > JPEG_XMP_LIMIT:
        notices.append("XMP is too long for JPEG: dropped")
        xmp = None
    comment = picture.comment.encode() if picture.comment else None
    return {"quality": 95, "subsampling": 0, "icc_profile": picture.icc, "exif": block, "xmp": xmp, "comment": comment}


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
