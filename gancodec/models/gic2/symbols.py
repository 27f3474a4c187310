"""One traversal, run by encoder and decoder alike: levels, hyper-latent in four passes, then the latents slice by
slice. And the list of slices that stands in front of the first."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gancodec.container import spec
from gancodec.container.header import Cursor, varint
from gancodec.entropy.coder import Coder, Ints, OnSymbols
from gancodec.entropy.levels import GAUSSIAN, code_levels
from gancodec.errors import CorruptFile
from gancodec.models.gic2.config import HYPER_LIMIT, LADDER, NEAR_MAX, STEPS
from gancodec.models.gic2.integers import EntropyModel
from gancodec.models.levels import LEVELS, SUBLEVELS
from gancodec.models.stream import Frame, NextCoder
from gancodec.types import BLOCK, LATENT_STRIDE, SITES, IntArray, Number, Plane, Planes

LAST = LADDER + 1  # behind every step


class Symbols(NamedTuple):
    """Everything that the entropy coder codes for one picture; integers only.

    levels : (hb, wb) int32, importance levels in 0 .. L-1
    hyper : (Kh, hb, wb) int32, hyper-latent symbols
    latents : (C, h, w) int32, symbols around the means; 0 where a slice is missing
    """

    levels: IntArray
    hyper: IntArray
    latents: IntArray

    @property
    def grids(self) -> Planes:
        """The arrays, with their strides."""
        return tuple(map(Plane, self, (BLOCK, BLOCK, LATENT_STRIDE)))


class Wanted(NamedTuple):
    """What the encoder wants coded; integers. `ends` are the steps of the ladder before which slices end."""

    symbols: Symbols
    ends: tuple[int, ...]


class Listed(NamedTuple):
    """What the first slice says of all: the steps before which they end, and the bytes of those behind it."""

    ends: tuple[int, ...]
    lengths: tuple[int, ...]


def pack_list(slices: tuple[bytes, ...], ends: tuple[int, ...]) -> bytes:
    """The list in front of the first slice: how many, and for each other one its first step and its bytes."""
    listed = [bytes((len(slices),))]
    for begin, data in zip(ends, slices[1:], strict=False):
        listed += [bytes((begin,)), varint(len(data))]
    return b"".join(listed)


def unpack_list(first: bytes) -> tuple[Listed, bytes]:
    """The list, and what follows it; CorruptFile for one that no writer makes."""
    cursor = Cursor(first)
    count = cursor.take(1)[0]
    if not 1 <= count <= spec.CODECS[spec.CODEC_GIC2].slices:
        raise CorruptFile(f"{count} slices")
    begins, lengths = [0], []
    for _ in range(count - 1):
        begins.append(cursor.take(1)[0])
        lengths.append(cursor.varint())
    if any(a >= b for a, b in zip(begins, [*begins[1:], LAST], strict=True)):
        raise CorruptFile("slices out of order")
    return Listed((*begins[1:], LAST), tuple(lengths)), first[cursor.position :]


def walk(
    next_coder: NextCoder, model: EntropyModel, frame: Frame, wanted: Wanted | None, on_symbols: OnSymbols | None = None
) -> Symbols:
    """Code one stream in either direction: coders write with something `wanted`, and read without.

    There is a coder for each of the frame's slices, or of those wanted. `on_symbols` is told of every symbol of
    hyper-latent and latents. Returns the symbols as the decoder has them; CorruptFile where the stream is damaged.
    """
    coder = next_coder()
    given = wanted.symbols if wanted else None
    levels = code_levels(coder, frame.geometry.blocks, LEVELS, given.levels if given else None, GAUSSIAN)
    position = levels * SUBLEVELS + frame.level_shift
    hyper = _code_hyper(coder, model, position, given.hyper if given else None, on_symbols)
    rows, keys = model.rows_and_keys(hyper, position)
    ends = wanted.ends if wanted else frame.slice_ends
    steps = model.steps(keys).ravel() if ends != (LAST,) else np.zeros(rows.size, np.uint8)
    flat = np.zeros(rows.size, np.int32)
    source = in_blocks(given.latents) if given else None
    begin = 0
    for number, end in enumerate(ends):
        coder = next_coder() if number else coder
        mine = np.flatnonzero((rows.ravel() > 0) & (steps >= begin) & (steps < end))
        begin = end
        chosen = rows.ravel()[mine]
        flat[mine] = coded = coder.code(chosen, None if source is None else source[mine])  # type: ignore[arg-type]
        if on_symbols:
            y, x = np.divmod(mine // (SITES**2 * model.channels), position.shape[1])
            on_symbols(chosen.astype(np.int64), coded.astype(np.int64), (y, x))
    latents = out_of_blocks(flat, position.shape, model.channels)
    return Symbols(levels, np.ascontiguousarray(hyper.transpose(2, 0, 1)), latents)


class Echo:
    """A coder that codes nothing: what is to be written comes back."""

    def code(self, rows: IntArray, symbols: IntArray | None) -> IntArray:
        """Return the symbols."""
        assert symbols is not None
        return symbols

    def finish(self) -> bytes:
        """Nothing was written."""
        return b""


def sent_hyper(model: EntropyModel, position: IntArray, hyper: IntArray) -> IntArray:
    """Hyper-latent symbols (hb, wb, Kh) as a decoder gets them of those wanted, (Kh, hb, wb): 0 where the row is 0."""
    return _code_hyper(Echo(), model, position, hyper, None)


def in_blocks(latents: IntArray) -> IntArray:
    """Latents (C, h, w) block by block, in each the sites and in each of these the channels: one axis."""
    c, h, w = latents.shape
    blocks = latents.reshape(c, h // SITES, SITES, w // SITES, SITES).transpose(1, 3, 2, 4, 0)
    return np.ascontiguousarray(blocks).ravel()


def out_of_blocks(flat: NDArray[Number], blocks: tuple[int, ...], channels: int) -> NDArray[Number]:
    """Inverse of `in_blocks`, for (hb, wb) blocks: (C, h, w), with the channels of a site side by side in memory."""
    hb, wb = blocks
    sites = flat.reshape(hb, wb, SITES, SITES, channels).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(sites).reshape(hb * SITES, wb * SITES, channels).transpose(2, 0, 1)


def _code_hyper(
    coder: Coder, model: EntropyModel, position: IntArray, wanted: IntArray | None, on_symbols: OnSymbols | None
) -> IntArray:
    """Hyper-latent symbols (hb, wb, Kh), a quarter of the blocks in each of four passes."""
    hyper = np.zeros((*position.shape, model.hyper_channels), np.int32)
    magnitudes = np.zeros_like(hyper)
    for step, (y, x) in enumerate(passes(position.shape)):
        if not y.size:
            continue
        rows = model.hyper_rows(_around(magnitudes)[y, x], position[y, x], step)
        coded = rows > 0
        source = None if wanted is None else wanted[:, y, x].T[coded]
        symbols = np.zeros(rows.shape, np.int32)
        symbols[coded] = coder.code(rows[coded], source)  # type: ignore[arg-type]
        if np.abs(symbols).max() > HYPER_LIMIT:
            raise CorruptFile("hyper-latent out of range")
        hyper[y, x], magnitudes[y, x] = symbols, np.minimum(np.abs(symbols), NEAR_MAX)
        if on_symbols:
            block = np.nonzero(coded)[0]
            on_symbols(rows[coded].astype(np.int64), symbols[coded].astype(np.int64), (y[block], x[block]))
    return hyper


def passes(blocks: tuple[int, ...]) -> list[tuple[Ints, Ints]]:
    """Rows and columns of the blocks of each pass: of every 2x2, passes 0 and 2 above, 3 and 1 below."""
    y, x = np.indices(blocks)
    turn = np.where(y % 2 == x % 2, y % 2, 2 + y % 2)
    return [np.nonzero(turn == step) for step in range(STEPS)]  # type: ignore[misc]


def _around(x: IntArray) -> IntArray:
    """Sums over 3x3 neighbourhoods, (hb, wb, Kh), zeros outside."""
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    total: NDArray[np.int32] = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    return total
