"""AVIF: what the boxes of its primary picture say (ISO/IEC 14496-12, 23008-12, 23000-22; AV1 Image File Format)."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO, NamedTuple

from gancodec.formats.facts import Crop, Facts, Samples

MOST_META = 1 << 20  # bytes of boxes that are read
MOST_ITEM = 1 << 23  # of one item
MOST_BOXES, MOST_EXTENTS = 1 << 12, 64  # of a file, of an item
FULL = 4  # bytes of version and flags
VIDEO = b"mpvd"  # of a motion photo
USUAL = {b"ftyp", b"meta", b"mdat", b"moov", b"free", b"skip", b"wide", b"styp", b"sidx", b"moof", b"mfra", b"pdin"}
DEPTH_MAPS = (b"urn:mpeg:hevc:2015:auxid:2", b"urn:mpeg:mpegB:cicp:systems:auxiliary:depth")
# Orientation of EXIF by quarter turns to the left, as they are and mirrored afterwards: top to bottom, left to right.
TURNED: dict[tuple[int, int | None], int] = {(0, None): 1, (1, None): 8, (2, None): 3, (3, None): 6}
TURNED |= {(0, 0): 4, (1, 0): 5, (2, 0): 2, (3, 0): 7, (0, 1): 2, (1, 1): 7, (2, 1): 4, (3, 1): 5}


class Box(NamedTuple):
    """Type and data of a box."""

    kind: bytes
    data: bytes


class Meta(NamedTuple):
    """What a meta box says: number of the primary item, types of the items, properties of each, in order, places of
    their data, and references (kind, from, to)."""

    primary: int
    items: dict[int, bytes]
    properties: dict[int, list[Box]]
    places: dict[int, list[tuple[int, int, int]]]  # method, offset, length
    references: list[tuple[bytes, int, int]]
    stored: bytes  # data inside of the box


def boxes(data: bytes) -> Iterator[Box]:
    """Boxes one after the other, as far as they are whole."""
    place = 0
    while place + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, place)
        start = place + 8
        if size == 1:
            size, start = int.from_bytes(data[start : start + 8], "big"), start + 8
        end = len(data) if size == 0 else place + size
        if end < start or end > len(data):
            return
        yield Box(kind, data[start:end])
        place = end


def look(file: BinaryIO) -> Facts:
    """Facts of an AVIF file."""
    found, other = _files_boxes(file)
    if not found:
        return Facts("AVIF", "an AVIF")
    meta = _meta(found)
    own = meta.properties.get(meta.primary, [])
    by_kind = {box.kind: box.data for box in own}
    notices = list(_dropped(meta, by_kind, other))
    crop = _crop(by_kind, notices)
    turned = by_kind.get(b"irot", b"\0")[0] & 3, by_kind[b"imir"][0] & 1 if b"imir" in by_kind else None
    block = _exif(file, meta)
    return Facts(
        "AVIF",
        "an AVIF",
        tuple(notices),
        Samples(max([8, *by_kind.get(b"pixi", b"\0\0\0\0\0")[5:], *map(_bits, meta.properties.values())])),
        orientation=TURNED[turned],
        exif=block[4 + int.from_bytes(block[:4], "big") :],  # in front stands where its TIFF header begins
        coding=_coding(own),
        crop=crop,
    )


def _files_boxes(file: BinaryIO) -> tuple[bytes, str | None]:
    """Data of the meta box of a file, behind version and flags; and what else it holds that is not kept."""
    length = file.seek(0, os.SEEK_END)
    place, found, other = 0, b"", None
    for _ in range(MOST_BOXES):
        if place >= length:
            break
        file.seek(place)
        head = file.read(16)
        size, kind = struct.unpack_from(">I4s", head.ljust(8, b"\0"))
        start = place + 8
        if size == 1:
            size, start = int.from_bytes(head[8:16], "big"), place + 16
        end = length if size == 0 and kind.isalnum() else place + size
        if end < start or end > length:
            other = f"{length - place} bytes behind the picture"
            break
        if kind == b"meta" and not found:
            file.seek(start + FULL)
            found = file.read(min(end - start - FULL, MOST_META))
        if kind == VIDEO or (kind == b"ftyp" and place):
            other = "a video"
        elif kind not in USUAL and other is None:
            other = "content credentials or other data" if kind == b"uuid" else f"{end - place} bytes of other data"
        place = end
    return found, other


def _meta(data: bytes) -> Meta:
    inside = {box.kind: box.data for box in boxes(data)}
    wide = inside[b"pitm"][0] > 0 if b"pitm" in inside else False
    primary = int.from_bytes(inside.get(b"pitm", b"")[FULL : FULL + (4 if wide else 2)], "big")
    return Meta(
        primary,
        dict(_items(inside.get(b"iinf", b""))),
        _properties(inside.get(b"iprp", b"")),
        dict(_places(inside.get(b"iloc", b""))),
        list(_references(inside.get(b"iref", b""))),
        inside.get(b"idat", b""),
    )


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and type of each item."""
    for box in boxes(data[FULL + (2 if data[:1] == b"\0" else 4) :]):
        if box.kind == b"infe" and box.data[0] >= 2:
            width = 2 if box.data[0] == 2 else 4
            number = int.from_bytes(box.data[FULL : FULL + width], "big")
            start = FULL + width + 2
            yield number, box.data[start : start + 4]


def _properties(data: bytes) -> dict[int, list[Box]]:
    """Properties of each item, in the order in which they are done."""
    inside = {box.kind: box.data for box in boxes(data)}
    known = list(boxes(inside.get(b"ipco", b"")))
    found: dict[int, list[Box]] = {}
    listed = inside.get(b"ipma", b"")
    if not listed:
        return found
    number_bytes, index_bytes = (4 if listed[0] else 2), (2 if listed[3] & 1 else 1)
    place = FULL + 4
    for _ in range(int.from_bytes(listed[FULL : FULL + 4], "big")):
        if place >= len(listed):
            break
        number = int.from_bytes(listed[place : place + number_bytes], "big")
        count = listed[place + number_bytes]
        place += number_bytes + 1
        for _ in range(count):
            index = int.from_bytes(listed[place : place + index_bytes], "big") & ((1 << (8 * index_bytes - 1)) - 1)
            place += index_bytes
            if 1 <= index <= len(known):
                found.setdefault(number, []).append(known[index - 1])
    return found


def _places(data: bytes) -> Iterator[tuple[int, list[tuple[int, int, int]]]]:
    """Where the data of each item lies: method (0 the file, 1 the meta box), offset, length."""
    if not data:
        return
    version = data[0]
    offset_bytes, length_bytes, base_bytes, index_bytes = data[4] >> 4, data[4] & 15, data[5] >> 4, data[5] & 15
    wide = 2 if version < 2 else 4
    place = 6

    def number(width: int) -> int:
        nonlocal place
        place += width
        if place > len(data):
            raise ValueError("cut")
        return int.from_bytes(data[place - width : place], "big")

    for _ in range(number(wide)):
        item = number(wide)
        method = number(2) & 15 if version else 0
        number(2)
        base = number(base_bytes)
        extents = []
        count = number(2)
        if count > 1 and not offset_bytes + length_bytes:
            raise ValueError("many extents of nothing")
        for _ in range(count):
            number(index_bytes if version else 0)
            offset = base + number(offset_bytes)
            extents.append((method, offset, number(length_bytes)))
        yield item, extents


def _references(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, from, to."""
    if not data:
        return
    width = 4 if data[0] else 2
    for box in boxes(data[FULL:]):
        ends = [int.from_bytes(box.data[i : i + width], "big") for i in (0, *range(width + 2, len(box.data), width))]
        yield from ((box.kind, ends[0], end) for end in ends[1:])


def _exif(file: BinaryIO, meta: Meta) -> bytes:
    """Data of the item of EXIF that describes the primary picture; empty where there is none."""
    about = {start for reference, start, end in meta.references if reference == b"cdsc" and end == meta.primary}
    number = next((number for number in sorted(about) if meta.items.get(number) == b"Exif"), None)
    found = b""
    for method, offset, length in meta.places.get(number, [])[:MOST_EXTENTS] if number is not None else []:
        most = min(length or MOST_ITEM, MOST_ITEM - len(found))
        if method == 1:
            found += meta.stored[offset : offset + most]
        elif method == 0:
            file.seek(offset)
            found += file.read(most)
    return found


def _bits(properties: list[Box]) -> int:
    """Bits a sample of an item, by the configuration of its codec."""
    flags = next((box.data[2] for box in properties if box.kind == b"av1C"), 0)
    return 8 + 2 * bool(flags & 0x40) * (1 + bool(flags & 0x20))


def _coding(own: list[Box]) -> tuple[int, int] | None:
    for box in own:
        if box.kind == b"colr" and box.data[:4] == b"nclx":
            primaries, transfer = struct.unpack_from(">HH", box.data, 4)
            return primaries, transfer
    return None


def _crop(own: dict[bytes, bytes], notices: list[str]) -> Crop | None:
    """Clean aperture (clap) as a rectangle of the stored pixels."""
    if b"clap" not in own or b"ispe" not in own:
        return None
    sides = struct.unpack_from(">II", own[b"ispe"], FULL)
    numbers = struct.unpack_from(">IIIIiIiI", own[b"clap"])
    ratios = [Fraction(a, b) if b else Fraction(-1) for a, b in zip(numbers[::2], numbers[1::2], strict=True)]
    width, height, across, down = ratios
    edges = []
    for side, size, shift in zip(sides, (width, height), (across, down), strict=True):
        start = Fraction(side - size, 2) + shift
        edges.append((round(start), round(start + size)))
    (left, right), (top, bottom) = edges
    if not (0 <= left < right <= sides[0] and 0 <= top < bottom <= sides[1]):
        notices.append("its crop (clean aperture) lies outside of the picture: passed over")
        return None
    return Crop((left, top, right, bottom), sides)


def _dropped(meta: Meta, own: dict[bytes, bytes], other: str | None) -> Iterator[str]:
    """What of a file is not kept, in words."""
    names = [] if other is None else [other]
    if b"tmap" in meta.items.values():
        names.append("HDR gain map")
    auxiliary = {start for kind, start, _ in meta.references if kind == b"auxl"}
    about = [box for number in auxiliary for box in meta.properties.get(number, []) if box.kind == b"auxC"]
    if any(box.data[FULL:].split(b"\0")[0] in DEPTH_MAPS for box in about):
        names.append("depth map")
    if names:
        yield f"not kept: {', '.join(names)}"
    if b"pasp" in own and len(set(struct.unpack_from(">II", own[b"pasp"]))) > 1:
        yield "its pixels are not square, but shown so"
