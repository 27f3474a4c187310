"""The stream of the toy: classes, channels that are on, coarse latents, and fine ones under rows that the class of
their place chooses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gancodec.entropy.coder import Ints, OnSymbols
from gancodec.entropy.tables import Arrays, IntegerModel, fit_counts
from gancodec.errors import CorruptFile, CorruptTable
from gancodec.models.stream import NextCoder
from gancodec.types import BLOCK, Geometry, IntArray, Plane
from tests.toy.config import CLASS, COARSE, FINE, ToyConfig

CLASS_ROW, DEPTH_ROW, FIRST_ROW = 0, 1, 2
RADIUS = 6  # of the rows of latents
STRENGTH = 50.0  # of a prior, in symbols


class Symbols(NamedTuple):
    """classes (h/32, w/32) uint8; depth (h/32, w/32), fine channels that are on; coarse (K, h/16, w/16); fine
    (K, h/8, w/8), 0 where they are off."""

    classes: NDArray[np.uint8]
    depth: IntArray
    coarse: IntArray
    fine: IntArray

    @property
    def grids(self) -> tuple[Plane, ...]:
        """The arrays, with their strides."""
        return tuple(Plane(v, s) for v, s in zip(self, (CLASS, CLASS, COARSE, FINE), strict=True))


class ToyIntegers(IntegerModel):
    """Everything that decides a bit. Rows of the tables: classes, depth, each coarse channel, and each fine channel in
    places of each class.

    Parameters
    ----------
    arrays : mapping of str to integer arrays
        ``channels``: classes, coarse and fine channels; and the tables. CorruptTable where something is amiss.
    """

    def __init__(self, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        super().__init__(arrays)
        self.classes, self.coarse, self.fine = (int(v) for v in arrays["channels"])
        if len(self.tables) != FIRST_ROW + self.coarse + self.classes * self.fine:
            raise CorruptTable(f"{len(self.tables)} tables do not fit the channels")

    def fine_rows(self, classes: Ints, channel: int) -> Ints:
        """Rows of a fine channel in places of these classes."""
        return FIRST_ROW + self.coarse + classes * self.fine + channel


def toy_arrays(config: ToyConfig, histograms: list[NDArray[np.float64]] | None = None) -> Arrays:
    """Arrays of `ToyIntegers`: priors, pulled towards what was coded."""
    latents = config.coarse + config.classes * config.fine
    radius = [config.classes // 2, (config.fine + 1) // 2, *[RADIUS] * latents]
    counts = []
    for row, reach in enumerate(radius):
        decay = 1.0 if row < FIRST_ROW else 0.6
        weights = STRENGTH * decay ** np.abs(np.arange(-reach, reach + 2))
        counts.append(fit_counts(weights if histograms is None else weights + histograms[row]))
    return {
        "channels": np.array([config.classes, config.coarse, config.fine], np.int32),
        "tables.radius": np.array(radius, np.int32),
        "tables.counts": np.concatenate(counts).astype(np.int32),
    }


def walk(
    next_coder: NextCoder,
    model: ToyIntegers,
    geometry: Geometry,
    wanted: Symbols | None,
    on_symbols: OnSymbols | None,
    apart: bool = False,
) -> Symbols:
    """Code a stream in either direction, fine latents in a slice of their own if `apart`; returns the symbols as the
    decoder has them."""
    height, width = geometry.padded
    coder = next_coder()

    def code(rows: Ints, places: tuple[Ints, Ints], stride: int, values: IntArray | None) -> Ints:
        found = coder.code(rows.astype(np.int32), None if values is None else values.astype(np.int32)).astype(np.int64)
        if on_symbols is not None:
            on_symbols(rows, found, (places[0] * stride // BLOCK, places[1] * stride // BLOCK))
        return found

    def counted(row: int, count: int, values: NDArray[np.generic] | None) -> Ints:
        """A map of 0 .. count - 1 on the grid of classes."""
        shape, middle = (height // CLASS, width // CLASS), count // 2
        centred = None if values is None else values.astype(np.int32).ravel() - middle
        places = np.unravel_index(np.arange(shape[0] * shape[1]), shape)
        found = code(np.full(len(places[0]), row), places, CLASS, centred).reshape(shape) + middle  # type: ignore[arg-type]
        if found.min() < 0 or found.max() >= count:
            raise CorruptFile("toy: out of range")
        return found

    classes = counted(CLASS_ROW, model.classes, wanted and wanted.classes)
    depth = counted(DEPTH_ROW, model.fine + 1, wanted and wanted.depth)
    coarse = np.zeros((model.coarse, height // COARSE, width // COARSE), np.int32)
    fine = np.zeros((model.fine, height // FINE, width // FINE), np.int32)
    everywhere = np.nonzero(np.ones(coarse.shape[1:], bool))
    for channel, plane in enumerate(coarse):
        values = None if wanted is None else wanted.coarse[channel][everywhere]
        plane[everywhere] = code(np.full(plane.size, FIRST_ROW + channel), everywhere, COARSE, values)  # type: ignore[arg-type]
    if apart:
        coder = next_coder()
    for channel, plane in enumerate(fine):
        on = np.nonzero(per_fine(depth) > channel)
        values = None if wanted is None else wanted.fine[channel][on]
        plane[on] = code(model.fine_rows(per_fine(classes)[on], channel), on, FINE, values)  # type: ignore[arg-type]
    return Symbols(classes.astype(np.uint8), depth.astype(np.int32), coarse, fine)


def per_fine(values: NDArray[np.generic]) -> Ints:
    """A map on the grid of classes, on that of the fine latents."""
    return values.astype(np.int64).repeat(CLASS // FINE, 0).repeat(CLASS // FINE, 1)
