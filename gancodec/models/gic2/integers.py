"""Exact integers: the row of every symbol, and the slice that it belongs to, the same on every machine.

One int8 projection of the hyper-latent gives the rows of all latents; there is no network. Its sums stay below 2**24
(checked on loading), so float32 matrix products over these integers are exact whatever the order of summation, the
library or the instruction set. All else is int32, and cannot overflow (checked too).

Legend: C latent channels, Kh hyper channels, hb wb blocks of S = 16 sites, KNOTS of what follows the level.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from gancodec.entropy.gaussian import ROWS
from gancodec.entropy.tables import IntegerModel
from gancodec.errors import CorruptTable
from gancodec.models.gic2.config import (
    GAIN_BITS,
    HYPER_LIMIT,
    INPUT_MAX,
    KNOTS,
    LADDER,
    NEAR_MAX,
    POSITIONS,
    ROW_BITS,
    STEPS,
    TOP,
    UNIT_BITS,
)
from gancodec.models.levels import LEVELS, SUBLEVELS
from gancodec.types import SITES, FloatArray, IntArray

EXACT_LIMIT = 1 << 24  # float32 holds every integer up to here
INT32_LIMIT = 1 << 31
KEY_LIMIT = 127  # of keys, signed
MOST_LOG_GAIN = 64  # natural logarithm, either way
NEIGHBOURS = 8
Bytes = NDArray[np.uint8]


class EntropyModel(IntegerModel):
    """Projection, knots, keys and frequency tables, as `training` makes them."""

    def __init__(self, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        super().__init__(arrays)
        if len(self.tables) != ROWS:
            raise CorruptTable(f"{len(self.tables)} tables, must be {ROWS}")
        get = {name: array.astype(np.int64) for name, array in arrays.items()}
        self.channels, self.hyper_channels = len(get["projection.scale"]), get["hyper.offset"].shape[1]
        _check_shapes(get, self.channels, self.hyper_channels)
        self.projection = get["projection.weight"].reshape(-1, self.hyper_channels).T.astype(np.float32)
        self.scale, self.worth = get["projection.scale"].astype(np.int32), get["latent.worth"].astype(np.int32)
        self.offset, self.hyper_offset, self.inverse = (
            at_positions(get[name]).astype(np.int32) for name in ("latent.offset", "hyper.offset", "hyper.inverse")
        )
        self.first = get["latent.first"].astype(np.int32)
        self.near = get["near.weight"].transpose(0, 2, 1).astype(np.float32)
        self.near_scale, self.near_bias = (get[f"near.{k}"].astype(np.int32) for k in ("scale", "bias"))
        self.ladder = get["latent.ladder"]
        self._check_reach(get)
        logarithms = (at_positions(get[f"{name}.gain"]) / (1 << GAIN_BITS) for name in ("latent", "hyper"))
        self._gain, self._hyper_gain = (np.exp(values).astype(np.float32) for values in logarithms)
        # Steps of the ladder by key: how many of its keys are above.
        keys = np.arange(-KEY_LIMIT, KEY_LIMIT + 1)
        self._steps = (self.ladder[None, :] > keys[:, None]).sum(1).astype(np.uint8)

    def _check_reach(self, get: Mapping[str, NDArray[np.int64]]) -> None:
        reach = INPUT_MAX * np.abs(get["projection.weight"]).sum(2).max(0)  # C
        near = NEIGHBOURS * NEAR_MAX * np.abs(get["near.weight"]).sum(2)  # STEPS - 1, Kh
        if max(reach.max(), near.max()) >= EXACT_LIMIT:
            raise CorruptTable("projection: sums could leave the exact range")
        most = (
            (reach * np.abs(get["projection.scale"]) + np.abs(get["latent.offset"]).max(0)).max(),
            (near * np.abs(get["near.scale"]) + np.abs(get["near.bias"]) + np.abs(get["hyper.offset"]).max(0)).max(),
            (HYPER_LIMIT * np.abs(get["hyper.inverse"]) + (1 << UNIT_BITS)).max(),
            ((reach * np.abs(get["projection.scale"]) >> ROW_BITS) + np.abs(get["latent.worth"]) + 1).max(),
        )
        if max(most) >= INT32_LIMIT:
            raise CorruptTable("projection: rows could leave 32 bits")
        if max(np.abs(get[f"{name}.gain"]).max() for name in ("latent", "hyper")) > MOST_LOG_GAIN << GAIN_BITS:
            raise CorruptTable("gains: beyond what a float holds")
        if (np.diff(self.ladder) >= 0).any() or np.abs(self.ladder).max() > KEY_LIMIT:
            raise CorruptTable("ladder: keys must fall")

    def gains(self, position: IntArray) -> FloatArray:
        """Gains of the latents at positions (...): (..., C)."""
        return self._gain[position]

    def hyper_gains(self, position: IntArray) -> FloatArray:
        """Gains of the hyper-latent at positions (...): (..., Kh)."""
        return self._hyper_gain[position]

    def hyper_rows(self, near: IntArray, position: IntArray, step: int) -> Bytes:
        """Rows (P, Kh) of the hyper-latents of one step.

        near : (P, Kh), magnitudes around that are known, added up; position : (P,)
        """
        offset = self.hyper_offset[position]
        if step:
            product = (near.astype(np.float32) @ self.near[step - 1]).astype(np.int32)
            offset = offset + product * self.near_scale[step - 1] + self.near_bias[step - 1]
        return np.clip(offset >> ROW_BITS, 0, ROWS - 1).astype(np.uint8)

    def rows_and_keys(self, hyper: IntArray, position: IntArray) -> tuple[Bytes, NDArray[np.int8]]:
        """Rows and keys (hb, wb, S, C) of all latents, of hyper-latent symbols (hb, wb, Kh) at positions (hb, wb).

        Row 0 means certainly 0, and not coded. The key, which no level moves, orders symbols by what they are worth.
        """
        units = (hyper * self.inverse[position] + (1 << UNIT_BITS >> 1)) >> UNIT_BITS
        inputs = np.clip(units, -INPUT_MAX, INPUT_MAX).astype(np.float32)
        rows = (inputs.reshape(-1, self.hyper_channels) @ self.projection).astype(np.int32)
        rows = rows.reshape(*position.shape, SITES**2, self.channels)
        rows *= self.scale
        keys = np.clip((rows >> ROW_BITS) + self.worth, -KEY_LIMIT, KEY_LIMIT).astype(np.int8)
        rows += self.offset[position][:, :, None]
        rows >>= ROW_BITS
        np.clip(rows, 0, ROWS - 1, out=rows)
        coded = rows.astype(np.uint8)
        coded *= (position[..., None] // SUBLEVELS >= self.first)[:, :, None]
        return coded, keys

    def steps(self, keys: NDArray[np.int8]) -> Bytes:
        """Steps of the ladder, 0 .. LADDER, that keys (...) lie on."""
        return self._steps[keys.astype(np.int16) + KEY_LIMIT]


def at_positions(knots: NDArray[np.int64]) -> NDArray[np.int64]:
    """Values (POSITIONS, C) at every position, interpolated between those at the knots (KNOTS, C), rounded down."""
    spacing = TOP // (KNOTS - 1)
    place = np.minimum(np.arange(POSITIONS), TOP)
    below = np.minimum(place // spacing, KNOTS - 2)
    fraction = (place - below * spacing)[:, None]
    values: NDArray[np.int64] = (knots[below] * (spacing - fraction) + knots[below + 1] * fraction) // spacing
    return values


def _check_shapes(arrays: Mapping[str, NDArray[np.int64]], c: int, kh: int) -> None:
    shapes = {
        "projection.weight": (SITES**2, c, kh),
        "projection.scale": (c,),
        "latent.offset": (KNOTS, c),
        "latent.gain": (KNOTS, c),
        "latent.first": (c,),
        "latent.worth": (c,),
        "latent.ladder": (LADDER,),
        "hyper.offset": (KNOTS, kh),
        "hyper.gain": (KNOTS, kh),
        "hyper.inverse": (KNOTS, kh),
        "near.weight": (STEPS - 1, kh, kh),
        "near.scale": (STEPS - 1, kh),
        "near.bias": (STEPS - 1, kh),
    }
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise CorruptTable(f"{name}: {arrays[name].shape}, must be {shape}")
    if not ((0 <= arrays["latent.first"]) & (arrays["latent.first"] < LEVELS)).all():
        raise CorruptTable("latent.first: no such level")
