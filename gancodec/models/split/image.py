"""The IMAGE chunk: factor, mask, and the WebP streams of both layers (docs/format.md)."""

from __future__ import annotations

import zlib

import numpy as np

from gancodec.container.chunks import inflate
from gancodec.container.header import Cursor, varint
from gancodec.container.spec import CELL, FACTORS
from gancodec.errors import CorruptFile, UnsupportedFile
from gancodec.models.split.layers import Cells, Layers, Pixels, put_together, window
from gancodec.models.split.webp import STEPS, STREAMS, quality_at, unwebp, webp
from gancodec.types import Geometry

TRIM = 1 / 16  # steps that a trim of 1 makes the rest coarser


def encode(layers: Layers, salient: float | None, rest: float | None) -> bytes:
    """IMAGE chunk of a picture taken apart, each layer at a WebP quality in [0, 100], or lossless where None.

    Raises GicError where Pillow has no WebP.
    """
    mask = zlib.compress(np.packbits(layers.cells).tobytes(), 9)
    coded = [(layers.salient, salient), (layers.rest, rest)]
    parts = [bytes((layers.factor.bit_length() - 1,))]
    for part in (mask, *(b"" if layer is None else webp(layer, quality) for layer, quality in coded)):
        parts += [varint(len(part)), part]
    return b"".join(parts)


def encode_at(layers: Layers, step: float, trim: int = 0) -> bytes:
    """`encode` at a quantiser step for both layers, the rest coarser by a trim for what steps are too far apart for."""
    return encode(layers, quality_at(step), quality_at(min(step + trim * TRIM, STEPS[1])))


def decode(image: bytes, geometry: Geometry, coder: int) -> Pixels:
    """Pixels (H, W, 3) of an IMAGE chunk; CorruptFile where it is damaged, UnsupportedFile for an unknown coder."""
    return put_together(read_layers(image, geometry, coder), geometry)


def read_layers(image: bytes, geometry: Geometry, coder: int) -> Layers:
    """What an IMAGE chunk holds; raises as `decode`."""
    cells, factor, (salient, rest) = parse(image, geometry, coder)
    side = CELL // factor
    return Layers(cells, factor, _read_layer(salient, cells, CELL, coder), _read_layer(rest, ~cells, side, coder))


def parse(image: bytes, geometry: Geometry, coder: int) -> tuple[Cells, int, tuple[bytes, bytes]]:
    """Salient cells, factor, and the streams of both layers."""
    if coder not in STREAMS:
        raise UnsupportedFile(f"entropy coder {coder} is not known to this build")
    cursor = Cursor(image)
    shift = cursor.take(1)[0]
    factor = 1 << min(shift, 8)
    if factor not in FACTORS:
        raise CorruptFile(f"IMAGE: shrunk by 2^{shift}, must be one of {', '.join(map(str, FACTORS))}")
    mask, salient, rest = (cursor.take(cursor.varint()) for _ in range(3))
    if cursor.position != len(image):
        raise CorruptFile(f"IMAGE: {len(image) - cursor.position} bytes after its streams")
    return _read_mask(mask, geometry), factor, (salient, rest)


def _read_mask(deflated: bytes, geometry: Geometry) -> Cells:
    shape = -(-geometry.height // CELL), -(-geometry.width // CELL)
    count = shape[0] * shape[1]
    bits = np.unpackbits(np.frombuffer(inflate("IMAGE mask", deflated, -(-count // 8)), np.uint8))
    if bits[count:].any():
        raise CorruptFile("IMAGE mask: bits set behind its last cell")
    return bits[:count].reshape(shape).astype(np.bool_)


def _read_layer(stream: bytes, keep: Cells, side: int, coder: int) -> Pixels | None:
    """Pixels of a layer of `side` pixels a cell; None where it keeps no cells, and then has no stream."""
    if not keep.any():
        if stream:
            raise CorruptFile("IMAGE: a stream that the mask has no cells for")
        return None
    height, width = (side * (part.stop - part.start) for part in window(keep))
    return unwebp(stream, coder, (width, height))
