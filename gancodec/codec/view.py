"""What of a picture to decode: a region of it, at a scale."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gancodec.codec.options import Box, DecodeOptions, check_box
from gancodec.errors import UsageError
from gancodec.tiling import Area
from gancodec.types import Geometry

REDUCTIONS = (1, 2, 4, 8)  # pixels a side that may become one

# Told how many tiles are done, and of how many.
Progress = Callable[[int, int], None]


class View(NamedTuple):
    """An area of pixels of the picture, of which every `reduce` x `reduce` become one.

    What is shown are *cells*, the pixels of the picture reduced as a whole: all that the area touches.
    """

    area: Area
    reduce: int = 1

    @classmethod
    def whole(cls, geometry: Geometry, reduce: int = 1) -> View:
        """The view of all of a picture."""
        return cls(Area(0, geometry.height, 0, geometry.width), reduce)

    @property
    def cells(self) -> Area:
        """The cells that the view shows."""
        return self.cells_of(self.area)

    @property
    def touched(self) -> Area:
        """The pixels that these stand for; they may reach beyond the picture."""
        return Area(*(edge * self.reduce for edge in self.cells))

    def cells_of(self, area: Area) -> Area:
        """The cells that an area touches."""
        step = self.reduce
        return Area(area.top // step, -(-area.bottom // step), area.left // step, -(-area.right // step))

    def taken_from(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What the view shows of decoded pixels (H, W) or (H, W, 3), means of those that become one."""
        from PIL import Image

        part = pixels[self.touched.slices()]  # cut to the picture, as reducing takes its edges
        return np.ascontiguousarray(part) if self.reduce == 1 else np.array(Image.fromarray(part).reduce(self.reduce))


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
