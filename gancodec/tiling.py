"""Tiles with a halo: networks with a bounded reach see the same values in a tile as in the whole picture, within
bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Tile(NamedTuple):
    """Half-open pixel boxes (top, bottom, left, right): what to compute, and the part of it to keep."""

    outer: tuple[int, int, int, int]
    inner: tuple[int, int, int, int]


def cover(height: int, width: int, side: int, halo: int) -> Iterator[Tile]:
    """Cover height x width by tiles that keep at most side x side and see `halo` more on each side that has more.

    All boxes lie on multiples of 64 where height, width, side and halo do. Inner boxes partition the picture.
    """
    for top in range(0, height, side):
        for left in range(0, width, side):
            bottom, right = min(top + side, height), min(left + side, width)
            outer = (max(top - halo, 0), min(bottom + halo, height), max(left - halo, 0), min(right + halo, width))
            yield Tile(outer, (top, bottom, left, right))
