"""Names to objects: the typed Python interface of the codec. Importing this needs no torch; running a network does."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gancodec import container
from gancodec.codec import rate
from gancodec.codec.inputs import read_gic, read_picture
from gancodec.codec.options import STRIPPABLE, completed, settled, target_size
from gancodec.container import MAX_PIXELS, Container, Header, Streams, spec
from gancodec.errors import TargetMissed, UnsupportedFile, UsageError
from gancodec.forks import unforked
from gancodec.models import registry
from gancodec.models.codec import Allocation, Codec, Coded, Symbols, geometry_of, realism_of
from gancodec.models.learned import LearnedCodec
from gancodec.options import Box, DecodeOptions, EncodeOptions, check_box
from gancodec.tiling import Area, Progress, Stages, View
from gancodec.types import Geometry, Picture
from gancodec.weights import ModelInfo, Weights, find, get

if TYPE_CHECKING:
    from PIL import Image

    from gancodec.codec.inputs import GicSource, PictureSource
    from gancodec.models.guidance import Guidance

EMPTY: Streams = ((b"",),)
USUAL_PROBES = 5  # of a search that has one more than most, for progress alone
REDUCTIONS = (1, 2, 4, 8)  # pixels a side that may become one
LOST = {"alpha": "transparency", "exif": "EXIF", "xmp": "XMP"}  # what is behind the slices, in words


class Encoded(NamedTuple):
    """An encoded picture: the file, its n (None for a codec that has none) and bits per pixel, sizes tried, whether the
    target was met, notices for the user, and the name of its model, if any."""

    data: bytes
    n: float | None
    bpp: float
    probes: int
    hit: bool
    notices: tuple[str, ...]
    model: str | None = None


class Decoded(NamedTuple):
    """A decoded picture, and the name of the model that decoded it, if any."""

    picture: Picture
    model: str | None = None


def encode_picture(
    picture: Picture,
    options: EncodeOptions | None = None,
    guidance: Guidance | None = None,
    progress: Progress | None = None,
) -> Encoded:
    """Encode a picture to the bytes of a .gic file.

    `guidance` are the maps of `options`, where they are known already. `progress` is told of what the encoder's network
    and each probe have done, in percent.

    Raises UsageError for options out of range, MissingWeights, MissingExtra where `protect` or `saliency` lack a
    package, UnreadablePicture for a map that cannot be read, and TargetMissed under `strict`.
    """
    options = settled(options, EncodeOptions)
    return encode_with(encoder_of(options), picture, options, guidance, progress)


@unforked()
def encode_with(
    codec: Codec,
    picture: Picture,
    options: EncodeOptions,
    guidance: Guidance | None = None,
    progress: Progress | None = None,
) -> Encoded:
    """`encode_picture` with a codec at hand (training validates weights that are not installed yet)."""
    options = completed(options)
    target = target_size(options, picture.geometry)
    if guidance is None:
        from gancodec.codec.guidance import guidance_of  # saliency, which decoders do without

        guidance = guidance_of(picture.rgb, options)
    stages = Stages(progress, 2 if target is None else 1 + USUAL_PROBES)
    draft = codec.prepare(picture.rgb, guidance, options, stages)
    stages.end()
    if target is None:
        coded = draft.plain()
        found = rate.Found(0.0, 0, 1, True)
    else:
        # Metadata and alpha are deflated twice, not once a probe: their bytes are the same at every rate.
        empty = len(_file(picture, draft.header, EMPTY, options))
        tried: dict[tuple[float, int], Coded] = {}

        def size_at(knob: float, trim: int = 0) -> int:
            tried[knob, trim] = now = draft.at(knob, trim)
            stages.end()
            return empty + container.streams_size(now.streams, now.tile_side) - container.streams_size(EMPTY)

        start = draft.start(target - empty)
        found = rate.search(size_at, target, start.guess, start.slope, start.bounds, empty, size_at)
        coded = tried[found.n, found.trim]
    data = _file(picture, coded.header, coded.streams, options, coded.tile_side)
    if progress is not None:
        progress(100, 100)
    bpp = 8 * len(data) / (picture.geometry.width * picture.geometry.height)
    hit = found.hit or (target is not None and target - rate.WORDS <= found.size <= target)
    model = codec.info.name if codec.info else None
    encoded = Encoded(data, coded.n, bpp, found.probes, hit, picture.notices, model)
    if options.strict and not hit:
        raise TargetMissed(describe_miss(encoded, options))
    return encoded


def encoder_of(options: EncodeOptions) -> Codec:
    """The codec that options ask for; raises as `encode_picture`."""
    options = completed(options)
    profile = registry.PROFILES[options.profile]
    number = registry.config_of(find(options.model).name).codec if profile.codec is None else profile.codec
    return _class_of(number).for_model(options.model, options.device)


def model_of(options: EncodeOptions | DecodeOptions) -> ModelInfo | None:
    """The model that options alone decide on: none for a codec without models, and where files name theirs; raises
    MissingWeights."""
    if isinstance(options, DecodeOptions):
        return None if options.model is None else find(options.model)
    return find(options.model) if registry.PROFILES[options.profile].codec is None else None


def preload(options: EncodeOptions | DecodeOptions) -> None:
    """Load what the first picture would have to wait for, and keep it; raises MissingWeights."""
    codec = codec_of(get(options.model), options.device) if isinstance(options, DecodeOptions) else encoder_of(options)
    codec.load()


def codec_of(weights: Weights, device: str) -> LearnedCodec[Any, Any, Any]:
    """The codec of a model at hand, installed or not."""
    entry = registry.CODECS[registry.config_of(weights.info.name).codec]
    return registry.resolve(entry.codec, LearnedCodec)(weights, device)


def _decoder_of(header: Header, model: str | None, device: str) -> Codec:
    """The codec that can decode a file."""
    return _class_of(header.codec).for_file(header, model, device)


def _class_of(number: int) -> type[Codec]:
    return registry.resolve(_entry_of(number).codec, Codec)


def _entry_of(number: int) -> registry.Entry:
    if number not in registry.CODECS:
        raise UnsupportedFile(f"codec {number} is not known to this build")
    return registry.CODECS[number]


def describe_miss(coded: Encoded, options: EncodeOptions) -> str:
    """What to tell users whose target, `size` or `bpp`, was missed, with the file's size on disk."""
    size, got = len(coded.data), f"{len(coded.data)} bytes, {coded.bpp:.4f} bpp"
    target = f"{options.bpp} bpp" if options.size is None else f"{options.size} bytes"
    above = coded.bpp > (options.bpp or 0) if options.size is None else size > options.size
    if above:
        return f"{target}: out of reach, the nearest is {got}"
    return f"{target}: not met to {100 * rate.TOLERANCE:.0f} %, the largest found below is {got}"


def _file(
    picture: Picture, header: Header, streams: Streams, options: EncodeOptions, tile_side: int | None = None
) -> bytes:
    """File around the streams of a picture."""
    exif, xmp = (None if {k, "all"} & set(options.strip) else getattr(picture, k) for k in STRIPPABLE)
    alpha = None if picture.alpha is None else np.diff(picture.alpha, axis=0, prepend=np.uint8(0)).tobytes()
    return container.write(Container.of(header, streams, tile_side, alpha, picture.icc, exif, xmp))


def _picture(parsed: Container, rgb: NDArray[np.uint8], view: View, comment: str | None) -> Picture:
    """Picture of the decoded pixels of a view and what else the file holds."""
    alpha = None
    if parsed.alpha is not None:
        differences = np.frombuffer(parsed.alpha, np.uint8).reshape(parsed.header.height, parsed.header.width)
        # modulo 256, as the differences were
        alpha = view.taken_from(np.cumsum(differences[: view.touched.bottom], axis=0, dtype=np.uint8))
    gray = bool(parsed.header.flags & spec.FLAG_GRAY)
    return Picture(rgb, alpha, parsed.icc, parsed.exif, parsed.xmp, comment=comment, gray=gray)


def _notices(parsed: Container, told: tuple[str, ...]) -> tuple[str, ...]:
    """What a codec tells of a file; of one that is cut in one line, with what else may be missing."""
    if parsed.cut is None:
        return told
    lost = ", ".join(words for name, words in LOST.items() if getattr(parsed, name) is None)
    parts = [*told, f"what may have come after them ({lost}) is lost"] if lost else told
    return (f"cut short: {'; '.join(parts)}",)


def view_of(options: DecodeOptions, geometry: Geometry) -> View:
    """What of a picture `options` ask for; UsageError for a region outside of it, and for other scales."""
    options = settled(options, DecodeOptions)
    if options.reduce not in REDUCTIONS:
        raise UsageError(f"reduced by {options.reduce}: choose {', '.join(map(str, REDUCTIONS))}")
    if options.region is None:
        return View.whole(geometry, options.reduce)
    if not isinstance(options.region, tuple) or len(options.region) not in (4, 5):
        raise UsageError("a region is (left, top, width, height)")
    box = Box(*options.region)
    check_box(box)
    left, top, width, height = (int(v) for v in box[:4])
    wanted = Area(top, top + height, left, left + width)
    area = View.whole(geometry).area.common(wanted)
    if area is None:
        raise UsageError(f"region {box} lies outside of the picture, which is {geometry.width}x{geometry.height}")
    return View(area, options.reduce)


def parse(data: bytes, options: DecodeOptions, start: container.Start | None = None) -> Container:
    """Parse a file that is to be decoded, or what follows a `start` that has been parsed.

    Raises as `container.read` does, and UsageError under `partial` for a codec whose files cannot be cut.
    """
    header, position = start or container.read_header(data)
    if options.partial and spec.rules_of(header.codec).slices == 1:
        name = _entry_of(header.codec).name
        raise UsageError(f"partial: the {name} codec has no slices, so its files are decoded whole or not at all")
    return container.read(data, options.max_pixels, (header, position), options.partial)


def decode_bytes(data: bytes, options: DecodeOptions | None = None, progress: Progress | None = None) -> Picture:
    """Decode the bytes of a .gic file, or the region of it that `options` name.

    `progress` is told of the tiles that are done.

    Raises CorruptFile for damaged bytes, UnsupportedFile, MissingWeights, and UsageError for options out of range.
    """
    options = settled(options, DecodeOptions)
    return decode_parsed(parse(data, options), options, progress).picture


@unforked()
def decode_parsed(parsed: Container, options: DecodeOptions, progress: Progress | None = None) -> Decoded:
    """`decode_bytes` of a file that has been parsed."""
    options = settled(options, DecodeOptions)
    view = view_of(options, geometry_of(parsed.header))
    codec = _decoder_of(parsed.header, options.model, options.device)
    info, entry = codec.info, registry.CODECS[codec.id]
    default, name = (info.default_realism, info.name) if info else (None, f"the {entry.name} codec")
    picture = decode_with(parsed, codec, realism_of(options.realism, default, name), view, progress)
    return Decoded(picture, info.name if info else None)


def decode_with(
    parsed: Container,
    codec: Codec,
    realism: float = 0.0,
    view: View | None = None,
    progress: Progress | None = None,
) -> Picture:
    """Decode a parsed file with a codec at hand."""
    view = view or View.whole(geometry_of(parsed.header))
    decoded = codec.decode(parsed, view, realism, progress)
    picture = _picture(parsed, decoded.rgb, view, decoded.comment)
    return replace(picture, notices=_notices(parsed, decoded.notices))


@unforked()
def read_symbols(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Symbols:
    """Every symbol of a .gic file, without torch: identical on every machine. Raises as `decode_bytes` does, and
    UnsupportedFile for files of a codec that has no symbols of its own."""
    parsed = container.read(data, max_pixels=max_pixels)
    return _decoder_of(parsed.header, None, "cpu").symbols(parsed)


@unforked()
def read_allocation(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Allocation:
    """Where the bits of a .gic file went, without torch. Raises as `decode_bytes` does."""
    parsed = container.read(data, max_pixels=max_pixels)
    return _decoder_of(parsed.header, None, "cpu").allocation(parsed)


def verify_bytes(data: bytes, *, max_pixels: int = MAX_PIXELS) -> None:
    """Check container, checksums and all that is coded, without torch; CorruptFile and its siblings where amiss."""
    verify_parsed(container.read(data, max_pixels=max_pixels))


@unforked()
def verify_parsed(parsed: Container) -> None:
    """`verify_bytes` of a file that has been parsed."""
    _decoder_of(parsed.header, None, "cpu").verify(parsed)


@unforked()
def encode(
    image: PictureSource,
    *,
    bpp: float | None = None,
    size: int | None = None,
    n: float | None = None,
    options: EncodeOptions | None = None,
) -> bytes:
    """Encode a picture to the bytes of a .gic file.

    Parameters
    ----------
    image : path, bytes, binary file object, PIL.Image.Image or numpy array
        A picture file by its name, its bytes, or open: that is read from where it stands. Or pixels: an image, or an
        array of uint8, (H, W) or (H, W, 1) gray, (H, W, 2) gray and alpha, (H, W, 3) RGB, (H, W, 4) RGBA, in sRGB.
    bpp, size, n : optional
        At most one; they override `options`. See `EncodeOptions`.
    options : EncodeOptions, optional

    Raises
    ------
    UsageError
        For any other image, and for options of other types or out of range.
    UnreadablePicture
        For a picture that is not there, cannot be read or is too large.
    MissingWeights, MissingExtra
        Where the model, or a package that `protect` or `saliency` need, is not installed.
    TargetMissed
        Under `strict`.
    GicError
        In a forked process whose parent has used CUDA.

    Examples
    --------
    >>> data = gancodec.encode("photo.png", bpp=0.1)  # doctest: +SKIP
    """
    options = settled(options, EncodeOptions)
    if any(v is not None for v in (bpp, size, n)):
        options = settled(replace(options, bpp=bpp, size=size, n=n), EncodeOptions)
    return encode_picture(read_picture(image, options.max_pixels), options).data


@unforked()
def decode(
    data: GicSource, options: DecodeOptions | None = None, *, realism: float | None = None, partial: bool = False
) -> Image.Image:
    """Decode a .gic file to a Pillow image; ICC, EXIF and XMP are in its `info`.

    Parameters
    ----------
    data : bytes, path or binary file object
        The file, its name, or the file open: that is read from where it stands to its end.
    options : DecodeOptions, optional
    realism : float, optional
        In [0, 1]; overrides that of the options. Where detail may be synthesised (above 0, and always with the wu2019
        models) a note is in ``info["comment"]``, which Pillow writes into JPEG files by itself.
    partial : bool
        True overrides that of the options: of a file that is cut, decode what is whole. What is missing is told as a
        `UserWarning`.

    Raises
    ------
    UsageError
        For anything else than bytes, path or binary file object, and for options of other types or out of range.
    UnreadablePicture
        For a file that is not there or cannot be read.
    CorruptFile, UnsupportedFile, MissingWeights
        For damage, too many pixels, a newer format, and a model that is not installed.
    GicError
        In a forked process whose parent has used CUDA.

    Examples
    --------
    >>> image = gancodec.decode("photo.gic")  # doctest: +SKIP
    """
    from gancodec import imageio

    options = settled(options, DecodeOptions)
    if realism is not None or partial:
        realism = options.realism if realism is None else realism
        options = settled(replace(options, realism=realism, partial=partial or options.partial), DecodeOptions)
    content, start = read_gic(data, options.max_pixels)
    picture = decode_parsed(parse(content, options, start), options).picture
    for line in picture.notices:
        warnings.warn(line, stacklevel=3)  # whoever called, two frames up through `unforked`
    return imageio.to_image(picture)
