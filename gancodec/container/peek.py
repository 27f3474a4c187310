"""Header and metadata of a file without its picture: what a viewer shows before it decodes."""

from __future__ import annotations

import zlib
from typing import BinaryIO, NamedTuple

from gancodec.container import chunks, spec
from gancodec.container import header as head
from gancodec.container.header import Cursor, Header
from gancodec.errors import CorruptFile

HEADER_BYTES = 64  # more than any header
CHUNK_START = 6  # most bytes of a chunk's type and length, and least bytes of a whole chunk


class Metadata(NamedTuple):
    """What the chunks other than IMAGE hold: is there an alpha channel, and metadata as it was stored."""

    alpha: bool
    icc: bytes | None
    exif: bytes | None
    xmp: bytes | None


def peek_header(stream: BinaryIO) -> tuple[Header, int]:
    """Header of a file that starts where `stream` stands, and how many bytes it takes. Raises as `read` does."""
    return head.unpack(stream.read(HEADER_BYTES))


def peek_metadata(stream: BinaryIO, position: int, header: Header) -> Metadata:
    """Walk from chunk to chunk, the first of which starts at `position` of a seekable stream.

    Only the data of ICC, EXIF and XMP is read, each within its limit and under its checksum; all else is left to
    `read`. Raises CorruptFile.
    """
    metadata = {kind: name for name, kind in chunks.METADATA.items()}
    found: dict[str, bytes] = {}
    alpha = False
    for _ in range(len(spec.CHUNK_NAMES) + spec.MAX_UNKNOWN_CHUNKS):
        stream.seek(position)
        start = stream.read(CHUNK_START)
        if len(start) < CHUNK_START:
            raise CorruptFile("cut short: no END chunk")
        cursor = Cursor(start)
        kind, length = cursor.take(1)[0], cursor.varint()
        if kind == spec.END:
            return Metadata(alpha, found.get("icc"), found.get("exif"), found.get("xmp"))
        alpha |= kind == spec.ALPHA
        after = position + cursor.position + length + chunks.CRC_BYTES
        if kind in metadata:
            if metadata[kind] in found:
                raise CorruptFile(f"{spec.CHUNK_NAMES[kind]}: second one")
            stream.seek(position)
            found[metadata[kind]] = _metadata(stream, kind, length, after - position, header)
        position = after
    raise CorruptFile("too many chunks")


def _metadata(stream: BinaryIO, kind: int, length: int, whole: int, header: Header) -> bytes:
    """Inflated data of the metadata chunk of `whole` bytes that `stream` stands before."""
    name, cap = spec.CHUNK_NAMES[kind], chunks._cap(kind, header)
    if length > cap:
        raise CorruptFile(f"{name}: {length} bytes, cap {cap}")
    cursor = Cursor(stream.read(whole))
    checked = cursor.take(whole - chunks.CRC_BYTES)
    if zlib.crc32(checked) != int.from_bytes(cursor.take(chunks.CRC_BYTES), "little"):
        raise CorruptFile(f"{name}: checksum differs")
    return chunks._inflate(name, checked[-length:] if length else b"", spec.MAX_METADATA)
