"""The IMAGE chunk: factor, mask, and both layers as bare WebP streams, without the RIFF container around them
(docs/format.md)."""

from __future__ import annotations

import io
import zlib

import numpy as np

from gancodec.container import spec
from gancodec.container.chunks import inflate
from gancodec.container.header import Cursor, varint
from gancodec.container.spec import CELL, FACTORS
from gancodec.errors import CorruptFile, GicError, UnreadablePicture, UnsupportedFile
from gancodec.models.split.layers import Cells, Layers, Pixels, put_together, window
from gancodec.types import Geometry

STREAMS = {spec.CODER_WEBP: b"VP8 ", spec.CODER_WEBP_LOSSLESS: b"VP8L"}  # what WebP calls them
RIFF_HEAD = 20  # bytes before the stream in a WebP file of one still picture
QUALITY = 75.0  # of WebP, 0 .. 100, where no rate is asked for
STEPS = (0.0, 127.0)  # of libwebp's quantiser; larger is coarser
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


def quality_at(step: float) -> float:
    """The quality that makes libwebp quantise by about this step of STEPS (QualityToCompression of its quant_enc.c,
    undone). Log sizes fall evenly with steps; with qualities they plunge where these are small."""
    linear = (1 - step / STEPS[1]) ** 3
    return 100 * (1.5 * linear if linear < 0.5 else (1 + linear) / 2)


def webp(pixels: Pixels, quality: float | None) -> bytes:
    """The bare VP8 or VP8L stream that Pillow makes, without the RIFF container around it."""
    from PIL import Image

    _need_webp()
    file = io.BytesIO()
    how = {"lossless": True, "exact": True} if quality is None else {"quality": quality}
    Image.fromarray(pixels).save(file, "WEBP", method=6, **how)
    data = file.getvalue()
    return data[RIFF_HEAD : RIFF_HEAD + int.from_bytes(data[RIFF_HEAD - 4 : RIFF_HEAD], "little")]


def unwebp(stream: bytes, coder: int, size: tuple[int, int]) -> Pixels:
    """Pixels of a bare stream, whose stated (width, height) must be `size` before anything is allocated for it."""
    from gancodec import imageio

    _need_webp()
    if _stated_size(stream, coder) != size:
        raise CorruptFile(f"IMAGE: a stream that is not a picture of {size[0]}x{size[1]} pixels")
    chunk = b"WEBP" + STREAMS[coder] + len(stream).to_bytes(4, "little") + stream + bytes(len(stream) % 2)
    try:
        picture = imageio.load(io.BytesIO(b"RIFF" + len(chunk).to_bytes(4, "little") + chunk), size[0] * size[1])
    except UnreadablePicture as error:
        raise CorruptFile(f"IMAGE: {error}") from error
    if picture.alpha is not None or picture.rgb.shape != (size[1], size[0], 3):
        raise CorruptFile("IMAGE: a stream that is not of RGB pixels")
    return picture.rgb


def _stated_size(stream: bytes, coder: int) -> tuple[int, int] | None:
    """(width, height) by the start of a VP8 key frame (RFC 6386, 9.1) or of a VP8L stream (RFC 9649, 3.4)."""
    if coder == spec.CODER_WEBP and stream[3:6] == b"\x9d\x01\x2a":
        return int.from_bytes(stream[6:8], "little") & 0x3FFF, int.from_bytes(stream[8:10], "little") & 0x3FFF
    if coder == spec.CODER_WEBP_LOSSLESS and stream[:1] == b"\x2f":
        bits = int.from_bytes(stream[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return None


def _need_webp() -> None:
    from PIL import features

    if not features.check("webp"):
        raise GicError("this Pillow was built without WebP, which split files are made of")
