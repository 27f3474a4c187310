"""The container: what is written is read, whatever is damaged is refused, and nothing is allocated on a file's word."""

from __future__ import annotations

import dataclasses
import itertools
import random
import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gancodec.container import (
    MAX_PIXELS,
    ChunkInfo,
    Container,
    Header,
    chunk_size,
    most_bytes,
    read,
    read_header,
    spec,
    streams_size,
    write,
)
from gancodec.container.header import Cursor, varint
from gancodec.errors import CorruptFile, UnsupportedFile, UsageError

VECTORS = Path(__file__).parent / "vectors"
HEADER = Header(40, 30, 1, bytes(range(8)), 0, 0, 0, -1250, 3)
SMALL = Container(HEADER, b"coded", icc=b"profile", exif=b"Exif\0\0MM", xmp=b"<x/>")
REFUSED = (CorruptFile, UnsupportedFile)


def chunk(kind: int, body: bytes, length: bytes | None = None) -> bytes:
    """A chunk with a right CRC, by the words of docs/format.md."""
    checked = bytes((kind,)) + (varint(len(body)) if length is None else length) + body
    return checked + zlib.crc32(checked).to_bytes(4, "little")


def head(header: Header = HEADER, version: bytes = b"\x01\x00", **raw: bytes) -> bytes:
    """A header with a right CRC; `raw` replaces the bytes of single fields."""
    fields = {
        "width": varint(header.width),
        "height": varint(header.height),
        "model": varint(header.model),
        "model_hash": header.model_hash,
        "codec": bytes((header.codec,)),
        "coder": bytes((header.coder,)),
        "flags": bytes((header.flags,)),
        "n": header.n.to_bytes(2, "little", signed=True),
        "level_shift": bytes((header.level_shift,)),
    } | raw
    checked = b"\x89GIC\r\n\x1a\n" + version + b"".join(fields.values())
    return checked + zlib.crc32(checked).to_bytes(4, "little")


def deflated(raw: bytes, size: int | None = None) -> bytes:
    return varint(len(raw) if size is None else size) + zlib.compress(raw)


SLICED = Header(40, 30, 7, bytes(range(8)), spec.CODEC_GIC2, spec.CODER_RANGE, 1, -1250, 3)
MOST_SLICES = spec.CODECS[spec.CODEC_GIC2].slices
IMAGE, END = chunk(spec.IMAGE, b"coded"), chunk(spec.END, b"")


def same(a: Container, b: Container) -> bool:
    return dataclasses.replace(a, chunks=()) == dataclasses.replace(b, chunks=())


NOT_WEBP = st.integers(0, 255).filter(lambda coder: coder not in spec.CODECS[spec.CODEC_SPLIT].coders)
headers = st.builds(
    Header,
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    model=st.integers(1, 0xFFFF),
    model_hash=st.binary(min_size=8, max_size=8),
    codec=st.integers(0, 255).filter(lambda codec: codec not in (spec.CODEC_SPLIT, spec.CODEC_WU2019)),
    coder=NOT_WEBP,
    flags=st.integers(0, 3),
    n=st.integers(-0x8000, 0x7FFF),
    level_shift=st.integers(0, 15),
) | st.builds(
    Header,
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    model=st.just(0),
    model_hash=st.just(bytes(8)),
    codec=st.just(spec.CODEC_SPLIT),
    coder=st.integers(2, 255),
    flags=st.just(0),
    n=st.just(0),
    level_shift=st.just(0),
)
SPLIT = Header(40, 30, 0, bytes(8), spec.CODEC_SPLIT, spec.CODER_WEBP, 0, 0, 0)
WU2019 = Header(40, 30, 5, bytes(range(8)), spec.CODEC_WU2019, spec.CODER_HUFFMAN, 1, -1250, 0)
metadata = st.none() | st.binary(min_size=1, max_size=300)


@settings(max_examples=100, deadline=None)
@given(headers, st.binary(max_size=300), metadata, metadata, metadata, st.none() | st.integers(0, 255))
def test_round_trip(
    header: Header, image: bytes, icc: bytes | None, exif: bytes | None, xmp: bytes | None, shade: int | None
) -> None:
    alpha = None if shade is None else bytes((shade,)) * (header.width * header.height)
    container = Container(header, image, alpha, icc, exif, xmp)
    data = write(container)
    assert same(read(data), container)
    assert write(read(data)) == data
    assert read_header(data)[0] == header


def test_layout_is_what_the_format_page_says() -> None:
    body = head() + IMAGE + END
    assert write(Container(HEADER, b"coded")) == body
    assert read(body).chunks == (ChunkInfo("IMAGE", 1, len(head()), 5), ChunkInfo("END", 0, len(head() + IMAGE), 0))
    assert read_header(body) == (HEADER, len(head()))


def test_overhead_of_a_plain_picture() -> None:
    data = write(Container(dataclasses.replace(HEADER, width=768, height=512), bytes(5000)))
    assert len(data) - 5000 <= 48


def test_every_changed_byte_is_noticed() -> None:
    data = write(dataclasses.replace(SMALL, alpha=bytes(1200)))
    for position in range(len(data)):
        for value in range(256):
            if value != data[position]:
                with pytest.raises(REFUSED):
                    read(data[:position] + bytes((value,)) + data[position + 1 :])


def test_every_cut_is_noticed() -> None:
    data = write(dataclasses.replace(SMALL, alpha=bytes(1200)))
    for length in range(len(data)):
        with pytest.raises(CorruptFile):
            read(data[:length])


@pytest.mark.parametrize("junk", [b"\0", b"\0\0", IMAGE, END, bytes(10_000)])
def test_appended_bytes(junk: bytes) -> None:
    with pytest.raises(CorruptFile, match="after the end"):
        read(head() + IMAGE + END + junk)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80), st.booleans())
def test_junk_is_refused(junk: bytes, with_header: bool) -> None:
    with pytest.raises(REFUSED):
        read((head() if with_header else b"") + junk)


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 16383, 16384, 2**21, 2**28, 2**32 - 1])
def test_varint(value: int) -> None:
    data = varint(value)
    assert Cursor(data).varint() == value
    assert len(data) == max(1, -(-value.bit_length() // 7))


@pytest.mark.parametrize(
    "data",
    [b"\x80\x00", b"\x81\x80\x00", b"\xa8\x80\x80\x00", b"\xff\xff\xff\xff\x1f", b"\x80" * 5 + b"\x01", b"\x80", b""],
)
def test_bad_varint(data: bytes) -> None:
    with pytest.raises(CorruptFile):
        Cursor(data).varint()


@pytest.mark.parametrize("field", ["width", "height", "model"])
def test_padded_numbers_are_refused_in_the_header(field: str) -> None:
    padded = bytes((getattr(HEADER, field) | 0x80, 0))
    with pytest.raises(CorruptFile, match="shortest"):
        read(head(**{field: padded}) + IMAGE + END)


def test_padded_chunk_length_is_refused() -> None:
    with pytest.raises(CorruptFile, match="shortest"):
        read(head() + chunk(spec.IMAGE, b"coded", b"\x85\x00") + END)


@pytest.mark.parametrize(
    ("field", "raw"),
    [
        ("width", b"\0"),
        ("height", b"\0"),
        ("width", varint(spec.MAX_SIDE + 1)),
        ("height", varint(spec.MAX_SIDE + 1)),
        ("model", varint(1 << 16)),
        ("level_shift", b"\x10"),
    ],
)
def test_header_values_out_of_range(field: str, raw: bytes) -> None:
    with pytest.raises(CorruptFile, match=field):
        read(head(**{field: raw}) + IMAGE + END)


@pytest.mark.parametrize("flags", [0x04, 0x80, 0xFF])
@pytest.mark.parametrize("codec", [spec.CODEC_GIC1, spec.CODEC_SPLIT])
def test_unknown_flags_are_unsupported_not_corrupt(flags: int, codec: int) -> None:
    with pytest.raises(UnsupportedFile, match=f"flags 0x{flags & ~3:02x} are unknown to this build"):
        read(head(flags=bytes((flags,)), codec=bytes((codec,))) + IMAGE + END)


@pytest.mark.parametrize(
    "change",
    [
        {"width": 0},
        {"height": spec.MAX_SIDE + 1},
        {"model": 0},
        {"model_hash": b"short"},
        {"flags": 4},
        {"n": 40000},
        {"level_shift": 16},
        {"coder": 256},
    ],
)
def test_values_that_cannot_be_written(change: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=next(iter(change))):
        write(Container(dataclasses.replace(HEADER, **change), b""))


@pytest.mark.parametrize(
    ("header", "change", "word"),
    [
        (HEADER, {"model": 0}, "model"),
        (HEADER, {"coder": spec.CODER_WEBP}, "coder 2"),
        (HEADER, {"coder": spec.CODER_WEBP_LOSSLESS}, "coder 3"),
        (SPLIT, {"model": 1}, "model"),
        (SPLIT, {"model_hash": bytes(7) + b"\1"}, "model_hash"),
        (SPLIT, {"coder": spec.CODER_RANGE}, "coder 0"),
        (SPLIT, {"coder": spec.CODER_HUFFMAN}, "coder 1"),
        (SPLIT, {"flags": spec.FLAG_SYNTHETIC}, "flags"),
        (SPLIT, {"n": 1}, "n"),
        (SPLIT, {"level_shift": 1}, "level_shift"),
        (WU2019, {"model": 0}, "codec 2 needs a model"),
        (WU2019, {"coder": spec.CODER_WEBP}, "coder 2"),
        (WU2019, {"level_shift": 1}, "level_shift"),
    ],
)
def test_fields_that_do_not_go_together(header: Header, change: dict[str, Any], word: str) -> None:
    assert read(head(header) + IMAGE + END).header == header
    changed = dataclasses.replace(header, **change)
    with pytest.raises(CorruptFile, match=word):
        read(head(changed) + IMAGE + END)
    with pytest.raises(UsageError, match=word):
        write(Container(changed, b"coded"))


@pytest.mark.parametrize("codec", [3, 255])
def test_nothing_is_known_of_unknown_codecs(codec: int) -> None:
    for header in (HEADER, SPLIT, WU2019):
        future = dataclasses.replace(header, codec=codec)
        assert read(head(future) + IMAGE + END).header == future


def test_alpha_and_metadata_that_cannot_be_written() -> None:
    with pytest.raises(UsageError, match="alpha"):
        write(dataclasses.replace(SMALL, alpha=bytes(7)))
    with pytest.raises(UsageError, match="ICC"):
        write(dataclasses.replace(SMALL, icc=bytes(spec.MAX_METADATA + 1)))
    largest = dataclasses.replace(SMALL, icc=bytes(spec.MAX_METADATA))
    assert same(read(write(largest)), largest)


def test_versions() -> None:
    with pytest.raises(UnsupportedFile, match="version 2"):
        read(head(version=b"\x02\x00") + IMAGE + END)
    assert read(head(version=b"\x01\xff") + IMAGE + END).image == b"coded"


def test_pixel_limit() -> None:
    data = head(dataclasses.replace(HEADER, width=1 << 15, height=1 << 14)) + IMAGE + END
    with pytest.raises(UnsupportedFile, match="pixels"):
        read(data)
    assert read(data, max_pixels=2 * MAX_PIXELS).image == b"coded"
    with pytest.raises(UnsupportedFile, match="40x30"):
        read(head() + IMAGE + END, max_pixels=1199)


def test_unknown_critical_chunk_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedFile, match="0x7a"):
        read(head() + IMAGE + chunk(0x7A, b"news") + END)
    with pytest.raises(UnsupportedFile, match="0x7a"):
        read(head() + chunk(0x7A, b"news") + IMAGE + END)


def test_unknown_ancillary_chunks_are_skipped() -> None:
    news = chunk(0xFA, b"news")
    parsed = read(head() + IMAGE + news * 2 + chunk(spec.XMP, deflated(b"<x/>")) + news + END)
    assert parsed.xmp == b"<x/>"
    assert [info.name for info in parsed.chunks] == ["IMAGE", *["chunk 0xfa"] * 2, "XMP", "chunk 0xfa", "END"]


@pytest.mark.parametrize("kind", [spec.ALPHA, spec.ICC, spec.EXIF, spec.XMP])
def test_second_chunks_are_refused(kind: int) -> None:
    once = chunk(kind, deflated(bytes(1200)))
    read(head() + IMAGE + once + END)
    with pytest.raises(CorruptFile, match="second"):
        read(head() + IMAGE + once * 2 + END)


def test_image_comes_first_and_once() -> None:
    with pytest.raises(CorruptFile, match="second"):
        read(head() + IMAGE * 2 + END)
    for first in (chunk(spec.XMP, deflated(b"<x/>")), END, chunk(0xFA, b"")):
        with pytest.raises(CorruptFile, match="where IMAGE should be"):
            read(head() + first + IMAGE + END)


@pytest.mark.parametrize("order", [(0x83, 0x84, 0x85), (0x85, 0x83, 0x84)])
def test_other_chunks_come_in_any_order(order: tuple[int, ...]) -> None:
    parsed = read(head() + IMAGE + b"".join(chunk(k, deflated(bytes((k,)))) for k in order) + END)
    assert (parsed.icc, parsed.exif, parsed.xmp) == (b"\x83", b"\x84", b"\x85")


def test_end_holds_nothing() -> None:
    with pytest.raises(CorruptFile, match="END"):
        read(head() + IMAGE + chunk(spec.END, b"x"))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (deflated(b"<x/>", 3), "inflate"),
        (deflated(b"<x/>", 5), "inflate"),
        (deflated(b"<x/>") + b"\0", "inflate"),
        (deflated(b"<x/>")[:-1], "inflate"),
        (deflated(b"<x/>", spec.MAX_METADATA + 1), "cap"),
        (varint(4) + b"<x/>", "XMP"),
        (varint(4), "inflate"),
        (b"", "cut short"),
    ],
)
def test_bad_deflate(body: bytes, reason: str) -> None:
    with pytest.raises(CorruptFile, match=reason):
        read(head() + IMAGE + chunk(spec.XMP, body) + END)


@pytest.mark.parametrize("size", [1199, 1201, 0])
def test_alpha_of_another_size(size: int) -> None:
    with pytest.raises(CorruptFile, match="must be 1200"):
        read(head() + IMAGE + chunk(spec.ALPHA, deflated(bytes(size))) + END)


def peak_of_refusal(data: bytes) -> int:
    """Bytes allocated while `data` is refused."""
    tracemalloc.start()
    try:
        with pytest.raises(REFUSED):
            read(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "data",
    [
        head() + b"\x01" + varint(2**32 - 1) + b"coded",
        head() + b"\x01" + varint(30_000) + b"coded",
        head() + IMAGE + b"\xfa" + varint(2**32 - 1),
        head() + IMAGE + b"\x83" + varint(spec.MAX_METADATA),
        head() + IMAGE + chunk(spec.XMP, varint(spec.MAX_METADATA) + zlib.compress(b"<x/>")) + END,
        head(dataclasses.replace(HEADER, width=1 << 14, height=1 << 14))
        + IMAGE
        + chunk(spec.ALPHA, varint(1 << 28) + zlib.compress(b"")),
        head(dataclasses.replace(HEADER, width=1 << 20, height=1 << 20)) + IMAGE + END,
    ],
)
def test_declared_sizes_allocate_nothing(data: bytes) -> None:
    assert peak_of_refusal(data) < 200_000


@pytest.mark.parametrize("stated", [100, spec.MAX_METADATA])
def test_deflate_bomb(stated: int) -> None:
    bomb = varint(stated) + zlib.compress(bytes(40_000_000), 9)
    peak = peak_of_refusal(head() + IMAGE + chunk(spec.ICC, bomb) + END)
    assert peak < 500_000 + 3 * stated


def test_image_cap() -> None:
    cap = spec.IMAGE_BASE + spec.IMAGE_PER_PIXEL * 64 * 64
    assert len(read(head() + chunk(spec.IMAGE, bytes(cap)) + END).image) == cap
    with pytest.raises(CorruptFile, match="cap"):
        read(head() + chunk(spec.IMAGE, bytes(cap + 1)) + END)


# --- slices

ICC, XMP, ALPHA = (
    chunk(kind, deflated(body)) for kind, body in ((spec.ICC, b"icc"), (spec.XMP, b"<x/>"), (spec.ALPHA, bytes(1200)))
)
MORE, NEWS = chunk(spec.MORE, b"more"), chunk(0xFA, b"news")


def tiled(side: int, columns: int, rows: int, header: Header = SLICED) -> Header:
    """A picture of so many tiles, the last ones of a single pixel."""
    return dataclasses.replace(header, width=side * (columns - 1) + 1, height=side * (rows - 1) + 1)


def test_slices_are_laid_out_as_the_format_page_says() -> None:
    whole = Container(SLICED, b"coded", bytes(1200), b"icc", b"exif", b"<x/>", more=(b"more", b"", b"most"))
    body = IMAGE + MORE + chunk(spec.MORE, b"") + chunk(spec.MORE, b"most")
    data = write(whole)
    assert data.startswith(head(SLICED) + chunk(spec.ICC, varint(3) + zlib.compress(b"icc", 9)) + body)
    names = ["ICC", "IMAGE", "MORE", "MORE", "MORE", "ALPHA", "EXIF", "XMP", "END"]
    assert [info.name for info in read(data).chunks] == names
    assert same(read(data), whole)
    assert read(data).streams == ((b"coded", b"more", b"", b"most"),)
    assert read(data).cut is None
    tall = dataclasses.replace(SLICED, height=257)
    of = Container.of(tall, ((b"ab", b"x" * 200), (b"c", b"")), 256, icc=b"icc")
    tiles, more = chunk(spec.TILES, b"\x08\x02\x01"), chunk(spec.MORE, b"\xc8\x01\x00" + b"x" * 200)
    icc = chunk(spec.ICC, varint(3) + zlib.compress(b"icc", 9))
    assert write(of) == head(tall) + tiles + icc + chunk(spec.IMAGE, b"abc") + more + END


def test_tiles_and_slices_go_both_ways() -> None:
    """All numbers of slices, without and with tiles, parts of all sizes down to none; sizes are counted to the byte."""
    rng = random.Random(6)
    for count, (columns, rows) in itertools.product(range(1, MOST_SLICES + 1), [(1, 1), (1, 2), (3, 2), (5, 4)]):
        side = None if columns * rows == 1 else 256
        header = SLICED if side is None else tiled(side, columns, rows)
        lengths = [0, 1, 5, 127, 128, 300]
        streams = tuple(tuple(rng.randbytes(rng.choice(lengths)) for _ in range(count)) for _ in range(columns * rows))
        icc, xmp = rng.choice([None, b"icc"]), rng.choice([None, b"<x/>"])
        container = Container.of(header, streams, side, None, icc, None, xmp)
        data = write(container)
        parsed = read(data)
        assert parsed.streams == container.streams == streams
        assert same(parsed, container)
        assert write(parsed) == data
        empty = write(Container.of(header, ((b"",),), None, None, icc, None, xmp))
        assert len(data) == len(empty) - streams_size(((b"",),)) + streams_size(streams, side)
        told = sum(chunk_size(c.length) for c in parsed.chunks if c.type in (spec.TILES, spec.IMAGE, spec.MORE))
        assert streams_size(streams, side) == told


@pytest.mark.parametrize("streams", [(), ((),), ((b"a", b"b"), (b"c",)), ((b"a",), ())])
def test_tiles_have_equally_many_slices(streams: tuple[tuple[bytes, ...], ...]) -> None:
    for counting in (lambda: Container.of(tiled(256, 1, 2), streams, 256), lambda: streams_size(streams, 256)):
        with pytest.raises(UsageError, match="equally many"):
            counting()


@pytest.mark.parametrize("header", [HEADER, WU2019, SPLIT, SLICED, dataclasses.replace(HEADER, codec=9)])
def test_more_slices_than_a_codec_has(header: Header) -> None:
    most = spec.rules_of(header.codec).slices
    assert most == (MOST_SLICES if header is SLICED else 1)
    assert same(read(write(fits := Container.of(header, ((b"x",) * most,)))), fits)
    with pytest.raises(UsageError, match=f"several slices .{most + 1}., codec {header.codec} has at most {most}"):
        Container.of(header, ((b"x",) * (most + 1),))
    with pytest.raises(UsageError, match="several slices"):
        write(Container(header, b"x", more=(b"x",) * most))
    if header.codec == 9:  # which may have them
        with pytest.raises(UnsupportedFile, match="codec 9 is not known"):
            read(head(header) + IMAGE + MORE + END)
        return
    with pytest.raises(CorruptFile, match=f"MORE: more slices than codec {header.codec} may have .{most}."):
        read(head(header) + IMAGE + MORE * most + END)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (ICC + IMAGE + END, None),
        (IMAGE + END, None),
        (ICC + IMAGE + MORE * 7 + ALPHA + XMP + NEWS + END, None),
        (IMAGE + MORE + NEWS + XMP + NEWS + ALPHA + END, None),
        (IMAGE + ICC + END, "ICC behind IMAGE"),
        (IMAGE + MORE + ICC + END, "ICC behind IMAGE"),
        (ICC + IMAGE + ICC + END, "ICC: second one"),
        (ICC + ICC + IMAGE + END, "ICC: second one"),
        (MORE + IMAGE + END, "MORE where IMAGE should be"),
        (ICC + MORE + IMAGE + END, "MORE where IMAGE should be"),
        (XMP + IMAGE + END, "XMP where IMAGE should be"),
        (ALPHA + IMAGE + END, "ALPHA where IMAGE should be"),
        (NEWS + IMAGE + END, "chunk 0xfa where IMAGE should be"),
        (ICC + NEWS + IMAGE + END, "chunk 0xfa where IMAGE should be"),
        (ICC + END, "END where IMAGE should be"),
        (IMAGE + ALPHA + MORE + END, "MORE: not directly behind IMAGE"),
        (IMAGE + MORE + ALPHA + MORE + END, "MORE: not directly behind IMAGE"),
        (IMAGE + NEWS + MORE + END, "MORE: not directly behind IMAGE"),
        (IMAGE + MORE + XMP + XMP + END, "XMP: second one"),
        (IMAGE + MORE + IMAGE + END, "IMAGE: second one"),
        (IMAGE + MORE * 8 + END, "more slices than codec 6 may have .8."),
        (IMAGE + MORE + END + MORE, "after the end"),
    ],
)
def test_order_with_slices(body: bytes, reason: str | None) -> None:
    for partial in (False, True):
        if reason is None:
            assert read(head(SLICED) + body, partial=partial).image == b"coded"
            continue
        with pytest.raises(CorruptFile, match=reason):
            read(head(SLICED) + body, partial=partial)


@pytest.mark.parametrize("header", [HEADER, SPLIT, WU2019])
def test_the_others_have_no_slices_and_the_order_that_they_had(header: Header) -> None:
    with pytest.raises(CorruptFile, match="MORE: more slices"):
        read(head(header) + IMAGE + MORE + END)
    with pytest.raises(CorruptFile, match="ICC where IMAGE should be"):
        read(head(header) + ICC + IMAGE + END)
    parsed = read(head(header) + IMAGE + XMP + ICC + END)
    assert [info.name for info in read(write(parsed)).chunks] == ["IMAGE", "ICC", "XMP", "END"]


WHOLE = sorted(path for path in VECTORS.glob("*/*.gic") if not path.stem.startswith("cut"))


@pytest.mark.parametrize("path", WHOLE, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_released_files_are_written_as_they_were(path: Path) -> None:
    data = path.read_bytes()
    parsed = read(data)
    written = write(parsed)
    assert [(c.type, c.offset) for c in read(written).chunks][:2] == [(c.type, c.offset) for c in parsed.chunks][:2]
    assert [c.type for c in read(written).chunks] == [c.type for c in parsed.chunks]
    assert same(read(written), parsed)
    if not {"ALPHA", "ICC", "EXIF", "XMP"} & {c.name for c in parsed.chunks}:  # which zlib deflates as it likes
        assert written == data


def test_tiles_come_first_of_all() -> None:
    header, tiles = tiled(256, 2, 1), chunk(spec.TILES, b"\x08\x02\x03")
    assert read(head(header) + tiles + ICC + IMAGE + END).streams == ((b"co",), (b"ded",))
    for body, reason in (
        (ICC + tiles + IMAGE, "TILES where IMAGE should be"),
        (IMAGE + tiles, "TILES behind IMAGE"),
        (tiles + tiles + IMAGE, "TILES: second one"),
        (tiles + ICC + tiles + IMAGE, "TILES: second one"),
    ):
        with pytest.raises(CorruptFile, match=reason):
            read(head(header) + body + END)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (b"\x02\x03partx", "parts of 5 bytes in 5"),
        (b"\x02\x02partx", "parts of 4 bytes in 5"),
        (b"\x02\x04partx", "parts of 6 bytes in 5"),
        (b"\x00\x00x", "parts of 0 bytes in 1"),
        (b"\xff\xff\xff\xff\x0f\x00x", "parts of 4294967295 bytes in 1"),
        (b"\x05", "cut short"),
        (b"", "cut short"),
        (b"\x80\x00\x05parts", "shortest"),
        (b"\xff\xff\xff\xff\xff\x00", "number too long"),
    ],
)
def test_parts_of_more_fill_it(more: bytes, reason: str) -> None:
    header, tiles = tiled(256, 2, 1), chunk(spec.TILES, b"\x08\x02\x03")
    parsed = Container(header, b"coded", tiles=read(head(header) + tiles + IMAGE + END).tiles)
    data = head(header) + tiles + IMAGE + chunk(spec.MORE, more) + END
    for partial in (False, True):
        if reason.endswith("5 bytes in 5"):
            assert read(data, partial=partial).streams == ((b"co", b"pa"), (b"ded", b"rtx"))
            assert write(dataclasses.replace(parsed, more=(more,))) == data
            continue
        with pytest.raises(CorruptFile, match=reason):
            read(data, partial=partial)
        with pytest.raises(CorruptFile, match=reason):
            read(data[:-1], partial=True)
        with pytest.raises(UsageError, match=reason):
            write(dataclasses.replace(parsed, more=(more,)))


def test_caps_of_slices() -> None:
    """IMAGE and MORE share one limit; the lengths of tiles come on top."""
    cap, more = spec.IMAGE_BASE + spec.IMAGE_PER_PIXEL * 64 * 64, 5
    full, half = chunk(spec.IMAGE, bytes(cap)), chunk(spec.IMAGE, bytes(cap // 2))
    for body in (
        full + chunk(spec.MORE, bytes(more)) * 7,
        half + chunk(spec.MORE, bytes(cap - cap // 2 + more)) + chunk(spec.MORE, bytes(more)),
        chunk(spec.IMAGE, b"") + chunk(spec.MORE, bytes(cap + more)),
        chunk(spec.IMAGE, b"") + chunk(spec.MORE, b"") + chunk(spec.MORE, bytes(cap + 2 * more)),
    ):
        assert len(read(head(SLICED) + body + END).more) <= 7
    for body in (
        chunk(spec.IMAGE, bytes(cap + 1)),
        full + chunk(spec.MORE, bytes(more + 1)),
        full + chunk(spec.MORE, bytes(more)) + chunk(spec.MORE, bytes(more + 1)),
        half + chunk(spec.MORE, bytes(cap - cap // 2 + more + 1)),
        full + b"\x04" + varint(more + 1),
        full + b"\x04" + varint(2**32 - 1),
    ):
        for data, partial in itertools.product((head(SLICED) + body + END, head(SLICED) + body), (False, True)):
            with pytest.raises(CorruptFile, match="bytes, cap"):
                read(data, partial=partial)


@pytest.mark.parametrize(
    "data",
    [
        head(SLICED) + IMAGE + b"\x04" + varint(30_000),
        head(SLICED) + IMAGE + MORE + b"\x04" + varint(2**32 - 1),
        head(tiled(256, 9, 9))
        + chunk(spec.TILES, b"\x08" + b"\0" * 81)
        + chunk(spec.IMAGE, b"")
        + chunk(spec.MORE, b"\xff\xff\xff\xff\x0f" * 81)
        + END,
    ],
)
def test_declared_sizes_of_slices_allocate_nothing(data: bytes) -> None:
    assert peak_of_refusal(data) < 200_000


@pytest.mark.parametrize("header", [HEADER, SLICED, dataclasses.replace(SLICED, width=1, height=1)])
def test_no_file_is_longer_than_its_header_allows(header: Header) -> None:
    """The longest that there is, but for the deflated data, which would have to be longer than deflate makes it."""
    pixels, rng = header.width * header.height, random.Random(1)
    slices = spec.rules_of(header.codec).slices
    image = bytes(spec.IMAGE_BASE + spec.IMAGE_PER_PIXEL * 64 * 64)
    made = Container(header, image, rng.randbytes(pixels), *(rng.randbytes(spec.MAX_METADATA) for _ in range(3)))
    written = write(dataclasses.replace(made, more=(bytes(5),) * (slices - 1)))
    unknown = chunk(0xFA, bytes(spec.MAX_UNKNOWN_BYTES // spec.MAX_UNKNOWN_CHUNKS)) * spec.MAX_UNKNOWN_CHUNKS
    data = written[: -len(END)] + unknown + END
    assert len(read(data).more) == slices - 1
    assert len(data) <= most_bytes(header) <= 1.002 * len(data) + 1000


def test_codecs_of_a_later_build_may_have_slices() -> None:
    """Their chunks may come in the order of slices: that makes them unsupported, not corrupt."""
    header = replace(HEADER, codec=77)
    for body in (ICC + IMAGE + END, IMAGE + MORE + END):
        with pytest.raises(UnsupportedFile, match="codec 77"):
            read(head(header) + body)
