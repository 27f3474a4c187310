"""TIFF: how its pixels are stored, by the tags of its first directory (TIFF 6.0, BigTIFF)."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from dataclasses import replace
from typing import BinaryIO, Literal, NamedTuple

from gancodec.errors import UnreadablePicture
from gancodec.formats.facts import Facts, Samples

SUBFILE, BITS, COMPRESSION, PHOTOMETRIC, ORIENTATION, SAMPLES, PLANAR = 254, 258, 259, 262, 274, 277, 284
TRANSFER, PRIMARIES, SUB_DIRECTORIES, INKS, EXTRA, KINDS, PROFILE = 301, 319, 330, 332, 338, 339, 34675
RAW_VERSION = 50706
WANTED = {SUBFILE, BITS, COMPRESSION, PHOTOMETRIC, ORIENTATION, SAMPLES, PLANAR, TRANSFER, PRIMARIES, SUB_DIRECTORIES}
WANTED |= {INKS, EXTRA, KINDS, PROFILE, RAW_VERSION}
MOST_VALUES = 16  # of a tag that decides anything
# Letter of `struct` and bytes, by type; rational numbers are two.
TYPES = {1: "B", 2: "B", 3: "H", 4: "I", 5: "II", 6: "b", 7: "B", 8: "h", 9: "i", 10: "ii", 11: "f", 12: "d"}
TYPES |= {13: "I", 16: "Q", 17: "q", 18: "Q"}
RATIONALS = (5, 10)
WHITE_IS_ZERO, RGB, PALETTE, CMYK, YCC, LAB = 0, 2, 3, 5, 6, 8
COLOURS = {
    WHITE_IS_ZERO: "gray with 0 for white",
    1: "gray",
    RGB: "RGB",
    PALETTE: "palette",
    4: "mask",
    CMYK: "CMYK",
    YCC: "YCbCr",
    LAB: "CIELab",
    9: "ICCLab",
    10: "ITULab",
    32803: "colour filter array",
    32844: "LogL",
    32845: "LogLuv",
    34892: "linear raw",
}
KIND_NAMES = {1: "unsigned", 2: "signed", 3: "float", 4: "undefined", 5: "complex integer", 6: "complex float"}
PLAIN_COMPRESSIONS = (1, 2, 3, 4, 5, 6, 7, 8, 32771, 32773, 32946)
COMPRESSIONS = {34712: "JPEG 2000", 34887: "LERC", 34925: "LZMA", 50000: "Zstandard", 50001: "WebP", 52546: "JPEG XL"}
SRGB_PRIMARIES = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
REDUCED = 1  # bit of SUBFILE

Tags = Mapping[int, tuple[float, ...]]


class Layout(NamedTuple):
    """Header of a file: byte order, and whether it is a BigTIFF."""

    order: str
    big: bool


def layout_of(head: bytes) -> Layout | None:
    """Layout by the first four bytes; None for what is no TIFF file."""
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or head[2:4] not in (struct.pack(f"{order}H", 42), struct.pack(f"{order}H", 43)):
        return None
    return Layout(order, head[2:4] == struct.pack(f"{order}H", 43))


def read_tags(file: BinaryIO) -> tuple[dict[int, tuple[float, ...]], dict[int, int]]:
    """Values of the tags that are wanted, and where their entries lie in the file; none where it is damaged."""
    file.seek(0)
    head = file.read(16)
    layout = layout_of(head)
    if layout is None:
        return {}, {}
    order, big = layout
    end: Literal["little", "big"] = "little" if order == "<" else "big"
    at = int.from_bytes(head[8:16] if big else head[4:8], end)
    count_bytes, entry_bytes, field = (8, 20, 8) if big else (2, 12, 4)
    file.seek(at)
    count = int.from_bytes(file.read(count_bytes), end)
    listed = file.read(entry_bytes * min(count, 1 << 12))
    tags, places = {}, {}
    for start in range(0, len(listed) - entry_bytes + 1, entry_bytes):
        tag, kind = struct.unpack_from(f"{order}HH", listed, start)
        if tag not in WANTED or tag in tags or kind not in TYPES:
            continue
        number = struct.unpack_from(f"{order}{'Q' if big else 'I'}", listed, start + 4)[0]
        letters = TYPES[kind] * min(number, MOST_VALUES)
        size = struct.calcsize(f"{order}{TYPES[kind]}") * number
        data = listed[start + entry_bytes - field : start + entry_bytes]
        if size > field:
            file.seek(int.from_bytes(data, end))
            data = file.read(struct.calcsize(f"{order}{letters}"))
        if len(data) < struct.calcsize(f"{order}{letters}"):
            continue
        values = struct.unpack_from(f"{order}{letters}", data)
        tags[tag] = _ratios(values) if kind in RATIONALS else values
        places[tag] = at + count_bytes + start
    return tags, places


def _ratios(values: tuple[int, ...]) -> tuple[float, ...]:
    return tuple(a / b if b else 0.0 for a, b in zip(values[::2], values[1::2], strict=True))


def look(file: BinaryIO) -> Facts:
    """Facts of a TIFF file; UnreadablePicture for what Pillow would read wrongly."""
    tags, places = read_tags(file)
    facts = of_tags(tags)
    file.seek(0)
    order, big = layout_of(file.read(4)) or Layout("<", False)
    if big and order == ">":
        raise UnreadablePicture(f"{facts.name} in a big-endian BigTIFF: not read here")
    if not facts.samples.inverted:
        return facts
    # Pillow knows such files with one byte order only. With 1 in that tag all are read, and then inverted here.
    file.seek(0)
    data = bytearray(file.read())
    place = places[PHOTOMETRIC]
    kind = TYPES[struct.unpack_from(f"{order}H", data, place + 2)[0]]
    struct.pack_into(f"{order}{kind}", data, place + (12 if big else 8), 1)
    return replace(facts, sound=io.BytesIO(bytes(data)))


def of_tags(tags: Tags) -> Facts:
    """Facts by the tags alone; UnreadablePicture for what Pillow would read wrongly."""
    colour = int(tags.get(PHOTOMETRIC, (WHITE_IS_ZERO,))[0])
    count = int(tags.get(SAMPLES, (len(tags.get(BITS, (1,))),))[0])
    bits = tuple(map(int, tags.get(BITS, (1,))))
    kinds = {KIND_NAMES.get(int(kind), "unknown") for kind in tags.get(KINDS, (1,))}
    kind = next(iter(kinds)) if len(kinds) == 1 else "mixed"
    if kind == "undefined":
        kind = "unsigned"
    name = describe(tags, colour, count, bits, kind)
    if why := _misread(tags, colour, count, kind):
        raise UnreadablePicture(f"{name}{why}: not read here")
    planes = int(tags.get(PLANAR, (1,))[0]) if count > 1 else 1
    extra = tags.get(EXTRA, ())
    shown = count - len(extra) if planes == 2 and not any(extra) else count  # of samples apart, others are passed over
    inverted = colour == WHITE_IS_ZERO and shown == 1 and PHOTOMETRIC in tags and (bits[0] > 8 or kind != "unsigned")
    samples = Samples(max(bits, default=1), kind, inverted)
    orientation = int(tags[ORIENTATION][0]) if tags.get(ORIENTATION) else 0
    plain = int(tags.get(COMPRESSION, (1,))[0]) == 1
    return Facts(
        "TIFF",
        name,
        tuple(_told(tags, colour, kind, max(bits, default=1))),
        samples,
        orientation if 1 <= orientation <= 8 else None,
        by_libtiff=plain and (colour == YCC or (planes == 2 and (max(bits) > 8 or (colour == RGB and bool(extra))))),
    )


def describe(tags: Tags, colour: int, count: int, bits: tuple[int, ...], kind: str) -> str:
    """What a file is: "a TIFF of 2 samples of 16 bits (gray)"."""
    each = ", ".join(map(str, bits if len(set(bits)) > 1 else bits[:1]))
    kinds = "" if kind == "unsigned" else f"{kind} "
    text = f"a TIFF of {count} {kinds}sample{'' if count == 1 else 's'} of {each} bit{'' if set(bits) == {1} else 's'}"
    compression = int(tags.get(COMPRESSION, (1,))[0])
    stored = [COLOURS.get(colour, f"photometric {colour}")]
    if compression not in PLAIN_COMPRESSIONS:
        stored.append(COMPRESSIONS.get(compression, f"compression {compression}"))
    return f"{text} ({', '.join(stored)})"


def _misread(tags: Tags, colour: int, count: int, kind: str) -> str:
    """What Pillow would read wrongly, and say nothing; empty where it reads right, or refuses by itself."""
    compression = int(tags.get(COMPRESSION, (1,))[0])
    if kind not in ("unsigned", "signed", "float"):
        return " of kinds that make no picture"
    if colour == CMYK and int(tags.get(INKS, (1,))[0]) != 1:
        return " of other inks"
    deep = max(tags.get(BITS, (1,))) > 8
    misread = (colour == LAB and compression != 1) or (deep and colour == RGB and count == 4 and EXTRA not in tags)
    return ", each in a plane of its own" if misread and int(tags.get(PLANAR, (1,))[0]) == 2 else ""


def _told(tags: Tags, colour: int, kind: str, bits: int) -> list[str]:
    """What of a file is not kept, or taken otherwise than it says, in words."""
    told = ["signed samples are read as unsigned, as other readers do"] if kind == "signed" and bits <= 8 else []
    if RAW_VERSION in tags:
        told.append("only the preview of a raw photograph (DNG) is kept")
    elif int(tags.get(SUBFILE, (0,))[0]) & REDUCED:
        told.append("its first picture, the only one that is kept, is a reduced one")
    names = []
    if SUB_DIRECTORIES in tags and RAW_VERSION not in tags:
        names.append("pictures in sub-directories")
    if 0 in tags.get(EXTRA, ()):
        names.append("samples of no stated meaning")
    stated = tags.get(PRIMARIES, SRGB_PRIMARIES)
    usual = all(abs(a - b) < 0.01 for a, b in zip(stated, SRGB_PRIMARIES, strict=False))
    if PROFILE not in tags and (TRANSFER in tags or not usual) and colour in (RGB, PALETTE, YCC):
        names.append("colour space by tags (not ICC)")
    return told + ([f"not kept: {', '.join(names)}"] if names else [])
