"""Level map, coarse to fine: each pass predicts its blocks from coded ones on two sides and codes what is left.

A class of 0..7, coded first, says how busy the map is; class 0 is a flat map, which costs one symbol more and nothing
per block.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gancodec.entropy.coder import Coder
from gancodec.errors import CorruptFile
from gancodec.types import IntArray

Places = NDArray[np.int64]
Pass = tuple[Places, Places, tuple[Places, ...], tuple[Places, ...], int]

CLASSES = 8


class LevelRows(NamedTuple):
    """Table rows that a level map is coded under.

    busy : of the class symbol, centred on CLASSES // 2; first : of the first block, centred on half the levels; fine :
    of the finest pass, by class; coarser : rows added per doubling of the distance to the blocks that predict.
    """

    busy: int
    first: int
    fine: tuple[int, ...]
    coarser: int = 2


LOGISTIC = LevelRows(30, 45, (0, 6, 10, 14, 18, 22, 26, 30))
GAUSSIAN = LevelRows(27, 41, (0, 4, 7, 11, 15, 19, 23, 27))  # of about the same deviations


def code_levels(
    coder: Coder, shape: tuple[int, int], count: int, levels: IntArray | None, table: LevelRows = LOGISTIC
) -> IntArray:
    """Code a level map in either direction.

    Parameters
    ----------
    coder : Coder
    shape : (hb, wb)
    count : int
        Levels are 0 .. count - 1.
    levels : (hb, wb) int32 or None
        The map to write; None to read.
    table : LevelRows
        Those of the coder's tables.

    Returns
    -------
    (hb, wb) int32
        CorruptFile where a decoded level is out of range.
    """
    busy = None if levels is None else _busiest_class(levels, count) - CLASSES // 2
    activity = _one(coder, table.busy, busy) + CLASSES // 2
    if not 0 <= activity < CLASSES:
        raise CorruptFile("level map: class out of range")
    grid = np.zeros(shape, np.int32)
    grid[0, 0] = _one(coder, table.first, None if levels is None else int(levels[0, 0]) - count // 2) + count // 2
    for rows, columns, before, after, reach in _passes(shape):
        prediction = (grid[before] + grid[after] + 1) >> 1
        site = np.ix_(rows, columns)
        if activity == 0:
            grid[site] = prediction
            continue
        rows_of = np.full(prediction.size, table.fine[activity] + table.coarser * reach, np.int32)
        wanted = None if levels is None else (levels[site] - prediction).ravel()
        grid[site] = prediction + coder.code(rows_of, wanted).reshape(prediction.shape)
    if grid.min() < 0 or grid.max() >= count:
        raise CorruptFile("level map: level out of range")
    return grid


def _one(coder: Coder, row: int, value: int | None) -> int:
    wanted = None if value is None else np.array([value], np.int32)
    return int(coder.code(np.array([row], np.int32), wanted)[0])


def _passes(
    shape: tuple[int, int],
) -> Iterator[Pass]:
    """Sites of each pass (rows, columns), the coded sites before and after them, and log2 of their distance."""
    height, width = shape
    reach = max(height - 1, width - 1).bit_length()
    while reach > 0:
        reach -= 1
        step = 1 << reach
        rows, columns = _range(0, height, 2 * step), _range(step, width, 2 * step)
        if rows.size and columns.size:
            after = np.where(columns + step < width, columns + step, columns - step)
            yield rows, columns, np.ix_(rows, columns - step), np.ix_(rows, after), reach
        rows, columns = _range(step, height, 2 * step), _range(0, width, step)
        if rows.size and columns.size:
            after = np.where(rows + step < height, rows + step, rows - step)
            yield rows, columns, np.ix_(rows - step, columns), np.ix_(after, columns), reach


def _range(start: int, stop: int, step: int) -> Places:
    return np.arange(start, stop, step, dtype=np.int64)


def _busiest_class(levels: IntArray, count: int) -> int:
    """Class whose scale fits the residuals of the finest passes; 0 only for a map that is flat."""
    if (levels == levels[0, 0]).all():
        return 0
    errors = [
        np.abs(levels[np.ix_(r, c)] - ((levels[b] + levels[a] + 1) >> 1)).ravel()
        for r, c, b, a, _ in _passes(levels.shape)
    ]
    mean = float(np.concatenate(errors).mean())
    # Rows grow by 6 a doubling of the scale; a logistic residual of scale s has a mean magnitude near 1.39 s.
    row = 6 * np.log2(max(mean, 1e-3) / 1.39 / 0.05)
    return 1 + int(np.argmin([abs(row - r) for r in LOGISTIC.fine[1:]]))
