"""Frozen frequency tables: checked on loading, indexed by row, and the rule that turns weights into counts that sum
exactly."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gancodec.errors import CorruptTable
from gancodec.types import IntArray

TOTAL = 1 << 24  # probabilities are (count + 1) / TOTAL
ESCAPE_CLASSES = 16  # an escaped value v codes the bit length of |v| - radius, 1 .. 16
ESCAPE_LIMIT = 1 << ESCAPE_CLASSES

Arrays = dict[str, NDArray[Any]]  # by name, as weights files have them


class Tables:
    """Symbol probabilities by row.

    A row of radius r covers the values -r .. r and, last, an escape: 2 r + 2 counts that are at least 0 and sum to
    2**24 - (2 r + 2), so that p = (count + 1) / 2**24 is exact in floating point.

    Parameters
    ----------
    radius : (T,) int32
    counts : (sum over rows of 2 * radius + 2,) int64
        Rows one after the other. CorruptTable where a rule is broken.
    """

    def __init__(self, radius: IntArray, counts: NDArray[np.int64]) -> None:
        if radius.ndim != 1 or counts.ndim != 1 or not len(radius) or radius.min() < 0 or radius.max() >= ESCAPE_LIMIT:
            raise CorruptTable("tables: bad shape or radius")
        sizes = 2 * radius.astype(np.int64) + 2
        if sizes.sum() != len(counts):
            raise CorruptTable("tables: counts do not fit the radii")
        self.radius = radius.astype(np.int64)
        self.counts = np.split(counts, np.cumsum(sizes)[:-1])
        for row, count in enumerate(self.counts):
            # The largest is checked too, for a sum that wraps around could come out right.
            if count.min() < 0 or count.max() > TOTAL or count.sum() != TOTAL - len(count):
                raise CorruptTable(f"table {row}: counts must be at least 0 and sum to 2**24 - {len(count)}")

    def __len__(self) -> int:
        return len(self.counts)

    def bits(self, rows: IntArray, symbols: IntArray) -> NDArray[np.float64]:
        """Ideal code length in bits of N symbols under rows (N,), escapes included."""
        result = np.zeros(len(rows))
        for row, where in by_row(rows):
            index, escaped = self.indices(row, symbols[where])
            result[where] = 24 - np.log2(self.counts[row][index] + 1.0)
            excess = np.abs(symbols[where][escaped].astype(np.int64)) - self.radius[row]
            result[where[escaped]] += np.log2(ESCAPE_CLASSES) + bit_length(excess)
        return result

    def indices(self, row: int, symbols: IntArray) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Position of each value in its row's table, and which values are escaped."""
        radius = int(self.radius[row])
        values = symbols.astype(np.int64)
        escaped = np.abs(values) > radius
        return np.where(escaped, 2 * radius + 1, values + radius).astype(np.int32), escaped


def by_row(rows: IntArray) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Each row that occurs, ascending, with the places where it does, in order."""
    order = np.argsort(rows, kind="stable")
    starts = np.flatnonzero(np.diff(rows[order], prepend=-1))
    for start, end in zip(starts, np.append(starts, len(rows))[1:], strict=False):
        yield int(rows[order[start]]), order[start:end]


def bit_length(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bit length of each number in 1 .. 2**53: `frexp` is exact there, where a logarithm might round."""
    return np.frexp(values.astype(np.float64))[1].astype(np.int64)


def fit_counts(weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """Non-negative weights (K,) to counts (K,) that sum to 2**24 - K: largest remainders, ties to the lower place.

    ValueError where the weights are negative, not finite, or all 0.
    """
    if not np.isfinite(weights).all() or weights.min() < 0 or weights.sum() <= 0:
        raise ValueError("weights must be finite, at least 0, and not all 0")
    room = TOTAL - len(weights)
    exact = weights / weights.sum() * room
    counts = np.floor(exact).astype(np.int64)
    order = np.argsort(counts - exact, kind="stable")
    counts[order[: room - int(counts.sum())]] += 1
    result: NDArray[np.int64] = counts
    return result


def entropy_hash(arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    """First 8 bytes of SHA-256 over the integer arrays in canonical order: what a file's header must match."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        little = array.astype(array.dtype.newbyteorder("<"))
        digest.update(f"{name}:{little.dtype.str}:{little.shape};".encode())
        digest.update(little.tobytes())
    return digest.digest()[:8]


class IntegerModel:
    """Everything that decides a bit, as frozen integers: frequency tables by row, what a model adds to them, and the
    hash that a file's header must match.

    Parameters
    ----------
    arrays : mapping of str to integer arrays
        As weights files have them. CorruptTable where something is amiss.
    """

    def __init__(self, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        if any(a.dtype.kind not in "iu" for a in arrays.values()):
            raise CorruptTable("entropy arrays must be integers")
        self.hash = entropy_hash(arrays)
        self.tables = Tables(arrays["tables.radius"].astype(np.int32), arrays["tables.counts"].astype(np.int64))
