"""Chunks: type, length, data, CRC-32. The walk checks every bound before it copies, and consumes every byte.

The symbols of a picture are in slices, one in IMAGE and each other in a MORE. Files of codecs with several may be cut
behind any of them: a reader that is asked for part of a file takes the chunks that are whole.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gancodec.container import header as head
from gancodec.container import spec
from gancodec.container import tiles as layout
from gancodec.container.header import Cursor, EndOfData, Header, varint
from gancodec.container.tiles import Tiles
from gancodec.errors import CorruptFile, UnsupportedFile, UsageError

CRC_BYTES = 4
Start = tuple[Header, int]  # a header, and the bytes that it takes
Streams = tuple[tuple[bytes, ...], ...]  # of each tile, the slices, each the data of a chunk of its own
METADATA = {"icc": spec.ICC, "exif": spec.EXIF, "xmp": spec.XMP}
CODED = (spec.IMAGE, spec.MORE)


class ChunkInfo(NamedTuple):
    """Where a chunk lies: its name, type, offset of its first byte, and length of its data."""

    name: str
    type: int
    offset: int
    length: int


class Cut(NamedTuple):
    """Where a file ends too early: type and stated length of the chunk that is not whole. Each is None where the file
    ends before it has told it all."""

    type: int | None
    length: int | None


@dataclass(frozen=True)
class Container:
    """A parsed file. `alpha` is width * height bytes of row differences; `image` is the entropy-coded stream, or those
    of the `tiles`, or the first slice of them; `more` has the data of the chunks of the others; `chunks` tells where
    things lie; `cut` is None for a whole file."""

    header: Header
    image: bytes
    alpha: bytes | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    chunks: tuple[ChunkInfo, ...] = ()
    tiles: Tiles | None = None
    more: tuple[bytes, ...] = ()
    cut: Cut | None = None

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
        """A file of the streams of its tiles, or of its one stream; UsageError where they have not equally many slices,
        or more than their codec may have."""
        image, more, tiles = _gathered(streams, tile_side)
        _check_slices(header, more, tiles)
        return cls(header, image, alpha, icc, exif, xmp, tiles=tiles, more=more)

    @property
    def streams(self) -> Streams:
        """The streams of the tiles, or the one stream, each in its slices: those that are there, of a file that is
        cut."""
        if self.tiles is None:
            return ((self.image, *self.more),)
        lengths = self.tiles.lengths
        more = (layout.cut_apart(body, *layout.unpack_more(body, len(lengths))) for body in self.more)
        return tuple(zip(layout.cut_apart(self.image, lengths), *more, strict=True))


def _gathered(streams: Streams, tile_side: int | None) -> tuple[bytes, tuple[bytes, ...], Tiles | None]:
    """Data of the IMAGE chunk and of those behind it, and what TILES says of the former."""
    counts = sorted({len(slices) for slices in streams})
    if len(counts) != 1 or not counts[0]:
        told = " and ".join(map(str, counts))
        raise UsageError(f"IMAGE: streams of {told or 'no'} slices, must be equally many and at least one")
    first, *others = zip(*streams, strict=True)
    if tile_side is None:
        return b"".join(first), tuple(b"".join(parts) for parts in others), None
    return b"".join(first), tuple(map(layout.pack_more, others)), Tiles(tile_side, tuple(map(len, first)))


def _check_slices(header: Header, more: Sequence[bytes], tiles: Tiles | None) -> None:
    """UsageError for data of MORE chunks that a file with this header and these tiles may not have."""
    most = spec.rules_of(header.codec).slices
    if len(more) >= most:
        raise UsageError(f"MORE: several slices ({len(more) + 1}), codec {header.codec} has at most {most}")
    try:
        layout.check_more(more, tiles)
    except CorruptFile as error:
        raise UsageError(str(error)) from error


def write(container: Container) -> bytes:
    """Bytes of a .gic file; UsageError for values that the format cannot hold."""
    header, tiles = container.header, container.tiles
    start = head.pack(header)
    _check_slices(header, container.more, tiles)
    data: dict[int, Sequence[bytes]] = {spec.IMAGE: [container.image], spec.MORE: container.more, spec.END: [b""]}
    if tiles is not None:
        if why := layout.misfit(tiles, header, len(container.image)):
            raise UsageError(f"TILES: {why}")
        data[spec.TILES] = [layout.pack(tiles)]
    if container.alpha is not None:
        if len(container.alpha) != header.width * header.height:
            raise UsageError("alpha does not fit the picture")
        data[spec.ALPHA] = [_deflate(container.alpha)]
    for name, kind in METADATA.items():
        value: bytes | None = getattr(container, name)
        if value:
            if len(value) > spec.MAX_METADATA:
                raise UsageError(f"{spec.CHUNK_NAMES[kind]}: {len(value)} bytes, cap {spec.MAX_METADATA}")
            data[kind] = [_deflate(value)]
    order = spec.rules_of(header.codec).order
    return b"".join((start, *(_chunk(kind, body) for kind in order for body in data.get(kind, ()))))


def read(
    data: bytes, max_pixels: int = spec.MAX_PIXELS, start: Start | None = None, partial: bool = False
) -> Container:
    """Parse a file, or what follows a `start` that has been parsed; CorruptFile or UnsupportedFile where anything is
    amiss.

    With `partial`, a file of a codec with slices may end anywhere behind a whole IMAGE chunk; chunks that are not whole
    are left out, and nothing else is forgiven.
    """
    header, position = start or head.unpack(data)
    check_pixels(header, max_pixels)
    pixels = header.width * header.height
    found: dict[int, bytes] = {}
    more, chunks, cut = [], [], None
    for piece in _walk(data, position, header, partial):
        if isinstance(piece, Cut):
            cut = piece
            break
        info, body = piece
        chunks.append(info)
        if info.type == spec.MORE:
            more.append(body)
        elif info.type in spec.CHUNK_NAMES:
            found[info.type] = body
    tiles = layout.unpack(found[spec.TILES], header, len(found[spec.IMAGE])) if spec.TILES in found else None
    layout.check_more(more, tiles)
    alpha = None
    if spec.ALPHA in found:
        alpha = _inflate("ALPHA", found[spec.ALPHA], pixels, exact=True)
    metadata = {
        name: _inflate(spec.CHUNK_NAMES[kind], found[kind], spec.MAX_METADATA)
        for name, kind in METADATA.items()
        if kind in found
    }
    image = found[spec.IMAGE]
    return Container(header, image, alpha, chunks=tuple(chunks), tiles=tiles, more=tuple(more), cut=cut, **metadata)


def check_pixels(header: Header, max_pixels: int) -> None:
    """UnsupportedFile for a picture of more than `max_pixels`."""
    if header.width * header.height > max_pixels:
        raise UnsupportedFile(
            f"{header.width}x{header.height} is more than {max_pixels} pixels; raise --max-pixels to allow it"
        )


def most_bytes(header: Header) -> int:
    """What no file with this header is longer than."""
    more = spec.rules_of(header.codec).slices - 1
    others = [kind for kind in spec.CHUNK_NAMES if kind not in CODED]
    data = _coded_cap(header, more) + sum(_cap(kind, header) for kind in others) + spec.MAX_UNKNOWN_BYTES
    count = 1 + more + len(others) + spec.MAX_UNKNOWN_CHUNKS
    return head.MOST_BYTES + data + (1 + head.MOST_VARINT_BYTES + CRC_BYTES) * count


def chunk_size(length: int) -> int:
    """Bytes of a whole chunk with `length` bytes of data."""
    return 1 + len(varint(length)) + length + CRC_BYTES


def streams_size(streams: Streams, tile_side: int | None = None) -> int:
    """Bytes of the chunks that hold streams, and say where their tiles are where there are some."""
    image, more, tiles = _gathered(streams, tile_side)
    told = () if tiles is None else (layout.pack(tiles),)
    return sum(chunk_size(len(body)) for body in (*told, image, *more))


def _chunk(kind: int, body: bytes) -> bytes:
    checked = bytes((kind,)) + varint(len(body)) + body
    return checked + zlib.crc32(checked).to_bytes(CRC_BYTES, "little")


def _walk(data: bytes, position: int, header: Header, partial: bool) -> Iterator[tuple[ChunkInfo, bytes] | Cut]:
    """Chunks in their order, END last and nothing after it; each within its cap and with the right CRC. With `partial`,
    of a codec with slices, a `Cut` where the data ends behind IMAGE."""
    cursor = Cursor(data, position)
    before: list[ChunkInfo] = []
    while not before or before[-1].type != spec.END:
        offset, kind, length = cursor.position, None, None
        try:
            kind = cursor.take(1)[0]
            length = cursor.varint()
            _check_length(kind, length, before, header)
            body = cursor.take(length)
            checksum = cursor.take(CRC_BYTES)
        except EndOfData as end:
            _check_cut(end, before, header, partial)
            if kind is not None:
                _check_place(kind, before, header)
            yield Cut(kind, length)
            return
        if zlib.crc32(data[offset : cursor.position - CRC_BYTES]) != int.from_bytes(checksum, "little"):
            raise CorruptFile(f"{_name(kind)}: checksum differs")
        _check_place(kind, before, header)
        before.append(ChunkInfo(_name(kind), kind, offset, length))
        yield before[-1], body
    if cursor.position != len(data):
        raise CorruptFile(f"{len(data) - cursor.position} bytes after the end")


def _check_length(kind: int, length: int, before: Sequence[ChunkInfo], header: Header) -> None:
    """CorruptFile for more bytes of data than a chunk behind others may have."""
    if kind in spec.CHUNK_NAMES:
        if kind in CODED:
            coded = [info for info in before if info.type in CODED]
            more = [kind, *(info.type for info in coded)].count(spec.MORE)
            cap = _coded_cap(header, more) - sum(info.length for info in coded)
        else:
            cap = _cap(kind, header)
        if length > cap:
            raise CorruptFile(f"{_name(kind)}: {length} bytes, cap {cap}")
    elif kind & spec.ANCILLARY:
        unknown = [length, *(info.length for info in before if info.type not in spec.CHUNK_NAMES)]
        if len(unknown) > spec.MAX_UNKNOWN_CHUNKS or sum(unknown) > spec.MAX_UNKNOWN_BYTES:
            told = f"{len(unknown)} unknown chunks of {sum(unknown)} bytes"
            raise CorruptFile(f"{_name(kind)}: {told} are more than may be")


def _check_place(kind: int, before: Sequence[ChunkInfo], header: Header) -> None:
    """CorruptFile for a chunk that must not come behind others, UnsupportedFile for one that may mean anything."""
    name, rules, kinds = _name(kind), spec.rules_of(header.codec), [info.type for info in before]
    if kind not in spec.CHUNK_NAMES and not kind & spec.ANCILLARY:
        raise UnsupportedFile(f"{name} is critical and unknown to this build")
    leading = rules.order[: rules.order.index(spec.IMAGE) + 1]
    if kind in spec.CHUNK_NAMES and kind in kinds and kind != spec.MORE:
        raise CorruptFile(f"{name}: second one")
    if spec.IMAGE in kinds:
        if kind in leading:
            raise CorruptFile(f"{name} behind IMAGE")
    elif kind not in leading or any(leading.index(known) > leading.index(kind) for known in kinds):
        if header.codec not in spec.CODECS and kind in spec.SLICED_ORDER[: spec.SLICED_ORDER.index(spec.IMAGE)]:
            raise UnsupportedFile(f"{name}: codec {header.codec} is not known to this build")
        raise CorruptFile(f"{name} where IMAGE should be")
    if kind == spec.MORE:
        if header.codec not in spec.CODECS:
            raise UnsupportedFile(f"{name}: codec {header.codec} is not known to this build")
        if kinds.count(spec.MORE) + 2 > rules.slices:
            raise CorruptFile(f"{name}: more slices than codec {header.codec} may have ({rules.slices})")
        if kinds[-1] not in CODED:
            raise CorruptFile(f"{name}: not directly behind IMAGE")


def _check_cut(end: EndOfData, before: Sequence[ChunkInfo], header: Header, partial: bool) -> None:
    """Raise for data that ends too early, unless part of the picture is there and asked for."""
    if spec.rules_of(header.codec).slices == 1:
        raise end
    if all(info.type != spec.IMAGE for info in before):
        raise CorruptFile("cut short: the first slice is not whole, so nothing can be decoded") from end
    if not partial:
        raise CorruptFile(f"{end}; `decode --partial` decodes the slices that are whole") from end


def _name(kind: int) -> str:
    return spec.CHUNK_NAMES.get(kind, f"chunk 0x{kind:02x}")


def _coded_cap(header: Header, more: int) -> int:
    """Most bytes that IMAGE and so many MORE chunks may hold together."""
    pixels = -(-header.width // 64) * 64 * -(-header.height // 64) * 64
    return spec.IMAGE_BASE + spec.IMAGE_PER_PIXEL * pixels + more * layout.lengths_cap(header)


def _cap(kind: int, header: Header) -> int:
    """Most bytes that a chunk of a known type may hold, of those without slices."""
    if kind == spec.END:
        return 0
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
