"""How to encode and decode, and rectangles. Importing this needs no numpy: the command line knows what is asked of it
before it has looked at any file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from numbers import Integral, Real
from os import PathLike
from typing import TYPE_CHECKING, NamedTuple

from gancodec.container import MAX_PIXELS
from gancodec.errors import UsageError

if TYPE_CHECKING:
    from PIL import Image

DEVICES = ("auto", "cpu", "cuda")
N_BOUNDS = (-8.0, 8.0)  # beyond the end of every level range
MOST_SHOWN = 60  # characters of a value that is wrong
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
        The learned codec, or the split codec, which keeps salient pixels and shrinks the rest.
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
    partial : bool
        Of a file that is cut, decode what is whole of it: a rougher picture, of codecs whose files have slices only.
        Damage is refused all the same; but a changed length behind the slices looks like a cut.
    """

    model: str | None = None
    device: str = "auto"
    realism: float | None = None
    max_pixels: int = MAX_PIXELS
    region: Box | tuple[int, int, int, int] | None = None
    reduce: int = 1
    partial: bool = False


def parse_box(text: str) -> Box:
    """Box from ``x,y,w,h`` or ``x,y,w,h:level``; UsageError for anything else."""
    match = re.fullmatch(BOX, text.replace(" ", ""))
    if match is None:
        raise UsageError(f"region {text!r}: write x,y,w,h or x,y,w,h:level, in pixels and with a level from 0 to 1")
    left, top, width, height = (int(v) for v in match.groups()[:4])
    box = Box(left, top, width, height, float(match[5] or 1))
    check_box(box)
    return box


def check_box(box: Box) -> None:
    """UsageError for a rectangle that no picture could have."""
    if not all(isinstance(v, Integral) and not isinstance(v, bool) for v in box[:4]):
        raise UsageError(f"region {shown(tuple(box))}: sides and corners are whole pixels")
    if min(box.left, box.top) < 0 or min(box.width, box.height) < 1:
        raise UsageError(f"region {box}: sides are at least 1 pixel, corners at least 0")
    if not isinstance(box.level, Real) or isinstance(box.level, bool) or not 0 <= box.level <= 1:
        raise UsageError(f"region {shown(tuple(box))}: its level must be a number from 0 to 1")


def shown(value: object) -> str:
    """A value of any type, for a message: one line, cut short."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # an integer of too many digits, or whatever a class of others does
        text = type(value).__name__
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."
