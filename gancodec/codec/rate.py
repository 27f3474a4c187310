"""Rate control: find n for a size. Knows no model, only a function from n to bytes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

TOLERANCE = 0.01  # a file within 1 % below the target is a hit
AIM = 0.996  # where in that window to aim: most of the room left for what the curve gets wrong
MAX_PROBES = 8
STUCK = 0.02  # between the n on both sides of the target: closer, and sizes jump from one to the other
LAST_PROBES, LAST_EXCESS = 2, 0.03  # what is left of the probes goes to trimming a file at most so far above the target
END_EXCESS = 0.15  # the same at the largest n, beyond which there is nothing but trimming
TRIM_EFFECT = 0.0006  # of log size, for a trim of 1: where the secant starts
WORDS = 8  # bytes: range-coded streams grow by whole words, so this close to a target is as near as it gets


class Found(NamedTuple):
    """Best n and trim, their size in bytes, the sizes tried, and whether the size is at most the target and within
    tolerance below it."""

    n: float
    size: int
    probes: int
    hit: bool
    trim: int = 0


def search(
    size_of: Callable[[float], int],
    target: int,
    guess: float,
    slope: float,
    bounds: tuple[float, float],
    fixed: int = 0,
    trimmed: Callable[[float, int], int] | None = None,
) -> Found:
    """Find n so that size_of(n) is within 1 % below `target`.

    Safeguarded secant in log rate; the sizes need not be monotone in n. Of the sizes tried the largest not above the
    target wins, or the smallest of all where every one is above. Where the sizes jump over the target, and where the
    search is long and came near, the probes that are left go to trimming the file next above it.

    Parameters
    ----------
    size_of : callable
        n to bytes of the whole file. Called at most MAX_PROBES times.
    target : int
        Bytes that the file must not exceed.
    guess, slope : float
        First n, and d log(size) / d n of the fitted tunability curve (negative).
    bounds : (float, float)
        Smallest and largest n.
    fixed : int
        Bytes that do not depend on n (metadata, alpha), so that the curve is fitted to the rest.
    trimmed : callable, optional
        n and a trim 1, 2, ... to bytes: the larger, the smaller than at n alone, by about TRIM_EFFECT each.
    """
    low, high = bounds
    tried: dict[float, int] = {}
    n = min(max(guess, low), high)
    while len(tried) < MAX_PROBES and not (trimmed and _time_to_trim(tried, target, bounds)):
        tried[n] = size_of(n)
        if _is_hit(tried[n], target) or _at_the_end(n, tried, target, bounds):
            break
        n = _next(tried, target, slope, bounds, fixed)
        if n in tried:  # the curve sent us where we have been: look beside the best
            n = _beside(n, tried, bounds)
    within = {n: size for n, size in tried.items() if size <= target}
    best = max(within, key=within.__getitem__) if within else min(tried, key=tried.__getitem__)
    found = Found(best, tried[best], len(tried), _is_hit(tried[best], target))
    if found.hit or trimmed is None or not _time_to_trim(tried, target, bounds):
        return found
    size, n = min((size, -n) for n, size in tried.items() if size > target)
    return _trim(found, -n, size, trimmed, target, fixed)


def _time_to_trim(tried: dict[float, int], target: int, bounds: tuple[float, float]) -> bool:
    """Whether sizes jump over the target between two n next to each other, or the search is long and a file is near."""
    if any(_is_hit(size, target) for size in tried.values()):
        return False
    above = max((n for n, size in tried.items() if size > target), default=-math.inf)
    below = min((n for n, size in tried.items() if size <= target), default=math.inf)
    excess = min((size for size in tried.values() if size > target), default=math.inf) / max(target, 1) - 1
    late = len(tried) >= MAX_PROBES - LAST_PROBES
    at_end = above == bounds[1] and below == math.inf
    return 0 < below - above < STUCK or (late and excess <= LAST_EXCESS) or (at_end and excess <= END_EXCESS)


def _trim(found: Found, n: float, size: int, trimmed: Callable[[float, int], int], target: int, fixed: int) -> Found:
    """Trim the file at n, a little above the target, until it hits or no probe is left: secant in log size."""
    probes, effect = found.probes, TRIM_EFFECT
    excess = math.log(max(size - fixed, 1)) - math.log(max(target * AIM - fixed, 1.0))
    tried: set[int] = set()
    while probes < MAX_PROBES and not found.hit:
        trim = max(round(excess / effect), 1)
        while trim in tried:
            trim += 1
        tried.add(trim)
        probes += 1
        smaller = trimmed(n, trim)
        if _better(smaller, found.size, target):
            found = Found(n, smaller, probes, _is_hit(smaller, target), trim)
        effect = max(math.log(max(size - fixed, 1) / max(smaller - fixed, 1)) / trim, effect / 4)
    return found._replace(probes=probes)


def _better(size: int, best: int, target: int) -> bool:
    """The largest within the target wins, else the smallest."""
    return size < best if best > target else best < size <= target


def _is_hit(size: int, target: int) -> bool:
    # A target in whole bytes may stand for a rate of almost one byte more: within 1 % of that, too.
    return (1 - TOLERANCE) * (target + 1) <= size <= target


def _at_the_end(n: float, tried: dict[float, int], target: int, bounds: tuple[float, float]) -> bool:
    """Whether n is a bound that the target lies clearly beyond (tiny files grow by words and may still dip below)."""
    largest, smallest = max(tried.values()), min(tried.values())
    return (n == bounds[0] and tried[n] == largest <= target) or (
        n == bounds[1] and tried[n] == smallest > target + WORDS
    )


def _beside(n: float, tried: dict[float, int], bounds: tuple[float, float]) -> float:
    """Middle of the wider gap between n and what was tried on its two sides."""
    left = max((t for t in tried if t < n), default=bounds[0])
    right = min((t for t in tried if t > n), default=bounds[1])
    return (left + n) / 2 if n - left > right - n else (n + right) / 2


def _next(tried: dict[float, int], target: int, slope: float, bounds: tuple[float, float], fixed: int) -> float:
    """Interpolate log size between the closest misses on both sides; extrapolate from one side where there is no
    other."""
    last_chance = len(tried) == MAX_PROBES - 1
    above = [(n, size) for n, size in tried.items() if size > target]
    below = [(n, size) for n, size in tried.items() if size <= target]
    if last_chance and not below:
        return bounds[1]  # nothing fits so far: the smallest file is the safest probe left
    aim = math.log(max(target * AIM - fixed, 1.0))
    points = [(n, math.log(max(size - fixed, 1))) for n, size in (*above, *below)]
    # of files of one size the one farthest along, or the step from the first leads to the second for ever
    near = min(points, key=lambda p: (abs(p[1] - aim), -p[0] if p[1] > aim else p[0]))
    if above and below:
        a, b = max(above), min(below)  # the tightest bracket if sizes fall with n
        if a[0] < b[0]:
            low, high = (a[0], math.log(max(a[1] - fixed, 1))), (b[0], math.log(max(b[1] - fixed, 1)))
            share = (low[1] - aim) / (low[1] - high[1]) if low[1] > high[1] else 0.5
            return low[0] + (high[0] - low[0]) * min(max(share, 0.08), 0.92)
    n = near[0] + (aim - near[1]) / slope
    if len(tried) > 2 and not (above and below):
        n += (n - near[0]) * 0.5  # the curve is wrong here: stride out
    return min(max(n, bounds[0]), bounds[1])
