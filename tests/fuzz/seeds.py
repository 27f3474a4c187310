"""Inputs to start from: small sound ones of every kind, each with the bytes in front that a target wants."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gancodec import container, weights
from gancodec.codec import Box, EncodeOptions, encode_picture
from gancodec.codec.api import encode_with
from gancodec.container import spec
from gancodec.entropy.huffman import HuffmanWriter
from gancodec.entropy.levels import code_levels
from gancodec.entropy.rangecoder import RangeWriter
from gancodec.models.gic1.codec import TunableCodec
from gancodec.models.levels import LEVELS
from gancodec.types import Geometry, Picture
from tests.frozen import FOLDER
from tests.fuzz import targets
from tests.fuzz.build import chunk, deflated, gic
from tests.fuzz.pictures import EXIF, XMP, profile, sound
from tests.tiny import picture

SIDES = ((1, 1), (40, 33), (70, 130), (190, 65))
KEPT = Path(__file__).parents[1] / "hostile" / "fuzz"  # reproducers of findings, a folder a target


def seeds(target: str) -> list[bytes]:
    """Sound inputs of a target."""
    return list(MAKERS[target]())


def kept(target: str) -> list[Path]:
    """Reproducers of former findings of a target."""
    return sorted((KEPT / target).glob("*"))


def _files() -> Iterator[bytes]:
    """Files of all coders, with and without the other chunks."""
    rng = np.random.default_rng(1)
    for height, width in SIDES:
        rgb = picture(height, width, height)
        alpha = rng.integers(0, 3, (height, width), dtype=np.uint8)
        for entropy in ("range", "huffman"):
            yield encode_picture(Picture(rgb), EncodeOptions(n=float(rng.uniform(-1, 2)), entropy=entropy)).data
            yield encode_picture(Picture(rgb), EncodeOptions(n=0.5, entropy=entropy, model="wu2019-tiny")).data
            yield encode_picture(Picture(rgb), EncodeOptions(n=0.5, entropy=entropy, model="gic2-tiny")).data
        full = Picture(rgb, alpha, profile(), EXIF, XMP)
        for inner in ("lossy", "lossless"):
            boxes = (Box(0, 0, max(1, width // 2), height),)
            yield encode_picture(full, EncodeOptions(profile="split", inner=inner, roi_boxes=boxes)).data


class Cut(TunableCodec):
    """A codec that cuts small pictures into tiles."""

    def tile_side(self, geometry: Geometry) -> int | None:
        """The smallest that there is."""
        return spec.TILE_SIDES[0]


def _tiled() -> Iterator[bytes]:
    """Files of pictures in two and in four tiles, with both coders."""
    codec = Cut(weights.get(None), "cpu")
    for height, width in ((20, 300), (260, 257)):
        for entropy in ("range", "huffman"):
            options = EncodeOptions(n=2.0, entropy=entropy)
            yield encode_with(codec, Picture(picture(height, width, width)), options).data


def _container() -> Iterator[bytes]:
    for data in (*_files(), *_tiled()):
        yield from (b"\0" + data, b"\1" + data)
    unknown = (chunk(0xFE, b"future"), chunk(spec.XMP, deflated(XMP)))
    yield b"\1" + gic(targets.SPLIT, targets._split_image(), *unknown)
    for side, columns in ((None, 1), (256, 2)):
        header = container.Header(256 * columns - 255, 9, 1, bytes(8), spec.CODEC_GIC2, spec.CODER_RANGE, 0, 0, 0)
        streams = ((b"first", b"second", b"", b"fourth"),) * columns
        data = container.write(container.Container.of(header, streams, side, bytes(header.width * 9), b"icc", xmp=XMP))
        yield from (b"\0" + data, b"\1" + data)


def _level_map() -> Iterator[bytes]:
    rng = np.random.default_rng(2)
    for i, shape in enumerate(((1, 1), (3, 5), (17, 2), (16, 17))):
        levels = rng.integers(0, LEVELS, shape).astype(np.int32) if i % 2 else np.full(shape, 7, np.int32)
        for coder, writer in enumerate((RangeWriter(targets._tables()), HuffmanWriter(targets._tables()))):
            code_levels(writer, shape, LEVELS, levels)
            yield bytes((coder, shape[0] - 1, shape[1] - 1)) + writer.finish()
            yield bytes((2 + coder, shape[0] - 1, shape[1] - 1)) + levels.astype(np.uint8).tobytes()


def _tiles() -> Iterator[bytes]:
    for data in _tiled():
        parsed = container.read(data)
        header, layout = parsed.header, parsed.tiles
        assert layout is not None
        fields = bytes((header.width - 257, header.height - 1 >> 1, header.coder, header.level_shift))
        packed = container.tiles.pack(layout)
        yield fields + b"\0" + parsed.image
        yield fields + bytes((1 + 2 * len(packed),)) + packed + parsed.image


def _latents(codec: int = spec.CODEC_GIC1) -> Iterator[bytes]:
    for data in _files():
        parsed = container.read(data)
        header = parsed.header
        if header.codec == codec:
            yield bytes((header.width - 1, header.height - 1, header.coder, header.level_shift, 7)) + parsed.image


def _metadata() -> Iterator[bytes]:
    for way in range(5):
        for kind, value in enumerate((profile(), EXIF, XMP)):
            yield bytes((3 * way + kind,)) + (deflated(value) if way == 4 else value)
    yield bytes((15,)) + deflated(bytes(range(targets.SIZE[0] * targets.SIZE[1])))


def _pictures() -> Iterator[bytes]:
    for format, data in sound():
        yield bytes((3 if format == "PNG" else 2,)) + data


def _split() -> Iterator[bytes]:
    for data in _files():
        parsed = container.read(data)
        header = parsed.header
        if header.codec == spec.CODEC_SPLIT:
            yield bytes((header.width - 1, header.height - 1, header.coder - spec.CODER_WEBP, 0, 0)) + parsed.image
            yield bytes((header.width - 1, header.height - 1, header.coder - spec.CODER_WEBP, 3, 99)) + parsed.image


def _slices() -> Iterator[bytes]:
    for path in sorted(FOLDER.glob("*.gic")):
        parsed = container.read(path.read_bytes(), partial=True)
        header, stream = parsed.header, b"".join(parsed.streams[0])
        if parsed.tiles is None and max(header.width, header.height) <= 192:
            start = bytes((header.width - 1, header.height - 1, header.coder, header.level_shift))
            yield from (start + bytes((mode, choice)) + stream for mode, choice in ((0, 7), (1, 0), (3, 9)))


def _partial() -> Iterator[bytes]:
    for path in sorted(FOLDER.glob("*.gic")):
        data = path.read_bytes()
        if len(data) < 1000:
            yield from (
                bytes((mode,)) + place.to_bytes(2, "little") + data for mode, place in ((1, 0), (2, 200), (3, 99))
            )
    yield b"\2\0\1" + (FOLDER.parent / "v1" / "odd.gic").read_bytes()


MAKERS = {
    "container": _container,
    "level_map": _level_map,
    "latents": _latents,
    "planes": lambda: _latents(spec.CODEC_WU2019),
    "tiles": _tiles,
    "metadata": _metadata,
    "pictures": _pictures,
    "split": _split,
    "slices": _slices,
    "partial": _partial,
}
