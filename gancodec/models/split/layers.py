"""A picture taken apart into the cells that are kept and the rest, and put together again."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gancodec.container.spec import CELL
from gancodec.types import Geometry

Pixels = NDArray[np.uint8]  # (H, W, 3)
Cells = NDArray[np.bool_]  # (h, w), one of 16 x 16 pixels


class Layers(NamedTuple):
    """A picture taken apart: `cells` (h, w), True where salient; `salient`, 16 pixels a cell, and `rest`, 16 / factor
    pixels a cell, in the smallest rectangle that holds their cells, or None where they have none."""

    cells: Cells
    factor: int
    salient: Pixels | None
    rest: Pixels | None


def take_apart(rgb: Pixels, cells: Cells, factor: int) -> Layers:
    """Separate salient from other cells and shrink the latter; edges are repeated up to whole cells.

    Parameters
    ----------
    rgb : (H, W, 3) uint8
    cells : (h, w) bool
    factor : {2, 4, 8, 16}
    """
    whole = padded(rgb)
    return Layers(cells, factor, _filled(whole, cells), _filled(_shrunk(whole, factor), ~cells))


def put_together(layers: Layers, geometry: Geometry) -> Pixels:
    """Undo `take_apart`, in the paper's order. Step 3 is Pillow's bicubic filter (a = -0.5), rounding to 8 bit after
    each direction; measured within 0.03 dB of Lanczos, which overshoots more and needs a sine."""
    from PIL import Image

    cells, factor = layers.cells, layers.factor
    salient = _placed(layers.salient, cells, CELL)
    small = _shrunk(salient, factor)
    small += _placed(layers.rest, ~cells, CELL // factor)
    whole = Image.fromarray(small).resize((salient.shape[1], salient.shape[0]), Image.Resampling.BICUBIC)
    filled = np.where(_grown(cells, CELL)[..., None], salient, np.asarray(whole))
    return np.ascontiguousarray(filled[: geometry.height, : geometry.width])


def _filled(pixels: Pixels, keep: Cells) -> Pixels | None:
    """The smallest rectangle that holds the cells to keep, with others in it filled so that they cost next to nothing.

    They take the mean colour of what is kept, but for those beside a kept cell, which take their own mean: WebP's
    deblocking and its chroma of half resolution mix across borders (measured at equal bytes: 3 dB of the outermost
    pixels of what is kept, 9 dB where colours are strong).
    """
    if not keep.any():
        return None
    side = pixels.shape[0] // keep.shape[0]
    part = window(keep)
    keep, pixels = keep[part], pixels[_times(part, side)]
    means = _shrunk(pixels, side)
    beside = keep.copy()
    beside[1:] |= keep[:-1]
    beside[:-1] |= keep[1:]
    beside[:, 1:] |= keep[:, :-1]
    beside[:, :-1] |= keep[:, 1:]
    means[~beside] = np.rint(means[keep].mean(0))
    return np.where(_grown(keep, side)[..., None], pixels, _grown(means, side))


def _placed(pixels: Pixels | None, keep: Cells, side: int) -> Pixels:
    """A layer of `side` pixels a cell in its place in the whole picture, 0 where it keeps nothing."""
    whole = np.zeros((side * keep.shape[0], side * keep.shape[1], 3), np.uint8)
    if pixels is not None:
        whole[_times(window(keep), side)] = pixels
        whole *= _grown(keep, side)[..., None]
    return whole


def window(keep: Cells) -> tuple[slice, slice]:
    """Rows and columns of the smallest rectangle that holds all cells to keep, of which there are some."""
    rows, columns = (np.flatnonzero(keep.any(axis)) for axis in (1, 0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _times(part: tuple[slice, slice], side: int) -> tuple[slice, slice]:
    rows, columns = (slice(side * s.start, side * s.stop) for s in part)
    return rows, columns


def padded(values: NDArray[Any]) -> NDArray[Any]:
    """Picture or map with its edges repeated up to whole cells."""
    rows, columns = (-side % CELL for side in values.shape[:2])
    return np.pad(values, ((0, rows), (0, columns), *[(0, 0)] * (values.ndim - 2)), mode="edge")


def _shrunk(pixels: Pixels, factor: int) -> Pixels:
    """Means of factor x factor pixels, halves rounded up."""
    from PIL import Image

    return np.array(Image.fromarray(pixels).reduce(factor))


def _grown(cells: NDArray[Any], side: int) -> NDArray[Any]:
    """Values (h, w, ...) of cells as those of their pixels."""
    return cells.repeat(side, 0).repeat(side, 1)
