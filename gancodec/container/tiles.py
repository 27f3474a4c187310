"""The TILES chunk: how a picture is cut into streams of their own, so that none has to be held or decoded whole."""

from __future__ import annotations

from typing import NamedTuple

from gancodec.container import spec
from gancodec.container.header import Cursor, Header, varint
from gancodec.errors import CorruptFile


class Tiles(NamedTuple):
    """Tiles of `side` x `side` pixels, row by row, smaller at the right and bottom; `lengths` are the bytes of their
    streams, which follow one another in IMAGE."""

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
    sides = spec.CODECS[header.codec].tile_sides if header.codec in spec.CODECS else spec.TILE_SIDES
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


def count(header: Header, side: int) -> int:
    """Tiles of a picture."""
    return -(-header.width // side) * -(-header.height // side)


def cap(header: Header) -> int:
    """Most bytes that the chunk may hold."""
    return 1 + 5 * count(header, min(spec.TILE_SIDES))
