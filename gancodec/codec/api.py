"""Names to objects: the typed Python interface of the codec. Importing this needs no torch; running a network does."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gancodec import container
from gancodec.codec import rate, split, tiled
from gancodec.codec.base import CODERS, Codec, coder_name
from gancodec.codec.curve import TunabilityCurve
from gancodec.codec.options import N_BOUNDS, STRIPPABLE, DecodeOptions, EncodeOptions, target_size
from gancodec.codec.tunable import TunableCodec
from gancodec.codec.view import Progress, View, view_of
from gancodec.codec.wu2019 import Wu2019Codec
from gancodec.container import MAX_PIXELS, Container, Header, Tiles
from gancodec.container.spec import FLAG_SYNTHETIC
from gancodec.errors import CorruptFile, MissingWeights, TargetMissed, UnsupportedFile, UsageError
from gancodec.models.config import MODELS, TunableConfig, Wu2019Config
from gancodec.types import Geometry, Picture, Symbols
from gancodec.weights import ModelInfo, Weights, find, get

if TYPE_CHECKING:
    from PIL import Image

    from gancodec.codec.priority import Wishes

__all__ = [
    "Allocation",
    "DecodeOptions",
    "Decoded",
    "EncodeOptions",
    "Encoded",
    "decode",
    "decode_bytes",
    "decode_parsed",
    "decode_with",
    "describe_miss",
    "encode",
    "encode_picture",
    "encode_with",
    "read_allocation",
    "read_symbols",
    "realism_of",
    "verify_bytes",
]

CODECS: dict[type, type[Codec]] = {TunableConfig: TunableCodec, Wu2019Config: Wu2019Codec}
SYNTHETIC_NOTE = "Decoded by gancodec{at}: fine detail may be synthesised and not in the original."


class Encoded(NamedTuple):
    """An encoded picture: the file, its n (None where the codec has none) and bits per pixel, sizes tried, whether the
    target was met, notices for the user, and the name of the model (None for codecs without)."""

    data: bytes
    n: float | None
    bpp: float
    probes: int
    hit: bool
    notices: tuple[str, ...]
    model: str | None = None


class Decoded(NamedTuple):
    """A decoded picture, and the name of the model that made it (None for codecs without)."""

    picture: Picture
    model: str | None = None


def encode_picture(
    picture: Picture,
    options: EncodeOptions | None = None,
    asked: Wishes | None = None,
    progress: Progress | None = None,
) -> Encoded:
    """Encode a picture to the bytes of a .gic file.

    `asked` are the maps of `options`, where they are known already. `progress` is told of the tiles that the encoder's
    network has done, which is most of the work.

    Raises UsageError for options out of range, MissingWeights, MissingExtra where `protect` or `saliency` lack a
    package, UnreadablePicture for a map that cannot be read, and TargetMissed under `strict`.
    """
    options = options or EncodeOptions()
    if options.profile == "split":
        return _encode_split(picture, options, asked)
    return encode_with(codec_of(get(options.model), options.device), picture, options, asked, progress)


def encode_with(
    codec: Codec,
    picture: Picture,
    options: EncodeOptions,
    asked: Wishes | None = None,
    progress: Progress | None = None,
) -> Encoded:
    """`encode_picture` with a codec at hand (training validates weights that are not installed yet)."""
    from gancodec.codec import priority  # saliency, which decoders do without

    target = target_size(options, picture.geometry)
    asked = asked or priority.wishes(picture.rgb, options)
    analysis = codec.analyse(picture.rgb, progress)
    strength = options.saliency_strength
    importance = priority.biased(analysis.importance, asked, strength, codec.importance_stride)
    analysis = analysis._replace(importance=importance)
    info = codec.weights.info
    streams: dict[tuple[float, int], tiled.Streams] = {}
    fixed = _fixed_size(picture, _header(picture, codec, 0.0, 0, options), options)

    def size_at(n: float, trim: int = 0) -> int:
        coded = tiled.encode(codec, analysis, picture.geometry, n, options.entropy, trim)
        streams[n, trim] = coded
        return fixed + container.image_size(len(coded.image), coded.tiles) - container.chunk_size(0)

    if target is None:
        n = options.n or 0.0
        found = rate.Found(n, size_at(n), 1, True)
    else:
        found = _search(size_at, target, fixed, picture.geometry, info)
    coded = streams[found.n, found.trim]
    header = _header(picture, codec, found.n, coded.level_shift, options)
    data = _wrap(coded.image, picture, header, options, coded.tiles)
    return _encoded(data, info, found, target, picture, options)


def _encode_split(picture: Picture, options: EncodeOptions, asked: Wishes | None) -> Encoded:
    """`encode_picture` with the split codec, whose rate is steered by WebP's quality."""
    from gancodec.codec import priority

    target = target_size(options, picture.geometry)
    if options.saliency is None and options.roi is None and not options.roi_boxes:
        options, asked = replace(options, saliency="combined"), None  # the paper's choice
    cells = split.salient_cells(asked or priority.wishes(picture.rgb, options), picture.geometry)
    layers = split.take_apart(picture.rgb, cells, options.factor)
    width, height = picture.geometry.width, picture.geometry.height
    header = Header(width, height, 0, bytes(8), split.CODEC_ID, split.CODERS[options.inner], 0, 0, 0)
    if target is None:
        quality = None if options.inner == "lossless" else split.QUALITY
        image = split.encode(layers, quality, quality)
        found = rate.Found(0.0, len(image), 1, True)
    else:
        fixed = _fixed_size(picture, header, options)
        images: dict[tuple[float, int], bytes] = {}

        def size_at(step: float, trim: int = 0) -> int:
            images[step, trim] = split.encode_at(layers, step, trim)
            return fixed + container.chunk_size(len(images[step, trim])) - container.chunk_size(0)

        found = rate.search(size_at, target, split.FIRST_STEP, split.RATE_SLOPE, split.STEPS, fixed, size_at)
        image = images[found.n, found.trim]
    return _encoded(_wrap(image, picture, header, options), None, found, target, picture, options)


def _encoded(
    data: bytes, info: ModelInfo | None, found: rate.Found, target: int | None, picture: Picture, options: EncodeOptions
) -> Encoded:
    """What to tell of a file; TargetMissed under `strict`."""
    bpp = 8 * len(data) / (picture.geometry.width * picture.geometry.height)
    hit = found.hit or (target is not None and target - rate.WORDS <= found.size <= target)
    n, model = (None, None) if info is None else (found.n, info.name)
    coded = Encoded(data, n, bpp, found.probes, hit, picture.notices, model)
    if hit or not options.strict:
        return coded
    raise TargetMissed(describe_miss(coded, options))


def describe_miss(coded: Encoded, options: EncodeOptions) -> str:
    """What to tell users whose target, `size` or `bpp`, was missed, with the file's size on disk."""
    size, got = len(coded.data), f"{len(coded.data)} bytes, {coded.bpp:.4f} bpp"
    target = f"{options.bpp} bpp" if options.size is None else f"{options.size} bytes"
    above = coded.bpp > (options.bpp or 0) if options.size is None else size > options.size
    if above:
        return f"{target}: out of reach, the nearest is {got}"
    return f"{target}: not met to {100 * rate.TOLERANCE:.0f} %, the largest found below is {got}"


def _search(size_at: Callable[..., int], target: int, fixed: int, geometry: Geometry, info: ModelInfo) -> rate.Found:
    """Search n from where the tunability curve of the weights sends it."""
    curve = TunabilityCurve.from_calibration(info.calibration)
    wanted = max(8 * (target - fixed), 1) / math.prod(geometry.padded)
    guess = curve.n_at(math.log(wanted), N_BOUNDS)
    return rate.search(size_at, target, guess, curve.slope(guess), N_BOUNDS, fixed, size_at)


def _header(picture: Picture, codec: Codec, n: float, level_shift: int, options: EncodeOptions) -> Header:
    """Header of a file of a learned codec."""
    info = codec.weights.info
    return Header(
        width=picture.geometry.width,
        height=picture.geometry.height,
        model=info.id,
        model_hash=info.entropy_hash,
        codec=codec.id,
        coder=CODERS[options.entropy],
        flags=FLAG_SYNTHETIC if codec.synthesises(0.0 if info.default_realism is None else 1.0) else 0,
        n=round(n * 1000),
        level_shift=level_shift,
    )


def _fixed_size(picture: Picture, header: Header, options: EncodeOptions) -> int:
    """Bytes of a file with an empty IMAGE chunk, the same at every rate: metadata and alpha are deflated twice, not
    once a probe."""
    return len(_wrap(b"", picture, header, options))


def _wrap(image: bytes, picture: Picture, header: Header, options: EncodeOptions, tiles: Tiles | None = None) -> bytes:
    """File around the data of an IMAGE chunk."""
    exif, xmp = (None if {k, "all"} & set(options.strip) else getattr(picture, k) for k in STRIPPABLE)
    alpha = None if picture.alpha is None else np.diff(picture.alpha, axis=0, prepend=np.uint8(0)).tobytes()
    return container.write(Container(header, image, alpha, picture.icc, exif, xmp, tiles=tiles))


def _unwrap(parsed: Container, rgb: NDArray[np.uint8], view: View, comment: str | None = None) -> Picture:
    """Picture of the decoded pixels of a view and what else the file holds."""
    alpha = None
    if parsed.alpha is not None:
        differences = np.frombuffer(parsed.alpha, np.uint8).reshape(parsed.header.height, parsed.header.width)
        # modulo 256, as the differences were
        alpha = view.taken_from(np.cumsum(differences[: view.touched.bottom], axis=0, dtype=np.uint8))
    return Picture(rgb, alpha, parsed.icc, parsed.exif, parsed.xmp, comment=comment)


def codec_of(weights: Weights, device: str) -> Codec:
    """The codec of a model."""
    config = MODELS.get(weights.info.name)
    return CODECS.get(type(config), TunableCodec)(weights, device)


def _codec_of(header: Header, model: str | None, device: str) -> Codec:
    """The codec that can read the symbols of a file."""
    if header.codec == split.CODEC_ID:
        raise UnsupportedFile("files of the split codec have no coded symbols and no levels")
    if header.codec not in {kind.id for kind in CODECS.values()}:
        raise UnsupportedFile(f"codec {header.codec} is not known to this build")
    coder_name(header.coder)
    info = find(model if model is not None else header.model)
    if info.entropy_hash != header.model_hash:
        raise MissingWeights(
            f"written with entropy model {header.model_hash.hex()}, but {info.name} here is {info.entropy_hash.hex()}"
        )
    codec = codec_of(get(info.name), device)
    if codec.id != header.codec:
        raise CorruptFile(f"header: codec {header.codec} is not that of model {info.name}")
    return codec


def _geometry(header: Header) -> Geometry:
    return Geometry(width=header.width, height=header.height)


def decode_bytes(data: bytes, options: DecodeOptions | None = None, progress: Progress | None = None) -> Picture:
    """Decode the bytes of a .gic file, or the region of it that `options` name.

    `progress` is told of the tiles that are done.

    Raises CorruptFile for damaged bytes, UnsupportedFile, MissingWeights, and UsageError for options out of range.
    """
    options = options or DecodeOptions()
    return decode_parsed(container.read(data, max_pixels=options.max_pixels), options, progress).picture


def decode_parsed(parsed: Container, options: DecodeOptions, progress: Progress | None = None) -> Decoded:
    """`decode_bytes` of a file that has been parsed."""
    view = view_of(options, _geometry(parsed.header))
    if parsed.header.codec == split.CODEC_ID:
        if options.model is not None:
            raise UsageError(f"model {options.model}: files of the split codec have none")
        realism_of(options.realism, None)
        rgb = split.decode(parsed.image, _geometry(parsed.header), parsed.header.coder)
        return Decoded(_unwrap(parsed, view.taken_from(rgb), view))
    codec = _codec_of(parsed.header, options.model, options.device)
    info = codec.weights.info
    return Decoded(decode_with(parsed, codec, realism_of(options.realism, info), view, progress), info.name)


def realism_of(asked: float | None, info: ModelInfo | None) -> float:
    """Realism to decode with; UsageError for one that the model, or the split codec (None), does not have."""
    default = None if info is None else info.default_realism
    if asked is None:
        return default or 0.0
    if not 0 <= asked <= 1:
        raise UsageError(f"realism {asked:g}: must be in [0, 1]")
    if asked > 0 and default is None:
        raise UsageError(f"realism {asked:g}: {info.name if info else 'the split codec'} has 0 (most faithful) only")
    return asked


def decode_with(
    parsed: Container,
    codec: Codec,
    realism: float = 0.0,
    view: View | None = None,
    progress: Progress | None = None,
) -> Picture:
    """Decode a parsed file with a codec at hand."""
    reader = tiled.Reader(codec, parsed)
    view = view or View.whole(reader.geometry)
    reader.check_first(view.area)
    rgb = codec.network.synthesise(reader, reader.geometry, realism, view, progress)
    at = "" if codec.weights.info.default_realism is None else f" at realism {realism:g}"
    return _unwrap(parsed, rgb, view, SYNTHETIC_NOTE.format(at=at) if codec.synthesises(realism) else None)


def read_with(parsed: Container, codec: Codec) -> Symbols:
    """Symbols of a parsed file with a codec at hand."""
    return tiled.Reader(codec, parsed).symbols()


def read_symbols(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Symbols:
    """Every symbol of a .gic file, without torch: identical on every machine. Raises as `decode_bytes` does, and
    UnsupportedFile for files of the split codec."""
    parsed = container.read(data, max_pixels=max_pixels)
    return read_with(parsed, _codec_of(parsed.header, None, "cpu"))


class Allocation(NamedTuple):
    """Where the bits of a file went: `levels` (hb, wb) importance levels in 1/16 steps, `bits` (hb, wb) of the IMAGE
    chunk; blocks are 64 pixels."""

    levels: NDArray[np.int64]
    bits: NDArray[np.float64]


def read_allocation(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Allocation:
    """Levels and coded bits per block of a .gic file, without torch. Raises as `read_symbols` does."""
    parsed = container.read(data, max_pixels=max_pixels)
    reader = tiled.Reader(_codec_of(parsed.header, None, "cpu"), parsed)
    levels = reader.codec.block_levels(reader.symbols(), parsed.header.level_shift)
    return Allocation(levels, reader.block_bits())


def verify_bytes(data: bytes, *, max_pixels: int = MAX_PIXELS) -> None:
    """Check container, checksums and all that is coded, without torch; CorruptFile and its siblings where amiss."""
    parsed = container.read(data, max_pixels=max_pixels)
    if parsed.header.codec == split.CODEC_ID:
        split.read_layers(parsed.image, _geometry(parsed.header), parsed.header.coder)
        return
    for _ in tiled.Reader(_codec_of(parsed.header, None, "cpu"), parsed).each():
        pass


def encode(
    image: Image.Image | str | PathLike[str],
    *,
    bpp: float | None = None,
    size: int | None = None,
    n: float | None = None,
    options: EncodeOptions | None = None,
) -> bytes:
    """Encode a Pillow image or a picture file to the bytes of a .gic file.

    Parameters
    ----------
    image : PIL.Image.Image or path
    bpp, size, n : optional
        At most one; they override `options`. See `EncodeOptions`.
    options : EncodeOptions, optional

    Examples
    --------
    >>> data = gancodec.encode("photo.png", bpp=0.1)  # doctest: +SKIP
    """
    from gancodec import imageio

    options = options or EncodeOptions()
    if any(v is not None for v in (bpp, size, n)):
        options = replace(options, bpp=bpp, size=size, n=n)
    source = os.fspath(image) if isinstance(image, str | PathLike) else image
    picture = imageio.load(source, max_pixels=options.max_pixels)
    return encode_picture(picture, options).data


def decode(
    data: bytes | bytearray | memoryview, options: DecodeOptions | None = None, *, realism: float | None = None
) -> Image.Image:
    """Decode the bytes of a .gic file to a Pillow image; ICC, EXIF and XMP are in its `info`.

    `realism` in [0, 1] overrides that of the options. Where detail may be synthesised (above 0, and always with the
    wu2019 models) a note is in ``info["comment"]``, which Pillow writes into JPEG files by itself.

    Examples
    --------
    >>> image = gancodec.decode(data)  # doctest: +SKIP
    """
    from gancodec import imageio

    if realism is not None:
        options = replace(options or DecodeOptions(), realism=realism)
    return imageio.to_image(decode_bytes(bytes(data), options))
