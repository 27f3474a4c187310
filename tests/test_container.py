"""The container: what is written is read, whatever is damaged is refused, and nothing is allocated on a file's word."""

from __future__ import annotations

import dataclasses
import tracemalloc
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gancodec.container import MAX_PIXELS, ChunkInfo, Container, Header, read, read_header, spec, write
from gancodec.container.header import Cursor, varint
from gancodec.errors import CorruptFile, UnsupportedFile, UsageError

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
