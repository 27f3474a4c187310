"""Picture file to `Picture`: first what the file says of itself, then its pixels by Pillow, upright and in RGB."""

from __future__ import annotations

import ctypes
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin, UnidentifiedImageError, _imaging

from gancodec import colour
from gancodec.errors import UnreadablePicture
from gancodec.formats import look, png, tiff, xmp
from gancodec.formats.facts import Facts
from gancodec.imageio import metadata
from gancodec.imageio.lock import PILLOW
from gancodec.types import Picture

MAX_PIXELS = 1 << 28
RAISE = "raise --max-pixels to allow it"
OPAQUE = 255
PREDICTOR, COLOUR_MAP = 317, 320  # tags of TIFF
FLOATING = 3  # value of PREDICTOR
# What libtiff gives in the machine's order, and Pillow takes for that of the file.
NATIVE = {"F;32F": "F;32NF", "F;32BF": "F;32NF", "I;32S": "I;32NS", "I;32BS": "I;32NS"}
NATIVE |= {"I;16S": "I;16NS", "I;16BS": "I;16NS"}


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
    with PILLOW, warnings.catch_warnings(record=True) as caught:
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
            return _from_open(source, max_pixels)
        if isinstance(source, str | Path):
            with open(source, "rb") as file:
                return _from_file(file, max_pixels)
        return _from_file(source, max_pixels)
    except UnreadablePicture:
        raise
    except Image.DecompressionBombError as error:
        raise UnreadablePicture(f"the picture has more than {max_pixels} pixels; {RAISE}") from error
    except FileNotFoundError as error:
        raise UnreadablePicture("no such file") from error
    except Exception as error:  # for damaged files Pillow raises nearly anything, struct.error and zlib.error included
        raise UnreadablePicture(f"unreadable picture: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    why = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
    return why.splitlines()[0]


def _from_file(file: BinaryIO, max_pixels: int) -> Picture:
    facts = look.look(file)
    if not facts.format:
        raise UnreadablePicture(facts.name)
    try:
        return _decoded(facts.sound or file, facts, max_pixels)
    except (UnreadablePicture, Image.DecompressionBombError):
        raise
    except Exception as error:
        still = png.without_animation(facts.sound or file) if facts.format == "PNG" else None
        if still is not None:
            with suppress(Exception):
                picture = _decoded(still, facts, max_pixels)
                return replace(picture, notices=(*picture.notices, "its animation is damaged: one picture is kept"))
        if isinstance(error, UnidentifiedImageError):
            why = _objection(facts.sound or file, facts)
            raise UnreadablePicture(f"{facts.name}: not read here ({why})") from error
        raise UnreadablePicture(f"unreadable picture: {_reason(error)} ({facts.name})") from error


def _from_open(image: Image.Image, max_pixels: int) -> Picture:
    """Picture of an open image; of its file, where Pillow would read that wrongly and has not done so yet."""
    facts, file = facts_of(image), getattr(image, "fp", None)
    if not (facts.by_libtiff or facts.sound) or file is None or not getattr(image, "tile", None):
        return from_image(image, max_pixels, facts)
    place = file.tell()
    try:
        return _decoded(facts.sound or file, facts, max_pixels)
    finally:
        file.seek(place)


def _decoded(file: BinaryIO, facts: Facts, max_pixels: int) -> Picture:
    with _pillow_limit(max_pixels), _by_libtiff(facts), Image.open(file, formats=(facts.format,)) as image:
        pixels = image.width * image.height
        beyond = facts.most_pixels is not None and pixels > facts.most_pixels
        if pixels <= max_pixels and (beyond or (facts.format == "PNG" and png.pixels_are_missing(file))):
            raise UnreadablePicture(f"{facts.name}: not all of its {image.width}x{image.height} pixels are there")
        return from_image(image, max_pixels, facts)


def _objection(file: BinaryIO, facts: Facts) -> str:
    """Why Pillow does not take a file; asked again, as `Image.open` keeps that to itself."""
    try:
        file.seek(0)
        Image.OPEN[facts.format][0](file, "")
    except Exception as error:
        return _reason(error)
    return "unknown kind"


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


@contextmanager
def _by_libtiff(facts: Facts) -> Iterator[None]:
    """Have libtiff read what Pillow's own reader gets wrong, while we hold the lock."""
    before = TiffImagePlugin.READ_LIBTIFF
    TiffImagePlugin.READ_LIBTIFF = before or facts.by_libtiff
    try:
        yield
    finally:
        TiffImagePlugin.READ_LIBTIFF = before


def facts_of(image: Image.Image) -> Facts:
    """What the file of an open Pillow image says, as far as it is still open and the caller has not changed what the
    image holds of it; UnreadablePicture for what Pillow reads wrongly."""
    file: Any = getattr(image, "fp", None)
    if image.format in (*look.LOOKS, "MPO") and file is not None and not file.closed:
        facts = look.look(file)
        if facts.format == image.format or (facts.format, image.format) == ("JPEG", "MPO"):
            return _but_changed(facts, image, file)
    if image.format == "TIFF":
        tags = {tag: value for tag, value in image.tag_v2.items() if tag in tiff.WANTED}  # type: ignore[attr-defined]
        numbers = {tag: value if isinstance(value, tuple) else (value,) for tag, value in tags.items()}
        return tiff.of_tags({tag: v for tag, v in numbers.items() if all(isinstance(n, int | float) for n in v)})
    return Facts(format=image.format or "")


def _but_changed(facts: Facts, image: Image.Image, file: BinaryIO) -> Facts:
    """The facts without what the caller has taken out of the image, or put in its place."""
    if all(value is None for value in (facts.icc, facts.exif, facts.xmp, facts.clear)):
        return facts
    place = file.tell()
    with suppress(Exception), Image.open(file, formats=(facts.format,)) as fresh:
        before = fresh.info
        same = {key: before.get(key) == image.info.get(key) for key in ("icc_profile", "exif", "xmp", "transparency")}
        facts = replace(
            facts,
            icc=facts.icc if same["icc_profile"] else None,
            exif=facts.exif if same["exif"] else None,
            orientation=facts.orientation if same["exif"] else None,
            xmp=facts.xmp if same["xmp"] else None,
            clear=facts.clear if same["transparency"] else None,
        )
    file.seek(place)
    return facts


def from_image(image: Image.Image, max_pixels: int = MAX_PIXELS, facts: Facts | None = None) -> Picture:
    """Turn an open Pillow image into a Picture, with the facts of its file; raises as `load` does, or Pillow's own
    errors for damaged data."""
    if image.width * image.height > max_pixels:
        raise UnreadablePicture(f"{image.width}x{image.height} is more than {max_pixels} pixels; {RAISE}")
    if image.width == 0 or image.height == 0:
        raise UnreadablePicture("the picture has no pixels")
    if getattr(image, "n_frames", 1) > 1:
        image.seek(0)
    facts = facts_of(image) if facts is None else facts
    if _is_misread(image, facts):
        raise UnreadablePicture(f"{facts.name} is loaded wrongly by Pillow: hand over the file instead")
    metadata.check(image)
    notices: list[str] = []
    # What is read from the file itself, which loading may close.
    tiff_file = image.format == "TIFF"
    block = metadata.tiff_exif(image, notices) if tiff_file else None
    loaded = not getattr(image, "tile", None)  # which turns TIFF, and forgets that it was to be
    turned_by_pillow = tiff_file and (loaded or metadata.pillows_orientation(image, []) in metadata.TURNS)
    box, clear = _frame_of_gif(image), _clear_of_deep_png(image, facts)
    _mend_tile(image)
    image.load()
    notices += [*metadata.left_behind(image), *facts.notices]
    block = block if tiff_file else metadata.exif_of(image, facts)
    orientation = metadata.orientation_of(image, facts, block, notices)
    shown = _shown(image, facts, box, clear)
    if facts.samples.bits > 8 and shown.mode not in colour.DEEP_GRAY:  # of which Pillow keeps the high bytes
        notices.append(colour.DEEP)
    turn = None if turned_by_pillow else metadata.TURNS.get(orientation)
    shown = shown if turn is None else shown.transpose(turn)
    icc = metadata.icc_of(image, facts, notices)
    stated = not icc or (facts.coding is not None and image.format == "PNG")  # code points come before a profile
    icc = colour.stated_profile(image, facts.coding, notices) if stated else icc
    converted, icc = colour.to_rgb(shown, icc, notices, facts.samples, stated)
    packet = xmp.without_claims(xmp.upright(metadata.xmp_of(image, facts) or b"")) or None
    told = ("ICC profile", icc), ("EXIF", metadata.upright_exif(block, orientation, notices)), ("XMP", packet)
    icc, exif_block, packet = (metadata.within_limit(*pair, notices) for pair in told)
    rgb, alpha = _arrays(converted)
    return Picture(rgb, alpha, icc, exif_block, packet, tuple(dict.fromkeys(notices)))


def _is_misread(image: Image.Image, facts: Facts) -> bool:
    """Has Pillow loaded a TIFF wrongly?"""
    tile: Any = getattr(image, "tile", None)
    if facts.by_libtiff and facts.samples.bits > 8:
        return not (tile and tile[0].codec_name == "libtiff")
    if image.format != "TIFF" or tile or image.mode not in ("F", "I"):
        return False
    tags: Any = image.tag_v2  # type: ignore[attr-defined]
    native = {"little": b"II", "big": b"MM"}[sys.byteorder]
    return image.info.get("compression") != "raw" and tags.prefix != native and tags.get(PREDICTOR) != FLOATING


def _mend_tile(image: Image.Image) -> None:
    """Have what libtiff decodes taken in the order of the machine, in which it comes but with floating-point
    differences."""
    tile: Any = getattr(image, "tile", None)
    if image.format != "TIFF" or not tile or image.tag_v2.get(PREDICTOR) == FLOATING:  # type: ignore[attr-defined]
        return
    for number, part in enumerate(tile):
        if part.codec_name == "libtiff" and part.args[0] in NATIVE:
            tile[number] = part._replace(args=(NATIVE[part.args[0]], *part.args[1:]))


def _frame_of_gif(image: Image.Image) -> tuple[int, int, int, int] | None:
    """Where the frame of a GIF lies in a larger screen."""
    tile: Any = getattr(image, "tile", None)
    extents = tile[0].extents if image.format == "GIF" and tile else None
    return None if extents in (None, (0, 0, *image.size)) else extents


def _clear_of_deep_png(image: Image.Image, facts: Facts) -> Image.Image | None:
    """Opacity of a PNG of 16-bit RGB with a transparent colour: all 16 bits are compared, of which Pillow gives 8 at a
    time."""
    file: Any = getattr(image, "fp", None)
    if image.format != "PNG" or image.mode != "RGB" or facts.clear is None or facts.samples.bits != 16 or file is None:
        return None
    place = file.tell()
    halves = []
    for rawmode in ("RGB;16B", "RGB;16L"):  # high bytes, low bytes
        with Image.open(file, formats=("PNG",)) as half:
            half.tile = [half.tile[0]._replace(args=rawmode)]
            half.load()
            halves.append(np.asarray(half))
    file.seek(place)
    wanted = [(value >> 8, value & 255) for value in facts.clear]
    alike = [(half == [pair[i] for pair in wanted]).all(2) for i, half in enumerate(halves)]
    return Image.fromarray(np.where(alike[0] & alike[1], 0, OPAQUE).astype(np.uint8))


def _shown(
    image: Image.Image, facts: Facts, box: tuple[int, int, int, int] | None, opaque: Image.Image | None
) -> Image.Image:
    """What is to be seen of a loaded image, not turned yet; the caller's stays as it is."""
    clear = image.info.get("transparency")
    if opaque is not None:
        image = image.copy()
        image.info.pop("transparency", None)
        image.putalpha(opaque)
    elif facts.clear is not None and facts.samples.bits <= 8 and clear is not None:
        image = image.copy()
        levels = tuple(value * OPAQUE // ((1 << facts.samples.bits) - 1) for value in facts.clear)
        image.info["transparency"] = levels[0] if len(levels) == 1 else levels
    elif isinstance(clear, tuple) and max(clear) > OPAQUE:  # of 16 bits; which pixels they were is not known any more
        image = image.copy()
        image.info["transparency"] = tuple(value >> 8 for value in clear)
    if image.mode == "P" and image.format == "TIFF" and max(table := _colour_map(image), default=OPAQUE + 1) <= OPAQUE:
        image = image.copy()
        image.putpalette(bytes(table), "RGB;L")  # of 8 bits, where there should be 16
    if box is not None:
        inside, nothing = (Image.new("L", image.size, 0) for _ in range(2))
        inside.paste(OPAQUE, box)
        image = image.convert("RGBA")
        image.putalpha(Image.composite(image.getchannel("A"), nothing, inside))
    if facts.crop is not None and image.size == facts.crop.stored:
        image = image.crop(facts.crop.box)
    return image


def _colour_map(image: Image.Image) -> tuple[int, ...]:
    table = image.tag_v2.get(COLOUR_MAP, ())  # type: ignore[attr-defined]
    return table if isinstance(table, tuple) else ()


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
