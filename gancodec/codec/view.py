"""What of a picture to decode: a region of it, at a scale."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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
