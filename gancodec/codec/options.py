"""What is wrong with options, whatever the picture. Importing this needs no numpy."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, TypeVar

from gancodec.container.spec import ENTROPY_CODERS
from gancodec.errors import UsageError
from gancodec.models.registry import PROFILES
from gancodec.options import DEVICES, N_BOUNDS, Box, DecodeOptions, EncodeOptions, check_box, shown

if TYPE_CHECKING:
    from gancodec.types import Geometry


RATES = ("bpp", "size", "n")  # at most one is asked for
MOST_BPP = 64.0  # of any picture that the format holds; beyond it every rate is out of reach alike
MOST_SIZE = 1 << 62  # bytes; more are asked for in vain alike
MOST_STRENGTH = 8.0
STRIPPABLE = ("exif", "xmp")
FROM_FILE = "file:"
Options = TypeVar("Options", EncodeOptions, DecodeOptions)


def _is(right: bool) -> None:
    if not right:
        raise TypeError


def _number(value: Any) -> float:
    _is(isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value))
    return float(value)


def _whole(value: Any) -> int:
    _is(isinstance(value, Integral) and not isinstance(value, bool))
    return int(value)


def _size(value: Any) -> int:
    return min(_whole(value) if isinstance(value, Integral) else math.floor(_number(value)), MOST_SIZE)


def _pixels(value: Any) -> int:
    _is(_whole(value) > 0)
    return int(value)


def _text(value: Any) -> str:
    _is(isinstance(value, str))
    return str(value)


def _model(value: Any) -> str | int:
    return value if isinstance(value, str) else _whole(value)


def _device(value: Any) -> str:
    _is(value in DEVICES)
    return str(value)


def _flag(value: Any) -> bool:
    _is(type(value).__name__ in ("bool", "bool_"))  # numpy's too
    return bool(value)


def _names(value: Any) -> tuple[str, ...]:
    _is(isinstance(value, tuple | list | set | frozenset))
    return tuple(map(_text, value))


def _path(value: Any) -> str:
    return _text(os.fspath(value))


def _map(value: Any) -> Any:
    pillow = sys.modules.get("PIL.Image")  # an image has loaded it
    if not (pillow and isinstance(value, pillow.Image)):
        _path(value)
    return value  # as it is: a string may be a method, a path never


# What a field takes, in words, and what makes a plain value of Python of it; that raises TypeError, ValueError or
# OverflowError for anything else. None goes where it is the default. Rectangles are checked with what they lie in.
NUMBER, TEXT, WHOLE = ("a finite number", _number), ("a string", _text), ("a whole number", _whole)
FLAG = ("True or False", _flag)
NAMES, MAP = ("a tuple of names", _names), ("a path or a PIL image", _map)
FIELDS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "bpp": NUMBER,
    "size": ("a number of bytes", _size),
    "n": NUMBER,
    "model": ("the name of a model", _model),
    "entropy": TEXT,
    "device": (" or ".join(DEVICES), _device),
    "strict": FLAG,
    "strip": NAMES,
    "max_pixels": ("a whole number above 0", _pixels),
    "protect": NAMES,
    "saliency": MAP,
    "saliency_model": ("a folder or a name", _path),
    "saliency_strength": NUMBER,
    "roi": MAP,
    "profile": TEXT,
    "inner": TEXT,
    "factor": WHOLE,
    "realism": ("a number in [0, 1]", _number),
    "reduce": WHOLE,
    "partial": FLAG,
}


def settled(options: Options | None, kind: type[Options]) -> Options:
    """The options, or defaults for None, with plain values of Python in place of numpy's and the like; UsageError that
    names a field of another type and says what it takes."""
    options = kind() if options is None else options
    if not isinstance(options, kind):
        raise UsageError(f"options = {shown(options)}: must be {kind.__name__}")
    plain = {}
    for name, (told, plain_of) in FIELDS.items():
        value = getattr(options, name, None)
        if value is not None or getattr(kind, name, None) is not None:
            try:
                plain[name] = plain_of(value)
            except (TypeError, ValueError, OverflowError):
                raise UsageError(f"{name} = {shown(value)}: must be {told}") from None
    return replace(options, **plain)


def check(options: EncodeOptions) -> None:
    """UsageError for options that no picture could be encoded with."""
    options = settled(options, EncodeOptions)
    rates = [name for name in RATES if getattr(options, name) is not None]
    if len(rates) > 1:
        raise UsageError(f"{' and '.join(rates)} exclude each other")
    if options.entropy not in ENTROPY_CODERS:
        raise UsageError(f"entropy coder {options.entropy}: choose {' or '.join(ENTROPY_CODERS)}")
    unknown = set(options.strip) - {*STRIPPABLE, "all"}
    if unknown:
        raise UsageError(f"strip {', '.join(sorted(unknown))}: choose exif, xmp or all")
    _check_regions(options)
    completed(options)
    if options.n is not None and not N_BOUNDS[0] <= options.n <= N_BOUNDS[1]:
        raise UsageError(f"n = {options.n}: must be in [{N_BOUNDS[0]:g}, {N_BOUNDS[1]:g}]")
    if options.bpp is not None and options.bpp <= 0:
        raise UsageError(f"bpp = {options.bpp}: must be above 0")
    if options.size is not None and options.size <= 0:
        raise UsageError(f"size = {shown(options.size)}: must be above 0 bytes")


def target_size(options: EncodeOptions, geometry: Geometry) -> int | None:
    """Bytes that the file of a picture may have, None for a fixed n or quality; UsageError for options out of range and
    pictures that are too large."""
    options = settled(options, EncodeOptions)
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
    if not 0 <= options.saliency_strength <= MOST_STRENGTH:
        raise UsageError(f"saliency strength {options.saliency_strength}: must be in [0, {MOST_STRENGTH:g}]")
    if not isinstance(options.roi_boxes, tuple | list):  # anything else could be read only once
        raise UsageError("roi_boxes: a tuple of boxes, each (left, top, width, height) or a level more")
    for box in options.roi_boxes:
        if not isinstance(box, tuple) or not 4 <= len(box) <= 5:
            raise UsageError("roi_boxes: a tuple of boxes, each (left, top, width, height) or a level more")
        check_box(Box(*box))


def completed(options: EncodeOptions) -> EncodeOptions:
    """The options, settled, with the defaults of their profile; UsageError for what goes with another profile only."""
    options = settled(options, EncodeOptions)
    if options.profile not in PROFILES:
        raise UsageError(f"profile {options.profile}: choose {' or '.join(PROFILES)}")
    for name, other in PROFILES.items():
        given = any(getattr(options, own) != getattr(EncodeOptions, own) for own in other.own)
        if name != options.profile and given:
            raise UsageError(f"{' and '.join(f'--{own}' for own in other.own)} are for --profile {name}")
    complete = PROFILES[options.profile].completed
    return options if complete is None else complete(options)
