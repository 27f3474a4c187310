"""Symbol order of wu2019: channel after channel from the bottom up, each in rows from the top, masked sites left out.

How we read section 3.1 of Wu, Huang and Shen, which leaves it open: eq. 3 masks a site from some channel on, so the
first masked channel of a site holds a *termination code*, and nothing follows it there. A decoder learns the importance
matrix from these codes alone. Sites that are on in every channel need none.

Legend: K channels, h w grid at 1/8, N sites that are still on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gancodec.entropy.coder import Coder, Ints, OnSymbols
from gancodec.entropy.tables import IntegerModel
from gancodec.errors import CorruptFile, CorruptTable
from gancodec.models.wu2019.config import STRIDE
from gancodec.types import IntArray, Plane

END = 0  # the termination code; as the likeliest symbol of most rows it is the one that Huffman codes by runs
SYMBOLS = np.array([-2, -1, 1, 2])  # of the values 0 .. 3
NEIGHBOURS = 5  # contexts by how many of the eight sites around are still on
CONTEXTS = NEIGHBOURS * len(SYMBOLS)


class Symbols(NamedTuple):
    """z and where it is on: `depth` (h, w) int32, channels that are on (0 .. K); `z` (K, h, w) int32 in 0 .. 3, 0 in
    the others."""

    depth: IntArray
    z: IntArray

    @property
    def grids(self) -> tuple[Plane, ...]:
        """The arrays, with their stride."""
        return Plane(self.depth, STRIDE), Plane(self.z, STRIDE)


class PlaneModel(IntegerModel):
    """K and the frequency tables.

    Rows of the tables: 0 is not used; then K x CONTEXTS rows for the range coder, whose probabilities know the channel,
    the value below and the sites around; then K rows for the Huffman coder: static, and knowing the channel alone.
    """

    def __init__(self, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        super().__init__(arrays)
        self.channels = int(arrays["channels"][0])
        if len(self.tables) != row_count(self.channels):
            raise CorruptTable(f"{len(self.tables)} tables, not {row_count(self.channels)}")

    def rows(self, channel: int, below: Ints, on: NDArray[np.bool_], context: bool) -> Ints:
        """Table rows (h, w) of a channel: `below` (h, w) are the values of the channel below, `on` (h, w) is where it
        was on. Both are all that is known of the first channel: nothing."""
        if not context:
            return np.full(on.shape, 1 + self.channels * CONTEXTS + channel)
        first = 1 + channel * CONTEXTS
        return np.full(on.shape, first) if channel == 0 else first + around(on) // 2 * len(SYMBOLS) + below


def row_count(channels: int) -> int:
    """Tables of a model with K channels."""
    return 1 + channels * (CONTEXTS + 1)


def around(on: NDArray[np.bool_]) -> Ints:
    """How many of the eight sites around each one (h, w) are on; those outside are not."""
    height, width = on.shape
    padded = np.pad(on.astype(np.int64), 1)
    total = -padded[1:-1, 1:-1]
    for y in range(3):
        for x in range(3):
            total = total + padded[y : y + height, x : x + width]
    return total


def walk(
    coder: Coder,
    model: PlaneModel,
    shape: tuple[int, int],
    context: bool,
    target: Symbols | None,
    on_symbols: OnSymbols | None = None,
) -> Symbols:
    """Code z in either direction.

    Parameters
    ----------
    coder : Coder
        A writer with `target`, or a reader without.
    shape : (h, w)
    context : bool
        Whether rows are chosen by what is known already, as the range coder has it.
    target : Symbols or None
        None to read.
    on_symbols : callable, optional
        Told of every symbol.

    Returns
    -------
    Symbols
        As the decoder has them. CorruptFile where the stream is damaged.
    """
    depth, on = np.zeros(shape, np.int32), np.ones(shape, bool)
    z = np.zeros((model.channels, *shape), np.int32)
    for channel in range(model.channels):
        rows = model.rows(channel, z[channel - 1], on, context)[on]
        wanted = None
        if target is not None:
            wanted = np.where(target.depth > channel, SYMBOLS[target.z[channel]], END)[on].astype(np.int32)
        symbols = coder.code(rows.astype(np.int32), wanted).astype(np.int64)
        if symbols.size and np.abs(symbols).max() > SYMBOLS[-1]:
            raise CorruptFile("a value that the quantiser cannot give")
        if on_symbols:
            on_symbols(rows, symbols, np.nonzero(on))  # type: ignore[arg-type]
        z[channel][on] = np.where(symbols > 0, symbols + 1, symbols + 2) * (symbols != END)
        on[on] = symbols != END
        depth[on] += 1
    return Symbols(depth, z)
