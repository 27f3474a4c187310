"""Which format a file is in, by its first bytes, and what it says of itself."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import BinaryIO

from gancodec.formats import avif, bmp, gif, jpeg, png, tiff, webp
from gancodec.formats.facts import Facts

HEAD = 64  # bytes that tell the format
KNOWN = "JPEG PNG WebP AVIF TIFF BMP GIF"
AVIF_BRANDS = (b"avif", b"avis")
HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
LOOKS: dict[str, Callable[[BinaryIO], Facts]] = {
    "JPEG": jpeg.look,
    "PNG": png.look,
    "WEBP": webp.look,
    "AVIF": avif.look,
    "TIFF": tiff.look,
    "BMP": bmp.look,
    "GIF": gif.look,
}
# Formats that users may take for one of the above, by how they begin.
OTHERS = {
    b"\x89GIC": "a .gic file, which is coded already",
    b"\xff\x0a": "a JPEG XL picture",
    b"\0\0\0\x0cJXL ": "a JPEG XL picture",
    b"\0\0\0\x0cjP  ": "a JPEG 2000 picture",
    b"\xff\x4f\xff\x51": "a JPEG 2000 picture",
    b"8BPS": "a Photoshop file",
    b"%PDF": "a PDF",
    b"%!PS": "a PostScript file",
    b"\0\0\1\0": "an icon (ICO)",
    b"#?RADIANCE": "a Radiance HDR picture",
    b"v/1\1": "an OpenEXR picture",
    b"II\xbc\1": "a JPEG XR picture",
    b"FUJIFILM": "a raw photograph (Fujifilm)",
    b"IIRO": "a raw photograph (Olympus)",
    b"IIU\0": "a raw photograph (Panasonic)",
    b"<svg": "an SVG drawing",
    b"<?xml": "an XML file",
    b"qoif": "a QOI picture",
    b"farbfeld": "a farbfeld picture",
    b"PK\3\4": "a ZIP archive",
    b"\x1f\x8b": "a gzip file",
    **{b"P%d" % i + space: "a PNM picture" for i in range(1, 8) for space in (b" ", b"\n", b"\t", b"\r")},
}


def format_of(head: bytes) -> str:
    """Name of the format, as Pillow has it, by the first bytes of a file; empty for what is not read here."""
    if head.startswith(jpeg.SIGNATURE):
        return "JPEG"
    if head.startswith(png.SIGNATURE):
        return "PNG"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp" and (set(_brands(head)) & set(AVIF_BRANDS)):
        return "AVIF"
    if tiff.layout_of(head[:4]) is not None:
        return "TIFF"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    return "BMP" if head.startswith(b"BM") else ""


def look(file: BinaryIO) -> Facts:
    """Facts of a picture file, which is left where it stood; UnreadablePicture for what cannot be read right.

    A file in no format that is read here has an empty format, and a name that says so.
    """
    place = file.tell()
    try:
        file.seek(0)
        head = file.read(HEAD)
        found = format_of(head)
        return LOOKS[found](file) if found else Facts(name=refusal(head))
    except (ArithmeticError, LookupError, ValueError, struct.error):
        return Facts(found, f"a damaged {found}")
    finally:
        file.seek(place)


def _brands(head: bytes) -> list[bytes]:
    """Brands of a file of boxes: the major one, and those that it is compatible with."""
    end = min(int.from_bytes(head[:4], "big"), HEAD)
    return [head[8:12], *(head[i : i + 4] for i in range(16, end - 3, 4))]


def refusal(head: bytes) -> str:
    """What to tell of a file that is in no format that is read here, by its first bytes."""
    name = _name(head)
    return f"not a picture in a format that is read here ({KNOWN})" + (f": {name}" if name else "")


def _name(head: bytes) -> str:
    if not head:
        return "an empty file"
    if head[4:8] == b"ftyp":
        return "a HEIF picture (HEIC)" if set(_brands(head)) & set(HEIF_BRANDS) else "a video or another file of boxes"
    return next((name for start, name in OTHERS.items() if head.startswith(start)), "")
