"""What is wrong with the options of encoding, whatever the picture. Importing this needs no numpy."""

from __future__ import annotations

import math
from numbers import Real
from typing import TYPE_CHECKING

from gancodec.container.spec import ENTROPY_CODERS
from gancodec.errors import UsageError
from gancodec.models.registry import PROFILES
from gancodec.options import N_BOUNDS, Box, EncodeOptions, check_box

if TYPE_CHECKING:
    from gancodec.types import Geometry


RATES = ("bpp", "size", "n")  # at most one is asked for
MOST_BPP = 64.0  # of any picture that the format holds; beyond it every rate is out of reach alike
MOST_STRENGTH = 8.0
STRIPPABLE = ("exif", "xmp")
FROM_FILE = "file:"


def check(options: EncodeOptions) -> None:
    """UsageError for options that no picture could be encoded with."""
    rates = [name for name in RATES if getattr(options, name) is not None]
    if len(rates) > 1:
        raise UsageError(f"{' and '.join(rates)} exclude each other")
    if options.entropy not in ENTROPY_CODERS:
        raise UsageError(f"entropy coder {options.entropy}: choose {' or '.join(ENTROPY_CODERS)}")
    if isinstance(options.strip, str):
        raise UsageError("strip: a tuple of names, not a string")
    unknown = set(options.strip) - {*STRIPPABLE, "all"}
    if unknown:
        raise UsageError(f"strip {', '.join(sorted(unknown))}: choose exif, xmp or all")
    _check_regions(options)
    completed(options)
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
    most = PROFILES[options.profile].most_side
    if max(geometry.width, geometry.height) > most:
        raise UsageError(f"--profile {options.profile}: sides are at most {most} pixels")
    if options.bpp is not None:
        return max(1, math.floor(min(options.bpp, MOST_BPP) * pixels / 8))
    return options.size


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


def completed(options: EncodeOptions) -> EncodeOptions:
    """The options with the defaults of their profile; UsageError for what goes with another profile only."""
    if options.profile not in PROFILES:
        raise UsageError(f"profile {options.profile}: choose {' or '.join(PROFILES)}")
    for name, other in PROFILES.items():
        given = any(getattr(options, own) != getattr(EncodeOptions, own) for own in other.own)
        if name != options.profile and given:
            raise UsageError(f"{' and '.join(f'--{own}' for own in other.own)} are for --profile {name}")
    complete = PROFILES[options.profile].completed
    return options if complete is None else complete(options)
