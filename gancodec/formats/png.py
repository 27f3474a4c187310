"""PNG: depth, transparent colour, code points, and chunks that Pillow stumbles over (PNG, third edition)."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from gancodec.errors import UnreadablePicture
from gancodec.formats.facts import Facts, Samples, behind_end

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GRAY, RGB, PALETTE = 0, 2, 3  # colour types
NAMES = {GRAY: "gray", RGB: "RGB", PALETTE: "palette", 4: "gray with alpha", 6: "RGB with alpha"}
SAMPLES = {GRAY: 1, RGB: 3, PALETTE: 1, 4: 2, 6: 4}
# Column and row of the first pixel, and the steps between, of each pass of an interlaced picture.
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
PIECE, INFLATED = 1 << 16, 1 << 20  # bytes at a time
ONCE = {b"iCCP", b"gAMA", b"cHRM", b"sRGB", b"cICP", b"tRNS", b"pHYs"}  # of doubled ones the first counts
ANCILLARY = 0x20  # bit of a type's first byte
LEAST_BYTES = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"pHYs": 9, b"acTL": 8, b"fcTL": 26}  # shorter ones are damaged
ANIMATION = (b"acTL", b"fcTL", b"fdAT")
MOST_CHECKED = 1 << 26  # bytes of an ancillary chunk; longer ones are read by nobody


class Chunk(NamedTuple):
    """Type of a chunk, where it starts, and the bytes of its data."""

    kind: bytes
    start: int
    length: int

    @property
    def end(self) -> int:
        """Where the next one starts."""
        return self.start + 12 + self.length


def chunks(file: BinaryIO) -> Iterator[Chunk]:
    """Those of a file, up to IEND or to where it is cut."""
    place = len(SIGNATURE)
    file.seek(place)
    while len(head := file.read(8)) == 8:
        chunk = Chunk(head[4:], place, int.from_bytes(head[:4], "big"))
        yield chunk
        if chunk.kind == b"IEND":
            return
        place = chunk.end
        file.seek(place)


def look(file: BinaryIO) -> Facts:
    """Facts of a PNG file."""
    found = list(chunks(file))
    size = file.seek(0, os.SEEK_END)
    if found and found[0].kind == b"CgBI":
        raise UnreadablePicture("a PNG of Apple's own kind (CgBI): not read here")
    header = _data(file, found[0]) if found and found[0].kind == b"IHDR" else b""
    if len(header) < 13:
        return Facts("PNG", "a damaged PNG")
    depth, colour = header[8], header[9]
    name = f"a PNG of {NAMES.get(colour, f'colour type {colour}')} with {depth} bits a sample"
    entries = next((chunk.length // 3 for chunk in found if chunk.kind == b"PLTE"), 0)
    clear_bytes = {GRAY: range(2, 3), RGB: range(6, 7), PALETTE: range(1, entries + 1)}.get(colour, range(0))
    kept, damaged, once = list[Chunk](), list[Chunk](), set[bytes]()
    for c in found:
        passed = c.kind[0] & ANCILLARY and (c.kind in once or _is_damaged(file, c, size, clear_bytes))
        (damaged if passed else kept).append(c)
        once |= {c.kind} & ONCE
    kinds = ", ".join(dict.fromkeys(_name(c) for c in damaged))
    notices = [f"not kept: damaged {kinds}"] if kinds else []
    notices += ["not kept: content credentials (C2PA)"] if any(c.kind == b"caBX" for c in kept) else []
    if found[-1].kind == b"IEND":
        notices += behind_end(file, found[-1].end)
    return Facts(
        "PNG",
        name,
        tuple(notices),
        Samples(depth),
        coding=_coding(file, kept),
        clear=_clear(file, kept, depth, colour),
        sound=without(file, damaged) if damaged else None,
    )


def pixels_are_missing(file: BinaryIO) -> bool:
    """Do the pixels end, soundly, before all are there? Pillow then shows black; the file stays where it stands."""
    place = file.tell()
    found = list(chunks(file))
    header = _data(file, found[0]) if found else b""
    needed = _bytes_of_pixels(header) if len(header) >= 13 else 0
    inflated, unpacker = 0, zlib.decompressobj()
    for data in _pieces(file, [chunk for chunk in found if chunk.kind == b"IDAT"]):
        while data and inflated < needed and not unpacker.eof:
            try:
                inflated += len(unpacker.decompress(data, INFLATED))
            except zlib.error:  # which Pillow will tell of
                needed = 0
            data = unpacker.unconsumed_tail
        if inflated >= needed:
            break
    file.seek(place)
    return inflated < needed and unpacker.eof


def _pieces(file: BinaryIO, found: list[Chunk]) -> Iterator[bytes]:
    """Data of chunks, not much at a time."""
    for chunk in found:
        for start in range(chunk.start + 8, chunk.end - 4, PIECE):
            yield _bytes(file, start, min(start + PIECE, chunk.end - 4))


def _bytes_of_pixels(header: bytes) -> int:
    """Inflated bytes of all rows, each with that of its filter."""
    width, height, depth, colour, *_, interlaced = struct.unpack(">IIBBBBB", header[:13])
    bits = depth * SAMPLES.get(colour, 1)
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    sizes = ((-(-(width - x) // across), -(-(height - y) // down)) for x, y, across, down in passes)
    return sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in sizes if columns > 0 and rows > 0)


def without(file: BinaryIO, dropped: list[Chunk]) -> BinaryIO:
    """The file but for some chunks."""
    parts, place = [], 0
    for chunk in dropped:
        parts.append(_bytes(file, place, chunk.start))
        place = chunk.end
    file.seek(place)
    return io.BytesIO(b"".join((*parts, file.read())))


def without_animation(file: BinaryIO) -> BinaryIO | None:
    """The file as a still picture; None where it is one."""
    dropped = [chunk for chunk in chunks(file) if chunk.kind in ANIMATION]
    return without(file, dropped) if dropped else None


def _name(chunk: Chunk) -> str:
    return f"chunk {chunk.kind.decode('latin-1')!r}"


def _bytes(file: BinaryIO, start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(end - start)


def _data(file: BinaryIO, chunk: Chunk) -> bytes:
    return _bytes(file, chunk.start + 8, chunk.end - 4)


def _is_damaged(file: BinaryIO, chunk: Chunk, size: int, clear_bytes: range) -> bool:
    """Is an ancillary chunk one that libpng would warn of and pass over? tRNS may have `clear_bytes`."""
    if chunk.end > size or chunk.length > MOST_CHECKED:
        return chunk.end <= size
    body = _bytes(file, chunk.start + 4, chunk.end)
    data = body[4:-4]
    if zlib.crc32(body[:-4]) != int.from_bytes(body[-4:], "big") or len(data) < LEAST_BYTES.get(chunk.kind, 0):
        return True
    if chunk.kind == b"tRNS":
        return len(data) not in clear_bytes
    method = {b"iCCP": data.partition(b"\0")[2][:1], b"zTXt": data.partition(b"\0")[2][:1]}.get(chunk.kind)
    return method is not None and method != b"\0"


def _coding(file: BinaryIO, found: list[Chunk]) -> tuple[int, int] | None:
    """Primaries and transfer of cICP, where it stands before the pixels."""
    for chunk in found:
        if chunk.kind == b"IDAT":
            break
        if chunk.kind == b"cICP" and chunk.length == 4:
            primaries, transfer = _data(file, chunk)[:2]
            return primaries, transfer
    return None


def _clear(file: BinaryIO, found: list[Chunk], depth: int, colour: int) -> tuple[int, ...] | None:
    """Samples of tRNS, of which only the bits of the depth count."""
    data = next((_data(file, chunk) for chunk in found if chunk.kind == b"tRNS"), b"")
    count = {GRAY: 1, RGB: 3}.get(colour, 0)
    if not count or len(data) < 2 * count:
        return None
    values = (int.from_bytes(data[2 * i : 2 * i + 2], "big") for i in range(count))
    return tuple(value & ((1 << depth) - 1) for value in values)
