"""Frozen values that cross rooms. Shapes: H W pixels, h w latent grid (1/16), hb wb blocks (1/64), K channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

LATENT_STRIDE = 16  # pixels per latent site
BLOCK = 64  # pixels per importance level

SITES = BLOCK // LATENT_STRIDE  # latent sites along the side of a block

IntArray = NDArray[np.int32]
FloatArray = NDArray[np.float32]
Pixels = NDArray[np.uint8]  # (H, W, 3), RGB
Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True)
class Geometry:
    """Size of a picture and of the grids that follow from it (edges are padded up to multiples of 64)."""

    width: int
    height: int

    @property
    def padded(self) -> tuple[int, int]:
        """(height, width) in pixels after padding."""
        return -(-self.height // BLOCK) * BLOCK, -(-self.width // BLOCK) * BLOCK

    @property
    def latent(self) -> tuple[int, int]:
        """(h, w) of the latent grid, 1/16 of the padded size."""
        height, width = self.padded
        return height // LATENT_STRIDE, width // LATENT_STRIDE

    @property
    def blocks(self) -> tuple[int, int]:
        """(hb, wb) of the level map, 1/64 of the padded size."""
        height, width = self.padded
        return height // BLOCK, width // BLOCK


class Plane(NamedTuple):
    """Values on a grid over a picture: an array (..., rows, columns), and the pixels a side that one value stands for.

    A codec hands any number of planes to tiles and generator, of any strides that divide 64.
    """

    values: NDArray[Any]
    stride: int


Planes = tuple[Plane, ...]


@dataclass(frozen=True, eq=False)
class Picture:
    """A displayable picture: orientation applied, 8-bit RGB, alpha apart.

    Attributes
    ----------
    rgb : (H, W, 3) uint8
        In the colour space of `icc`, or sRGB where that is None.
    alpha : (H, W) uint8 or None
        None where every pixel is opaque.
    icc, exif, xmp : bytes or None
        As stored in the source; EXIF orientation is 1 (already applied).
    notices : tuple of str
        What was dropped or changed on reading, one line each, for the user.
    comment : str or None
        Note on synthesised detail, for formats that have a place for one.
    gray : bool
        To be shown with one channel of colour: R = G = B in every pixel, as in the source.
    """

    rgb: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    notices: tuple[str, ...] = ()
    comment: str | None = None
    gray: bool = False

    @property
    def geometry(self) -> Geometry:
        """Width and height with the grids that follow from them."""
        return Geometry(width=self.rgb.shape[1], height=self.rgb.shape[0])


def is_gray(rgb: Pixels) -> bool:
    """Is R = G = B in every pixel?"""
    return all((row[:, 1:] == row[:, :1]).all() for row in rgb)


def per_site(blocks: NDArray[Number]) -> NDArray[Number]:
    """Values of blocks (hb, wb, ...) as those of their latent sites (h, w, ...)."""
    return blocks.repeat(SITES, 0).repeat(SITES, 1)
