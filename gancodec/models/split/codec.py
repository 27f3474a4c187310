"""The split codec of the paper, section 4: salient cells at full resolution, the rest shrunk, each as a WebP stream.

    picture ──── x mask ──── gap filled ──── WebP ──┐
       └─ D ─ x (1 - mask) ─ gap filled ──── WebP ──┤
                                                    ├── file
    mask, a bit a cell ───────────── deflate ───────┘

and back, in the paper's order: 1. downscale the salient picture; 2. add the downscaled salient and the other picture;
3. upscale the sum; 4. fill the gaps of the salient picture with it. "We have to add the two downsampled images first,
otherwise there will be stitching artifacts due to upscaling interpolation": near a border the upscaling of step 3
looks at both sides of it. D is the mean of factor x factor pixels, and cells are a multiple of every factor, so no
small pixel mixes both sides: D(x mask) + D(x (1 - mask)) = D(x) exactly, each term being 0 where the other is not.

Takes maps, never a saliency method. Needs neither a model nor torch, and OpenCV only to encode.
"""

from __future__ import annotations

import io
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gancodec import container
from gancodec.container import spec
from gancodec.container.chunks import inflate
from gancodec.container.header import Cursor, varint
from gancodec.container.spec import CELL, FACTORS
from gancodec.errors import CorruptFile, GicError, UnreadablePicture, UnsupportedFile
from gancodec.types import Geometry

if TYPE_CHECKING:
    from gancodec.codec.priority import Wishes

CODEC_ID = spec.CODEC_SPLIT
CODERS = {"lossy": spec.CODER_WEBP, "lossless": spec.CODER_WEBP_LOSSLESS}  # by inner coder
STREAMS = {spec.CODER_WEBP: b"VP8 ", spec.CODER_WEBP_LOSSLESS: b"VP8L"}  # what WebP calls them
RIFF_HEAD = 20  # bytes before the stream in a WebP file of one still picture
MOST_SIDE = 16383 // CELL * CELL  # pixels: WebP's own limit, in whole cells
QUALITY = 75.0  # of WebP, 0 .. 100, where no rate is asked for
STEPS = (0.0, 127.0)  # of libwebp's quantiser; larger is coarser
FIRST_STEP, RATE_SLOPE = 26.0, -0.015  # about QUALITY, and what a step does to log size: where the rate search starts
TRIM = 1 / 16  # steps that a trim of 1 makes the rest coarser
SALIENT = 0.5  # of a map: from here on a pixel is salient

Pixels = NDArray[np.uint8]  # (H, W, 3)
Cells = NDArray[np.bool_]  # (h, w), one of 16 x 16 pixels


class Layers(NamedTuple):
    """A picture taken apart: `cells` (h, w), True where salient; `salient`, 16 pixels a cell, and `rest`, 16 / factor
    pixels a cell, in the smallest rectangle that holds their cells, or None where they have none."""

    cells: Cells
    factor: int
    salient: Pixels | None
    rest: Pixels | None


def salient_cells(asked: Wishes, geometry: Geometry) -> Cells:
    """The cells to keep at full resolution: every one that has a salient pixel.

    Salient is what the adaptive mask of a saliency map (section 5.1), a region of interest and protected parts have
    from 0.5 on. A larger share than one pixel was measured to be worse, of salient pixels and of all, at equal bytes.

    Returns
    -------
    (h, w) bool
        Of the picture padded to whole cells. MissingExtra where a saliency map finds no OpenCV.
    """
    wished = [asked.region, asked.protection]
    if asked.saliency is not None:
        from gancodec.saliency import adaptive_mask

        wished.append(adaptive_mask(asked.saliency))
    mask = np.zeros((geometry.height, geometry.width), np.bool_)
    for values in wished:
        if values is not None:
            mask[values >= SALIENT] = True
    padded = _padded(mask)
    return np.asarray(padded.reshape(padded.shape[0] // CELL, CELL, -1, CELL).any((1, 3)), np.bool_)


def take_apart(rgb: Pixels, cells: Cells, factor: int) -> Layers:
    """Separate salient from other cells and shrink the latter; edges are repeated up to whole cells.

    Parameters
    ----------
    rgb : (H, W, 3) uint8
    cells : (h, w) bool
    factor : {2, 4, 8, 16}
    """
    padded = _padded(rgb)
    return Layers(cells, factor, _filled(padded, cells), _filled(_shrunk(padded, factor), ~cells))


def put_together(layers: Layers, geometry: Geometry) -> Pixels:
    """Undo `take_apart`, in the paper's order. Step 3 is Pillow's bicubic filter (a = -0.5), rounding to 8 bit after
    each direction; measured within 0.03 dB of Lanczos, which overshoots more and needs a sine."""
    from PIL import Image

    cells, factor = layers.cells, layers.factor
    salient = _placed(layers.salient, cells, CELL)
    small = _shrunk(salient, factor)
    small += _placed(layers.rest, ~cells, CELL // factor)
    whole = Image.fromarray(small).resize((salient.shape[1], salient.shape[0]), Image.Resampling.BICUBIC)
    filled = np.where(_grown(cells, CELL)[..., None], salient, np.asarray(whole))
    return np.ascontiguousarray(filled[: geometry.height, : geometry.width])


def encode(layers: Layers, salient: float | None, rest: float | None) -> bytes:
    """IMAGE chunk of a picture taken apart, each layer at a WebP quality in [0, 100], or lossless where None.

    Raises GicError where Pillow has no WebP.
    """
    mask = zlib.compress(np.packbits(layers.cells).tobytes(), 9)
    coded = [(layers.salient, salient), (layers.rest, rest)]
    parts = [bytes((layers.factor.bit_length() - 1,))]
    for part in (mask, *(b"" if layer is None else _webp(layer, quality) for layer, quality in coded)):
        parts += [varint(len(part)), part]
    return b"".join(parts)


def encode_at(layers: Layers, step: float, trim: int = 0) -> bytes:
    """`encode` at a quantiser step for both layers, the rest coarser by a trim for what steps are too far apart for."""
    return encode(layers, quality_at(step), quality_at(min(step + trim * TRIM, STEPS[1])))


def quality_at(step: float) -> float:
    """The quality that makes libwebp quantise by about this step of STEPS (QualityToCompression of its quant_enc.c,
    undone). Log sizes fall evenly with steps; with qualities they plunge where these are small."""
    linear = (1 - step / STEPS[1]) ** 3
    return 100 * (1.5 * linear if linear < 0.5 else (1 + linear) / 2)


def decode(image: bytes, geometry: Geometry, coder: int) -> Pixels:
    """Pixels (H, W, 3) of an IMAGE chunk; CorruptFile where it is damaged, UnsupportedFile for an unknown coder."""
    return put_together(read_layers(image, geometry, coder), geometry)


def read_layers(image: bytes, geometry: Geometry, coder: int) -> Layers:
    """What an IMAGE chunk holds; raises as `decode`."""
    cells, factor, (salient, rest) = _parse(image, geometry, coder)
    side = CELL // factor
    return Layers(cells, factor, _read_layer(salient, cells, CELL, coder), _read_layer(rest, ~cells, side, coder))


def read_cells(data: bytes, max_pixels: int = spec.MAX_PIXELS) -> tuple[Cells, int]:
    """Salient cells (h, w) and factor of a file of the split codec; raises as `decode`, and UnsupportedFile for files
    of another codec."""
    parsed = container.read(data, max_pixels=max_pixels)
    if parsed.header.codec != CODEC_ID:
        raise UnsupportedFile("not a file of the split codec")
    geometry = Geometry(width=parsed.header.width, height=parsed.header.height)
    cells, factor, _ = _parse(parsed.image, geometry, parsed.header.coder)
    return cells, factor


def _parse(image: bytes, geometry: Geometry, coder: int) -> tuple[Cells, int, tuple[bytes, bytes]]:
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
    height, width = (side * (part.stop - part.start) for part in _window(keep))
    return _unwebp(stream, coder, (width, height))


def _filled(pixels: Pixels, keep: Cells) -> Pixels | None:
    """The smallest rectangle that holds the cells to keep, with others in it filled so that they cost next to nothing.

    They take the mean colour of what is kept, but for those beside a kept cell, which take their own mean: WebP's
    deblocking and its chroma of half resolution mix across borders (measured at equal bytes: 3 dB of the outermost
    pixels of what is kept, 9 dB where colours are strong).
    """
    if not keep.any():
        return None
    side = pixels.shape[0] // keep.shape[0]
    window = _window(keep)
    keep, pixels = keep[window], pixels[_times(window, side)]
    means = _shrunk(pixels, side)
    beside = keep.copy()
    beside[1:] |= keep[:-1]
    beside[:-1] |= keep[1:]
    beside[:, 1:] |= keep[:, :-1]
    beside[:, :-1] |= keep[:, 1:]
    means[~beside] = np.rint(means[keep].mean(0))
    return np.where(_grown(keep, side)[..., None], pixels, _grown(means, side))


def _placed(pixels: Pixels | None, keep: Cells, side: int) -> Pixels:
    """A layer of `side` pixels a cell in its place in the whole picture, 0 where it keeps nothing."""
    whole = np.zeros((side * keep.shape[0], side * keep.shape[1], 3), np.uint8)
    if pixels is not None:
        whole[_times(_window(keep), side)] = pixels
        whole *= _grown(keep, side)[..., None]
    return whole


def _window(keep: Cells) -> tuple[slice, slice]:
    """Rows and columns of the smallest rectangle that holds all cells to keep, of which there are some."""
    rows, columns = (np.flatnonzero(keep.any(axis)) for axis in (1, 0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _times(window: tuple[slice, slice], side: int) -> tuple[slice, slice]:
    rows, columns = (slice(side * part.start, side * part.stop) for part in window)
    return rows, columns


def _padded(values: NDArray[Any]) -> NDArray[Any]:
    """Picture or map with its edges repeated up to whole cells."""
    rows, columns = (-side % CELL for side in values.shape[:2])
    return np.pad(values, ((0, rows), (0, columns), *[(0, 0)] * (values.ndim - 2)), mode="edge")


def _shrunk(pixels: Pixels, factor: int) -> Pixels:
    """Means of factor x factor pixels, halves rounded up."""
    from PIL import Image

    return np.array(Image.fromarray(pixels).reduce(factor))


def _grown(cells: NDArray[Any], side: int) -> NDArray[Any]:
    """Values (h, w, ...) of cells as those of their pixels."""
    return cells.repeat(side, 0).repeat(side, 1)


def _webp(pixels: Pixels, quality: float | None) -> bytes:
    """The bare VP8 or VP8L stream that Pillow makes, without the RIFF container around it."""
    from PIL import Image

    _need_webp()
    file = io.BytesIO()
    how = {"lossless": True, "exact": True} if quality is None else {"quality": quality}
    Image.fromarray(pixels).save(file, "WEBP", method=6, **how)
    data = file.getvalue()
    return data[RIFF_HEAD : RIFF_HEAD + int.from_bytes(data[RIFF_HEAD - 4 : RIFF_HEAD], "little")]


def _unwebp(stream: bytes, coder: int, size: tuple[int, int]) -> Pixels:
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
