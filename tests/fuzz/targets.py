"""What must hold for any bytes: one plain function a target, run by pytest (test_fuzz.py) and by atheris (run.py).

A target returns, or raises: AssertionError for a broken promise, anything else because the package let it out. Only
GicError may come out of the package, in one line. The first bytes of an input choose how the package is used.
"""

from __future__ import annotations

import dataclasses
import io
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from gancodec import container, imageio, weights
from gancodec.codec import decode_bytes, encode_picture, read_symbols, verify_bytes
from gancodec.codec.api import codec_of
from gancodec.container import Header, Tiles, spec
from gancodec.container.header import varint
from gancodec.entropy.coder import Coder
from gancodec.entropy.huffman import HuffmanReader, HuffmanWriter
from gancodec.entropy.levels import code_levels
from gancodec.entropy.rangecoder import RangeReader, RangeWriter
from gancodec.entropy.tables import Tables
from gancodec.models.gic1.codec import TunableCodec
from gancodec.models.levels import LEVELS
from gancodec.options import DecodeOptions, EncodeOptions
from gancodec.types import Geometry, Picture
from tests.frozen import NAME, add_gic2
from tests.fuzz import sliced
from tests.fuzz.bounds import MIB, PIXELS, Target, first_byte, run, verified, within
from tests.fuzz.build import chunk, gic, jpeg_with, mended, mended_png, png_with, tiff_with, webp_with

FORMATS = ("png", "jpeg", "webp", "tiff")
METADATA = ("icc", "exif", "xmp")
TILED_PIXELS = 1 << 19  # the same for pictures in tiles
SIZE = (8, 6)
CODERS = (spec.CODER_RANGE, spec.CODER_HUFFMAN)
CLASS_BITS = 16  # more than the class of a level map takes
BLOCK_SIDES = 17  # of the level map


def prepare(folder: Path) -> None:
    """Install the tiny models into an empty folder, which GANCODEC_WEIGHTS must name."""
    from gancodec.models.registry import MODELS
    from gancodec.train.freeze import install
    from tests.tiny import tiny_weights, tiny_wu2019_weights

    made = {weights.info.name: weights for weights in (tiny_weights(), tiny_wu2019_weights())}
    for name, arrays in made.items():
        install(arrays, MODELS[name], folder, {"description": "seeded, for tests"})
    add_gic2(folder)
    for name in (*made, NAME):
        # Networks and Huffman codes are built at their first use, which takes seconds: no matter of any input.
        decode_bytes(encode_picture(Picture(_plain()), EncodeOptions(model=name)).data)
        tables = codec_of(weights.get(name), "cpu").entropy.tables
        rows = np.arange(len(tables), dtype=np.int32)
        HuffmanWriter(tables).code(rows, np.zeros_like(rows))


def container_(data: bytes) -> None:
    """A whole file, as it is or under right checksums: what is accepted is written back the same."""
    mode, data = first_byte(data)
    if mode & 1:
        data = mended(data)
    header = run(container.read_header, data)
    parsed = run(container.read, data, PIXELS)
    part = run(container.read, data, PIXELS, partial=True)
    assert part == parsed or (parsed is None and part is not None and part.cut is not None)
    if parsed is None:
        _refused_by_all(data)
        return
    assert header is not None
    assert parsed.header == header[0]
    assert parsed.header.width * parsed.header.height <= PIXELS
    written = container.write(parsed)
    again = container.read(written)
    assert dataclasses.replace(again, chunks=()) == dataclasses.replace(parsed, chunks=())
    plain = [c.name for c in parsed.chunks] == ["IMAGE", "END"]
    assert not plain or data[9:10] != b"\0" or written == data, "accepted, but not what a writer writes"
    run(verify_bytes, data, max_pixels=PIXELS)


def _refused_by_all(data: bytes) -> None:
    assert run(verify_bytes, data, max_pixels=PIXELS) is None
    assert run(decode_bytes, data, DecodeOptions(max_pixels=PIXELS)) is None


def level_map(data: bytes) -> None:
    """A level map alone, read from any bytes; and any map, written and read."""
    mode, data = first_byte(data)
    shape, data = (1 + data[0] % BLOCK_SIDES, 1 + data[1] % BLOCK_SIDES) if len(data) > 1 else (1, 1), data[2:]
    tables = _tables()
    if mode & 2:
        levels = np.resize(np.frombuffer(data or b"\0", np.uint8) % LEVELS, shape).astype(np.int32)
        writer = HuffmanWriter(tables) if mode & 1 else RangeWriter(tables)
        code_levels(writer, shape, LEVELS, levels)
        stream = writer.finish()
        back = _read_levels(tables, stream, shape, mode)
        np.testing.assert_array_equal(back, levels)
        return
    read = run(_read_levels, tables, data, shape, mode)
    assert read is None or (read.shape == shape and read.min() >= 0 and read.max() < LEVELS)


def _read_levels(tables: Tables, stream: bytes, shape: tuple[int, int], mode: int) -> np.ndarray:  # type: ignore[type-arg]
    reader: Coder = HuffmanReader(tables, stream) if mode & 1 else RangeReader(tables, stream)
    levels = code_levels(reader, shape, LEVELS, None)
    reader.finish()
    return levels


def _tables() -> Tables:
    return TunableCodec(weights.get(None), "cpu").entropy.tables


def latents(data: bytes) -> None:
    """Any bytes as the stream of a small picture, with either coder: refused, or symbols that no other stream has."""
    _stream(data, None, spec.CODEC_GIC1)


def planes(data: bytes) -> None:
    """The same with the wu2019 codec."""
    _stream(data, "wu2019-tiny", spec.CODEC_WU2019)


def _stream(data: bytes, model: str | None, codec: int) -> None:
    fields, stream = data[:5].ljust(5, b"\0"), data[5:]
    info = weights.find(model)
    header = Header(
        width=1 + fields[0] % 192,
        height=1 + fields[1] % 192,
        model=info.id,
        model_hash=info.entropy_hash,
        codec=codec,
        coder=CODERS[fields[2] % 2],
        flags=0,
        n=0,
        level_shift=0 if "level_shift" in spec.CODECS[codec].zero else fields[3] % 16,
    )
    file = gic(header, stream)
    symbols = run(read_symbols, file)
    assert (symbols is None) == (run(verified, file) is None)
    if symbols is None:
        return
    _differs(header, stream, fields[4], symbols)
    if fields[4] % 64 == 0:
        picture = run(decode_bytes, file)
        assert picture is not None
        assert picture.rgb.shape == (header.height, header.width, 3)


def tiles(data: bytes) -> None:
    """Any bytes as the streams of a picture in tiles, cut evenly or as other bytes say: refused as a whole, but for a
    region perhaps that has no part in what is wrong."""
    fields, rest = data[:5].ljust(5, b"\0"), data[5:]
    info, cut = weights.find(None), spec.TILE_SIDES[0]
    width, height, coder = cut + 1 + fields[0], 1 + 2 * fields[1], CODERS[fields[2] % 2]
    header = Header(width, height, info.id, info.entropy_hash, spec.CODEC_GIC1, coder, 0, 0, fields[3] % 16)
    body, image = rest[: fields[4] // 2], rest[fields[4] // 2 :]
    if fields[4] % 2 == 0:
        count = -(-width // cut) * -(-height // cut)
        lengths = [len(rest) // count] * (count - 1)
        body, image = container.tiles.pack(Tiles(cut, (*lengths, len(rest) - sum(lengths)))), rest
    file = gic(header, image, tiles=chunk(spec.TILES, body))
    parsed = run(container.read, file, TILED_PIXELS)
    symbols = run(read_symbols, file, max_pixels=TILED_PIXELS)
    assert parsed is not None or symbols is None
    assert (symbols is None) == (run(verified, file) is None)
    assert symbols is None or symbols.latents.shape[1:] == Geometry(width=width, height=height).latent
    if fields[3] // 16 == 0 or symbols is not None:
        part = run(decode_bytes, file, DecodeOptions(region=(0, 0, 9, 9), reduce=1 << fields[0] % 4))
        assert symbols is None or part is not None


def _differs(header: Header, stream: bytes, choice: int, symbols: tuple[np.ndarray, ...]) -> None:  # type: ignore[type-arg]
    """A changed stream that is accepted too must mean something else: nothing of a stream goes unread.

    But for its start: which class it gives to a level map that is flat, or of one block, is up to the writer.
    """
    start = CLASS_BITS + (8 if spec.CODECS[header.codec].slices > 1 else 0)  # behind the number of slices
    if 8 * len(stream) <= start:
        return
    place = start + (choice << 8 | choice) % (8 * len(stream) - start)
    changed = bytearray(stream)
    changed[place // 8] ^= 1 << place % 8
    other = run(read_symbols, gic(header, bytes(changed)))
    if other is not None:
        same = all(np.array_equal(a, b) for a, b in zip(symbols, other, strict=True))
        assert not same, f"bit {place} of the stream means nothing"


def metadata(data: bytes) -> None:
    """Any bytes as ICC, EXIF, XMP or alpha: in a .gic file and in pictures; whatever is read can be saved."""
    mode, payload = first_byte(data)
    kind = METADATA[mode % 3]
    way = mode // 3 % 6
    if way == 5:
        _alpha(payload)
        return
    if way == 4:
        file = gic(SPLIT, _split_image(), chunk({"icc": spec.ICC, "exif": spec.EXIF, "xmp": spec.XMP}[kind], payload))
        picture = run(decode_bytes, file)
    else:
        stored = _with_metadata(FORMATS[way], kind, payload)
        picture = run(imageio.load, io.BytesIO(stored), PIXELS)
        assert picture is None or sorted(picture.rgb.shape) == sorted((SIZE[1], SIZE[0], 3))
    _save_all(Picture(_plain(), **{kind: payload or None}) if picture is None else picture)  # type: ignore[arg-type]


def _with_metadata(format: str, kind: str, payload: bytes) -> bytes:
    if format == "tiff":
        return tiff_with(SIZE, kind, payload)
    if format == "webp":
        return webp_with(_small(format), kind, payload, SIZE)
    return (png_with if format == "png" else jpeg_with)(_small(format), kind, payload)


def _alpha(payload: bytes) -> None:
    file = gic(SPLIT, _split_image(), chunk(spec.ALPHA, payload))
    picture = run(decode_bytes, file)
    if picture is not None:
        assert picture.alpha is not None
        assert picture.alpha.shape == picture.rgb.shape[:2]
        _save_all(picture)


def _save_all(picture: Picture) -> None:
    """Save in all formats and read again: what is written here must be readable here."""
    for format in FORMATS:
        stream = io.BytesIO()
        if run(imageio.save, picture, stream, format) is None:
            continue
        again = imageio.load(io.BytesIO(stream.getvalue()))
        assert again.rgb.shape == picture.rgb.shape, format
        if format != "jpeg":
            np.testing.assert_array_equal(again.rgb, picture.rgb)


def pictures(data: bytes) -> None:
    """Any bytes as a picture file (PNG also under right checksums): refused, or a picture within the limit."""
    mode, data = first_byte(data)
    picture = loaded(mended_png(data) if mode & 1 else data)
    if picture is not None and mode & 2:
        _save_all(picture)


def loaded(source: bytes | Path, pixels: int = PIXELS) -> Picture | None:
    """The picture that a file holds, which has what is promised of one; None where it is refused."""
    picture = run(imageio.load, io.BytesIO(source) if isinstance(source, bytes) else source, pixels)
    if picture is not None:
        height, width, channels = picture.rgb.shape
        assert channels == 3
        assert picture.rgb.dtype == np.uint8
        assert 0 < height * width <= pixels
        assert picture.alpha is None or picture.alpha.shape == (height, width)
        assert all(line.isprintable() for line in picture.notices), picture.notices
    return picture


SPLIT = Header(*SIZE, 0, bytes(8), spec.CODEC_SPLIT, spec.CODER_WEBP_LOSSLESS, 0, 0, 0)


def split(data: bytes) -> None:
    """Any bytes as the stream of the split codec, whole or as mask and layers: refused, or a picture of its size."""
    fields, rest = data[:5].ljust(5, b"\0"), data[5:]
    coder = spec.CODER_WEBP + fields[2] % 2
    header = dataclasses.replace(SPLIT, width=1 + fields[0], height=1 + fields[1], coder=coder)
    image = rest
    if fields[3] & 1:
        image = _split_parts(header, fields, rest)
    file = gic(header, image)
    sound = run(verified, file)
    picture = run(decode_bytes, file)
    assert (sound is None) == (picture is None)
    assert picture is None or picture.rgb.shape == (header.height, header.width, 3)


def _split_parts(header: Header, fields: bytes, rest: bytes) -> bytes:
    """An IMAGE stream with a sound mask, whose bits and layers are taken from `rest`."""
    cells = -(-header.width // spec.CELL) * -(-header.height // spec.CELL)
    bits, layers = rest[: -(-cells // 8)].ljust(-(-cells // 8), b"\0"), rest[-(-cells // 8) :]
    kept = bytearray(bits)
    kept[-1] &= 0xFF00 >> (cells % 8 or 8) & 0xFF
    mask = zlib.compress(bytes(kept))
    cut = fields[4] * len(layers) // 255
    parts = [bytes((1 + fields[3] // 2 % 5,))]
    for part in (mask, layers[:cut], layers[cut:]):
        parts += [varint(len(part)), part]
    return b"".join(parts)


@lru_cache(maxsize=1)
def _plain() -> np.ndarray:  # type: ignore[type-arg]
    return np.arange(SIZE[0] * SIZE[1] * 3, dtype=np.uint8).reshape(SIZE[1], SIZE[0], 3)


@lru_cache(maxsize=4)
def _small(format: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(_plain()).save(stream, format, **({"lossless": True} if format == "webp" else {}))
    return stream.getvalue()


@lru_cache(maxsize=1)
def _split_image() -> bytes:
    from gancodec.models.split import image
    from gancodec.models.split.layers import take_apart

    return image.encode(take_apart(_plain(), np.ones((1, 1), np.bool_), 2), None, None)


TARGETS: dict[str, Target] = {
    "container": container_,
    "level_map": level_map,
    "latents": latents,
    "planes": planes,
    "tiles": tiles,
    "metadata": metadata,
    "pictures": pictures,
    "split": split,
    "slices": sliced.slices,
    "partial": sliced.partial,
}


def check(name: str, data: bytes) -> None:
    """Run a target on an input, within the bounds of time and memory."""
    within(MIB, TARGETS[name], data)
