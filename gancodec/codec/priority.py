"""Where the bits should go: maps of what the user, a saliency method or a detector asks for, and the bias that they
give the importance of each block."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from os import PathLike
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gancodec.codec.options import FROM_FILE, AnyBox, Box, EncodeOptions
from gancodec.errors import GicError, UsageError
from gancodec.saliency import protection_map, saliency_map
from gancodec.types import BLOCK, FloatArray

if TYPE_CHECKING:
    from PIL import Image

PROTECT_STRENGTH = 1.5  # logit units of a protected block over the others; docs/results/protect.md has the measurement
REGION_STRENGTH = 2.0  # of a white block over a black one, at strength 1; docs/saliency.md
SALIENCY_STRENGTH = 0.25  # of one standard deviation of the saliency of blocks, at strength 1; docs/saliency.md
LEAST_SPREAD = 0.02  # standard deviation of block saliency that counts in full: flat maps say nothing
FULL_SHARE = 0.1  # of a block's area that has it protected in full: a line of small letters across it
GRAYS = 255


class Wishes(NamedTuple):
    """Maps (H, W) float32 in [0, 1] of what was asked for; None where it was not."""

    saliency: FloatArray | None
    region: FloatArray | None
    protection: FloatArray | None


def wishes(rgb: NDArray[np.uint8], options: EncodeOptions) -> Wishes:
    """Compute or read the maps that `options` ask for; at strength 0, those of `protect` alone.

    Parameters
    ----------
    rgb : (H, W, 3) uint8
    options : EncodeOptions
        Its `saliency`, `roi`, `roi_boxes` and `protect`.

    Raises
    ------
    UsageError
        For a map of other proportions than the picture, and a box outside of it.
    UnreadablePicture
        For a map that cannot be read.
    MissingExtra, MissingWeights
        Where a saliency method or detector lacks a package or a model.
    """
    protection = protection_map(rgb, options.protect) if options.protect else None
    if not options.saliency_strength:
        return Wishes(None, None, protection)
    saliency = None if options.saliency is None else saliency_of(rgb, options)
    region = None if options.roi is None else read_map(options.roi, rgb.shape[:2], options.max_pixels)
    if options.roi_boxes:
        region = painted(np.zeros(rgb.shape[:2], np.float32) if region is None else region, options.roi_boxes)
    return Wishes(saliency, region, protection)


def saliency_of(rgb: NDArray[np.uint8], options: EncodeOptions) -> FloatArray:
    """The saliency map (H, W) that `options` name, in the steps of a gray picture: saved and read, it gives the very
    same file. Raises as `wishes` does."""
    source = options.saliency
    if source is None:
        raise UsageError("no saliency is asked for")
    if not isinstance(source, str):
        return read_map(source, rgb.shape[:2], options.max_pixels)
    if source.startswith(FROM_FILE):
        return read_map(source.removeprefix(FROM_FILE), rgb.shape[:2], options.max_pixels)
    return from_gray(to_gray(saliency_map(rgb, source, options.saliency_model)))


def biased(importance: FloatArray, asked: Wishes, strength: float = 1.0, side: int = BLOCK) -> FloatArray:
    """Importance with wished blocks raised over the others, its mean kept so that n still means about the same rate.

    Parameters
    ----------
    importance : (hb, wb) float32
        In logit units, as the masker gives it.
    asked : Wishes
    strength : float
        Scales saliency and regions.
    side : int
        Of the blocks, in pixels.

    Returns
    -------
    (hb, wb) float32
        Equal to `importance` where nothing is asked for, and where everything is wished alike.
    """
    bias = np.zeros(importance.shape)
    if asked.protection is not None:
        bias += PROTECT_STRENGTH * _covered(asked.protection, importance.shape, side)
    if asked.region is not None:
        # A region that reaches into a block needs that block.
        bias += (
            strength * REGION_STRENGTH * _by_block(asked.region, importance.shape, side, lambda pixels: pixels.max(1))
        )
    if asked.saliency is not None:
        bias += strength * SALIENCY_STRENGTH * _standardised(asked.saliency, importance.shape, side)
    if not bias.any():
        return importance
    result: FloatArray = (importance + (bias - bias.mean())).astype(np.float32)
    return result


def to_gray(values: FloatArray) -> NDArray[np.uint8]:
    """Map (H, W) in [0, 1] as the pixels of a gray picture, white for 1."""
    return np.rint(values * GRAYS).astype(np.uint8)


def from_gray(gray: NDArray[np.uint8]) -> FloatArray:
    """Gray pixels (H, W) as a map in [0, 1]."""
    return (gray / GRAYS).astype(np.float32)


def read_map(source: str | PathLike[str] | Image.Image, shape: tuple[int, int], max_pixels: int) -> FloatArray:
    """Gray picture (white = 1, black and transparent = 0) as a map of `shape` (H, W), scaled where it is smaller or
    larger; UsageError for other proportions, UnreadablePicture where it cannot be read."""
    from PIL import Image

    from gancodec import imageio

    source = os.fspath(source) if isinstance(source, PathLike) else source
    if source == "":
        raise UsageError("a map has an empty name")
    name = f"map {source}" if isinstance(source, str) else "a map"
    try:
        picture = imageio.load(source, max_pixels)
    except GicError as error:
        raise type(error)(f"{name}: {error}") from error
    gray = Image.fromarray(picture.rgb).convert("L")
    if picture.alpha is not None:
        gray = Image.composite(gray, Image.new("L", gray.size), Image.fromarray(picture.alpha))
    height, width = shape
    # Of equal proportions, up to the rounding of one scaled side: half a pixel of the map, or of the picture.
    if 2 * abs(gray.width * height - width * gray.height) > max(width, height, *gray.size):
        raise UsageError(f"{name} is {gray.width}x{gray.height}, the picture {width}x{height}: proportions differ")
    if gray.size != (width, height):
        gray = gray.resize((width, height), Image.Resampling.BILINEAR)
    return from_gray(np.asarray(gray))


def painted(region: FloatArray, boxes: Iterable[AnyBox]) -> FloatArray:
    """Region (H, W) with boxes painted over it in order, cut to the picture; UsageError for one that lies outside."""
    height, width = region.shape
    result: FloatArray = region.copy()
    for box in (Box(*box) for box in boxes):
        left, top, across, down = (int(v) for v in box[:4])  # numpy's narrow integers would overflow in the sums
        if left >= width or top >= height:
            raise UsageError(f"region {box} lies outside of the picture, which is {width}x{height}")
        result[top : top + down, left : left + across] = box.level
    return result


def _standardised(values: FloatArray, blocks: tuple[int, ...], side: int) -> NDArray[np.float64]:
    """Map (H, W) to its mean in each block (hb, wb), with mean 0 and standard deviation (at most) 1."""
    means = _by_block(values, blocks, side, lambda pixels: pixels.mean(1))
    result: NDArray[np.float64] = (means - means.mean()) / max(float(means.std()), LEAST_SPREAD)
    return result


def _covered(values: FloatArray, blocks: tuple[int, ...], side: int) -> NDArray[np.float64]:
    """Map (H, W) to its mean in each block (hb, wb), full from FULL_SHARE on."""
    return np.minimum(_by_block(values, blocks, side, lambda pixels: pixels.mean(1)) / FULL_SHARE, 1)


def _by_block(
    values: FloatArray,
    blocks: tuple[int, ...],
    side: int,
    value_of: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """What `value_of` makes of the pixels (wb, side**2) of each row of blocks; edges repeated as the encoder pads
    them."""
    result = np.empty(blocks)
    last = values.shape[0] - 1
    for row in range(blocks[0]):  # one at a time: a copy of the whole map would be larger than the picture
        rows = np.minimum(np.arange(row * side, (row + 1) * side), last)
        strip = values[rows].astype(np.float64)
        padded = np.pad(strip, ((0, 0), (0, blocks[1] * side - strip.shape[1])), mode="edge")
        result[row] = value_of(padded.reshape(side, blocks[1], side).swapaxes(0, 1).reshape(blocks[1], side**2))
    return result
