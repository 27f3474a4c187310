"""The TILES chunk: how a picture is cut into streams of their own, so that none has to be held or decoded whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple

from gancodec.container import spec
from gancodec.container.header import MOST_VARINT_BYTES, Cursor, Header, varint
from gancodec.errors import CorruptFile


class Tiles(NamedTuple):
    """Tiles of `side` x `side` pixels, row by row, smaller at the right and bottom; `lengths` are the bytes of their
    streams in IMAGE, which follow one another. What is in MORE has its own lengths."""

    side: int
    lengths: tuple[int, ...]


def pack(tiles: Tiles) -> bytes:
    """Data of a TILES chunk."""
    return b"".join((bytes((tiles.side.bit_length() - 1,)), *map(varint, tiles.lengths)))


def unpack(body: bytes, header: Header, image: int) -> Tiles:
    """Tiles of a chunk beside an IMAGE chunk of `image` bytes; CorruptFile where they do not fit picture and IMAGE."""
    cursor = Cursor(body)
    side = 1 << min(cursor.take(1)[0], 31)
    lengths: list[int] = []
    while cursor.position < len(body) and len(lengths) <= count(header, side):
        lengths.append(cursor.varint())
    tiles = Tiles(side, tuple(lengths))
    if why := misfit(tiles, header, image):
        raise CorruptFile(f"TILES: {why}")
    return tiles


def misfit(tiles: Tiles, header: Header, image: int) -> str | None:
    """What is wrong with the tiles of a picture whose IMAGE chunk has `image` bytes, if anything."""
    sides = spec.rules_of(header.codec).tile_sides
    if not sides:
        return f"codec {header.codec} has none"
    if tiles.side not in sides:
        return f"{tiles.side} pixels a side, must be one of {', '.join(map(str, sides))}"
    if count(header, tiles.side) < 2:
        return f"a picture of {header.width}x{header.height} is a single tile"
    if len(tiles.lengths) != count(header, tiles.side):
        return f"{len(tiles.lengths)} streams for {count(header, tiles.side)} tiles"
    if sum(tiles.lengths) != image:
        return f"streams of {sum(tiles.lengths)} bytes in an IMAGE chunk of {image}"
    return None


def pack_more(parts: Sequence[bytes]) -> bytes:
    """Data of a MORE chunk of several tiles: the bytes of each tile's part, then the parts."""
    return b"".join((*(varint(len(part)) for part in parts), *parts))


def unpack_more(body: bytes, tiles: int) -> tuple[tuple[int, ...], int]:
    """Lengths of the parts of a MORE chunk of several tiles, and where the first part starts; CorruptFile where they do
    not fill the chunk."""
    cursor = Cursor(body)
    lengths = tuple(cursor.varint() for _ in range(tiles))
    if sum(lengths) != len(body) - cursor.position:
        raise CorruptFile(f"MORE: parts of {sum(lengths)} bytes in {len(body) - cursor.position}")
    return lengths, cursor.position


def check_more(more: Iterable[bytes], tiles: Tiles | None) -> None:
    """CorruptFile for MORE chunks that do not hold a part for each tile."""
    if tiles is not None:
        for body in more:
            unpack_more(body, len(tiles.lengths))


def cut_apart(body: bytes, lengths: Iterable[int], start: int = 0) -> tuple[bytes, ...]:
    """The parts of a chunk, which follow one another from `start` on."""
    ends = tuple(accumulate(lengths, initial=start))
    return tuple(body[begin:end] for begin, end in zip(ends, ends[1:], strict=False))


def count(header: Header, side: int) -> int:
    """Tiles of a picture."""
    return -(-header.width // side) * -(-header.height // side)


def cap(header: Header) -> int:
    """Most bytes that the chunk may hold."""
    return 1 + lengths_cap(header)


def lengths_cap(header: Header) -> int:
    """Most bytes that a length for each tile takes."""
    return MOST_VARINT_BYTES * count(header, min(spec.TILE_SIDES))
