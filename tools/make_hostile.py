"""Make the files of tests/hostile and the tables in its README: one small file an attack.

python -m tools.make_hostile

tests/test_hostile_files.py gives every one of them to the command line. Files that zlib or Pillow compress may differ
between their versions, so what is there is what counts; this is how it came to be.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gancodec import container, weights
from gancodec.container import Header, spec
from gancodec.container.header import pack, varint
from gancodec.entropy.coder import Coder
from gancodec.entropy.huffman import HuffmanWriter
from gancodec.entropy.levels import GAUSSIAN, LOGISTIC
from gancodec.entropy.rangecoder import RangeWriter
from gancodec.models.gic1.integers import EntropyModel
from gancodec.models.gic2.integers import EntropyModel as Gic2Entropy
from gancodec.models.split import image
from gancodec.models.split.layers import take_apart
from gancodec.models.stream import CODERS, entropy_model
from tests.frozen import gic2_weights
from tests.fuzz.build import EXIF_MARK, chunk, deflated, gic, jpeg_with, png_chunk, png_with, tiff_with

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "hostile"
VECTORS = FOLDER.parent / "vectors" / "v1-gic2-tiny"  # with the model that files of codec 6 name
SIZE = (24, 20)
SPLIT = Header(*SIZE, 0, bytes(8), spec.CODEC_SPLIT, spec.CODER_WEBP_LOSSLESS, 0, 0, 0)
OK, REFUSED, NO_MODEL = 0, 3, 4


class Attack(NamedTuple):
    """A file, what it tries, what `decode` and `verify` (for pictures: `encode`) return, words of their message, and
    what `info` returns."""

    name: str
    data: bytes
    what: str
    code: int = REFUSED
    words: str = ""
    info: int = REFUSED


def pixels() -> NDArray[np.uint8]:
    """A small picture."""
    return np.arange(SIZE[0] * SIZE[1] * 3, dtype=np.uint8).reshape(SIZE[1], SIZE[0], 3)


def split_image() -> bytes:
    """Its IMAGE chunk in the split codec, which needs no model."""
    return image.encode(take_apart(pixels(), np.ones((2, 2), np.bool_), 2), None, None)


def headers() -> Iterator[Attack]:
    """Lies of the header; nothing behind it is looked at."""
    image = split_image()
    bound = "raise --max-pixels"
    for name, width, height in (("pixels-2-31", 1 << 16, 1 << 15), ("pixels-2-40", 1 << 20, 1 << 20)):
        what = f"{width}x{height} pixels declared over {len(image)} bytes"
        yield Attack(f"{name}.gic", gic(replace(SPLIT, width=width, height=height), image), what, words=bound)
    good = gic(SPLIT, image)
    yield Attack("side-0.gic", _header(b"\0", good), "a width of 0", words="width = 0 is out of range")
    yield Attack("side-2-21.gic", _header(varint(1 << 21), good), "a width of 2^21", words="is out of range")
    yield Attack("number-long.gic", _header(b"\x98\x80\0", good), "a width in more bytes than it needs", words="number")
    yield Attack("number-endless.gic", _header(b"\xff" * 9, good), "a width of nine bytes that goes on", words="number")
    yield Attack("version-2.gic", good[:8] + b"\2" + good[9:], "a newer major version", words="format version 2")
    minor = good[:9] + b"\xff" + good[10:]
    start = len(pack(SPLIT)) - 4
    minor = minor[:start] + zlib.crc32(minor[:start]).to_bytes(4, "little") + minor[start + 4 :]
    yield Attack("version-1-255.gic", minor, "a newer minor version: read", OK, info=OK)
    data = gic(replace(SPLIT, codec=255, coder=9), image)
    yield Attack("codec-255.gic", data, "a codec that there is none of", words="codec 255 is not known", info=OK)
    yield Attack("text-mode.gic", good.replace(b"\r\n", b"\n"), "line ends changed as in a text", words="not a .gic")
    yield Attack("empty.gic", b"", "no byte at all", words="not a .gic")
    yield Attack("signature-only.gic", spec.MAGIC, "the first 8 bytes alone", words="cut short")


def _header(width: bytes, good: bytes) -> bytes:
    """A sound file with another width, under a right checksum."""
    head = good[:10] + width + pack(SPLIT)[11:-4]
    return head + zlib.crc32(head).to_bytes(4, "little") + good[len(pack(SPLIT)) :]


def chunks() -> Iterator[Attack]:
    """Chunks that are missing, doubled, empty, endless, or too many."""
    image, icc = split_image(), chunk(spec.ICC, deflated(b"profile"))
    head, body, end = pack(SPLIT), chunk(spec.IMAGE, image), chunk(spec.END, b"")
    unknown = chunk(0xFE, b"")
    yield Attack(
        "chunks-64.gic", gic(SPLIT, image, unknown * 64), "as many unknown chunks as may be: read", OK, info=OK
    )
    yield Attack("chunks-65.gic", gic(SPLIT, image, unknown * 65), "one more than that", words="65 unknown chunks")
    yield Attack("chunk-critical.gic", gic(SPLIT, image, chunk(0x7E, b"x")), "an unknown critical chunk", words="0x7e")
    yield Attack("chunks-none.gic", head, "a header and nothing else", words="cut short")
    yield Attack("image-missing.gic", head + icc + end, "no IMAGE chunk", words="where IMAGE should be")
    yield Attack("image-twice.gic", head + body + body + end, "two IMAGE chunks", words="IMAGE: second one")
    yield Attack("icc-twice.gic", gic(SPLIT, image, icc, icc), "two ICC chunks", words="ICC: second one")
    yield Attack("end-missing.gic", head + body, "no END chunk", words="cut short")
    yield Attack("end-twice.gic", gic(SPLIT, image) + end, "two END chunks", words="after the end")
    yield Attack("end-full.gic", head + body + chunk(spec.END, b"x"), "an END chunk with data", words="END: 1 bytes")
    yield Attack("two-files.gic", gic(SPLIT, image) * 2, "a file behind the file", words="after the end")
    yield Attack("junk.gic", gic(SPLIT, image) + b"GIF89a" + bytes(64), "junk behind the end", words="after the end")
    for name, kind in (("alpha", spec.ALPHA), ("icc", spec.ICC), ("exif", spec.EXIF), ("xmp", spec.XMP)):
        data = gic(SPLIT, image, chunk(kind, b""))
        yield Attack(f"{name}-empty.gic", data, f"{name.upper()} of no bytes", words="cut short")
    endless = bytes((spec.ICC,)) + varint((1 << 32) - 1) + b"profile"
    yield Attack("chunk-4-gib.gic", head + body + endless, "a chunk of 2^32 - 1 bytes", words="cap")
    endless = bytes((0xFE,)) + varint((1 << 32) - 1) + b"x"
    yield Attack(
        "chunk-4-gib-unknown.gic", head + body + endless, "the same, of an unknown type", words="more than may"
    )
    endless = bytes((spec.XMP,)) + b"\xff" * 9
    yield Attack("chunk-endless.gic", head + body + endless, "a length of nine bytes that goes on", words="number")


def bombs() -> Iterator[Attack]:
    """Metadata that inflates to more than it may."""
    image = split_image()
    million = zlib.compress(bytes(12 << 20), 9)
    for name, kind in (("icc", spec.ICC), ("exif", spec.EXIF), ("xmp", spec.XMP)):
        for size, what in ((4 << 20, "the 4 MiB it states"), (12 << 20, "more than may be"), (7, "the 7 it states")):
            if name == "icc" or size == 7:
                data = gic(SPLIT, image, chunk(kind, varint(size) + million))
                what = f"{name.upper()}: 12 MiB of zeros in {len(million)} bytes, not {what}"
                yield Attack(f"{name}-bomb-{size}.gic", data, what, words=f"{name.upper()}: ")
    data = gic(SPLIT, image, chunk(spec.ALPHA, varint(SIZE[0] * SIZE[1]) + million))
    yield Attack("alpha-bomb.gic", data, "ALPHA of the right size that inflates to 12 MiB", words="cap")
    data = gic(SPLIT, image, chunk(spec.ALPHA, deflated(bytes(100))))
    yield Attack("alpha-short.gic", data, "ALPHA of 100 pixels", words="ALPHA: inflates to 100 bytes")
    turned = deflated(EXIF_MARK + b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0")
    data = gic(SPLIT, image, chunk(spec.EXIF, turned))
    yield Attack("exif-turned.gic", data, "EXIF that asks for a turn: written as 1", OK, info=OK)
    data = gic(SPLIT, image, *(chunk(kind, deflated(b"\xff" * 999)) for kind in (spec.ICC, spec.EXIF, spec.XMP)))
    yield Attack("metadata-nonsense.gic", data, "ICC, EXIF and XMP of 0xff: a picture all the same", OK, info=OK)


def streams() -> Iterator[Attack]:
    """Right checksums over streams that no encoder wrote."""
    info = weights.find(None)
    tables = EntropyModel(weights.get(None).entropy).tables
    head = Header(100, 80, info.id, info.entropy_hash, spec.CODEC_GIC1, spec.CODER_RANGE, 1, 0, 0)
    noise = np.random.default_rng(1).bytes(400)
    huffman = replace(head, coder=spec.CODER_HUFFMAN)
    makers: tuple[tuple[str, Header, Callable[[], RangeWriter | HuffmanWriter]], ...] = (
        ("range", head, lambda: RangeWriter(tables)),
        ("huffman", huffman, lambda: HuffmanWriter(tables)),
    )
    for name, header, writer in makers:
        told = "damaged"
        yield Attack(f"nonsense-{name}.gic", gic(header, noise), "400 random bytes", info=OK)
        yield Attack(f"nothing-{name}.gic", gic(header, b""), "a stream of no bytes", info=OK)
        yield Attack(f"ones-{name}.gic", gic(header, b"\xff" * 400), "400 bytes of 0xff", info=OK)
        for what, row, value in (
            ("class", LOGISTIC.busy, 9),
            ("level", LOGISTIC.first, 40),
            ("level-low", LOGISTIC.first, -60000),
        ):
            coder = writer()
            if what != "class":  # a flat map: its first level is that of all blocks
                _one(coder, LOGISTIC.busy, -4)
            _one(coder, row, value)
            told = f"level map: {what[:5]} out of range"
            data = gic(header, coder.finish() + bytes(40))
            yield Attack(f"{what}-{name}.gic", data, f"a {what[:5]} out of range in the level map", words=told, info=OK)
    vector = container.read((FOLDER.parent / "vectors" / "v1" / "photo-mid.gic").read_bytes())
    for name, factor in (("few", 8), ("many", 0.5)):
        width, height = (int(side * factor) for side in (vector.header.width, vector.header.height))
        data = gic(replace(vector.header, width=width, height=height), vector.image)
        yield Attack(f"symbols-too-{name}.gic", data, f"a stream with too {name} symbols for its size", info=OK)
    data = gic(replace(vector.header, width=10_000, height=10_000), vector.image)
    yield Attack("pixels-10-8.gic", data, f"10000x10000 pixels over {len(vector.image)} bytes", info=OK)
    data = gic(replace(head, model=60_000), noise)
    yield Attack("model-unknown.gic", data, "a model that there is none of", NO_MODEL, "model 60000: unknown", OK)
    data = gic(replace(head, model_hash=b"../../x\0"), noise)
    yield Attack("model-hash.gic", data, "another hash of the model, that looks like a path", NO_MODEL, info=OK)
    data = gic(replace(head, coder=9), noise)
    yield Attack("coder-9.gic", data, "a coder that there is none of", words="coder 9 is not known", info=OK)


def sliced() -> Iterator[Attack]:
    """Files of codec 6 under right checksums: lists of slices that lie, and slices where none may be."""
    vector = container.read((VECTORS / "photo.gic").read_bytes())
    header, (slices,) = vector.header, vector.streams
    first, rest = slices[0], slices[1:]
    count = len(slices)
    listed, coded = _list_of(first)
    lies: tuple[tuple[str, bytes, str, str], ...] = (
        ("empty", b"", "a first slice of no bytes", "cut short"),
        ("0", b"\0" + listed[1:], "a list of 0 slices", "0 slices"),
        ("9", b"\x09" + listed[1:], "a list of 9 slices", "9 slices"),
        ("255", b"\xff" * 60, "a list of 255 slices", "255 slices"),
        ("list-only", listed, "a list of slices, and nothing behind it", ""),
        ("list-cut", listed[:-1], "half a list of slices", ""),
        ("step-0", bytes((count, 0)) + listed[2:] + coded, "a second slice from step 0 on", "out of order"),
        ("step-33", bytes((2, 33)) + varint(len(rest[0])) + coded, "a slice from step 33 on", "out of order"),
        ("same", bytes((3, 5, 8, 5, 16)) + coded, "two slices from the same step on", "out of order"),
        ("falling", bytes((3, 9, 8, 5, 16)) + coded, "slices whose steps fall", "out of order"),
        ("4-gib", bytes((count, 1)) + varint(2**32 - 1) + listed[3:] + coded, "a slice of 2^32 - 1 bytes", "lengths"),
        ("number", bytes((2, 1)) + b"\xff" * 9 + coded, "a length of nine bytes that goes on", "number"),
        ("shortest", bytes((2, 1, 0x88, 0)) + coded, "a length in more bytes than it needs", "number"),
        ("longer", bytes((count, listed[1], listed[2] + 4)) + listed[3:] + coded, "a length that is 4 more", "lengths"),
    )
    for name, lie, what, words in lies:
        yield Attack(f"slices-{name}.gic", _in_slices(header, lie, *rest), what, words=words, info=OK)
    announced = f"the first one announces {count}"
    yield Attack("slices-missing.gic", _in_slices(header, *slices[:-1]), "no last slice", words=announced, info=OK)
    yield Attack(
        "slices-behind.gic", _in_slices(header, *slices, b""), "a slice behind the last", words=announced, info=OK
    )
    swapped = b"".join((listed[:2], varint(len(rest[1])), listed[3:4], varint(len(rest[0])), listed[5:], coded))
    data = _in_slices(header, swapped, rest[1], rest[0], *rest[2:])
    yield Attack("slices-swapped.gic", data, "two slices in each other's place", words="damaged", info=OK)
    longer = b"".join((listed[:2], varint(len(rest[0]) + 4), listed[3:], coded))
    data = _in_slices(header, longer, rest[0] + bytes(4), *rest[1:])
    yield Attack("slices-continued.gic", data, "a slice with a word more", words="damaged", info=OK)


def _list_of(first: bytes) -> tuple[bytes, bytes]:
    """The list in front of a first slice, and the slice. Lengths of one byte."""
    size = 1 + 2 * (first[0] - 1)
    return first[:size], first[size:]


def _in_slices(header: Header, first: bytes, *more: bytes) -> bytes:
    return gic(header, first, *(chunk(spec.MORE, part) for part in more))


def more_chunks() -> Iterator[Attack]:
    """MORE where it may not be, too often or too long, and tiles that disagree."""
    vector = container.read((VECTORS / "photo.gic").read_bytes())
    header, (slices,) = vector.header, vector.streams
    head, first, more = pack(header), chunk(spec.IMAGE, slices[0]), chunk(spec.MORE, slices[1])
    end, xmp = chunk(spec.END, b""), chunk(spec.XMP, deflated(b"<x/>"))
    gic1 = container.read((FOLDER.parent / "vectors" / "v1" / "photo-mid.gic").read_bytes())
    data = gic(gic1.header, gic1.image, chunk(spec.MORE, b""))
    yield Attack("more-gic1.gic", data, "a second slice of a codec that has none", words="more slices than codec 0")
    data = head + more + first + end
    yield Attack("more-first.gic", data, "a second slice before the first", words="MORE where IMAGE should be")
    data = head + first + xmp + more + end
    yield Attack("more-behind.gic", data, "a second slice behind XMP", words="MORE: not directly behind IMAGE")
    yield Attack("more-8.gic", head + first + more * 8 + end, "nine slices", words="more slices than codec 6")
    data = head + first + bytes((spec.MORE,)) + varint((1 << 32) - 1) + b"x"
    yield Attack("more-4-gib.gic", data, "a second slice of 2^32 - 1 bytes", words="MORE: 4294967295 bytes, cap")
    data = head + first + more + chunk(spec.ICC, deflated(b"profile")) + end
    yield Attack("more-icc.gic", data, "a profile behind the slices", words="ICC behind IMAGE")
    tiled = container.read((VECTORS / "tiles-huffman.gic").read_bytes())
    assert tiled.tiles is not None
    streams = [b"\1" + bytes(9), *(stream[0] for stream in tiled.streams[1:])]
    tiles = chunk(spec.TILES, container.tiles.pack(container.Tiles(tiled.tiles.side, tuple(map(len, streams)))))
    more = b"".join(chunk(spec.MORE, part) for part in tiled.more)
    data = gic(tiled.header, b"".join(streams), more, tiles=tiles)
    told = "tiles of different numbers of slices"
    yield Attack("tiles-slices.gic", data, "a tile that says it has one slice, others more", words=told, info=OK)
    tiles = chunk(spec.TILES, container.tiles.pack(tiled.tiles))
    data = gic(tiled.header, tiled.image, chunk(spec.MORE, b"\x7f" + tiled.more[0][1:]), tiles=tiles)
    yield Attack("tiles-parts.gic", data, "parts of tiles that do not fill their slice", words="MORE: parts of")


def sliced_streams() -> Iterator[Attack]:
    """Right lists and checksums over slices of codec 6 that no encoder wrote."""
    model = entropy_model(gic2_weights(), Gic2Entropy)
    assert isinstance(model, Gic2Entropy)
    info = gic2_weights().info
    head = Header(60, 50, info.id, info.entropy_hash, spec.CODEC_GIC2, spec.CODER_RANGE, 0, 0, 0)
    noise = np.random.default_rng(3).bytes(400)
    for name, (writer, _) in CODERS.items():
        header = replace(head, coder=spec.ENTROPY_CODERS[name])
        for what, stream in (("nothing", b""), ("ones", b"\xff" * 400), ("nonsense", noise)):
            told = {"nothing": "no bytes", "ones": "400 bytes of 0xff", "nonsense": "400 random bytes"}[what]
            data = gic(header, b"\1" + stream)
            yield Attack(f"slices-{what}-{name}.gic", data, f"one slice of {told}", info=OK)
        for what, row, value in (
            ("class", GAUSSIAN.busy, 9),
            ("level", GAUSSIAN.first, 40),
            ("level-low", GAUSSIAN.first, -60000),
        ):
            coder = writer(model.tables)
            if what != "class":
                _one(coder, GAUSSIAN.busy, -4)
            _one(coder, row, value)
            told = f"level map: {what[:5]} out of range"
            data = gic(header, b"\1" + coder.finish() + bytes(40))
            what = f"slices-{what}-{name}.gic"
            yield Attack(what, data, "a level map out of range, of codec 6", words=told, info=OK)
        for what, size in (("hyper", (60, 50)), ("pixels", (4096, 4096))):
            coder = writer(model.tables)
            _one(coder, GAUSSIAN.busy, -4)
            _one(coder, GAUSSIAN.first, 0)
            told = ""
            if what == "hyper":
                rows = model.hyper_rows(np.zeros((1, model.hyper_channels), np.int32), np.array([256]), 0)[0]
                coder.code(rows, np.full(len(rows), -60000, np.int32))
                told = "hyper-latent out of range"
            data = gic(replace(header, width=size[0], height=size[1]), b"\1" + coder.finish() + bytes(40))
            text = {"hyper": "hyper-latents of -60000", "pixels": "4096x4096 pixels in 50 bytes, of codec 6"}[what]
            yield Attack(f"slices-{what}-{name}.gic", data, text, words=told, info=OK)


def _one(coder: Coder, row: int, value: int) -> None:
    coder.code(np.array([row], np.int32), np.array([value], np.int32))


def split_streams() -> Iterator[Attack]:
    """The same for the split codec."""
    side = 4096
    huge = replace(SPLIT, width=side, height=side)
    cells = (side // spec.CELL) ** 2
    mask = zlib.compress(b"\xff" * (cells // 8), 9)
    webp = b"\x2f" + ((side - 1) | (side - 1) << 14).to_bytes(4, "little") + bytes(40)
    whole = b"\1" + varint(len(mask)) + mask + varint(len(webp)) + webp + b"\0"
    yield Attack("split-pixels-2-24.gic", gic(huge, whole), "a WebP stream of 16 megapixels in 45 bytes", info=OK)
    bomb = zlib.compress(bytes(12 << 20), 9)
    data = gic(SPLIT, b"\1" + varint(len(bomb)) + bomb + b"\0\0")
    yield Attack("split-mask-bomb.gic", data, "a mask of 12 MiB for 4 cells", words="does not inflate", info=OK)
    noise = np.random.default_rng(2).bytes(300)
    yield Attack("split-nonsense.gic", gic(SPLIT, noise), "300 random bytes", info=OK)
    yield Attack("split-nothing.gic", gic(SPLIT, b""), "a stream of no bytes", info=OK)


def pictures() -> Iterator[Attack]:
    """Pictures for `encode`."""
    side = 60_000
    bound = "raise --max-pixels"
    plain = {kind: _plain(kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "AVIF")}
    png = plain["PNG"]
    large = struct.pack(">II", side, side)
    data = png[:8] + png_chunk(b"IHDR", large + png[24:29]) + png[33:]
    yield Attack("pixels.png", data, f"{side}x{side} pixels declared", words=bound)
    at = plain["JPEG"].index(b"\xff\xc0") + 5
    data = plain["JPEG"][:at] + struct.pack(">HH", side, side) + plain["JPEG"][at + 4 :]
    yield Attack("pixels.jpg", data, f"{side}x{side} pixels declared", words=bound)
    data = plain["GIF"][:6] + struct.pack("<HH", side, side) + plain["GIF"][10:]
    yield Attack("pixels.gif", data, f"a screen of {side}x{side} pixels declared", words=bound)
    data = plain["BMP"][:18] + struct.pack("<ii", side, -side) + plain["BMP"][26:]
    yield Attack("pixels.bmp", data, f"{side}x{side} pixels declared", words=bound)
    data = tiff_with(SIZE, "xmp", b"<x/>")
    for tag, before in ((256, SIZE[0]), (257, SIZE[1])):
        data = data.replace(struct.pack("<HHII", tag, 3, 1, before), struct.pack("<HHII", tag, 3, 1, side))
    yield Attack("pixels.tif", data, f"{side}x{side} pixels declared", words=bound)
    at = plain["AVIF"].index(b"ispe") + 8
    data = plain["AVIF"][:at] + large + plain["AVIF"][at + 8 :]
    yield Attack("pixels.avif", data, f"{side}x{side} pixels declared")
    yield Attack("cut.png", png[:-30], "cut in its pixels")
    yield Attack("cut.webp", plain["WEBP"][:-30], "cut in its pixels")
    yield Attack("cut.jpg", plain["JPEG"][: len(plain["JPEG"]) * 2 // 3], "cut in its pixels")
    loop = b"II*\0\x08\0\0\0" + b"\0\0" + struct.pack("<I", 8)
    yield Attack("directory-loop.tif", loop, "a TIFF directory that comes after itself")
    data = b"II*\0\x08\0\0\0" + struct.pack("<H", 65535) + struct.pack("<HHII", 256, 4, 0xFFFFFFFF, 8) * 1000
    yield Attack("entries-65535.tif", data, "65535 TIFF entries of 2^32 - 1 values")
    yield Attack("text.png", b"no picture", "no picture at all", words="not a picture")


def picture_metadata() -> Iterator[Attack]:
    """Pictures whose metadata is hostile: the pixels count."""
    png, jpeg = _plain("PNG"), _plain("JPEG")
    yield Attack("icc-bomb.png", png_with(png, "icc", bytes(12 << 20)), "an ICC profile of 12 MiB", words="ecompressed")
    text = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(12 << 20), 9))
    yield Attack("text-bomb.png", png[:33] + text + png[33:], "a text of 12 MiB", words="ecompressed")
    many = b"".join(png_chunk(b"tEXt", b"k%d\0" % i) for i in range(500))
    yield Attack("texts-500.png", png[:33] + many + png[33:], "500 texts of no bytes", OK)
    yield Attack("icc-nonsense.png", png_with(png, "icc", b"RGB " * 99), "an ICC profile that is none", OK)
    loop = b"II*\0\x08\0\0\0\1\0" + struct.pack("<HHII", 34665, 4, 1, 8) + struct.pack("<I", 8)
    yield Attack("exif-loop.jpg", jpeg_with(jpeg, "exif", loop), "EXIF whose directory holds itself", OK)
    wild = b"MM\0*\0\0\0\x08" + struct.pack(">H", 65535) + struct.pack(">HHII", 0x0112, 3, 0xFFFFFFFF, 0xFFFFFFF0) * 99
    yield Attack("exif-wild.jpg", jpeg_with(jpeg, "exif", wild), "EXIF whose numbers point anywhere", OK)
    xmp = b'tiff:Orientation="' * 900
    yield Attack("xmp-nonsense.jpg", jpeg_with(jpeg, "xmp", xmp), "XMP that is no XML", OK)


def _plain(format: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels()).save(stream, format)
    return stream.getvalue()


def attacks() -> dict[str, list[Attack]]:
    """All of them, under the headings of the README."""
    gics = (headers, chunks, bombs, streams, split_streams)
    return {
        ".gic files": [attack for make in gics for attack in make()],
        ".gic files in slices": [*sliced(), *more_chunks(), *sliced_streams()],
        "Pictures": [*pictures(), *picture_metadata()],
    }


def main() -> None:
    """Write the files and print the tables of the README."""
    for heading, made in attacks().items():
        print(f"### {heading}\n\n| file | attack | exit code | says | `info` |\n|---|---|---|---|---|")
        for attack in made:
            (FOLDER / attack.name).write_bytes(attack.data)
            info = str(attack.info) if heading.startswith(".gic") else "–"
            print(f"| `{attack.name}` | {attack.what} | {attack.code} | {attack.words or '–'} | {info} |")
        print()


if __name__ == "__main__":
    main()
