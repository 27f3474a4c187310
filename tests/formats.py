"""Picture files by hand, for what Pillow does not write: samples of TIFF, chunks of PNG, segments of JPEG, boxes."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms

WIDTH, HEIGHT = 24, 16
RAMP = np.linspace(0, 1, WIDTH)[None].repeat(HEIGHT, 0)  # black at the left
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
TEN_BITS = Path(__file__).parent / "pictures" / "ten_bits.avif"
XMP = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" dc:format="x"/></rdf:RDF></x:xmpmeta>"""
LETTERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 16: "Q"}


def photograph() -> Image.Image:
    """A small RGB picture with nothing alike at two places."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    pixels = np.dstack([columns * 10, rows * 15, 255 - columns * 4 - rows * 6]).astype(np.uint8)
    return Image.fromarray(pixels)


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def exif(orientation: int = 1, kind: int = 3, order: str = "<") -> bytes:
    """EXIF of a maker and an orientation in a type of TIFF, without a prefix."""
    values = {5: (orientation, 1), 10: (orientation, 1)}.get(kind, (orientation,))
    letters = {2: "s", 5: "II", 10: "ii"}.get(kind, LETTERS.get(kind, "B"))
    data = struct.pack(order + letters, *([b"%d" % orientation] if kind == 2 else values))
    tags = {0x010F: (2, b"Maker\0"), 0x0112: (kind, data)}
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    entries, behind = b"", b""
    start = 8 + 2 + 12 * len(tags) + 4
    for tag, (type_, value) in tags.items():
        number = len(value) // {2: 1, 5: 8, 10: 8}.get(type_, struct.calcsize(order + LETTERS.get(type_, "B")))
        if len(value) > 4:
            field, behind = struct.pack(order + "I", start + len(behind)), behind + value + bytes(len(value) % 2)
        else:
            field = value.ljust(4, b"\0")
        entries += struct.pack(order + "HHI", tag, type_, number) + field
    return head + struct.pack(order + "H", len(tags)) + entries + bytes(4) + behind


def tiff(
    samples: np.ndarray,
    photometric: int,
    bits: int,
    kind: int = 1,
    order: str = "<",
    big: bool = False,
    packed: int = 1,
    apart: bool = False,
    tags: Mapping[int, tuple[int, Any]] = {},  # noqa: B006, never changed
) -> bytes:
    """A TIFF of samples (H, W) or (H, W, N), whole numbers or real ones, in one strip, or one a plane.

    kind : 1 unsigned, 2 signed, 3 float; packed : compression, 1 or 8
    """
    values = samples if samples.ndim == 3 else samples[..., None]
    height, width, count = values.shape
    planes = [values[..., i : i + 1] for i in range(count)] if apart else [values]
    strips = [_rows(plane, bits, kind, order) for plane in planes]
    strips = [zlib.compress(strip) for strip in strips] if packed == 8 else strips
    found: dict[int, tuple[int, Any]] = {
        256: (3, width), 257: (3, height), 258: (3, [bits] * count), 259: (3, packed), 262: (3, photometric),
        277: (3, count), 278: (3, height), 284: (3, 2 if apart else 1), 339: (3, [kind] * count),
    }  # fmt: skip
    body = bytearray((b"II" if order == "<" else b"MM") + struct.pack(order + "H", 43 if big else 42))
    body += struct.pack(order + "HHQ", 8, 0, 0) if big else struct.pack(order + "I", 0)
    places = []
    for strip in strips:
        places.append(len(body))
        body += strip + bytes(len(strip) % 2)
    found |= {273: (4, places), 279: (4, [len(strip) for strip in strips]), **tags}
    field, entries = (8, "HHQ") if big else (4, "HHI"), b""
    room, head = field
    for tag, (type_, value) in sorted(found.items()):
        listed = value if isinstance(value, list | tuple) else [value]
        data = value if isinstance(value, bytes) else struct.pack(f"{order}{len(listed)}{LETTERS[type_]}", *listed)
        number = len(value) // (8 if type_ == 5 else 1) if isinstance(value, bytes) else len(listed)
        if len(data) > room:
            at = len(body)
            body += data + bytes(len(data) % 2)
            data = struct.pack(order + ("Q" if big else "I"), at)
        entries += struct.pack(order + head, tag, type_, number) + data.ljust(room, b"\0")
    at = len(body)
    body += struct.pack(order + ("Q" if big else "H"), len(found)) + entries + bytes(8)
    body[8 if big else 4 : 16 if big else 8] = struct.pack(order + ("Q" if big else "I"), at)
    return bytes(body)


def _rows(values: np.ndarray, bits: int, kind: int, order: str) -> bytes:
    """Samples row by row, each of which starts at a byte."""
    if bits in (8, 16, 32, 64):
        return values.astype(order + {1: "u", 2: "i", 3: "f"}[kind] + str(bits // 8)).tobytes()
    flat = values.reshape(len(values), -1).astype(np.int64)
    binary = (flat[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(binary.astype(np.uint8).reshape(len(values), -1), axis=1).tobytes()


def chunk(kind: bytes, data: bytes, wrong: bool = False) -> bytes:
    """A PNG chunk, with a right or wrong CRC."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) ^ wrong)


def png(samples: np.ndarray, colour: int, depth: int, more: Iterable[bytes] = ()) -> bytes:
    """A PNG of samples (H, W) or (H, W, N), with more chunks before its pixels."""
    values = samples if samples.ndim == 3 else samples[..., None]
    rows = _rows(values, depth, 1, ">")
    step = len(rows) // len(values)
    lines = b"".join(b"\0" + rows[i : i + step] for i in range(0, len(rows), step))
    header = struct.pack(">IIBBBBB", values.shape[1], len(values), depth, colour, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(lines))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(more) + pixels + chunk(b"IEND", b"")


def png_with(data: bytes, *more: bytes) -> bytes:
    """A PNG file with more chunks behind its header."""
    return data[:33] + b"".join(more) + data[33:]


def jpeg_with(data: bytes, *segments: tuple[int, bytes]) -> bytes:
    """A JPEG file with more segments (marker, data) in front."""
    packed = (bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body for marker, body in segments)
    return data[:2] + b"".join(packed) + data[2:]


def icc_segments(icc: bytes, count: int) -> list[tuple[int, bytes]]:
    """A profile in APP2 segments."""
    step = -(-len(icc) // count)
    parts = [icc[i : i + step] for i in range(0, len(icc), step)]
    return [(0xE2, b"ICC_PROFILE\0" + bytes((i + 1, count)) + part) for i, part in enumerate(parts)]


def box(kind: bytes, data: bytes) -> bytes:
    """A box of ISO/IEC 14496-12."""
    return struct.pack(">I4s", len(data) + 8, kind) + data


def _boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    found, place = [], 0
    while place < len(data):
        size, kind = struct.unpack_from(">I4s", data, place)
        found.append((kind, data[place + 8 : place + size]))
        place += size
    return found


def avif_with(data: bytes, *properties: bytes) -> bytes:
    """An AVIF file of libavif with more properties (boxes) of its primary item, the first one."""
    (_, kind), (_, meta), *rest = _boxes(data)
    inside = []
    for name, body in _boxes(meta[4:]):
        if name == b"iprp":
            (_, known), (_, listed) = _boxes(body)
            count = len(_boxes(known))
            places = bytes(0x80 | (count + 1 + i) for i in range(len(properties)))
            listed = (
                listed[:10]
                + bytes((listed[10] + len(places),))
                + listed[11 : 11 + listed[10]]
                + places
                + listed[11 + listed[10] :]
            )
            body = box(b"ipco", known + b"".join(properties)) + box(b"ipma", listed)
        inside.append((name, body))
    longer = sum(len(body) + 8 for _, body in inside) + 4 - len(meta)
    for number, (name, body) in enumerate(inside):
        if name == b"iloc":
            inside[number] = (name, _moved(body, longer))
    whole = box(b"meta", meta[:4] + b"".join(box(name, body) for name, body in inside))
    return box(b"ftyp", kind) + whole + b"".join(box(name, body) for name, body in rest)


def _moved(places: bytes, by: int) -> bytes:
    """An iloc box, as libavif writes it, of data that lies further on."""
    assert places[0] == 0
    assert places[4:6] == b"\x44\0"  # four bytes each, no base
    moved, at = bytearray(places), 8
    for _ in range(struct.unpack_from(">H", places, 6)[0]):
        extents = struct.unpack_from(">H", places, at + 4)[0]
        for extent in range(extents):
            start = at + 6 + 8 * extent
            struct.pack_into(">I", moved, start, struct.unpack_from(">I", places, start)[0] + by)
        at += 6 + 8 * extents
    return bytes(moved)


def clap(width: int, height: int, left: int, top: int, stored: tuple[int, int] = (WIDTH, HEIGHT)) -> bytes:
    """A clean aperture."""
    across, down = (
        2 * start + size - side for start, size, side in zip((left, top), (width, height), stored, strict=True)
    )
    return box(b"clap", struct.pack(">IIIIiIiI", width, 1, height, 1, across, 2, down, 2))


def bmp_with_profile(icc: bytes, image: Image.Image | None = None) -> bytes:
    """A BMP of the fifth version."""
    shown = photograph() if image is None else image.convert("RGB")
    pixels = shown.transpose(Image.Transpose.FLIP_TOP_BOTTOM).tobytes("raw", "BGR")
    header = struct.pack("<IiiHHIIiiII", 124, WIDTH, HEIGHT, 1, 24, 0, len(pixels), 2835, 2835, 0, 0)
    header += bytes(16) + b"DEBM" + bytes(48) + struct.pack("<IIII", 4, 124 + len(pixels), len(icc), 0)
    return b"BM" + struct.pack("<IHHI", 138 + len(pixels) + len(icc), 0, 0, 138) + header + pixels + icc


def gif_with(data: bytes, name: bytes, body: bytes, plain: bool = False) -> bytes:
    """A GIF file with an application extension; XMP (`plain`) is not cut into blocks, and has a tail of its own."""
    start = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    blocks = b"".join(bytes((len(part),)) + part for part in (body[i : i + 255] for i in range(0, len(body), 255)))
    inside = body + b"\1" + bytes(range(255, -1, -1)) + b"\0" if plain else blocks + b"\0"
    return data[:start] + b"\x21\xff\x0b" + name + inside + data[start:]


def riff_with(data: bytes, kind: bytes, body: bytes) -> bytes:
    """A WebP file with one more chunk at its end."""
    whole = data + kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)
    return whole[:4] + struct.pack("<I", len(whole) - 8) + whole[8:]
