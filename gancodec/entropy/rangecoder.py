"""Range coder under the frozen tables. The only file that imports constriction, whose failures become our errors
here."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from gancodec.entropy.tables import ESCAPE_CLASSES, ESCAPE_LIMIT, TOTAL, Tables, bit_length, by_row
from gancodec.errors import CorruptFile
from gancodec.types import IntArray

WORD = 4  # bytes


def exact_model(counts: NDArray[np.int64]) -> Any:
    """Model whose probabilities are (count + 1) / 2**24 exactly: counts (K,) that sum to 2**24 - K leave nothing to
    round."""
    return constriction.stream.model.Categorical(counts.astype(np.float64), perfect=False)


def _uniform(size: int) -> Any:
    return exact_model(np.full(size, TOTAL // size - 1, np.int64))


@lru_cache(maxsize=4)
def _models(tables: Tables) -> list[Any]:
    return [exact_model(counts) for counts in tables.counts]


CLASS_MODEL, BIT_MODEL = _uniform(ESCAPE_CLASSES), _uniform(2)


class RangeWriter:
    """Writes symbols under `tables`; see `entropy.coder.Coder`."""

    def __init__(self, tables: Tables) -> None:
        self._tables, self._models = tables, _models(tables)
        self._encoder = constriction.stream.queue.RangeEncoder()

    def code(self, rows: IntArray, symbols: IntArray | None) -> IntArray:
        """Write symbols (N,) under rows (N,); ValueError for a symbol beyond every escape."""
        if symbols is None:
            raise ValueError("a writer needs symbols")
        excess = []
        for row, where in by_row(rows):
            index, escaped = self._tables.indices(row, symbols[where])
            self._encoder.encode(index, self._models[row])
            if escaped.any():
                values = symbols[where][escaped].astype(np.int64)
                excess.append(np.sign(values) * (np.abs(values) - self._tables.radius[row]))
        if excess:
            self._escapes(np.concatenate(excess))
        return symbols

    def _escapes(self, excess: NDArray[np.int64]) -> None:
        """Bit lengths of the magnitudes in one go, then signs and the bits below the leading one."""
        magnitude = np.abs(excess)
        if magnitude.max() >= ESCAPE_LIMIT:
            raise ValueError(f"symbol out of range: {magnitude.max()}")
        length = bit_length(magnitude)
        self._encoder.encode((length - 1).astype(np.int32), CLASS_MODEL)
        bits = [(excess < 0).astype(np.int32)]
        bits += [((magnitude[length > b + 1] >> b) & 1).astype(np.int32) for b in range(ESCAPE_CLASSES - 1)]
        self._encoder.encode(np.concatenate(bits), BIT_MODEL)

    def finish(self) -> bytes:
        """Return the stream, as little-endian 32-bit words."""
        data: bytes = self._encoder.get_compressed().astype("<u4").tobytes()
        return data


class RangeReader:
    """Reads symbols under `tables` from `data`; CorruptFile for streams that cannot be."""

    def __init__(self, tables: Tables, data: bytes) -> None:
        if len(data) % WORD:
            raise CorruptFile(f"range-coded stream of {len(data)} bytes: not whole words")
        self._tables, self._models = tables, _models(tables)
        self._data = data
        self._decoder = constriction.stream.queue.RangeDecoder(np.frombuffer(data, "<u4").astype(np.uint32))
        self._mirror = constriction.stream.queue.RangeEncoder()

    def code(self, rows: IntArray, symbols: IntArray | None = None) -> IntArray:
        """Read N symbols under rows (N,)."""
        result = np.zeros(len(rows), np.int64)
        escapes = []
        for row, where in by_row(rows):
            index = self._decode(self._models[row], len(where))
            radius = int(self._tables.radius[row])
            result[where] = index - radius
            escaped = where[index == 2 * radius + 1]
            if escaped.size:
                escapes.append((escaped, radius))
        if escapes:
            excess = self._escapes(sum(len(places) for places, _ in escapes))
            for places, radius in escapes:
                mine, excess = excess[: len(places)], excess[len(places) :]
                result[places] = mine + np.sign(mine) * radius
        return result.astype(np.int32)

    def _escapes(self, count: int) -> NDArray[np.int64]:
        length = self._decode(CLASS_MODEL, count) + 1
        bits = self._decode(BIT_MODEL, count + int((length - 1).sum()))
        negative, bits = bits[:count], bits[count:]
        magnitude = np.left_shift(1, length - 1)
        for b in range(ESCAPE_CLASSES - 1):
            places = np.flatnonzero(length > b + 1)
            magnitude[places] |= bits[: len(places)] << b
            bits = bits[len(places) :]
        return np.where(negative == 1, -magnitude, magnitude)

    def _decode(self, model: Any, count: int) -> NDArray[np.int64]:
        if count == 0:
            return np.zeros(0, np.int64)
        try:
            index = np.asarray(self._decoder.decode(model, count))
        except (KeyboardInterrupt, SystemExit, MemoryError):
            raise
        except BaseException as error:  # a panic of constriction's Rust core is no Exception
            raise CorruptFile("range-coded stream is damaged") from error
        self._mirror.encode(index, model)
        return index.astype(np.int64)

    def finish(self) -> bytes:
        """Check that the stream is what a writer would have written.

        The decoder itself takes cut, continued and most damaged streams without a word; writing again what was read
        costs little and leaves no doubt.
        """
        if self._mirror.get_compressed().astype("<u4").tobytes() != self._data:
            raise CorruptFile("entropy-coded stream is damaged, cut or followed by junk")
        return b""
