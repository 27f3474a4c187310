"""Small sound pictures of every format that is read, in the kinds that these have, some with metadata."""

from __future__ import annotations

import io
import itertools
import re
import struct
import zlib
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from tests.fuzz.build import ICC_MARK, PNG_MAGIC, Fields, png_chunk, tiff
from tests.tiny import picture

HEIGHT, WIDTH = 12, 17
Order = Literal["<", ">"]
TILE = 16  # pixels a side, the least that TIFF has
EXIF = b"Exif\0\0II*\0\x08\0\0\0\x02\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\x69\x87\x04\0\x01\0\0\0\x26\0\0\0\0\0\0\0" + (
    b"\x01\0\0\x90\x07\0\x04\0\0\0" + b"0232" + b"\0\0\0\0"
)
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "MPO")
PNG_KINDS = (
    [(0, d) for d in (1, 2, 4, 8, 16)] + [(3, d) for d in (1, 2, 4, 8)] + [(c, d) for c in (2, 4, 6) for d in (8, 16)]
)
PNG_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))  # Adam7
TIMES = re.compile(rb"(?<=(?:mvhd|tkhd|mdhd)\x01...).{16}|.{12}(?=acsp)", re.DOTALL)  # of AVIF sequences, of profiles
TIFF_KINDS = (  # PhotometricInterpretation, bits, SampleFormat, samples, ExtraSamples
    *((p, bits, 1, 1, ()) for p in (0, 1) for bits in (1, 2, 4, 8, 12, 16, 32)),
    *((1, bits, form, 1, ()) for bits, form in ((8, 2), (16, 2), (32, 2), (16, 3), (32, 3), (64, 3))),
    *((2, bits, 1, 3, ()) for bits in (4, 8, 16, 32)),
    *((2, bits, 1, 4, (extra,)) for bits in (8, 16) for extra in (0, 1, 2)),
    *((p, 8, 1, 2, (2,)) for p in (0, 1, 3)),
    *((3, bits, 1, 1, ()) for bits in (1, 4, 8)),
    *((5, bits, 1, 4, ()) for bits in (8, 16)),
    *((p, 8, 1, 3, ()) for p in (6, 8, 9)),
    (2, 32, 3, 3, ()),
    (4, 1, 1, 1, ()),
    (8, 16, 1, 3, ()),
    (32803, 16, 1, 1, ()),
)


def sound() -> Iterator[tuple[str, bytes]]:
    """Format and bytes of some 300 files."""
    yield from _of_pillow()
    yield from (("PNG", data) for data in _png())
    yield from (("TIFF", data) for data in _tiff())
    yield from (("BMP", data) for data in _bmp())
    yield from (("AVIF", data) for data in _avif())
    yield from (("JPEG", data) for data in _jpeg())


def profile() -> bytes:
    """An ICC profile, always the same."""
    return _timeless(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())


def _timeless(data: bytes) -> bytes:
    """Without the times when it was made."""
    return TIMES.sub(lambda found: bytes(len(found[0])), data)


def _of_pillow() -> Iterator[tuple[str, bytes]]:
    rgb = Image.fromarray(picture(HEIGHT, WIDTH, 5))
    rgba = rgb.copy()
    rgba.putalpha(rgb.getchannel("R"))
    modes = {mode: rgb.convert(mode) for mode in ("RGB", "L", "P", "1", "CMYK", "LAB", "F")} | {
        "RGBA": rgba,
        "LA": rgba.convert("LA"),
        "I;16": Image.fromarray(np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 300),
    }
    for format in FORMATS:
        for mode, image in modes.items():
            for options in _options(format, mode, image):
                stream = io.BytesIO()
                try:
                    image.save(stream, format, **options)
                except (OSError, ValueError):  # not every format has every mode
                    continue
                yield "JPEG" if format == "MPO" else format, _timeless(stream.getvalue())


def _options(format: str, mode: str, image: Image.Image) -> Iterator[dict[str, Any]]:
    yield {}
    extra = {"icc_profile": profile(), "exif": EXIF[6:] if format == "TIFF" else EXIF}
    if format in ("PNG", "JPEG", "WEBP", "AVIF"):
        yield extra
    if format in ("WEBP", "JPEG"):
        yield {"xmp": XMP}
    if format in ("PNG", "WEBP", "GIF", "TIFF", "MPO", "AVIF"):
        yield {"save_all": True, "append_images": [image.transpose(Image.Transpose.ROTATE_180)]}
    if format == "JPEG":
        yield from ({"progressive": True}, {"subsampling": 2, "restart_marker_rows": 1}, {"comment": b"said"})
        if mode == "RGB":
            yield {"keep_rgb": True}
    if format == "WEBP":
        yield {"lossless": True}
    if format == "GIF":
        yield {"transparency": 3, "comment": b"said", "interlace": 1}
    if format == "TIFF":
        named = {"RGB": ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"), "1": ("group3", "group4")}.get(
            mode, ("tiff_lzw",)
        )
        yield from ({"compression": name} for name in named)


def _png() -> Iterator[bytes]:
    """All colour types and depths, interlaced too, each with some of the other chunks."""
    palette = (b"PLTE", bytes(range(48)) * 16)
    extras = itertools.cycle(
        (
            (),
            ((b"gAMA", struct.pack(">I", 100_000)), (b"cHRM", struct.pack(">8I", *[31_000] * 8))),
            ((b"iCCP", b"p\0\0" + zlib.compress(profile())), (b"eXIf", EXIF[6:])),
            ((b"cICP", bytes((9, 16, 0, 1))), (b"tEXt", b"k\0v"), (b"pHYs", bytes(9))),
            (
                (b"sRGB", b"\0"),
                (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
                (b"zTXt", b"k\0\0" + zlib.compress(b"v")),
            ),
        )
    )
    for (colour, depth), interlaced in itertools.product(PNG_KINDS, (0, 1)):
        samples = _values(PNG_SAMPLES[colour], min(depth, 4 if colour == 3 else 16))
        parts = [samples[y::dy, x::dx] for y, x, dy, dx in PASSES] if interlaced else [samples]
        rows = b"".join(b"\0" + _packed(row[None], depth, ">") for part in parts for row in part if row.size)
        clear = {0: b"\0\1", 2: b"\0\1\0\2\0\3", 3: b"\0\x80"}.get(colour)
        head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, colour, 0, 0, interlaced)
        before = [(b"PLTE", palette[1][: 3 << depth])] if colour == 3 else []
        before += [(b"tRNS", clear)] if clear else []
        chunks = [(b"IHDR", head), *next(extras), *before, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
        yield PNG_MAGIC + b"".join(png_chunk(*part) for part in chunks)


def _tiff() -> Iterator[bytes]:
    """The kinds of samples, with byte orders, tiles, planes, compressions and 64-bit offsets in turns."""
    orders: tuple[Order, Order] = "<", ">"
    layouts = itertools.cycle(itertools.product(orders, (False, True), (1, 2), (1, 8), (False, True)))
    for photometric, bits, form, count, extra in (*TIFF_KINDS, *TIFF_KINDS):
        order, tiled, planar, compression, big = next(layouts)
        samples = _values(count, bits, form)
        fields: Fields = {256: (3, WIDTH), 257: (3, HEIGHT), 258: (3, [bits] * count)}
        fields |= {259: (3, compression), 262: (3, photometric), 274: (3, 6), 277: (3, count), 284: (3, planar)}
        fields |= {339: (3, [form] * count), 700: (1, XMP), 34675: (7, profile())}
        fields |= {338: (3, [*extra])} if extra else {}
        fields |= {320: (3, [257 * i % 65536 for i in range(3 << bits)])} if photometric == 3 else {}
        fields |= {322: (3, TILE), 323: (3, TILE)} if tiled else {278: (3, HEIGHT // 2)}
        planes = np.split(samples, count, axis=2) if planar == 2 else [samples]
        parts = [_packed(part, bits, order) for plane in planes for part in _cut(plane, tiled)]
        yield tiff(fields, [zlib.compress(part) if compression == 8 else part for part in parts], order, big, tiled)


def _cut(plane: NDArray[np.generic], tiled: bool) -> list[NDArray[np.generic]]:
    if not tiled:
        return [plane[: HEIGHT // 2], plane[HEIGHT // 2 :]]
    padded = np.pad(plane, ((0, TILE - HEIGHT), (0, 2 * TILE - WIDTH), (0, 0)))
    return [padded[:, :TILE], padded[:, TILE:]]


def _bmp() -> Iterator[bytes]:
    """Depths, bit fields, run lengths, rows from the top, and the header with a profile."""
    palette = b"".join(bytes((i, 255 - i, 7, 0)) for i in range(16))
    masks = {(16, 3): struct.pack("<III", 0xF800, 0x7E0, 0x1F), (32, 3): struct.pack("<III", 0xFF, 0xFF00, 0xFF0000)}
    runs = b"".join(bytes((WIDTH, y)) + b"\0\0" for y in range(HEIGHT)) + b"\0\1"
    for (bits, kind), down in itertools.product(((1, 0), (4, 0), (8, 1), (16, 0), (16, 3), (24, 0), (32, 3)), (1, -1)):
        rows = (
            runs
            if kind == 1
            else b"".join(_packed(row[None], 8, "<") for row in _values(-(-WIDTH * bits // 32) * 4, 8)[:, 0])
        )
        colours = palette if bits <= 8 else b""
        head = struct.pack(
            "<IiiHHIIiiII", 40, WIDTH, down * HEIGHT, 1, bits, kind, len(rows), 0, 0, len(colours) // 4, 0
        )
        head += masks.get((bits, kind), b"") + colours
        yield b"BM" + struct.pack("<III", 14 + len(head) + len(rows), 0, 14 + len(head)) + head + rows
    rows = bytes(52 * HEIGHT)
    head = (
        struct.pack("<IiiHHIIiiII", 124, WIDTH, HEIGHT, 1, 24, 0, len(rows), 0, 0, 0, 0)
        + bytes(16)
        + b"DEBM"
        + bytes(48)
    )
    head += struct.pack("<IIII", 4, 124 + len(rows), len(profile()), 0)
    yield b"BM" + struct.pack("<III", 14 + len(head) + len(rows), 0, 14 + len(head)) + head + rows + profile()


def _avif() -> Iterator[bytes]:
    """One that is to be cropped and turned: Pillow's, with a clean aperture where its ICC profile was."""
    stream = io.BytesIO()
    Image.fromarray(picture(HEIGHT, WIDTH, 5)).save(stream, "AVIF", exif=EXIF, icc_profile=profile())
    data = bytearray(stream.getvalue())
    at = data.index(b"colrprof")
    data[at : at + 36] = b"clap" + struct.pack(">IIIIiIiI", 9, 1, 8, 1, -4, 1, -2, 1)
    data[data.index(b"\x04", data.index(b"ipma") + 13)] = 0x84  # essential
    yield bytes(data)


def _jpeg() -> Iterator[bytes]:
    """A profile in three segments, and a motion photograph."""
    stream = io.BytesIO()
    Image.fromarray(picture(HEIGHT, WIDTH, 5)).save(stream, "JPEG", xmp=XMP, exif=EXIF)
    data, third = stream.getvalue(), -(-len(profile()) // 3)
    parts = [ICC_MARK[:-2] + bytes((i + 1, 3)) + profile()[i * third : (i + 1) * third] for i in range(3)]
    yield data[:2] + b"".join(b"\xff\xe2" + struct.pack(">H", len(part) + 2) + part for part in parts) + data[2:]
    yield data + struct.pack(">I8sI", 24, b"ftypmp42", 0) + b"isommp42" + bytes(100)


def _values(count: int, bits: int, form: int = 1) -> NDArray[np.generic]:
    """Samples (HEIGHT, WIDTH, count) of all levels; `form` is a SampleFormat of TIFF."""
    ramp = np.linspace(0, 1, HEIGHT * WIDTH * count).reshape(HEIGHT, WIDTH, count)
    if form == 3:
        return ramp.astype(f"f{bits // 8}")
    return np.rint(ramp * (2.0**bits - 1) - (1 << bits - 1 if form == 2 else 0)).astype(np.int64)


def _packed(samples: NDArray[np.generic], bits: int, order: Order) -> bytes:
    """Rows as TIFF and PNG store them, each from a whole byte on."""
    flat = samples.reshape(len(samples), -1)
    if flat.dtype.kind == "f":
        return flat.astype(flat.dtype.newbyteorder(order)).tobytes()
    if bits % 8 == 0:
        return flat.astype(f"{order}i{bits // 8}" if bits < 64 else f"{order}u8").tobytes()
    planes = flat.astype(np.int64)[..., None] >> np.arange(bits)[::-1] & 1
    return np.packbits(planes.astype(np.uint8).reshape(len(flat), -1), axis=1).tobytes()
