"""What of a picture to decode: a region of it, at a scale."""

from __future__ import annotations

from numbers import Integral

from gancodec.errors import UsageError
from gancodec.options import Box, DecodeOptions, check_box
from gancodec.tiling import Area, View
from gancodec.types import Geometry

REDUCTIONS = (1, 2, 4, 8)  # pixels a side that may become one


def view_of(options: DecodeOptions, geometry: Geometry) -> View:
    """What of a picture `options` ask for; UsageError for a region outside of it, and for other scales."""
    if not isinstance(options.reduce, Integral) or isinstance(options.reduce, bool) or options.reduce not in REDUCTIONS:
        raise UsageError(f"reduced by {options.reduce}: choose {', '.join(map(str, REDUCTIONS))}")
    if options.region is None:
        return View.whole(geometry, int(options.reduce))
    if not isinstance(options.region, tuple) or len(options.region) not in (4, 5):
        raise UsageError("a region is (left, top, width, height)")
    box = Box(*options.region)
    check_box(box)
    left, top, width, height = (int(v) for v in box[:4])
    wanted = Area(top, top + height, left, left + width)
    area = View.whole(geometry).area.common(wanted)
    if area is None:
        raise UsageError(f"region {box} lies outside of the picture, which is {geometry.width}x{geometry.height}")
    return View(area, int(options.reduce))
