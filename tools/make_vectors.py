"""Write the conformance set: small .gic files, each with what any decoder must make of it.

``python tools/make_vectors.py tests/vectors/v1``, ``--profile split tests/vectors/v1-split``, ``--profile tiles
tests/vectors/v1-tiles``, ``--profile wu2019 tests/vectors/v1-wu2019-small``, ``--profile gic2
tests/vectors/v1-gic2-tiny``, whose weights are in that folder (tools/make_gic2_tiny.py). What is coded is exact, pixels
bounded; tests/vectors/README.md says how. A released vector is never made again: where one of that name exists, nothing
is written.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from gancodec import container, weights
from gancodec.codec import Box
from gancodec.codec.api import decode_bytes, encode_picture, encode_with, read_symbols
from gancodec.container import spec
from gancodec.container.header import Cursor
from gancodec.entropy.coder import Coder, Ints
from gancodec.entropy.tables import Tables
from gancodec.errors import GicError
from gancodec.models import tiled
from gancodec.models.gic1.codec import Analysis, TunableCodec
from gancodec.models.gic1.symbols import Symbols, walk
from gancodec.models.gic2 import codec as gic2
from gancodec.models.gic2 import slices
from gancodec.models.guidance import UNGUIDED, Guidance
from gancodec.models.split import codec as split
from gancodec.models.stream import CODERS, coder_name
from gancodec.models.wu2019 import symbols as wu2019
from gancodec.options import DecodeOptions, EncodeOptions
from gancodec.tiling import Progress
from gancodec.types import Geometry, IntArray, Picture
from gancodec.weights import find, get

Pixels = NDArray[np.uint8]
Record = dict[str, Any]
Bounds = dict[str, float]

CELL = 16  # side in pixels of the cells whose means a record keeps
UNIT = 16  # means are in 1/16 of a gray level
# Other CPUs differ by a few single gray levels (RMS 0.01), reduced precision on a GPU by more, a wrong decode by far
# more.
BOUNDS: Bounds = {"peak": 4, "rmse": 0.5, "cell": 8}
# Of split files, streams and the shrinking are integers throughout: where all is salient and lossless, nothing differs.
SAME: Bounds = {"peak": 0, "rmse": 0, "cell": 0}
# Enlarging has weights of few binary digits, which Pillow's integers hold exactly, but where a picture's edge cuts the
# filter and they are scaled by thirds and the like: there, halves may be rounded to the other side.
HALVES: Bounds = {"peak": 1, "rmse": 0.1, "cell": 1}
# VP8 itself is exact. To keep fractions where libwebp rounds, in enlarging chroma and in making RGB of it, differs by
# 2 gray levels (RMS 0.6, cells 6) on photographs; chroma that is not smoothed at all by 16 or more (RMS 1.1).
COLOURS: Bounds = {"peak": 4, "rmse": 0.75, "cell": 8}
# All floats of gic2 are float32: pixels are within one level but for 1 in 10,000 values, and never more than two.
FLOAT32: Bounds = {"peak": 2, "rmse": 0.15, "cell": 4}
GIC2 = "gic2-tiny"


class Case(NamedTuple):
    """A vector: picture, n and coder; `holds` is what it exists for, checked; `factor` scales the latents (escapes)."""

    picture: Callable[[], Picture]
    n: float
    coder: str
    holds: Callable[[Record], bool]
    factor: float = 1.0
    bounds: Bounds = BOUNDS
    side: int | None = None  # of tiles


class AskedCase(NamedTuple):
    """A vector of another codec: picture, how it is coded, what it exists for, and what decoders may differ by."""

    picture: Callable[[], Picture]
    options: EncodeOptions
    holds: Callable[[Record], bool]
    bounds: Bounds


class SlicedCase(NamedTuple):
    """A vector of codec 6: as `Case`; `whole_below` are the bytes of a picture in a single slice, `left` the bytes that
    a cut leaves of the chunk of slice `cut`, the first one being 0; `boxes` get more bits."""

    picture: Callable[[], Picture]
    n: float
    coder: str
    holds: Callable[[Record], bool]
    whole_below: int = slices.WHOLE_BELOW
    factor: float = 1.0
    side: int | None = None
    cut: int | None = None
    left: int = 0
    boxes: tuple[Box, ...] = ()
    bounds: Bounds = FLOAT32


class Special(TunableCodec):
    """A codec whose encoder says everything louder, so that symbols leave their tables, or cuts small pictures into
    tiles."""

    factor = 1.0
    side: int | None = None

    def tile_side(self, geometry: Geometry) -> int | None:
        """The one that the case names."""
        return self.side

    def analyse(self, rgb: Pixels, guidance: Guidance = UNGUIDED, progress: Progress | None = None) -> Analysis:
        """Scaled latents and hyper-latents."""
        omega, hyper, importance = super().analyse(rgb, guidance, progress)
        return Analysis(omega * np.float32(self.factor), hyper * np.float32(self.factor), importance)


class SpecialGic2(gic2.Gic2Codec):
    """The same of codec 6."""

    factor = 1.0
    side: int | None = None

    def tile_side(self, geometry: Geometry) -> int | None:
        """The one that the case names."""
        return self.side

    def analyse(self, rgb: Pixels, guidance: Guidance = UNGUIDED, progress: Progress | None = None) -> gic2.Analysis:
        """Scaled latents and hyper-latents."""
        latent, hyper, importance = super().analyse(rgb, guidance, progress)
        return gic2.Analysis(latent * np.float16(self.factor), hyper * np.float32(self.factor), importance)


class EscapeCounter:
    """A coder that hands on to another one and counts symbols outside their tables."""

    def __init__(self, coder: Coder, tables: Tables) -> None:
        self.coder, self.tables, self.count = coder, tables, 0

    def code(self, rows: IntArray, symbols: IntArray | None) -> IntArray:
        """Code and count."""
        coded = self.coder.code(rows, symbols)
        self.count += int(np.count_nonzero(np.abs(coded) > self.tables.radius[rows]))
        return coded

    def finish(self) -> bytes:
        """Finish the other coder."""
        return self.coder.finish()


def _photo(name: str, top: int, left: int, height: int, width: int) -> Pixels:
    from skimage import data

    return np.ascontiguousarray(getattr(data, name)()[top : top + height, left : left + width, :3])


def _shapes(height: int, width: int) -> Pixels:
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.stack([x * 2, y * 3, x + y], -1) % 256
    rgb[height // 3 : height // 2, width // 5 : width // 2] = (250, 30, 60)
    return rgb.astype(np.uint8)


def _with_alpha() -> Picture:
    rgb = _photo("coffee", 120, 200, 70, 90)
    y, x = np.mgrid[0:70, 0:90]
    return Picture(rgb, np.clip(400 - 9 * np.hypot(y - 35, x - 45), 0, 255).astype(np.uint8))


def _with_metadata() -> Picture:
    exif = Image.Exif()
    exif[0x010E] = "conformance vector"
    return Picture(
        _photo("chelsea", 90, 150, 80, 100),
        icc=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        exif=exif.tobytes(),
        xmp=b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>',
    )


CASES = {
    "pixel": Case(lambda: Picture(np.array([[[200, 90, 30]]], np.uint8)), 0.0, "range", lambda r: _size(r) == (1, 1)),
    "flat": Case(
        lambda: Picture(np.full((64, 64, 3), (40, 120, 200), np.uint8)), 1.0, "range", lambda r: _size(r) == (64, 64)
    ),
    "odd": Case(lambda: Picture(_shapes(61, 97)), -1.0, "huffman", lambda r: _size(r) == (97, 61)),
    "photo-low": Case(lambda: Picture(_photo("astronaut", 40, 140, 120, 160)), 2.5, "range", lambda r: True),
    "photo-mid": Case(lambda: Picture(_photo("astronaut", 40, 140, 120, 160)), 0.0, "huffman", lambda r: True),
    "shifted": Case(
        lambda: Picture(_photo("coffee", 60, 300, 120, 160)), -1.3, "range", lambda r: r["header"]["level_shift"] > 0
    ),
    "alpha": Case(_with_alpha, 1.0, "range", lambda r: r["alpha"] is not None),
    "metadata": Case(_with_metadata, 1.5, "huffman", lambda r: None not in (r["icc"], r["exif"], r["xmp"])),
    "escapes": Case(lambda: Picture(_shapes(70, 80)), -6.0, "range", lambda r: r["escapes"] >= 8, 2.5),
    "escapes-huffman": Case(lambda: Picture(_shapes(33, 50)), -6.0, "huffman", lambda r: r["escapes"] >= 8, 2.5),
}


def _split(**asked: Any) -> EncodeOptions:
    return EncodeOptions(profile="split", **asked)


SPLIT_CASES = {
    "region": AskedCase(
        lambda: Picture(_photo("astronaut", 40, 140, 120, 160)),
        _split(factor=4, roi_boxes=(Box(60, 20, 50, 70),)),
        lambda r: r["factor"] == 4 and None not in r["streams"].values(),
        COLOURS,
    ),
    "alpha": AskedCase(
        _with_alpha,
        _split(inner="lossless", factor=2, roi_boxes=(Box(30, 20, 20, 25), Box(70, 50, 1, 1))),
        lambda r: r["factor"] == 2 and None not in (r["alpha"], *r["streams"].values()),
        HALVES,
    ),
    "odd": AskedCase(
        lambda: Picture(_photo("coffee", 60, 300, 61, 97)),
        _split(inner="lossless", factor=16, roi_boxes=(Box(0, 20, 30, 10), Box(40, 40, 40, 21))),
        lambda r: r["factor"] == 16 and _size(r) == (97, 61) and None not in r["streams"].values(),
        HALVES,
    ),
    "everything": AskedCase(
        _with_metadata,
        _split(inner="lossless", factor=4, roi_boxes=(Box(0, 0, 100, 80),)),
        lambda r: None not in (r["icc"], r["exif"], r["xmp"]) and r["streams"]["rest"] is None,
        SAME,
    ),
    "nothing": AskedCase(
        lambda: Picture(_photo("chelsea", 60, 100, 90, 150)),
        _split(factor=8, saliency="none"),
        lambda r: r["factor"] == 8 and r["streams"]["salient"] is None,
        COLOURS,
    ),
}
TILED_CASES = {
    "tiles": Case(
        lambda: Picture(_photo("astronaut", 0, 110, 290, 300)), 1.0, "range", lambda r: _tiles(r) == (256, 4), side=256
    ),
    "tiles-huffman": Case(
        lambda: Picture(_photo("coffee", 200, 40, 70, 530)), 0.0, "huffman", lambda r: _tiles(r) == (256, 3), side=256
    ),
    "two-tiles": Case(lambda: Picture(_shapes(513, 20)), 2.0, "range", lambda r: _tiles(r) == (512, 2), side=512),
}


def _paper(n: float, entropy: str) -> EncodeOptions:
    return EncodeOptions(model="wu2019-small", n=n, entropy=entropy)


WU2019_CASES = {
    "pixel": AskedCase(
        lambda: Picture(np.array([[[200, 90, 30]]], np.uint8)),
        _paper(0.0, "range"),
        lambda r: _size(r) == (1, 1),
        BOUNDS,
    ),
    "odd": AskedCase(lambda: Picture(_shapes(61, 97)), _paper(-1.0, "huffman"), lambda r: _size(r) == (97, 61), BOUNDS),
    "photo-low": AskedCase(
        lambda: Picture(_photo("astronaut", 40, 140, 120, 160)),
        _paper(1.5, "range"),
        lambda r: len(r["depths"]) >= 6,
        BOUNDS,
    ),
    "photo-mid": AskedCase(
        lambda: Picture(_photo("astronaut", 40, 140, 120, 160)),
        _paper(0.0, "huffman"),
        lambda r: len(r["depths"]) >= 10,
        BOUNDS,
    ),
    "all-channels": AskedCase(
        lambda: Picture(_photo("coffee", 60, 300, 120, 160)),
        _paper(-8.0, "range"),
        lambda r: r["depths"] == [16],
        BOUNDS,
    ),
    "one-channel": AskedCase(
        lambda: Picture(_photo("coffee", 60, 300, 120, 160)),
        _paper(8.0, "huffman"),
        lambda r: r["depths"] == [1],
        BOUNDS,
    ),
    "alpha": AskedCase(_with_alpha, _paper(1.0, "range"), lambda r: r["alpha"] is not None, BOUNDS),
}


def _gray() -> Picture:
    return Picture(_photo("coffee", 150, 250, 100, 130)[..., :1].repeat(3, axis=2))


def _smooth(height: int, width: int) -> Pixels:
    y, x = np.mgrid[0:height, 0:width] / 40.0
    waves = [np.sin(x * a + b) + np.cos(y * b - x / 9) for a, b in ((0.5, 1.0), (0.9, 0.4), (0.3, 0.7))]
    rgb: Pixels = np.rint(np.stack(waves, -1) * 50 + 128).astype(np.uint8)
    return rgb


SLICED_CASES = {
    "pixel": SlicedCase(
        lambda: Picture(np.array([[[200, 90, 30]]], np.uint8)), 0.0, "range", lambda r: _size(r) == (1, 1)
    ),
    "odd": SlicedCase(lambda: Picture(_shapes(61, 97)), -1.0, "huffman", lambda r: _size(r) == (97, 61)),
    "photo": SlicedCase(
        lambda: Picture(_photo("astronaut", 40, 170, 110, 100)), -1.0, "range", lambda r: _slices(r)[1] >= 6, 12
    ),
    "photo-huffman": SlicedCase(
        lambda: Picture(_photo("chelsea", 90, 150, 80, 140)), 0.5, "huffman", lambda r: _slices(r)[1] >= 4, 60
    ),
    "shifted": SlicedCase(
        lambda: Picture(_photo("coffee", 60, 300, 70, 100)),
        -1.3,
        "range",
        lambda r: r["header"]["level_shift"] > 0,
        50,
    ),
    "top": SlicedCase(lambda: Picture(_shapes(100, 70)), -8.0, "range", lambda r: r["header"]["level_shift"] == 15, 60),
    "low": SlicedCase(
        lambda: Picture(_photo("coffee", 60, 300, 70, 140)), 3.5, "range", lambda r: _slices(r)[1] >= 3, 12
    ),
    "region": SlicedCase(
        lambda: Picture(_photo("astronaut", 200, 100, 40, 330)),
        0.0,
        "huffman",
        lambda r: r["levels"][1] - r["levels"][0] >= 8,
        50,
        boxes=(Box(70, 0, 60, 40), Box(260, 0, 60, 40)),
    ),
    "gray": SlicedCase(_gray, 0.0, "range", lambda r: r["header"]["flags"] == spec.FLAG_GRAY, 20),
    "alpha": SlicedCase(_with_alpha, 0.0, "range", lambda r: r["alpha"] is not None and r["slices"]["of"] > 1, 20),
    "metadata": SlicedCase(_with_metadata, 0.5, "huffman", lambda r: None not in (r["icc"], r["exif"], r["xmp"]), 20),
    "escapes": SlicedCase(lambda: Picture(_shapes(70, 80)), -4.0, "range", lambda r: r["escapes"] >= 8, 60, 40.0),
    "escapes-huffman": SlicedCase(
        lambda: Picture(_shapes(33, 50)), -4.0, "huffman", lambda r: r["escapes"] >= 8, 60, 40.0
    ),
    "tiles": SlicedCase(
        lambda: Picture(_smooth(257, 258)),
        1.0,
        "range",
        lambda r: _tiles(r) == (256, 4) and _slices(r)[1] >= 4,
        60,
        side=256,
    ),
    "tiles-huffman": SlicedCase(
        lambda: Picture(_photo("coffee", 200, 40, 24, 520)),
        0.0,
        "huffman",
        lambda r: _tiles(r) == (256, 3) and _slices(r)[1] >= 4,
        60,
        side=256,
    ),
    "cut": SlicedCase(
        lambda: Picture(_photo("astronaut", 40, 170, 110, 100)),
        -1.0,
        "huffman",
        lambda r: _slices(r)[0] == 2 and _slices(r)[1] >= 4,
        12,
        cut=2,
        left=3,
    ),
    "cut-tiles": SlicedCase(
        lambda: Picture(_photo("coffee", 200, 40, 24, 520)),
        0.0,
        "range",
        lambda r: _slices(r)[0] == 1 and _slices(r)[1] >= 4,
        60,
        side=256,
        cut=1,
        left=20,
    ),
}
AnyCase = Case | AskedCase | SlicedCase
SETS: dict[str, Mapping[str, AnyCase]] = {
    "tunable": CASES,
    "split": SPLIT_CASES,
    "tiles": TILED_CASES,
    "wu2019": WU2019_CASES,
    "gic2": SLICED_CASES,
}


def _size(record: Record) -> tuple[int, int]:
    return record["header"]["width"], record["header"]["height"]


def _tiles(record: Record) -> tuple[int, int]:
    return record["tiles"]["side"], len(record["tiles"]["lengths"])


def _slices(record: Record) -> tuple[int, int]:
    return record["slices"]["here"], record["slices"]["of"]


def encode(case: AnyCase) -> bytes:
    """The file of a case, with the default model where it needs one."""
    if isinstance(case, SlicedCase):
        return _sliced(case)
    if isinstance(case, AskedCase):
        return encode_picture(case.picture(), case.options).data
    codec = Special(get(None), "cpu")
    codec.factor, codec.side = case.factor, case.side
    return encode_with(codec, case.picture(), EncodeOptions(n=case.n, entropy=case.coder)).data


def _sliced(case: SlicedCase) -> bytes:
    """The file of a case of codec 6, cut where the case says so."""
    codec = SpecialGic2(get(GIC2), "cpu")
    codec.factor, codec.side = case.factor, case.side
    with mock.patch.object(slices, "WHOLE_BELOW", case.whole_below):
        data = encode_with(
            codec, case.picture(), EncodeOptions(n=case.n, entropy=case.coder, roi_boxes=case.boxes)
        ).data
    if case.cut is None:
        return data
    coded = [chunk for chunk in container.read(data).chunks if chunk.type in (spec.IMAGE, spec.MORE)]
    return data[: coded[case.cut].offset + case.left]


def _sha(array: NDArray[np.int32]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array, "<i4").tobytes()).hexdigest()


def count_escapes(data: bytes) -> int:
    """Symbols of a file that lie outside their tables."""
    parsed = container.read(data)
    header = parsed.header
    codec = TunableCodec(get(header.model), "cpu")
    tables = codec.entropy.tables
    count = 0
    for place in tiled.places(parsed):
        counter = EscapeCounter(CODERS[coder_name(header.coder)][1](tables, place.slices[0]), tables)
        walk(counter, codec.entropy, place.area.geometry, header.level_shift, None)
        count += counter.count
    return count


def describe(data: bytes) -> Record:
    """Everything exact that a decoder must find in a file: header, hashes, shapes, counts."""
    parsed = container.read(data, partial=True)
    extras = {name: getattr(parsed, name) for name in ("alpha", "icc", "exif", "xmp")}
    return {
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "header": asdict(parsed.header) | {"model_hash": parsed.header.model_hash.hex()},
        **({} if parsed.tiles is None else {"tiles": parsed.tiles._asdict() | {"lengths": list(parsed.tiles.lengths)}}),
        **({} if parsed.cut is None else {"cut": parsed.cut._asdict()}),
        "chunks": [[chunk.name, chunk.offset, chunk.length] for chunk in parsed.chunks],
        **RECORDS[parsed.header.codec](data),
        **{name: None if value is None else hashlib.sha256(value).hexdigest() for name, value in extras.items()},
    }


def _symbol_record(data: bytes) -> Record:
    """What is exact in the IMAGE chunk of the tunable codec."""
    symbols = read_symbols(data)
    assert isinstance(symbols, Symbols)
    arrays = symbols._asdict() | {"dequantised16": symbols.dequantised16}
    return {
        "model": find(container.read(data).header.model).name,
        "shapes": {name: list(array.shape) for name, array in arrays.items()},
        "symbols": {name: _sha(array) for name, array in arrays.items()},
        "escapes": count_escapes(data),
        "off_grid": int(np.count_nonzero(symbols.means16 % 16)),
    }


def _plane_record(data: bytes) -> Record:
    """What is exact in the IMAGE chunk of the wu2019 codec."""
    symbols = read_symbols(data)
    assert isinstance(symbols, wu2019.Symbols)
    arrays = symbols._asdict()
    return {
        "model": find(container.read(data).header.model).name,
        "shapes": {name: list(array.shape) for name, array in arrays.items()},
        "symbols": {name: _sha(array) for name, array in arrays.items()},
        "depths": np.unique(symbols.depth).tolist(),
    }


def _sliced_record(data: bytes) -> Record:
    """What is exact in the IMAGE and MORE chunks of codec 6; those of a file that is cut as far as they are whole."""
    parsed = container.read(data, partial=True)
    codec = gic2.Gic2Codec(get(parsed.header.model), "cpu")
    reader, arrays = tiled.Reader(codec, parsed), codec.symbols(parsed)._asdict()
    count = 0

    def escapes(rows: Ints, symbols: Ints, _: tuple[Ints, Ints]) -> None:
        nonlocal count
        count += int(np.count_nonzero(np.abs(symbols) > codec.entropy.tables.radius[rows]))

    for place in reader.places:
        codec.read(place.slices, reader.frame(place), escapes)
    here, of = reader.slices
    return {
        "model": find(parsed.header.model).name,
        "shapes": {name: list(array.shape) for name, array in arrays.items()},
        "symbols": {name: _sha(array) for name, array in arrays.items()},
        "levels": [int(arrays["levels"].min()), int(arrays["levels"].max())],
        "slices": {"here": here, "of": of},
        "escapes": count,
    }


def _split_record(data: bytes) -> Record:
    """What is exact in the IMAGE chunk of the split codec."""
    cells, factor = split.read_cells(data)
    cursor = Cursor(container.read(data).image, 1)
    _, *streams = (cursor.take(cursor.varint()) for _ in range(3))
    return {
        "factor": factor,
        "cells": {
            "shape": list(cells.shape),
            "count": int(np.count_nonzero(cells)),
            "sha256": hashlib.sha256(np.packbits(cells).tobytes()).hexdigest(),
        },
        "streams": {
            name: hashlib.sha256(stream).hexdigest() if stream else None
            for name, stream in zip(("salient", "rest"), streams, strict=True)
        },
    }


RECORDS: dict[int, Callable[[bytes], Record]] = {
    spec.CODEC_GIC1: _symbol_record,
    spec.CODEC_SPLIT: _split_record,
    spec.CODEC_WU2019: _plane_record,
    spec.CODEC_GIC2: _sliced_record,
}


def cell_means(rgb: Pixels) -> NDArray[np.int64]:
    """Means of CELL x CELL cells (cut at the edges) and, last, of the whole, in 1/UNIT gray levels: (cells + 1, 3)."""
    height, width, _ = rgb.shape
    cells = [
        rgb[y : y + CELL, x : x + CELL].reshape(-1, 3).mean(0)
        for y in range(0, height, CELL)
        for x in range(0, width, CELL)
    ]
    means = np.array([*cells, rgb.reshape(-1, 3).mean(0)])
    scaled: NDArray[np.int64] = np.rint(UNIT * means).astype(np.int64)
    return scaled


def pixel_errors(rgb: Pixels, expected: Pixels, means: NDArray[np.int64]) -> dict[str, float]:
    """Peak and RMS difference from the expected picture, and the largest difference of a mean: see `BOUNDS`."""
    difference = rgb.astype(np.float64) - expected
    return {
        "peak": float(np.abs(difference).max()),
        "rmse": float(np.sqrt(np.mean(difference**2))),
        "cell": float(np.abs(cell_means(rgb) - means).max()),
    }


def decoded(data: bytes, record: Record) -> Pixels:
    """Pixels of a file, or of what is whole of one that is cut."""
    return decode_bytes(data, DecodeOptions(partial="cut" in record)).rgb


def make(name: str, case: AnyCase) -> tuple[bytes, Record, bytes]:
    """File, record and PNG of a case; GicError where it does not hold what it exists for."""
    data = encode(case)
    record = describe(data)
    if not case.holds(record):
        raise GicError(f"{name}: the file does not show what it is for")
    rgb = decoded(data, record)
    record["pixels"] = {"bounds": case.bounds, "cell": CELL, "unit": UNIT, "means": cell_means(rgb).tolist()}
    png = io.BytesIO()
    Image.fromarray(rgb).save(png, "PNG", optimize=True)
    return data, record, png.getvalue()


def write_all(folder: Path, names: list[str], profile: str = "tunable") -> None:
    """Make vectors of a profile into `folder`; GicError, and nothing written, where any of them exists."""
    existing = {name for name in names if any(folder.glob(f"{name}.*"))}
    if existing:
        raise GicError(f"released vectors are never made again: {', '.join(sorted(existing))}")
    made = {name: make(name, SETS[profile][name]) for name in names}
    if profile in ("tunable", "tiles") and not any(record["off_grid"] for _, record, _ in made.values()):
        raise GicError("no mean off the integer grid: the set would not see the means drift")
    folder.mkdir(parents=True, exist_ok=True)
    for name, (data, record, png) in made.items():
        (folder / f"{name}.gic").write_bytes(data)
        (folder / f"{name}.png").write_bytes(png)
        text = json.dumps(record, indent=1)
        (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        told = {
            key: record[key] for key in ("escapes", "off_grid", "factor", "cells", "depths", "slices") if key in record
        }
        print(f"{name:16} {len(data):6} bytes, {told}")


def main() -> int:
    """Write the vectors; 1 with one line on stderr where that is refused."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", choices=SETS, default="tunable")
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", help="cases; all of the profile where none is named")
    options = parser.parse_args()
    cases = SETS[options.profile]
    if unknown := set(options.names) - set(cases):
        parser.error(f"no case of that profile: {', '.join(sorted(unknown))}; choose from {', '.join(cases)}")
    if options.profile == "gic2":
        os.environ[weights.ENVIRONMENT] = str(options.folder)
    try:
        write_all(options.folder, options.names or list(cases), options.profile)
    except GicError as error:
        print(f"make_vectors: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
