"""What must hold for any bytes: one plain function a target, run by pytest (test_fuzz.py) and by atheris (run.py).

A target returns, or raises: AssertionError for a broken promise, anything else because the package let it out. Only
GicError may come out of the package, in one line. The first bytes of an input choose how the package is used.
"""

from __future__ import annotations

import dataclasses
import io
import resource
import sys
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import ParamSpec, TypeVar

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
from gancodec.errors import GicError
from gancodec.models.gic1.codec import TunableCodec
from gancodec.models.levels import LEVELS
from gancodec.options import DecodeOptions, EncodeOptions
from gancodec.types import Geometry, Picture
from tests.fuzz.build import chunk, gic, jpeg_with, mended, mended_png, png_with, tiff_with, webp_with

SECONDS = 2.0  # of processor time that an input may take
MIB = 512  # that it may take
PIXELS = 1 << 16  # limit given to the readers
FORMATS = ("png", "jpeg", "webp", "tiff")
METADATA = ("icc", "exif", "xmp")
TILED_PIXELS = 1 << 19  # the same for pictures in tiles
SIZE = (8, 6)
CODERS = (spec.CODER_RANGE, spec.CODER_HUFFMAN)
CLASS_BITS = 16  # more than the class of a level map takes
BLOCK_SIDES = 17  # of the level map

P = ParamSpec("P")
R = TypeVar("R")
Target = Callable[[bytes], None]


def prepare(folder: Path) -> None:
    """Install the tiny seeded model into an empty folder, which GANCODEC_WEIGHTS must name."""
    from gancodec.models.registry import MODELS
    from gancodec.train.freeze import install
    from tests.tiny import tiny_gic2_weights, tiny_weights, tiny_wu2019_weights

    for made in (tiny_weights(), tiny_wu2019_weights(), tiny_gic2_weights()):
        name = made.info.name
        install(made, MODELS[name], folder, {"description": "seeded, for tests"})
        # Networks and Huffman codes are built at their first use, which takes seconds: no matter of any input.
        decode_bytes(encode_picture(Picture(_plain()), EncodeOptions(model=name)).data)
        tables = codec_of(weights.get(name), "cpu").entropy.tables
        rows = np.arange(len(tables), dtype=np.int32)
        HuffmanWriter(tables).code(rows, np.zeros_like(rows))


def _run(call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R | None:
    """What the package returns; None where it refuses, which it must do in one line."""
    try:
        return call(*args, **kwargs)
    except GicError as error:
        text = str(error)
        assert text, "an error without a word"
        assert text.isprintable(), f"an error of several lines or with control characters: {text!r}"
        return None


def container_(data: bytes) -> None:
    """A whole file, as it is or under right checksums: what is accepted is written back the same."""
    mode, data = _mode(data)
    if mode & 1:
        data = mended(data)
    header = _run(container.read_header, data)
    parsed = _run(container.read, data, PIXELS)
    part = _run(container.read, data, PIXELS, partial=True)
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
    _run(verify_bytes, data, max_pixels=PIXELS)


def _refused_by_all(data: bytes) -> None:
    assert _run(verify_bytes, data, max_pixels=PIXELS) is None
    assert _run(decode_bytes, data, DecodeOptions(max_pixels=PIXELS)) is None


def level_map(data: bytes) -> None:
    """A level map alone, read from any bytes; and any map, written and read."""
    mode, data = _mode(data)
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
    read = _run(_read_levels, tables, data, shape, mode)
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


def projected(data: bytes) -> None:
    """The same with the gic2 codec, of one slice or as if of several."""
    _stream(data, "gic2-tiny", spec.CODEC_GIC2)


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
    symbols = _run(read_symbols, file)
    assert (symbols is None) == (_run(_verified, file) is None)
    if symbols is None:
        return
    _differs(header, stream, fields[4], symbols)
    if fields[4] % 64 == 0:
        picture = _run(decode_bytes, file)
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
    parsed = _run(container.read, file, TILED_PIXELS)
    symbols = _run(read_symbols, file, max_pixels=TILED_PIXELS)
    assert parsed is not None or symbols is None
    assert (symbols is None) == (_run(_verified, file) is None)
    assert symbols is None or symbols.latents.shape[1:] == Geometry(width=width, height=height).latent
    if fields[3] // 16 == 0 or symbols is not None:
        part = _run(decode_bytes, file, DecodeOptions(region=(0, 0, 9, 9), reduce=1 << fields[0] % 4))
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
    other = _run(read_symbols, gic(header, bytes(changed)))
    if other is not None:
        same = all(np.array_equal(a, b) for a, b in zip(symbols, other, strict=True))
        assert not same, f"bit {place} of the stream means nothing"


def _verified(data: bytes) -> bool:
    verify_bytes(data)
    return True


def metadata(data: bytes) -> None:
    """Any bytes as ICC, EXIF, XMP or alpha: in a .gic file and in pictures; whatever is read can be saved."""
    mode, payload = _mode(data)
    kind = METADATA[mode % 3]
    way = mode // 3 % 6
    if way == 5:
        _alpha(payload)
        return
    if way == 4:
        file = gic(SPLIT, _split_image(), chunk({"icc": spec.ICC, "exif": spec.EXIF, "xmp": spec.XMP}[kind], payload))
        picture = _run(decode_bytes, file)
    else:
        stored = _with_metadata(FORMATS[way], kind, payload)
        picture = _run(imageio.load, io.BytesIO(stored), PIXELS)
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
    picture = _run(decode_bytes, file)
    if picture is not None:
        assert picture.alpha is not None
        assert picture.alpha.shape == picture.rgb.shape[:2]
        _save_all(picture)


def _save_all(picture: Picture) -> None:
    """Save in all formats and read again: what is written here must be readable here."""
    for format in FORMATS:
        stream = io.BytesIO()
        if _run(imageio.save, picture, stream, format) is None:
            continue
        again = imageio.load(io.BytesIO(stream.getvalue()))
        assert again.rgb.shape == picture.rgb.shape, format
        if format != "jpeg":
            np.testing.assert_array_equal(again.rgb, picture.rgb)


def pictures(data: bytes) -> None:
    """Any bytes as a picture file (PNG also under right checksums): refused, or a picture within the limit."""
    mode, data = _mode(data)
    picture = loaded(mended_png(data) if mode & 1 else data)
    if picture is not None and mode & 2:
        _save_all(picture)


def loaded(source: bytes | Path, pixels: int = PIXELS) -> Picture | None:
    """The picture that a file holds, which has what is promised of one; None where it is refused."""
    picture = _run(imageio.load, io.BytesIO(source) if isinstance(source, bytes) else source, pixels)
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
    verified = _run(_verified, file)
    picture = _run(decode_bytes, file)
    assert (verified is None) == (picture is None)
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


def _mode(data: bytes) -> tuple[int, bytes]:
    return (data[0], data[1:]) if data else (0, b"")


TARGETS: dict[str, Target] = {
    "container": container_,
    "level_map": level_map,
    "latents": latents,
    "planes": planes,
    "projected": projected,
    "tiles": tiles,
    "metadata": metadata,
    "pictures": pictures,
    "split": split,
}


def check(name: str, data: bytes) -> None:
    """Run a target on an input, within the bounds of time and memory."""
    within(MIB, TARGETS[name], data)


def within(mib: float, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """What `call` returns, within the bound of time and one of memory."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # what was the most is forgotten
    peak, started = _peak_mib(), time.process_time()
    result = call(*args, **kwargs)
    seconds, grown = time.process_time() - started, _peak_mib() - peak
    assert seconds < SECONDS, f"{seconds:.1f} s"
    assert grown < mib, f"{grown:.0f} MiB"
    return result


def _peak_mib() -> float:
    """The most memory of this process since `within` began; where that is not told, since the process began."""
    try:
        return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1 << 20)
