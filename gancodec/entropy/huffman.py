"""Canonical static Huffman coder under the same frozen tables (the paper's entropy coder, ``--entropy huffman``).

A Huffman code spends at least one bit a symbol, and most symbols here are zeros that carry far less. So rows where 0
is likelier than everything else together code the length of the run of zeros before each other value, as the paper's
termination code does for masked symbols. All codes follow from the integer counts alone.
"""

from __future__ import annotations

import heapq
from array import array
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gancodec.entropy.tables import ESCAPE_LIMIT, TOTAL, Tables, bit_length, by_row
from gancodec.errors import CorruptFile
from gancodec.types import IntArray

WINDOW = 16  # bits that one look-up resolves
MAX_LENGTH = 32  # longest code
MAX_RUN = 1024  # longest run of zeros that one code word spans


class Code(NamedTuple):
    """A canonical code over places 0 .. K-1: code words, their lengths, and the decoder's look-up of the next WINDOW
    bits.

    `lookup` knows words of up to WINDOW bits, `long` the others.
    """

    words: NDArray[np.int64]
    lengths: NDArray[np.int64]
    lookup: list[int]  # place * 64 + length, or -1
    long: dict[tuple[int, int], int]  # (length, word) to place


class RowCode(NamedTuple):
    """How one row is coded: `values` over its table; `runs` over 0 .. R, or None where zeros are not that likely."""

    values: Code
    runs: Code | None
    longest: int


def code_lengths(weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """Huffman code lengths of positive integer weights, ties to the earlier place; at most MAX_LENGTH bits."""
    while True:
        lengths = _huffman_lengths(weights)
        if lengths.max() <= MAX_LENGTH:
            return lengths
        weights = (weights >> 2) + 1  # flatten until the longest code fits


def _huffman_lengths(weights: NDArray[np.int64]) -> NDArray[np.int64]:
    count = len(weights)
    if count == 1:
        return np.ones(1, np.int64)
    heap = [(int(w), i) for i, w in enumerate(weights)]
    heapq.heapify(heap)
    parent = [0] * (2 * count - 1)
    for node in range(count, 2 * count - 1):
        (a, i), (b, j) = heapq.heappop(heap), heapq.heappop(heap)
        parent[i] = parent[j] = node
        heapq.heappush(heap, (a + b, node))
    depth = [0] * (2 * count - 1)
    for node in range(2 * count - 3, -1, -1):
        depth[node] = depth[parent[node]] + 1
    return np.array(depth[:count], np.int64)


def canonical(weights: NDArray[np.int64]) -> Code:
    """Canonical code of positive integer weights: words ascend with (length, place)."""
    lengths = code_lengths(weights)
    words = np.zeros(len(lengths), np.int64)
    lookup = [-1] * (1 << WINDOW)
    long: dict[tuple[int, int], int] = {}
    word, last = 0, 0
    for place in np.lexsort((np.arange(len(lengths)), lengths)).tolist():
        length = int(lengths[place])
        word <<= length - last
        words[place], last = word, length
        if length <= WINDOW:
            start = word << (WINDOW - length)
            lookup[start : start + (1 << (WINDOW - length))] = [place * 64 + length] * (1 << (WINDOW - length))
        else:
            long[length, word] = place
        word += 1
    return Code(words, lengths, lookup, long)


def _row_code(counts: NDArray[np.int64]) -> RowCode:
    frequency = counts + 1
    zero = (len(frequency) - 2) // 2
    likely = int(frequency[zero])
    if 2 * likely <= TOTAL:
        return RowCode(canonical(frequency), None, 0)
    others = frequency.copy()
    others[zero] = 0
    longest = 2
    while longest < MAX_RUN and 4 * likely**longest > TOTAL**longest:
        longest *= 2
    weights, power = [], 1 << 40  # P(0)**r in fixed point, by integers alone
    for _ in range(longest):
        weights.append(max(1, power * (TOTAL - likely) >> 24))
        power = power * likely >> 24
    weights.append(max(1, power))
    present = np.flatnonzero(others)
    code = canonical(others[present])
    words, lengths = np.zeros(len(others), np.int64), np.zeros(len(others), np.int64)
    words[present], lengths[present] = code.words, code.lengths
    lookup = [-1 if v < 0 else int(present[v >> 6]) * 64 + (v & 63) for v in code.lookup]
    values = Code(words, lengths, lookup, {k: int(present[v]) for k, v in code.long.items()})
    return RowCode(values, canonical(np.array(weights, np.int64)), longest)


@lru_cache(maxsize=256)
def _cached(tables: Tables, row: int) -> RowCode:
    return _row_code(tables.counts[row])


class HuffmanWriter:
    """Writes symbols under `tables`; see `entropy.coder.Coder`."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._words: list[NDArray[np.int64]] = []
        self._lengths: list[NDArray[np.int64]] = []

    def code(self, rows: IntArray, symbols: IntArray | None) -> IntArray:
        """Write symbols (N,) under rows (N,); ValueError for a symbol beyond every escape."""
        if symbols is None:
            raise ValueError("a writer needs symbols")
        excess = []
        for row, where in by_row(rows):
            index, escaped = self._tables.indices(row, symbols[where])
            self._put_row(_cached(self._tables, row), index.astype(np.int64), int(self._tables.radius[row]))
            values = symbols[where][escaped].astype(np.int64)
            excess.append(np.sign(values) * (np.abs(values) - self._tables.radius[row]))
        if excess:
            self._escapes(np.concatenate(excess))
        return symbols

    def _put_row(self, code: RowCode, index: NDArray[np.int64], zero: int) -> None:
        if code.runs is None:
            self._put(code.values.words[index], code.values.lengths[index])
            return
        places = np.flatnonzero(index != zero)
        gaps = np.diff(places, prepend=-1) - 1
        tail = len(index) - (int(places[-1]) + 1 if places.size else 0)
        # Interleave: for each value its full runs, the rest of the run, the value; then full runs for the tail.
        full, rest = np.divmod(gaps, code.longest)
        starts = np.cumsum(full + 2) - (full + 2)
        total = int((full + 2).sum())
        run_words = np.full(total, code.runs.words[code.longest])
        run_lengths = np.full(total, code.runs.lengths[code.longest])
        run_words[starts + full], run_lengths[starts + full] = code.runs.words[rest], code.runs.lengths[rest]
        value = index[places]
        run_words[starts + full + 1], run_lengths[starts + full + 1] = (
            code.values.words[value],
            code.values.lengths[value],
        )
        self._put(run_words, run_lengths)
        ends = -(-tail // code.longest)  # the reader knows how many symbols there are: the last run may overshoot
        self._put(np.full(ends, code.runs.words[code.longest]), np.full(ends, code.runs.lengths[code.longest]))

    def _escapes(self, excess: NDArray[np.int64]) -> None:
        if not excess.size:
            return
        magnitude = np.abs(excess)
        if magnitude.max() >= ESCAPE_LIMIT:
            raise ValueError(f"symbol out of range: {magnitude.max()}")
        length = bit_length(magnitude) - 1  # bits below the leading one
        fixed = (length << 1) | (excess < 0)
        word = (fixed << length) | (magnitude - (1 << length))
        self._put(word, length + 5)

    def _put(self, words: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
        self._words.append(words)
        self._lengths.append(lengths)

    def finish(self) -> bytes:
        """Return the stream, padded with zero bits to a whole byte."""
        if not self._words:
            return b""
        words, lengths = np.concatenate(self._words), np.concatenate(self._lengths)
        ends = np.cumsum(lengths)
        owner = np.repeat(np.arange(len(words)), lengths)
        below = np.repeat(ends, lengths) - 1 - np.arange(int(ends[-1]) if len(ends) else 0)
        return np.packbits(((words[owner] >> below) & 1).astype(np.uint8)).tobytes()


class HuffmanReader:
    """Reads symbols under `tables` from `data`; CorruptFile for streams that cannot be."""

    def __init__(self, tables: Tables, data: bytes) -> None:
        self._tables = tables
        self._size = 8 * len(data)
        padded = np.frombuffer(data + bytes(8), np.uint8).astype(np.uint32)
        three = (padded[:-2] << 16) | (padded[1:-1] << 8) | padded[2:]
        # The next WINDOW bits from every bit position on, so that one look-up replaces any shifting.
        windows = (three[:, None] >> np.arange(8, 0, -1, dtype=np.uint32)).astype(np.uint16)
        self._windows = array("H", windows.tobytes())  # a list would take 20 times the memory
        self._position = 0

    def code(self, rows: IntArray, symbols: IntArray | None = None) -> IntArray:
        """Read N symbols under rows (N,)."""
        result = np.zeros(len(rows), np.int32)
        for row, where in by_row(rows):
            code, radius = _cached(self._tables, row), int(self._tables.radius[row])
            index = self._runs(code, len(where), radius) if code.runs else self._plain(code.values, len(where))
            result[where] = np.array(index, np.int64) - radius
        escape = result == self._tables.radius[rows] + 1
        for row, where in by_row(rows):
            for place in where[escape[where]].tolist():
                excess = self._escape()
                radius = int(self._tables.radius[row])
                result[place] = excess + radius if excess > 0 else excess - radius
        return result

    def _plain(self, code: Code, count: int) -> list[int]:
        return [self._next(code) for _ in range(count)]

    def _runs(self, code: RowCode, count: int, zero: int) -> list[int]:
        result = [zero] * count
        place = 0
        while place < count:
            run = self._next(code.runs)  # type: ignore[arg-type]
            place += run
            if run < code.longest:
                if place >= count:
                    raise CorruptFile("Huffman stream is damaged: a run of zeros leaves its row")
                result[place] = self._next(code.values)
                place += 1
        return result

    def _next(self, code: Code) -> int:
        position = self._position
        if position >= self._size:
            raise CorruptFile("Huffman stream is cut")
        found = code.lookup[self._windows[position]]
        if found >= 0:
            self._position = position + (found & 63)
            return found >> 6
        return self._next_long(code)

    def _next_long(self, code: Code) -> int:
        word = self._windows[self._position]
        for length in range(WINDOW + 1, MAX_LENGTH + 1):
            word = (word << 1) | self._bit(self._position + length - 1)
            place = code.long.get((length, word))
            if place is not None:
                self._position += length
                return place
        raise CorruptFile("Huffman stream is damaged: no such code word")

    def _bit(self, position: int) -> int:
        if position >= self._size:
            raise CorruptFile("Huffman stream is cut")
        return self._windows[position] >> (WINDOW - 1)

    def _escape(self) -> int:
        bits = [self._bit(self._position + i) for i in range(5)]
        length = bits[0] << 3 | bits[1] << 2 | bits[2] << 1 | bits[3]
        magnitude = 1
        for i in range(length):
            magnitude = magnitude << 1 | self._bit(self._position + 5 + i)
        self._position += 5 + length
        return -magnitude if bits[4] else magnitude

    def finish(self) -> bytes:
        """Check that the stream ends here, padded with zero bits."""
        left = self._size - self._position
        if not 0 <= left < 8 or (left and self._windows[self._position] >> (WINDOW - left)):
            raise CorruptFile("Huffman stream is damaged, cut or followed by junk")
        return b""
