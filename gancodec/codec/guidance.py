"""Where the bits should go: maps of what the user, a saliency method or a detector asks for."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import nullcontext
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gancodec.codec.options import FROM_FILE
from gancodec.errors import GicError, UsageError
from gancodec.models.guidance import Guidance
from gancodec.options import AnyBox, Box, EncodeOptions
from gancodec.saliency import protection_map, saliency_map
from gancodec.sources import open_source
from gancodec.types import FloatArray

if TYPE_CHECKING:
    from PIL import Image

GRAYS = 255


def guidance_of(rgb: NDArray[np.uint8], options: EncodeOptions) -> Guidance:
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
        return Guidance(protection=protection)
    saliency = None if options.saliency is None else saliency_of(rgb, options)
    region = None if options.roi is None else read_map(options.roi, rgb.shape[:2], options.max_pixels)
    if options.roi_boxes:
        region = painted(np.zeros(rgb.shape[:2], np.float32) if region is None else region, options.roi_boxes)
    return Guidance(saliency, region, protection, options.saliency_strength)


def saliency_of(rgb: NDArray[np.uint8], options: EncodeOptions) -> FloatArray:
    """The saliency map (H, W) that `options` name, in the steps of a gray picture: saved and read, it gives the very
    same file. Raises as `guidance_of` does."""
    source = options.saliency
    if source is None:
        raise UsageError("no saliency is asked for")
    if not isinstance(source, str):
        return read_map(source, rgb.shape[:2], options.max_pixels)
    if source.startswith(FROM_FILE):
        return read_map(source.removeprefix(FROM_FILE), rgb.shape[:2], options.max_pixels)
    return from_gray(to_gray(saliency_map(rgb, source, options.saliency_model)))


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
        with open_source(source, max_pixels) if isinstance(source, str) else nullcontext(source) as opened:
            picture = imageio.load(opened, max_pixels)
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
