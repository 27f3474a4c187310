"""Header and metadata of a file without its picture: what a viewer shows before it decodes."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from gancodec.container import chunks, spec
from gancodec.container import header as head
from gancodec.container.header import Cursor, Header
from gancodec.errors import CorruptFile

HEADER_BYTES = 64  # more than any header
CHUNK_START = 6  # most bytes of a chunk's type and length, and least bytes of a whole chunk
METADATA = tuple(chunks.METADATA.values())


class Metadata(NamedTuple):
    """What the chunks other than IMAGE hold: is there an alpha channel, and metadata as it was stored."""

    alpha: bool
    icc: bytes | None
    exif: bytes | None
    xmp: bytes | None


def peek_header(stream: BinaryIO) -> tuple[Header, int]:
    """Header of a file that starts where `stream` stands, and how many bytes it takes. Raises as `read` does."""
    return head.unpack(stream.read(HEADER_BYTES))


def peek_metadata(stream: BinaryIO, position: int, header: Header, partial: bool = False) -> Metadata:
    """Walk from chunk to chunk, the first of which starts at `position` of a seekable stream.

    Only the data of ICC, EXIF and XMP is read, each within its limit and under its checksum; all else is left to
    `read`. With `partial` the stream may end anywhere behind a whole IMAGE. Raises CorruptFile.
    """
    found: dict[int, bytes | None] = {}
    for kind, data in _walk(stream, position, header):
        if kind in METADATA and kind in found:
            raise CorruptFile(f"{spec.CHUNK_NAMES[kind]}: second one")
        found[kind] = data
    if spec.END not in found and not (partial and spec.IMAGE in found):
        raise CorruptFile("cut short: no END chunk")
    return Metadata(spec.ALPHA in found, *map(found.get, METADATA))


def _walk(stream: BinaryIO, position: int, header: Header) -> Iterator[tuple[int, bytes | None]]:
    """Types of the chunks that are whole, up to END, with the data of those that hold metadata."""
    end = stream.seek(0, os.SEEK_END)
    for _ in range(len(spec.CHUNK_NAMES) + spec.rules_of(header.codec).slices + spec.MAX_UNKNOWN_CHUNKS):
        stream.seek(position)
        start = stream.read(CHUNK_START)
        if len(start) < CHUNK_START:
            return
        cursor = Cursor(start)
        kind, length = cursor.take(1)[0], cursor.varint()
        if kind in METADATA and length > (cap := chunks._cap(kind, header)):
            raise CorruptFile(f"{spec.CHUNK_NAMES[kind]}: {length} bytes, cap {cap}")
        whole = cursor.position + length + chunks.CRC_BYTES
        if position + whole > end and kind != spec.END:
            return
        stream.seek(position)
        yield kind, _metadata(kind, stream.read(whole), length) if kind in METADATA else None
        if kind == spec.END:
            return
        position += whole
    raise CorruptFile("too many chunks")


def _metadata(kind: int, chunk: bytes, length: int) -> bytes:
    """Inflated data of a metadata chunk, `length` bytes before that."""
    name, cursor = spec.CHUNK_NAMES[kind], Cursor(chunk)
    checked = cursor.take(len(chunk) - chunks.CRC_BYTES)
    if zlib.crc32(checked) != int.from_bytes(cursor.take(chunks.CRC_BYTES), "little"):
        raise CorruptFile(f"{name}: checksum differs")
    return chunks._inflate(name, checked[-length:] if length else b"", spec.MAX_METADATA)
