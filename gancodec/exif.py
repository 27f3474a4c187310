"""EXIF as it lies in files: TIFF directories read, turned upright and written as bytes, so that no value is decoded,
rounded or moved that need not be. Maker notes hold offsets from the start of the block."""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Container, Iterator, Mapping
from fractions import Fraction
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple

if TYPE_CHECKING:  # who asks for a resolution need not wait for numpy
    import numpy as np
    from numpy.typing import NDArray

Order = Literal["<", ">"]  # as `struct` has it

PREFIX = b"Exif\0\0"  # as JPEG has it; the other formats start at the TIFF header behind it
HEADER = 8  # bytes of the TIFF header: byte order, 42, and the place of the first directory
LIMIT = 1 << 22  # bytes of EXIF: what a .gic file may hold
WIDTH, HEIGHT, ORIENTATION = 0x0100, 0x0101, 0x0112
THUMBNAIL, STRIPS = (0x0201, 0x0202), 0x0111  # place and size of a JPEG file; places of plain pixels
CAMERA, PLACE, INTEROPERABILITY = 0x8769, 0x8825, 0xA005  # pointers to directories
CAMERA_WIDTH, CAMERA_HEIGHT = 0xA002, 0xA003
ACROSS, DOWN, RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
INCH, CENTIMETRE = 2, 3
XMP, PHOTOSHOP, PROFILE = 700, 34377, 34675
# Tags of how a TIFF file stores its pixels, which are true of no other file: size and sample layout, strips and tiles,
# pages, ink, JPEG, what has a place of its own, layers, and raw data (DNG). Every other tag tells of the picture.
STORAGE = {254, 255, *range(256, 267), 273, *range(277, 282), 284, *range(288, 294), 297, 301, 317, *range(320, 331)}
STORAGE |= {*range(332, 352), *range(512, 533), XMP, 33421, 33422, PHOTOSHOP, PROFILE, 37724, *range(50706, 51200)}
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}  # bytes a value, by type
NUMBERS = {1: "B", 2: "s", 3: "H", 4: "I", 5: "II", 6: "b", 7: "B", 8: "h", 9: "i", 10: "ii", 11: "f", 12: "d", 13: "I"}
BYTE, SHORT, LONG, RATIONAL, UNDEFINED = 1, 3, 4, 5, 7
MOST_DPI = 1 << 16
TIFF_STRIP = 1 << 20  # bytes
NO_EXIF = b"II*\0" + struct.pack("<IHI", 8, 0, 0)  # a first directory without entries


class Value(NamedTuple):
    """What a tag holds: TIFF type, number of values, and their bytes in the file's order."""

    kind: int
    number: int
    data: bytes


Directory = dict[int, Value]
EMPTY_TIFF: tuple[bytes, Order, Directory] = (b"II*\0\0\0\0\0", "<", {})  # what `to_tiff` gives of no EXIF


def order_of(block: bytes | bytearray) -> Order | None:
    """Byte order of a TIFF header; None for what is none."""
    orders: dict[bytes, Order] = {b"II*\0": "<", b"MM\0*": ">"}
    return orders.get(bytes(block[:4]))


def numbers(order: Order, kind: int, *values: int) -> Value:
    """Values of type SHORT or LONG."""
    return Value(kind, len(values), struct.pack(f"{order}{len(values)}{'H' if kind == SHORT else 'I'}", *values))


def upright(raw: bytes, orientation: int = 1) -> bytes | None:
    """EXIF for a picture that was turned, byte for byte as stored but for what the turn made wrong.

    Parameters
    ----------
    raw : bytes
        With or without the prefix of JPEG.
    orientation : int
        The one that was applied, 1..8. Above 1 an embedded thumbnail, which lies as the picture lay, is dropped;
        from 5 on width and height are exchanged.

    Returns
    -------
    bytes or None
        With the prefix, orientation 1; None for what has no TIFF header.
    """
    body = bytearray(re.sub(rb"^(Exif\0\0)+", b"", raw))
    order = order_of(body)
    if order is None:
        return None
    start = _long(body, 4, order)
    root = _entries(body, start, order)
    if orientation >= 5:
        _exchange(body, root, WIDTH, HEIGHT)
        if CAMERA in root:
            camera = _entries(body, _long(body, root[CAMERA] + 8, order), order)
            _exchange(body, camera, CAMERA_WIDTH, CAMERA_HEIGHT)
    if orientation > 1:
        _drop_thumbnail(body, start + 2 + 12 * _short(body, start, order), order)
    if ORIENTATION in root:
        at = root[ORIENTATION]
        body[at + 2 : at + 12] = struct.pack(f"{order}HIHH", SHORT, 1, 1, 0)
    return PREFIX + bytes(body)


def orientation(raw: bytes) -> int | None:
    """1..8, in whatever type of number it is stored; None where EXIF does not state one."""
    body = re.sub(rb"^(Exif\0\0)+", b"", raw)
    order = order_of(body)
    at = None if order is None else _entries(body, _long(body, 4, order), order).get(ORIENTATION)
    if order is None or at is None:
        return None
    kind = _short(body, at + 2, order)
    letter = NUMBERS.get(kind, "")
    field = body[at + 8 : at + 12]
    if SIZES.get(kind, 0) > 4:
        place = _long(body, at + 8, order)
        field = body[place : place + 8]
    if not letter or len(field) < struct.calcsize(letter):
        return None
    value, *under = struct.unpack_from(order + letter, field)
    if letter == "s":  # a digit as text
        return int(value) if value in b"12345678" else None
    value = value / under[0] if under and under[0] else value
    return int(value) if value in range(1, 9) else None


def _drop_thumbnail(body: bytearray, link: int, order: Order) -> None:
    """Unlink the second directory, whose link is at `link`, and blank the JPEG file it points to; nothing moves."""
    thumbnail = _entries(body, _long(body, link, order), order)
    at, size = (_long(body, thumbnail[tag] + 8, order) if tag in thumbnail else 0 for tag in THUMBNAIL)
    jpeg = body[at : at + 2] == b"\xff\xd8" and at + size <= len(body)
    if jpeg:
        body[at : at + size] = bytes(size)
    if jpeg or STRIPS in thumbnail:
        body[link : link + 4] = bytes(4)


def _exchange(body: bytearray, entries: Mapping[int, int], one: int, other: int) -> None:
    if one in entries and other in entries:
        a, b = (slice(entries[tag] + 2, entries[tag] + 12) for tag in (one, other))
        body[a], body[b] = body[b], body[a]


def _entries(body: bytes | bytearray, at: int, order: Order) -> dict[int, int]:
    """Where the entries of the directory at `at` lie, by tag, as far as they are there; none for a pointer of 0."""
    if at == 0:
        return {}
    end = min(at + 2 + 12 * _short(body, at, order), len(body) - 11)
    return {_short(body, place, order): place for place in range(at + 2, end, 12)}


def _short(body: bytes | bytearray, at: int, order: Order) -> int:
    """Two bytes; 0 behind the end."""
    return int(struct.unpack(f"{order}H", body[at : at + 2].ljust(2, b"\0"))[0])


def _long(body: bytes | bytearray, at: int, order: Order) -> int:
    """Four bytes; 0 behind the end."""
    return int(struct.unpack(f"{order}I", body[at : at + 4].ljust(4, b"\0"))[0])


def read_directory(file: BinaryIO, at: int, order: Order, without: Container[int] = ()) -> Directory:
    """The tags of one directory, but for those in `without`.

    Tags of unknown type, and those whose values are not all in the file, are left out.

    Raises
    ------
    ValueError
        If the values together have more than `LIMIT` bytes.
    """
    file.seek(at)
    listed = file.read(12 * _short(file.read(2), 0, order))
    tags: Directory = {}
    left = LIMIT
    for place in range(0, len(listed) - 11, 12):
        tag, kind, number = struct.unpack(f"{order}HHI", listed[place : place + 8])
        size = 0 if tag in without else SIZES.get(kind, 0) * number
        left -= size
        if left < 0:
            raise ValueError("EXIF is too long")
        data = listed[place + 8 : place + 8 + size]
        if size > 4:
            file.seek(_long(listed, place + 8, order))
            data = file.read(size)
        if size and len(data) == size:
            tags[tag] = Value(kind, number, data)
    return tags


def write_directory(tags: Directory, at: int, order: Order) -> bytes:
    """A directory that lies at `at` (even) in its file, the last in its chain, with its values behind it."""
    head, behind = [struct.pack(f"{order}H", len(tags))], bytearray()
    start = at + 6 + 12 * len(tags)
    for tag, (kind, number, data) in sorted(tags.items()):
        field = data.ljust(4, b"\0")
        if len(data) > 4:
            field = struct.pack(f"{order}I", start + len(behind))
            behind += data + bytes(len(data) % 2)
        head.append(struct.pack(f"{order}HHI", tag, kind, number) + field)
    return b"".join(head) + bytes(4) + bytes(behind)


def from_tiff(file: BinaryIO) -> bytes | None:
    """What a TIFF file tells of its picture as EXIF, camera and place included; None where it tells nothing.

    Values are as stored. They move, however, which maker notes with offsets in them do not survive.

    Raises
    ------
    ValueError
        For BigTIFF and for what is no TIFF file.
    """
    file.seek(0)
    head = file.read(8)
    order = order_of(head)
    if order is None:
        raise ValueError("not a TIFF file")
    root = read_directory(file, _long(head, 4, order), order, STORAGE)
    if not set(root) - {ORIENTATION, ACROSS, DOWN, RESOLUTION_UNIT}:
        return None
    body = bytearray(head)
    for tag in (CAMERA, PLACE):
        if tag in root:
            inner = read_directory(file, _long(root[tag].data, 0, order), order)
            if INTEROPERABILITY in inner:
                innermost = read_directory(file, _long(inner[INTEROPERABILITY].data, 0, order), order)
                inner[INTEROPERABILITY] = _append(body, innermost, order)
            root[tag] = _append(body, inner, order)
    body[4:8] = _append(body, root, order).data
    return PREFIX + bytes(body)


def _append(body: bytearray, tags: Directory, order: Order) -> Value:
    """Write a directory at the end of `body`; the pointer to it."""
    at = len(body)
    body += write_directory(tags, at, order)
    return numbers(order, LONG, at)


def to_tiff(raw: bytes) -> tuple[bytes, Order, Directory]:
    """EXIF as the start of a TIFF file.

    Returns
    -------
    (bytes, order, Directory)
        The block, of even length, whose first pointer is still to be set; and the tags for the first
        directory, whose pointers hold as long as the block is what the file starts with.

    Raises
    ------
    ValueError
        For what has no TIFF header.
    """
    body = raw.removeprefix(PREFIX)
    order = order_of(body)
    if order is None or len(body) < HEADER:
        raise ValueError("EXIF without a TIFF header")
    tags = read_directory(io.BytesIO(body), _long(body, 4, order), order, STORAGE)
    for tag in (CAMERA, PLACE):
        if tag in tags and not 8 <= _long(tags[tag].data, 0, order) < len(body):
            del tags[tag]
    return body + bytes(len(body) % 2), order, tags


def tiff_file(
    pixels: NDArray[np.uint8], start: tuple[bytes, Order, Directory], xmp: bytes | None, icc: bytes | None
) -> Iterator[bytes]:
    """Parts of a TIFF file of pixels (H, W, 1 to 4), gray or RGB, with alpha where even: EXIF as `to_tiff` has it,
    deflated strips, then the directory. What EXIF points to lies where it lay, maker notes included.

    Raises ValueError for more than 4 GiB.
    """
    block, order, tags = start
    height, width, samples = pixels.shape
    rows = max(1, TIFF_STRIP // (width * samples))
    strips = [zlib.compress(pixels[y : y + rows].tobytes()) for y in range(0, height, rows)]
    sizes = [len(strip) for strip in strips]
    *starts, end = accumulate(sizes, initial=len(block))
    if end >= 1 << 32:
        raise ValueError("more than 4 GiB")
    short, long = (partial(numbers, order, kind) for kind in (SHORT, LONG))
    tags = tags | {256: long(width), 257: long(height), 258: short(*[8] * samples), 259: short(8)}
    tags |= {273: long(*starts), 277: short(samples), 278: long(rows), 279: long(*sizes), 284: short(1)}
    tags[262] = short(1 if samples < 3 else 2)
    if samples % 2 == 0:
        tags[338] = short(2)  # not premultiplied
    for tag, kind, data in ((XMP, BYTE, xmp), (PROFILE, UNDEFINED, icc)):
        if data:
            tags[tag] = Value(kind, len(data), data)
    place = end + end % 2  # directories start at even offsets
    yield block[:4] + long(place).data + block[8:] + b"".join(strips) + bytes(place - end)
    yield write_directory(tags, place, order)


def _first_directory(body: bytes) -> tuple[Order, dict[int, bytes], bytes] | None:
    """Byte order, entries (12 bytes each) by tag, and link to the next one, of the first directory, or None.

    Pillow's own reader copies every value of it, where opening needs three, and warns of each that is damaged.
    """
    order = order_of(body)
    if order is None:
        return None
    start = _long(body, 4, order)
    end = start + 2 + 12 * _short(body, start, order)
    entries = {tag: body[at : at + 12] for tag, at in _entries(body, start, order).items()}
    return (order, entries, body[end : end + 4]) if end + 4 <= len(body) else None


def valid_dpi(value: Any) -> tuple[float, float] | None:
    """A pair of numbers as such; None for what is no resolution."""
    try:
        across, down = map(float, value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (across, down) if 0 < across < MOST_DPI and 0 < down < MOST_DPI else None


def dpi_of(raw: bytes | None) -> tuple[float, float] | None:
    """Dots per inch by EXIF; None where it does not tell."""
    body = (raw or b"").removeprefix(PREFIX)
    found = _first_directory(body)
    if found is None:
        return None
    order, entries, _ = found
    try:
        unit = _short(entries[RESOLUTION_UNIT], 8, order) if RESOLUTION_UNIT in entries else INCH
        scale = {INCH: 1.0, CENTIMETRE: 2.54}[unit]
        dpi = []
        for tag in (ACROSS, DOWN):
            kind, at = struct.unpack_from(order + "2xH4xI", entries[tag])
            numerator, denominator = struct.unpack_from(order + "II", body, at)
            dpi.append(scale * numerator / denominator if kind == RATIONAL else 0.0)
    except (KeyError, struct.error, ZeroDivisionError):
        return None
    return valid_dpi(dpi)


def with_dpi(raw: bytes | None, dpi: tuple[float, float]) -> bytes:
    """EXIF with a resolution. The first directory is written anew at its end; nothing moves, as maker notes hold
    offsets."""
    body = (raw or NO_EXIF).removeprefix(PREFIX)
    found = _first_directory(body)
    if found is None:
        return with_dpi(None, dpi)  # damaged: nothing can be found in it
    order, entries, link = found
    body += bytes(len(body) % 2)  # directories start at even offsets
    values = b""
    for tag, value in zip((ACROSS, DOWN), dpi, strict=True):
        entries[tag] = struct.pack(order + "HHII", tag, RATIONAL, 1, len(body) + len(values))
        values += struct.pack(order + "II", *Fraction(value).limit_denominator(MOST_DPI - 1).as_integer_ratio())
    entries[RESOLUTION_UNIT] = struct.pack(order + "HHIHxx", RESOLUTION_UNIT, SHORT, 1, INCH)
    directory = struct.pack(order + "H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries)) + link
    return PREFIX + body[:4] + struct.pack(order + "I", len(body) + len(values)) + body[8:] + values + directory
