"""Chunks: type, length, data, CRC-32. The walk checks every bound before it copies, and consumes every byte."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from gancodec.container import header as head
from gancodec.container import spec
from gancodec.container import tiles as layout
from gancodec.container.header import Cursor, Header, varint
from gancodec.container.tiles import Tiles
from gancodec.errors import CorruptFile, UnsupportedFile, UsageError

CRC_BYTES = 4
Start = tuple[Header, int]  # a header, and the bytes that it takes
Streams = tuple[tuple[bytes, ...], ...]  # of each tile, the slices, each the data of a chunk of its own
METADATA = {"icc": spec.ICC, "exif": spec.EXIF, "xmp": spec.XMP}


class ChunkInfo(NamedTuple):
    """Where a chunk lies: its name, type, offset of its first byte, and length of its data."""

    name: str
    type: int
    offset: int
    length: int


@dataclass(frozen=True)
class Container:
    """A parsed file. `alpha` is width * height bytes of row differences; `image` is the entropy-coded stream, or those
    of the `tiles`; `chunks` tells where things lie."""

    header: Header
    image: bytes
    alpha: bytes | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    chunks: tuple[ChunkInfo, ...] = ()
    tiles: Tiles | None = None
    cut: tuple[int, int] | None = None  # TODO merge

    @classmethod
    def of(
        cls,
        header: Header,
        streams: Streams,
        tile_side: int | None = None,
        alpha: bytes | None = None,
        icc: bytes | None = None,
        exif: bytes | None = None,
        xmp: bytes | None = None,
    ) -> Container:
        """A file of the streams of its tiles, or of its one stream; UsageError for more slices than the format has
        chunks for."""
        image, tiles = _gathered(streams, tile_side)
        return cls(header, image, alpha, icc, exif, xmp, tiles=tiles)

    @property
    def streams(self) -> Streams:
        """The streams of the tiles, or the one stream, each in its slices."""
        if self.tiles is None:
            return ((self.image,),)
        ends = itertools.accumulate(self.tiles.lengths)
        return tuple((self.image[end - length : end],) for end, length in zip(ends, self.tiles.lengths, strict=True))


def _gathered(streams: Streams, tile_side: int | None) -> tuple[bytes, Tiles | None]:
    """Data of the IMAGE chunk, and what TILES says of it."""
    if any(len(slices) != 1 for slices in streams):
        raise UsageError("IMAGE: a stream of several slices, and one has a chunk")
    parts = tuple(slices[0] for slices in streams)
    return b"".join(parts), None if tile_side is None else Tiles(tile_side, tuple(map(len, parts)))


def write(container: Container) -> bytes:
    """Bytes of a .gic file; UsageError for values that the format cannot hold."""
    header = container.header
    parts = [head.pack(header)]
    if container.tiles is not None:
        if why := layout.misfit(container.tiles, header, len(container.image)):
            raise UsageError(f"TILES: {why}")
        parts.append(_chunk(spec.TILES, layout.pack(container.tiles)))
    parts.append(_chunk(spec.IMAGE, container.image))
    if container.alpha is not None:
        if len(container.alpha) != header.width * header.height:
            raise UsageError("alpha does not fit the picture")
        parts.append(_chunk(spec.ALPHA, _deflate(container.alpha)))
    for name, kind in METADATA.items():
        value: bytes | None = getattr(container, name)
        if value:
            if len(value) > spec.MAX_METADATA:
                raise UsageError(f"{spec.CHUNK_NAMES[kind]}: {len(value)} bytes, cap {spec.MAX_METADATA}")
            parts.append(_chunk(kind, _deflate(value)))
    return b"".join((*parts, _chunk(spec.END, b"")))


def read(data: bytes, max_pixels: int = spec.MAX_PIXELS, start: Start | None = None) -> Container:
    """Parse a file, or what follows a `start` that has been parsed; CorruptFile or UnsupportedFile where anything is
    amiss."""
    header, position = start or head.unpack(data)
    check_pixels(header, max_pixels)
    pixels = header.width * header.height
    found: dict[int, bytes] = {}
    chunks = []
    for info, body in _walk(data, position, header):
        chunks.append(info)
        if info.type in found:
            raise CorruptFile(f"{info.name}: second one")
        if info.type in spec.CHUNK_NAMES:
            found[info.type] = body
    if spec.IMAGE not in found:
        raise CorruptFile("no IMAGE chunk")
    tiles = layout.unpack(found[spec.TILES], header, len(found[spec.IMAGE])) if spec.TILES in found else None
    alpha = None
    if spec.ALPHA in found:
        alpha = _inflate("ALPHA", found[spec.ALPHA], pixels, exact=True)
    metadata = {
        name: _inflate(spec.CHUNK_NAMES[kind], found[kind], spec.MAX_METADATA)
        for name, kind in METADATA.items()
        if kind in found
    }
    return Container(header, found[spec.IMAGE], alpha, chunks=tuple(chunks), tiles=tiles, **metadata)


def check_pixels(header: Header, max_pixels: int) -> None:
    """UnsupportedFile for a picture of more than `max_pixels`."""
    if header.width * header.height > max_pixels:
        raise UnsupportedFile(
            f"{header.width}x{header.height} is more than {max_pixels} pixels; raise --max-pixels to allow it"
        )


def most_bytes(header: Header) -> int:
    """What no file with this header is longer than."""
    data = sum(_cap(kind, header) for kind in spec.CHUNK_NAMES) + spec.MAX_UNKNOWN_BYTES
    around = (1 + head.MOST_VARINT_BYTES + CRC_BYTES) * (len(spec.CHUNK_NAMES) + spec.MAX_UNKNOWN_CHUNKS)
    return head.MOST_BYTES + data + around


def chunk_size(length: int) -> int:
    """Bytes of a whole chunk with `length` bytes of data."""
    return 1 + len(varint(length)) + length + CRC_BYTES


def streams_size(streams: Streams, tile_side: int | None = None) -> int:
    """Bytes of the chunks that hold streams, and say where their tiles are where there are some."""
    image, tiles = _gathered(streams, tile_side)
    return chunk_size(len(image)) + (0 if tiles is None else chunk_size(len(layout.pack(tiles))))


def _chunk(kind: int, body: bytes) -> bytes:
    checked = bytes((kind,)) + varint(len(body)) + body
    return checked + zlib.crc32(checked).to_bytes(CRC_BYTES, "little")


def _walk(data: bytes, position: int, header: Header) -> Iterator[tuple[ChunkInfo, bytes]]:
    """Chunks in order, IMAGE first (after TILES, where there are some), END last and nothing after it; each within its
    cap and with the right CRC."""
    cursor = Cursor(data, position)
    image_seen = False
    unknown, unknown_bytes = 0, 0
    while True:
        offset = cursor.position
        kind = cursor.take(1)[0]
        length = cursor.varint()
        name = spec.CHUNK_NAMES.get(kind, f"chunk 0x{kind:02x}")
        if kind in spec.CHUNK_NAMES and length > _cap(kind, header):
            raise CorruptFile(f"{name}: {length} bytes, cap {_cap(kind, header)}")
        if kind not in spec.CHUNK_NAMES and kind & spec.ANCILLARY:
            unknown, unknown_bytes = unknown + 1, unknown_bytes + length
            if unknown > spec.MAX_UNKNOWN_CHUNKS or unknown_bytes > spec.MAX_UNKNOWN_BYTES:
                raise CorruptFile(f"{name}: {unknown} unknown chunks of {unknown_bytes} bytes are more than may be")
        body = cursor.take(length)
        if zlib.crc32(data[offset : cursor.position]) != int.from_bytes(cursor.take(CRC_BYTES), "little"):
            raise CorruptFile(f"{name}: checksum differs")
        if kind not in spec.CHUNK_NAMES and not kind & spec.ANCILLARY:
            raise UnsupportedFile(f"{name} is critical and unknown to this build")
        if not image_seen and kind not in (spec.TILES, spec.IMAGE):
            raise CorruptFile(f"{name} where IMAGE should be")
        if image_seen and kind == spec.TILES:
            raise CorruptFile("TILES behind IMAGE")
        image_seen = image_seen or kind == spec.IMAGE
        yield ChunkInfo(name, kind, offset, length), body
        if kind == spec.END:
            break
    if cursor.position != len(data):
        raise CorruptFile(f"{len(data) - cursor.position} bytes after the end")


def _cap(kind: int, header: Header) -> int:
    """Most bytes that a chunk of a known type may hold."""
    pixels = -(-header.width // 64) * 64 * -(-header.height // 64) * 64
    if kind == spec.END:
        return 0
    if kind == spec.IMAGE:
        return spec.IMAGE_BASE + spec.IMAGE_PER_PIXEL * pixels
    if kind == spec.TILES:
        return layout.cap(header)
    inflated = header.width * header.height if kind == spec.ALPHA else spec.MAX_METADATA
    return inflated + inflated // 500 + 64  # deflate never grows data by more


def _deflate(raw: bytes) -> bytes:
    return varint(len(raw)) + zlib.compress(raw, 9)


def _inflate(name: str, body: bytes, cap: int, exact: bool = False) -> bytes:
    """Undo `_deflate`, never making more than the size it states, which never exceeds `cap`."""
    cursor = Cursor(body)
    size = cursor.varint()
    if size > cap or (exact and size != cap):
        raise CorruptFile(f"{name}: inflates to {size} bytes, {'must be' if exact else 'cap'} {cap}")
    return inflate(name, body[cursor.position :], size)


def inflate(name: str, deflated: bytes, size: int) -> bytes:
    """One zlib stream that must make exactly `size` bytes, and never makes more; CorruptFile naming it otherwise."""
    unpacker = zlib.decompressobj()
    try:
        raw = unpacker.decompress(deflated, size + 1)
    except zlib.error as error:
        raise CorruptFile(f"{name}: {error}") from error
    if len(raw) != size or not unpacker.eof or unpacker.unused_data:
        raise CorruptFile(f"{name}: does not inflate to the {size} bytes it must have")
    return raw
