"""The header: one field table, packed and unpacked by the same walk, then a CRC-32 over everything from the signature
on."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any, NamedTuple

from gancodec.container import spec
from gancodec.errors import CorruptFile, UnsupportedFile, UsageError


@dataclass(frozen=True)
class Header:
    """Everything that decoding needs to know before the first chunk; integers only.

    width, height : pixels; model : numeric model id, 0 where the codec has none; model_hash : 8 bytes of the integer
    entropy model's hash; codec, coder : ids;
    flags : bits of `spec`; n : thousandths, for the record; level_shift : sixteenths of a level added to every level.
    """

    width: int
    height: int
    model: int
    model_hash: bytes
    codec: int
    coder: int
    flags: int
    n: int
    level_shift: int


class Field(NamedTuple):
    """Name, kind ("varint", "bytes" or a byte count, signed where the least value is negative), least and greatest
    value."""

    name: str
    kind: str
    size: int
    least: int
    greatest: int


FIELDS = (
    Field("width", "varint", 0, 1, spec.MAX_SIDE),
    Field("height", "varint", 0, 1, spec.MAX_SIDE),
    Field("model", "varint", 0, 0, 0xFFFF),
    Field("model_hash", "bytes", 8, 0, 0),
    Field("codec", "int", 1, 0, 255),
    Field("coder", "int", 1, 0, 255),
    Field("flags", "int", 1, 0, spec.FLAGS_KNOWN),
    Field("n", "int", 2, -0x8000, 0x7FFF),
    Field("level_shift", "int", 1, 0, spec.MAX_LEVEL_SHIFT),
)
CRC_BYTES = 4
MOST_VARINT_BYTES = 5
MOST_BYTES = len(spec.MAGIC) + 2 + sum(field.size or MOST_VARINT_BYTES for field in FIELDS) + CRC_BYTES


class EndOfData(CorruptFile):
    """Bytes end before what they state is there."""


class Cursor:
    """Reads forward through bytes; EndOfData at the end of them."""

    def __init__(self, data: bytes, position: int = 0) -> None:
        self.data, self.position = data, position

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        if count > len(self.data) - self.position:
            raise EndOfData(
                f"cut short: {count} bytes wanted at {self.position}, {len(self.data) - self.position} left"
            )
        self.position += count
        return self.data[self.position - count : self.position]

    def varint(self) -> int:
        """Unsigned LEB128, at most 32 bits, in the fewest bytes."""
        value, shift = 0, 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
            if shift >= 35:
                raise CorruptFile("number too long")
        if value > spec.MAX_VARINT or (byte == 0 and shift > 7):
            raise CorruptFile("number too large or not in its shortest form")
        return value


def varint(value: int) -> bytes:
    """Unsigned LEB128."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def pack(header: Header) -> bytes:
    """Signature, version, fields and CRC; UsageError for a value out of range."""
    out = bytearray(spec.MAGIC + bytes((spec.MAJOR, spec.MINOR)))
    for field in FIELDS:
        value = getattr(header, field.name)
        if not _fits(field, value):
            raise UsageError(f"header: {field.name} = {value!r} is out of range")
        if field.kind == "varint":
            out += varint(value)
        elif field.kind == "bytes":
            out += value
        else:
            out += value.to_bytes(field.size, "little", signed=field.least < 0)
    if conflict := _conflict(header):
        raise UsageError(f"header: {conflict}")
    return bytes(out) + zlib.crc32(out).to_bytes(CRC_BYTES, "little")


def unpack(data: bytes) -> tuple[Header, int]:
    """Header of a file and the offset of its first chunk; CorruptFile, or UnsupportedFile for another major version
    and for unknown flags."""
    if not data.startswith(spec.MAGIC):
        raise CorruptFile("not a .gic file (or damaged in its first bytes)")
    cursor = Cursor(data, len(spec.MAGIC))
    major = cursor.take(1)[0]
    cursor.take(1)
    if major != spec.MAJOR:
        raise UnsupportedFile(f"format version {major}; this build reads version {spec.MAJOR}")
    values: dict[str, Any] = {field.name: _read(field, cursor) for field in FIELDS}
    end = cursor.position
    if zlib.crc32(data[:end]) != int.from_bytes(cursor.take(CRC_BYTES), "little"):
        raise CorruptFile("header checksum differs")
    if unknown := values["flags"] & ~spec.FLAGS_KNOWN:
        raise UnsupportedFile(f"header: flags {unknown:#04x} are unknown to this build")
    for field in FIELDS:
        if not _fits(field, values[field.name]):
            raise CorruptFile(f"header: {field.name} = {values[field.name]!r} is out of range")
    header = Header(**values)
    if conflict := _conflict(header):
        raise CorruptFile(f"header: {conflict}")
    return header, cursor.position


def _read(field: Field, cursor: Cursor) -> int | bytes:
    if field.kind == "varint":
        return cursor.varint()
    raw = cursor.take(field.size)
    return raw if field.kind == "bytes" else int.from_bytes(raw, "little", signed=field.least < 0)


def _fits(field: Field, value: int | bytes) -> bool:
    if isinstance(value, bytes):
        return len(value) == field.size
    return field.least <= value <= field.greatest


def _conflict(header: Header) -> str | None:
    """The first rule of its codec that a header breaks, or None; unknown codecs and coders have no rules."""
    rules = spec.CODECS.get(header.codec)
    if rules is None:
        return None
    known = {coder for other in spec.CODECS.values() for coder in other.coders}
    if header.coder in known - set(rules.coders):
        return f"coder {header.coder} is not of codec {header.codec}"
    if any(getattr(header, name) not in (0, bytes(8)) for name in rules.zero):
        *others, last = rules.zero
        names = f"{', '.join(others)} and {last}" if others else last
        return f"codec {header.codec} has no {rules.none}, so its {names} must be 0"
    return None if header.model or "model" in rules.zero else f"codec {header.codec} needs a model"
