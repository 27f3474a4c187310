"""Names to objects: the typed Python interface of the codec. Importing this needs no torch; running a network does."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from os import PathLike
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gancodec import container
from gancodec.codec import priority, rate
from gancodec.codec.curve import TunabilityCurve
from gancodec.codec.tunable import CODEC_ID, CODERS, TunableCodec, coder_name
from gancodec.container import MAX_PIXELS, Container, Header
from gancodec.container.spec import FLAG_SYNTHETIC
from gancodec.errors import MissingWeights, TargetMissed, UnsupportedFile, UsageError
from gancodec.models.config import SUBLEVELS
from gancodec.saliency.protect import check_names
from gancodec.types import Geometry, Picture, Symbols
from gancodec.weights import ModelInfo, find, get

if TYPE_CHECKING:
    from PIL import Image

N_BOUNDS = (-8.0, 8.0)  # beyond the end of every level range
MOST_BPP = 64.0  # of any picture that the format holds; beyond it every rate is out of reach alike
STRIPPABLE = ("exif", "xmp")
SYNTHETIC_NOTE = "Decoded by gancodec at realism {realism:g}: fine detail may be synthesised and not in the original."


@dataclass(frozen=True)
class EncodeOptions:
    """How to encode. At most one of `bpp`, `size` and `n`; without any, n = 0.

    Attributes
    ----------
    bpp : float
        Bits per pixel that the whole file must not exceed.
    size : int
        Bytes that the whole file must not exceed.
    n : float
        The tunable parameter itself, in [-8, 8]; larger n, fewer bits.
    model : str
        Model name; the default model where None.
    entropy : {"range", "huffman"}
    device : {"auto", "cpu", "cuda"}
    strict : bool
        Raise TargetMissed where the size asked for is missed, instead of returning the nearest.
    strip : tuple of str
        Any of "exif" and "xmp", or "all" for both. What is needed to show the picture (ICC, orientation) always stays.
    max_pixels : int
        Larger pictures are refused.
    protect : tuple of str
        Any of "text" and "faces": what is found of it gets more of the bits, the rest fewer.
    """

    bpp: float | None = None
    size: int | None = None
    n: float | None = None
    model: str | None = None
    entropy: str = "range"
    device: str = "auto"
    strict: bool = False
    strip: tuple[str, ...] = ()
    max_pixels: int = MAX_PIXELS
    protect: tuple[str, ...] = ()


@dataclass(frozen=True)
class DecodeOptions:
    """How to decode.

    Attributes
    ----------
    model : str
        Decode with another model's networks; its integer entropy model must be the file's.
    device : {"auto", "cpu", "cuda"}
    realism : float
        0 is most faithful, 1 most natural; the model's default where None. Models without a natural end have 0 only.
    max_pixels : int
        Larger pictures are refused.
    """

    model: str | None = None
    device: str = "auto"
    realism: float | None = None
    max_pixels: int = MAX_PIXELS


class Encoded(NamedTuple):
    """An encoded picture: the file, its n and bits per pixel, sizes tried, whether the target was met, and notices
    for the user."""

    data: bytes
    n: float
    bpp: float
    probes: int
    hit: bool
    notices: tuple[str, ...]


def encode_picture(picture: Picture, options: EncodeOptions | None = None) -> Encoded:
    """Encode a picture to the bytes of a .gic file.

    Raises UsageError for options out of range, MissingWeights, MissingExtra where `protect` finds no detector, and
    TargetMissed under `strict`.
    """
    options = options or EncodeOptions()
    return encode_with(TunableCodec(get(options.model), options.device), picture, options)


def encode_with(codec: TunableCodec, picture: Picture, options: EncodeOptions) -> Encoded:
    """`encode_picture` with a codec at hand (training validates weights that are not installed yet)."""
    target = _check(options, picture.geometry)
    analysis = codec.analyse(picture.rgb)
    if options.protect:
        importance = priority.raised(analysis.importance, picture.rgb, options.protect)
        analysis = analysis._replace(importance=importance)
    info = codec.weights.info
    streams: dict[tuple[float, int], tuple[bytes, int]] = {}
    # All but the IMAGE chunk costs the same at every n: metadata and alpha are deflated twice, not once a probe.
    fixed = len(_wrap((b"", 0), picture, info, 0.0, options))

    def size_at(n: float, deadzone: int = 0) -> int:
        stream = codec.code(analysis, picture.geometry, n, options.entropy, deadzone)
        streams[n, deadzone] = stream.data, stream.level_shift
        return fixed + container.chunk_size(len(stream.data)) - container.chunk_size(0)

    if target is None:
        n = options.n or 0.0
        found = rate.Found(n, size_at(n), 1, True)
    else:
        found = _search(size_at, target, fixed, picture.geometry, info)
    data = _wrap(streams[found.n, found.trim], picture, info, found.n, options)
    bpp = 8 * len(data) / (picture.geometry.width * picture.geometry.height)
    hit = found.hit or (target is not None and target - rate.WORDS <= found.size <= target)
    if options.strict and not hit:
        assert target is not None  # a fixed n is always hit
        raise TargetMissed(describe_miss(f"{target} bytes", len(data) > target, len(data), bpp))
    return Encoded(data, found.n, bpp, found.probes, hit, picture.notices)


def describe_miss(target: str, above: bool, size: int, bpp: float) -> str:
    """What to tell users whose target, "500 bytes" or "0.1 bpp", was missed, with the file's size on disk."""
    got = f"{size} bytes, {bpp:.4f} bpp"
    if above:
        return f"{target}: out of reach, the nearest is {got}"
    return f"{target}: not met to {100 * rate.TOLERANCE:.0f} %, the largest found below is {got}"


def _search(size_at: Callable[..., int], target: int, fixed: int, geometry: Geometry, info: ModelInfo) -> rate.Found:
    """Search n from where the tunability curve of the weights sends it."""
    curve = TunabilityCurve.from_calibration(info.calibration)
    wanted = max(8 * (target - fixed), 1) / math.prod(geometry.padded)
    guess = curve.n_at(math.log(wanted), N_BOUNDS)
    return rate.search(size_at, target, guess, curve.slope(guess), N_BOUNDS, fixed, size_at)


def _check(options: EncodeOptions, geometry: Geometry) -> int | None:
    """Target size in bytes, or None for a fixed n; UsageError for options out of range."""
    given = [name for name in ("bpp", "size", "n") if getattr(options, name) is not None]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other")
    if options.entropy not in CODERS:
        raise UsageError(f"entropy coder {options.entropy}: choose {' or '.join(CODERS)}")
    if isinstance(options.strip, str):
        raise UsageError("strip: a tuple of names, not a string")
    unknown = set(options.strip) - {*STRIPPABLE, "all"}
    if unknown:
        raise UsageError(f"strip {', '.join(sorted(unknown))}: choose exif, xmp or all")
    check_names(options.protect)
    if options.n is not None and not N_BOUNDS[0] <= options.n <= N_BOUNDS[1]:
        raise UsageError(f"n = {options.n}: must be in [{N_BOUNDS[0]:g}, {N_BOUNDS[1]:g}]")
    pixels = geometry.width * geometry.height
    if pixels > options.max_pixels:
        size = f"{geometry.width}x{geometry.height}"
        raise UsageError(f"{size} is more than {options.max_pixels} pixels; raise --max-pixels to allow it")
    if options.bpp is not None:
        if not (math.isfinite(options.bpp) and options.bpp > 0):
            raise UsageError(f"bpp = {options.bpp}: must be above 0")
        return math.floor(min(options.bpp, MOST_BPP) * pixels / 8)
    if options.size is not None and options.size <= 0:
        raise UsageError(f"size = {options.size}: must be above 0 bytes")
    return options.size


def _wrap(stream: tuple[bytes, int], picture: Picture, info: ModelInfo, n: float, options: EncodeOptions) -> bytes:
    """File around a stream, given as (bytes, level shift)."""
    image, level_shift = stream
    header = Header(
        width=picture.geometry.width,
        height=picture.geometry.height,
        model=info.id,
        model_hash=info.entropy_hash,
        codec=CODEC_ID,
        coder=CODERS[options.entropy],
        flags=0 if info.default_realism is None else FLAG_SYNTHETIC,
        n=round(n * 1000),
        level_shift=level_shift,
    )
    exif, xmp = (None if {k, "all"} & set(options.strip) else getattr(picture, k) for k in STRIPPABLE)
    alpha = None if picture.alpha is None else np.diff(picture.alpha, axis=0, prepend=np.uint8(0)).tobytes()
    return container.write(Container(header, image, alpha, picture.icc, exif, xmp))


def _open(data: bytes, model: str | None, device: str, max_pixels: int) -> tuple[Container, TunableCodec]:
    """Parse a file and find the codec that can read it."""
    parsed = container.read(data, max_pixels=max_pixels)
    header = parsed.header
    if header.codec != CODEC_ID:
        raise UnsupportedFile(f"codec {header.codec} is not known to this build")
    coder_name(header.coder)
    info = find(model if model is not None else header.model)
    if info.entropy_hash != header.model_hash:
        raise MissingWeights(
            f"written with entropy model {header.model_hash.hex()}, but {info.name} here is {info.entropy_hash.hex()}"
        )
    return parsed, TunableCodec(get(info.name), device)


def _read(parsed: Container, codec: TunableCodec) -> tuple[Symbols, Geometry]:
    geometry = Geometry(width=parsed.header.width, height=parsed.header.height)
    return codec.read(parsed.image, geometry, parsed.header.level_shift, coder_name(parsed.header.coder)), geometry


def decode_bytes(data: bytes, options: DecodeOptions | None = None) -> Picture:
    """Decode the bytes of a .gic file.

    Raises CorruptFile for damaged bytes, UnsupportedFile, MissingWeights, and UsageError for options out of range.
    """
    options = options or DecodeOptions()
    parsed, codec = _open(data, options.model, options.device, options.max_pixels)
    return decode_with(parsed, codec, realism_of(options.realism, codec.weights.info))


def realism_of(asked: float | None, info: ModelInfo) -> float:
    """Realism to decode with; UsageError for one that the model does not have."""
    if asked is None:
        return info.default_realism or 0.0
    if not 0 <= asked <= 1:
        raise UsageError(f"realism {asked:g}: must be in [0, 1]")
    if asked > 0 and info.default_realism is None:
        raise UsageError(f"realism {asked:g}: {info.name} has 0 (most faithful) only")
    return asked


def decode_with(parsed: Container, codec: TunableCodec, realism: float = 0.0) -> Picture:
    """Decode a parsed file with a codec at hand."""
    symbols, geometry = _read(parsed, codec)
    rgb = codec.synthesise(symbols, parsed.header.level_shift, geometry, realism)
    alpha = None
    if parsed.alpha is not None:
        rows = np.frombuffer(parsed.alpha, np.uint8).reshape(geometry.height, geometry.width)
        alpha = np.cumsum(rows, axis=0, dtype=np.uint8)  # modulo 256, as the differences were
    comment = SYNTHETIC_NOTE.format(realism=realism) if realism > 0 else None
    return Picture(rgb, alpha, parsed.icc, parsed.exif, parsed.xmp, comment=comment)


def read_symbols(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Symbols:
    """Every symbol of a .gic file, without torch: identical on every machine. Raises as `decode_bytes` does."""
    return _read(*_open(data, None, "cpu", max_pixels))[0]


class Allocation(NamedTuple):
    """Where the bits of a file went: `levels` (hb, wb) importance levels in 1/16 steps, `bits` (hb, wb) of the IMAGE
    chunk; blocks are 64 pixels."""

    levels: NDArray[np.int64]
    bits: NDArray[np.float64]


def read_allocation(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Allocation:
    """Levels and coded bits per block of a .gic file, without torch. Raises as `decode_bytes` does."""
    parsed, codec = _open(data, None, "cpu", max_pixels)
    symbols, geometry = _read(parsed, codec)
    shift, coder = parsed.header.level_shift, coder_name(parsed.header.coder)
    bits = codec.block_bits(parsed.image, geometry, shift, coder)
    return Allocation(symbols.levels.astype(np.int64) * SUBLEVELS + shift, bits)


def verify_bytes(data: bytes, *, max_pixels: int = MAX_PIXELS) -> None:
    """Check container, checksums and the whole entropy-coded stream, without torch; CorruptFile and its siblings
    where amiss."""
    read_symbols(data, max_pixels=max_pixels)


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

    `realism` in [0, 1] overrides that of the options. Above 0 a note on synthesised detail is in ``info["comment"]``,
    which Pillow writes into JPEG files by itself.

    Examples
    --------
    >>> image = gancodec.decode(data)  # doctest: +SKIP
    """
    from gancodec import imageio

    if realism is not None:
        options = replace(options or DecodeOptions(), realism=realism)
    return imageio.to_image(decode_bytes(bytes(data), options))
