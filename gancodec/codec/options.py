"""How to encode and decode: the options, and what is wrong with them whatever the picture. Importing this needs no
numpy: the command line knows what is asked of it before it has looked at any file."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from numbers import Integral, Real
from os import PathLike
from typing import TYPE_CHECKING, NamedTuple

from gancodec.container import MAX_PIXELS, spec
from gancodec.container.spec import FACTORS
from gancodec.errors import UsageError

if TYPE_CHECKING:
    from PIL import Image

    from gancodec.types import Geometry

N_BOUNDS = (-8.0, 8.0)  # beyond the end of every level range
MOST_BPP = 64.0  # of any picture that the format holds; beyond it every rate is out of reach alike
MOST_STRENGTH = 8.0
STRIPPABLE = ("exif", "xmp")
PROFILES = {"tunable": "the learned codec", "split": "salient pixels kept, the rest shrunk"}  # what each is
ENTROPY_CODERS = ("range", "huffman")
INNER_CODERS = ("lossy", "lossless")  # of the split codec
CODEC_NAMES = {spec.CODEC_TUNABLE: "gic1", spec.CODEC_SPLIT: "split", spec.CODEC_WU2019: "wu2019"}
CODER_NAMES = {
    spec.CODER_RANGE: "range",
    spec.CODER_HUFFMAN: "huffman",
    spec.CODER_WEBP: "webp",
    spec.CODER_WEBP_LOSSLESS: "webp-lossless",
}
FROM_FILE = "file:"
BOX = r"([0-9]{1,7}),([0-9]{1,7}),([0-9]{1,7}),([0-9]{1,7})(?::([0-9]{1,2}|[0-9]?\.[0-9]{1,6}))?"


class Box(NamedTuple):
    """A rectangle in pixels of the upright picture, with a level: 1 = keep best, 0 = like what no box covers."""

    left: int
    top: int
    width: int
    height: int
    level: float = 1.0

    def __str__(self) -> str:
        corner = f"{self.left},{self.top},{self.width},{self.height}"
        return corner if self.level == 1 else f"{corner}:{self.level}"


AnyBox = Box | tuple[int, int, int, int] | tuple[int, int, int, int, float]


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
    saliency : str, path or PIL.Image.Image
        What stands out gets more of the bits: a method of `gancodec.saliency.METHODS`, ``"file:PATH"``, or a gray
        picture of the same proportions, white for the most.
    saliency_model : str
        Folder or cached name of the networks of a saliency method that has some.
    saliency_strength : float
        Scales what `saliency`, `roi` and `roi_boxes` do, from 0 (nothing) over 1 to 8.
    roi : path or PIL.Image.Image
        Region of interest, a gray picture of the same proportions: white is kept best, black least.
    roi_boxes : tuple of Box
        Rectangles painted over `roi` (black where None), in order; (left, top, width, height) or with a level too.
    profile : {"tunable", "split"}
        The learned codec, or the split codec of `codec.split`, which keeps salient pixels and shrinks the rest.
    inner : {"lossy", "lossless"}
        Of the split codec: how what it keeps is coded.
    factor : {2, 4, 8, 16}
        Of the split codec: what the rest is shrunk by, in either direction.
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
    saliency: str | PathLike[str] | Image.Image | None = None
    saliency_model: str | None = None
    saliency_strength: float = 1.0
    roi: str | PathLike[str] | Image.Image | None = None
    roi_boxes: tuple[AnyBox, ...] = ()
    profile: str = "tunable"
    inner: str = "lossy"
    factor: int = 4

    @property
    def learned(self) -> bool:
        """Does a model encode?"""
        return self.profile == "tunable"


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
    region : Box
        (left, top, width, height) in pixels of the whole picture: decode this part of it only, cut to the picture. Of
        pictures in tiles (above 4 megapixels) the others are not read.
    reduce : {1, 2, 4, 8}
        Make one pixel of so many a side: a thumbnail, of the region where there is one. Its pixels are means of what
        the generator makes before it is clipped, beyond the right and lower edge too, and of colours as they are,
        whatever alpha is. Metadata stays that of the whole picture.
    """

    model: str | None = None
    device: str = "auto"
    realism: float | None = None
    max_pixels: int = MAX_PIXELS
    region: Box | tuple[int, int, int, int] | None = None
    reduce: int = 1


def check(options: EncodeOptions) -> None:
    """UsageError for options that no picture could be encoded with."""
    if sum(rate is not None for rate in (options.bpp, options.size, options.n)) > 1:
        raise UsageError("--bpp, --size and --n exclude each other")
    if options.entropy not in ENTROPY_CODERS:
        raise UsageError(f"entropy coder {options.entropy}: choose {' or '.join(ENTROPY_CODERS)}")
    if isinstance(options.strip, str):
        raise UsageError("strip: a tuple of names, not a string")
    unknown = set(options.strip) - {*STRIPPABLE, "all"}
    if unknown:
        raise UsageError(f"strip {', '.join(sorted(unknown))}: choose exif, xmp or all")
    _check_regions(options)
    _check_profile(options)
    if options.n is not None and not N_BOUNDS[0] <= options.n <= N_BOUNDS[1]:
        raise UsageError(f"n = {options.n}: must be in [{N_BOUNDS[0]:g}, {N_BOUNDS[1]:g}]")
    if options.bpp is not None and not (math.isfinite(options.bpp) and options.bpp > 0):
        raise UsageError(f"bpp = {options.bpp}: must be above 0")
    if options.size is not None and options.size <= 0:
        raise UsageError(f"size = {options.size}: must be above 0 bytes")


def target_size(options: EncodeOptions, geometry: Geometry) -> int | None:
    """Bytes that the file of a picture may have, None for a fixed n or quality; UsageError for options out of range and
    pictures that are too large."""
    check(options)
    pixels = geometry.width * geometry.height
    size = f"{geometry.width}x{geometry.height}"
    if pixels > options.max_pixels:
        raise UsageError(f"{size} is more than {options.max_pixels} pixels; raise --max-pixels to allow it")
    if options.profile == "split":
        from gancodec.codec.split import MOST_SIDE

        if max(geometry.width, geometry.height) > MOST_SIDE:
            raise UsageError(f"--profile split: sides are at most {MOST_SIDE} pixels, as WebP is within")
    if options.bpp is not None:
        return math.floor(min(options.bpp, MOST_BPP) * pixels / 8)
    return options.size


def parse_box(text: str) -> Box:
    """Box from ``x,y,w,h`` or ``x,y,w,h:level``; UsageError for anything else."""
    match = re.fullmatch(BOX, text.replace(" ", ""))
    if match is None:
        raise UsageError(f"region {text!r}: write x,y,w,h or x,y,w,h:level, in pixels and with a level from 0 to 1")
    left, top, width, height = (int(v) for v in match.groups()[:4])
    box = Box(left, top, width, height, float(match[5] or 1))
    check_box(box)
    return box


def _check_regions(options: EncodeOptions) -> None:
    """UsageError for wishes that no picture could meet; nothing is computed."""
    if options.protect:
        from gancodec.saliency import check_names

        check_names(options.protect)
    if isinstance(options.saliency, str) and not options.saliency.startswith(FROM_FILE):
        from gancodec.saliency import METHODS, check_method

        if options.saliency not in METHODS:
            raise UsageError(f"saliency {options.saliency}: choose {', '.join(METHODS)}, or file:PATH")
        check_method(options.saliency, options.saliency_model)
    elif options.saliency_model is not None:
        raise UsageError("a saliency model needs a saliency method that takes one")
    strength = options.saliency_strength
    if not isinstance(strength, Real) or not 0 <= strength <= MOST_STRENGTH:
        raise UsageError(f"saliency strength {strength}: must be in [0, {MOST_STRENGTH:g}]")
    if not isinstance(options.roi_boxes, tuple | list):  # anything else could be read only once
        raise UsageError("roi_boxes: a tuple of boxes, each (left, top, width, height) or a level more")
    for box in options.roi_boxes:
        if not isinstance(box, tuple) or not 4 <= len(box) <= 5:
            raise UsageError("roi_boxes: a tuple of boxes, each (left, top, width, height) or a level more")
        check_box(Box(*box))


def _check_profile(options: EncodeOptions) -> None:
    """UsageError for what goes with the other profile only."""
    if options.profile not in PROFILES:
        raise UsageError(f"profile {options.profile}: choose {' or '.join(PROFILES)}")
    if options.profile == "tunable":
        if (options.inner, options.factor) != (EncodeOptions.inner, EncodeOptions.factor):
            raise UsageError("--inner and --factor are for --profile split")
        return
    from gancodec.codec.split import CODERS

    if not isinstance(options.inner, str) or options.inner not in CODERS:
        raise UsageError(f"inner coder {options.inner}: choose {' or '.join(CODERS)}")
    if not isinstance(options.factor, int) or options.factor not in FACTORS:
        raise UsageError(f"factor {options.factor}: choose {', '.join(map(str, FACTORS))}")
    given = {
        "n": options.n is not None,
        "a model": options.model is not None,
        "an entropy coder": options.entropy != EncodeOptions.entropy,
        "a saliency strength": options.saliency_strength != EncodeOptions.saliency_strength,
    }
    for name in (name for name, there in given.items() if there):
        raise UsageError(f"--profile split has no use for {name}")
    if options.inner == "lossless" and (options.bpp, options.size) != (None, None):
        raise UsageError("the lossless inner coder has no rate: leave out --bpp and --size")


def check_box(box: Box) -> None:
    """UsageError for a rectangle that no picture could have."""
    if not all(isinstance(v, Integral) for v in box[:4]):
        raise UsageError(f"region {box}: sides and corners are whole pixels")
    if min(box.left, box.top) < 0 or min(box.width, box.height) < 1:
        raise UsageError(f"region {box}: sides are at least 1 pixel, corners at least 0")
    if not isinstance(box.level, Real) or not 0 <= box.level <= 1:
        raise UsageError(f"region {box}: its level must be from 0 to 1")
