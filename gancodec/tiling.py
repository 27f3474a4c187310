"""Areas, tiles and views of a picture.

Tiles have a halo: networks with a bounded reach see the same values in a tile as in the whole picture, within bounded
memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import EllipsisType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gancodec.types import Geometry


class Area(NamedTuple):
    """Half-open box of pixels."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def geometry(self) -> Geometry:
        """Of the area as a picture of its own."""
        return Geometry(width=self.right - self.left, height=self.bottom - self.top)

    def slices(self, stride: int = 1) -> tuple[slice, slice]:
        """Rows and columns of a grid with a site every `stride` pixels; the box lies on multiples of `stride`."""
        rows, columns = ((a // stride, b // stride) for a, b in ((self.top, self.bottom), (self.left, self.right)))
        return slice(*rows), slice(*columns)

    def sites(self, stride: int) -> tuple[EllipsisType, slice, slice]:
        """The same, of the last two axes of an array."""
        return (..., *self.slices(stride))

    def seen_from(self, other: Area) -> Area:
        """The same box in coordinates that start at the corner of `other`."""
        return Area(self.top - other.top, self.bottom - other.top, self.left - other.left, self.right - other.left)

    def common(self, other: Area) -> Area | None:
        """What both boxes cover; None where that is nothing."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        bottom, right = min(self.bottom, other.bottom), min(self.right, other.right)
        return Area(top, bottom, left, right) if top < bottom and left < right else None

    def grown(self, step: int) -> Area:
        """The smallest box on multiples of `step` that holds this one."""
        return Area(
            self.top // step * step,
            -(-self.bottom // step) * step,
            self.left // step * step,
            -(-self.right // step) * step,
        )


class Tile(NamedTuple):
    """What to compute, and the part of it to keep."""

    outer: Area
    inner: Area


def cover(height: int, width: int, side: int, halo: int, part: Area | None = None) -> Iterator[Tile]:
    """Cover height x width, or `part` of it, by tiles that keep at most side x side and see `halo` more on each side
    that has more.

    Row by row from the top. All boxes lie on multiples of 64 where the arguments do. Inner boxes partition the part.
    """
    part = part or Area(0, height, 0, width)
    for top in range(part.top, part.bottom, side):
        for left in range(part.left, part.right, side):
            inner = Area(top, min(top + side, part.bottom), left, min(left + side, part.right))
            outer = Area(
                max(inner.top - halo, 0),
                min(inner.bottom + halo, height),
                max(inner.left - halo, 0),
                min(inner.right + halo, width),
            )
            yield Tile(outer, inner)


# Told how much is done, and of how much (tiles, or percent); that is 0 where it is not known yet.
Progress = Callable[[int, int], None]


class Stages:
    """Progress through about `count` stages of equal weight, in percent, from that of the stage at hand."""

    def __init__(self, told: Progress | None, count: int) -> None:
        self._told, self._count, self._ended = told, count, 0

    def __call__(self, done: int, total: int) -> None:
        if self._told is not None:
            self._told(min(int(100 * (self._ended + done / total) / self._count), 100), 100)

    def end(self) -> None:
        """The stage at hand is done."""
        self(1, 1)
        self._ended += 1


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
