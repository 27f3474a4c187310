"""What a picture brings along: ICC, EXIF and XMP as they are stored, orientation, and what has no place in a .gic
file."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, BinaryIO

from PIL import Image

from gancodec import exif
from gancodec.errors import UnreadablePicture
from gancodec.formats import xmp
from gancodec.formats.facts import DAMAGED_PROFILE, Facts

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
BYTES = (bytes, bytearray, memoryview)
NOT_TOLD = {exif.ORIENTATION, exif.ACROSS, exif.DOWN, exif.RESOLUTION_UNIT, 318, 319}  # worth no word alone
KEPT_TEXTS = ("XML:com.adobe.xmp", *(f"Raw profile type {name}" for name in ("exif", "xmp", "APP1", "icc")))
XMP_NAME = b"http://ns.adobe.com/xap/1.0/\0"
KEPT_SEGMENTS = (b"JFIF\0", b"Exif\0\0", XMP_NAME, b"ICC_PROFILE\0", b"Adobe", b"MPF\0")
OTHER_SEGMENTS = {
    b"http://ns.adobe.com/xmp/extension/\0": "extended XMP",
    b"FPXR\0": "FlashPix",
    b"JP": "content credentials (JUMBF)",
    b"JFXX\0": "thumbnail (JFXX)",
}


def within_limit(name: str, value: bytes | None, notices: list[str]) -> bytes | None:
    """The value, or None for one that no .gic file may hold."""
    if value is None or len(value) <= METADATA_LIMIT:
        return value
    notices.append(f"{name} of {len(value)} bytes is longer than {METADATA_LIMIT}: dropped")
    return None


def check(image: Image.Image) -> None:
    """UnreadablePicture for metadata of a type that no file gives."""
    for name, kinds in {"icc_profile": BYTES, "exif": BYTES, "xmp": (*BYTES, str, tuple)}.items():
        value = image.info.get(name)
        if value is not None and not isinstance(value, kinds):
            raise UnreadablePicture(f"its info[{name!r}] is {type(value).__name__}: must be bytes")


def icc_of(image: Image.Image, facts: Facts, notices: list[str]) -> bytes | None:
    """ICC profile as stored."""
    if facts.icc is not None:
        return facts.icc or None
    if "icc_profile" in image.info and not image.info["icc_profile"] and image.format == "PNG":
        notices.append(DAMAGED_PROFILE)  # of which Pillow keeps None
    return image.info.get("icc_profile") or _raw_profile(image, "icc") or None


def exif_of(image: Image.Image, facts: Facts) -> bytes | None:
    """EXIF as stored, of any format but TIFF."""
    if facts.exif is not None:
        return facts.exif or None
    segment = _raw_profile(image, "APP1") or b""  # of a JPEG: EXIF, or XMP with its name
    return image.info.get("exif") or _raw_profile(image, "exif") or (None if segment.startswith(XMP_NAME) else segment)


def xmp_of(image: Image.Image, facts: Facts) -> bytes | None:
    """XMP as stored."""
    value = facts.xmp or image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or _raw_profile(image, "xmp")
    if value is None and (segment := _raw_profile(image, "APP1") or b"").startswith(XMP_NAME):
        return segment.removeprefix(XMP_NAME)
    if image.format == "TIFF":
        value = image.tag_v2.get(exif.XMP) or value  # type: ignore[attr-defined]
        value = value[0] if isinstance(value, tuple) else value
        value = value.encode("latin-1") if isinstance(value, str) else value  # which is how Pillow takes text
    return value.encode("utf-8") if isinstance(value, str) else value and bytes(value)


def orientation_of(image: Image.Image, facts: Facts, block: bytes | None, notices: list[str]) -> int:
    """1..8: by the format where it has a place for it, else by EXIF, else by XMP."""
    if facts.orientation is not None:
        return facts.orientation
    pillows = pillows_orientation(image, notices)  # asked in any case, for it warns of damage
    stated = exif.orientation(block) if block else None
    stated = pillows if stated is None else stated
    if stated not in range(1, 9):
        stated = xmp.orientation(xmp_of(image, facts) or b"")
    return int(stated or 1)


def pillows_orientation(image: Image.Image, notices: list[str]) -> Any:
    """What Pillow takes for the orientation, and turns TIFF by; it may be of any type."""
    try:
        return image.getexif().get(exif.ORIENTATION)
    except Exception:  # damaged EXIF takes nothing from the pixels
        notices.append("EXIF is damaged: orientation unknown")
        return None


def upright_exif(block: bytes | None, orientation: int, notices: list[str]) -> bytes | None:
    """EXIF as stored, but for what turning the picture made wrong."""
    if not block:
        return None
    turned = exif.upright(block, orientation)
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
        tags: Any = image.tag_v2  # type: ignore[attr-defined]
        if set(tags) - exif.STORAGE - NOT_TOLD:
            notices.append(f"EXIF {'in a BigTIFF' if getattr(tags, '_bigtiff', False) else 'is damaged'}: dropped")
        return None


def _first_directory(image: Image.Image, notices: list[str]) -> BinaryIO:
    """A TIFF file of those tags that Pillow holds."""
    tags, known = Image.Exif(), image.getexif()
    tags.update({tag: value for tag, value in known.items() if tag not in exif.STORAGE})
    if [tags.pop(tag) for tag in (exif.CAMERA, exif.PLACE) if tag in tags]:
        notices.append("EXIF of camera and place is read from a TIFF file, which is closed: dropped")
    return io.BytesIO(tags.tobytes().removeprefix(exif.PREFIX))


def left_behind(image: Image.Image) -> Iterator[str]:
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
