"""Find the quality setting whose file is nearest to a size. Knows no codec, only places on a ladder of settings."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

TOLERANCE = 0.02  # matched: within 2 % of the size asked for
CLOSE = 0.005  # near enough to stop looking


class Place(NamedTuple):
    """A place on the ladder: "yes" if its file is within 2 %, "nearest" if the steps are too coarse for that, "no"
    where the size is beyond an end of the ladder."""

    place: int
    reached: str


def match(size_at: Callable[[int], int], places: int, size: int, sizes: dict[int, int]) -> Place:
    """Search a ladder of settings whose files grow.

    Interpolation in log size, with a bisection every third step. Sizes need not be quite monotone: of all that were
    seen, the nearest wins.

    Parameters
    ----------
    size_at : callable
        Place 0 .. places - 1 to bytes.
    size : int
        Bytes wanted.
    sizes : dict of int to int
        What is known already; grows.
    """

    def look(place: int) -> int:
        if place not in sizes:
            sizes[place] = size_at(place)
        return sizes[place]

    if not sizes:
        look(places // 4)
    low, high = _bracket(look, places, size, sizes)
    step = 0
    while high - low > 1 and not _off(size, sizes) <= CLOSE:
        step += 1
        middle = (low + high) // 2
        if step % 3:
            middle = min(max(_between(low, high, size, sizes), low + 1), high - 1)
        if look(middle) <= size:
            low = middle
        else:
            high = middle
    nearest = min(sizes, key=lambda place: (abs(math.log(sizes[place] / size)), place))
    if _off(size, sizes) <= TOLERANCE:
        return Place(nearest, "yes")
    return Place(nearest, "no" if size < min(sizes.values()) or size > max(sizes.values()) else "nearest")


def _bracket(look: Callable[[int], int], places: int, size: int, sizes: dict[int, int]) -> tuple[int, int]:
    """Neighbouring known places around the size; both the same where it lies beyond an end."""
    stride = max(places // 16, 1)
    while not any(s > size for s in sizes.values()):
        if max(sizes) == places - 1:
            return places - 1, places - 1
        look(min(max(sizes) + stride, places - 1))
        stride *= 2
    stride = max(places // 16, 1)
    while not any(s <= size for s in sizes.values()):
        if min(sizes) == 0:
            return 0, 0
        look(max(min(sizes) - stride, 0))
        stride *= 2
    low = max(place for place, s in sizes.items() if s <= size)
    high = min((place for place, s in sizes.items() if s > size and place > low), default=low)
    return low, high


def _off(size: int, sizes: dict[int, int]) -> float:
    return min(abs(s / size - 1) for s in sizes.values())


def _between(low: int, high: int, size: int, sizes: dict[int, int]) -> int:
    a, b = math.log(sizes[low]), math.log(sizes[high])
    return low + round((high - low) * (math.log(size) - a) / (b - a)) if b > a else (low + high) // 2
