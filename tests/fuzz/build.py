"""Parts of .gic and picture files under right checksums, by the words of docs/format.md, as an attacker makes them."""

from __future__ import annotations

import struct
import zlib

from gancodec.container import Header, spec
from gancodec.container.header import pack, varint

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
EXIF_MARK = b"Exif\0\0"
XMP_MARK = b"http://ns.adobe.com/xap/1.0/\0"
ICC_MARK = b"ICC_PROFILE\0\x01\x01"
SEGMENT_LIMIT = 65533  # bytes of data in a JPEG segment
CRC_BYTES = 4
FIXED_FIELDS = 14  # bytes of the header between its three uvarints and its checksum
MAX_NUMBER_BYTES = 5
Fields = dict[int, tuple[int, int | list[int] | bytes]]  # of a TIFF directory: type and values by tag


def chunk(kind: int, body: bytes) -> bytes:
    """A chunk of a .gic file."""
    checked = bytes((kind,)) + varint(len(body)) + body
    return checked + zlib.crc32(checked).to_bytes(CRC_BYTES, "little")


def deflated(raw: bytes, stated: int | None = None) -> bytes:
    """Data of a metadata or ALPHA chunk, which may state a size that it does not have."""
    return varint(len(raw) if stated is None else stated) + zlib.compress(raw, 9)


def gic(header: Header, image: bytes, *chunks: bytes, tiles: bytes = b"") -> bytes:
    """A .gic file of an IMAGE chunk, one of tiles before it, and the chunks given."""
    return b"".join((pack(header), tiles, chunk(spec.IMAGE, image), *chunks, chunk(spec.END, b"")))


def mended(data: bytes) -> bytes:
    """A .gic file with right checksums, as far as it can be walked: damage that they do not show."""
    out = bytearray(data)
    start, position = 0, len(spec.MAGIC) + 2
    for _ in ("width", "height", "model"):
        _, position = _number(out, position)
    position += FIXED_FIELDS
    while position + CRC_BYTES <= len(out):
        out[position : position + CRC_BYTES] = zlib.crc32(out[start:position]).to_bytes(CRC_BYTES, "little")
        start = position + CRC_BYTES
        length, body = _number(out, start + 1)
        position = body + length
    return bytes(out)


def _number(data: bytes | bytearray, position: int) -> tuple[int, int]:
    """A uvarint, however wrong, and the position behind it."""
    value = 0
    for i, byte in enumerate(data[position : position + MAX_NUMBER_BYTES]):
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value, position + i + 1
    return value, position + MAX_NUMBER_BYTES


def mended_png(data: bytes) -> bytes:
    """A PNG file with right checksums, as far as it can be walked."""
    out = bytearray(data)
    position = len(PNG_MAGIC)
    while position + 12 <= len(out):
        end = position + 8 + int.from_bytes(out[position : position + 4], "big")
        if end + CRC_BYTES <= len(out):
            out[end : end + CRC_BYTES] = zlib.crc32(out[position + 4 : end]).to_bytes(CRC_BYTES, "big")
        position = end + CRC_BYTES
    return bytes(out)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG file."""
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(CRC_BYTES, "big")


def png_with(plain: bytes, kind: str, payload: bytes) -> bytes:
    """A PNG file with raw bytes as ICC, EXIF or XMP, behind its IHDR."""
    bodies = {
        "icc": (b"iCCP", b"p\0\0" + zlib.compress(payload)),
        "exif": (b"eXIf", payload),
        "xmp": (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + payload),
    }
    at = len(PNG_MAGIC) + 25
    return plain[:at] + png_chunk(*bodies[kind]) + plain[at:]


def jpeg_with(plain: bytes, kind: str, payload: bytes) -> bytes:
    """A JPEG file with raw bytes as ICC, EXIF or XMP, behind its SOI."""
    number, mark = {"icc": (0xE2, ICC_MARK), "exif": (0xE1, EXIF_MARK), "xmp": (0xE1, XMP_MARK)}[kind]
    body = (mark + payload)[:SEGMENT_LIMIT]
    return plain[:2] + bytes((0xFF, number)) + (len(body) + 2).to_bytes(2, "big") + body + plain[2:]


def webp_with(plain: bytes, kind: str, payload: bytes, size: tuple[int, int]) -> bytes:
    """A WebP file of one still picture of `size`, with raw bytes as ICC, EXIF or XMP."""
    name, flag = {"icc": (b"ICCP", 0x20), "exif": (b"EXIF", 0x08), "xmp": (b"XMP ", 0x04)}[kind]
    canvas = b"".join((side - 1).to_bytes(3, "little") for side in size)
    extra = _riff(name, payload)
    parts = (extra, plain[12:]) if kind == "icc" else (plain[12:], extra)
    return _riff(b"RIFF", b"WEBP" + _riff(b"VP8X", bytes((flag, 0, 0, 0)) + canvas) + b"".join(parts))


def _riff(name: bytes, body: bytes) -> bytes:
    return name + len(body).to_bytes(4, "little") + body + bytes(len(body) % 2)


def tiff_with(size: tuple[int, int], kind: str, payload: bytes) -> bytes:
    """An uncompressed black TIFF file of a size, with raw bytes as ICC, EXIF or XMP (EXIF: as its camera directory)."""
    width, height = size
    black = bytes(3 * width * height)
    fields: Fields = {256: (3, width), 257: (3, height), 258: (3, [8] * 3), 259: (3, 1), 262: (3, 2), 277: (3, 3)}
    fields |= {278: (3, height)}
    if kind == "exif":
        return tiff(fields | {34665: (4, 8 + len(black))}, [black + payload])
    return tiff(fields | {{"icc": 34675, "xmp": 700}[kind]: ({"icc": 7, "xmp": 1}[kind], payload)}, [black])


def tiff(fields: Fields, parts: list[bytes], order: str = "<", big: bool = False, tiled: bool = False) -> bytes:
    """A TIFF file: strips or tiles behind its header, then the values of a directory's fields, then the directory."""
    head, entry, word = ("HHHQ", "HHQ", "Q") if big else ("HI", "HHI", "I")
    body = bytearray({"<": b"II", ">": b"MM"}[order] + bytes(14 if big else 6))
    starts = []
    for part in parts:
        starts.append(len(body))
        body += part + bytes(len(part) % 2)
    offsets, counts = (324, 325) if tiled else (273, 279)
    listed = fields | {offsets: (4, starts), counts: (4, [len(part) for part in parts])}
    entries = []
    for tag, (kind, value) in sorted(listed.items()):
        numbers = value if isinstance(value, bytes | list) else [value]
        data = (
            bytes(numbers)
            if kind in (1, 7)
            else struct.pack(f"{order}{len(numbers)}{'H' if kind == 3 else 'I'}", *numbers)
        )
        if len(data) > struct.calcsize(word):
            place, data = len(body), data + bytes(len(data) % 2)
            body, data = body + data, struct.pack(order + word, place)
        entries.append(struct.pack(order + entry, tag, kind, len(numbers)) + data.ljust(struct.calcsize(word), b"\0"))
    body[2 : struct.calcsize("<" + head) + 2] = struct.pack(order + head, *((43, 8, 0) if big else (42,)), len(body))
    count = struct.pack(order + ("Q" if big else "H"), len(entries))
    return bytes(body) + count + b"".join(entries) + bytes(struct.calcsize(word))
