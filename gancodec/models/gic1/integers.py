"""Fixed-point probability network: integers in, table rows and means out, the same on every machine.

int8 weights, activations that are multiples of 1/16 (signed 8-bit inputs, unsigned 8-bit hidden layers), power-of-two
exponents per output channel, shift and clip between layers. Every sum stays below 2**24 (checked on loading), so
float32 matrix products over these integers are exact whatever the order of summation, the library or the instruction
set.

Legend: K latent channels, Kh hyper channels, h w latent grid, hb wb blocks, P sites, F features. Arrays are channels
last.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from gancodec.entropy.logistic import SCALE_STEP, SCALES
from gancodec.entropy.tables import IntegerModel
from gancodec.errors import CorruptTable
from gancodec.models.gic1.config import FRACTION_BITS, GAIN_BITS, HIDDEN_MAX, INPUT_MAX
from gancodec.types import SITES

EXACT_LIMIT = 1 << 24  # float32 holds every integer up to here
STRIP_ELEMENTS = 1 << 22  # of a patch matrix: bounds memory on large pictures

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


class Layer(NamedTuple):
    """One convolution: weight (kh*kw*I, O) as float32 integers, bias (O,) at accumulator scale, exponent (O,), kernel
    side."""

    weight: Floats
    bias: Ints
    exponent: Ints
    side: int


class Group(NamedTuple):
    """Layers of one channel group; `embedding` (L, F) is at accumulator scale and `local` adds to `previous`."""

    previous: Layer
    local: Layer
    embedding: Ints
    middle: Layer
    output: Layer
    channels: int


class Prediction(NamedTuple):
    """For sites in row order: rows (P, C) into the tables and means16 (P, C) in 1/16 steps of the gained domain."""

    rows: Ints
    means16: Ints


class EntropyModel(IntegerModel):
    """Gains, network layers and frequency tables, as `training.py` makes them."""

    def __init__(self, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        super().__init__(arrays)
        self.gain, self.inverse, self.scale_offset = (
            arrays[f"latent.{k}"].astype(np.int64) for k in ("gain", "inverse", "offset")
        )
        self.hyper_gain, self.hyper_inverse, self.hyper_rows = (
            arrays[f"hyper.{k}"].astype(np.int64) for k in ("gain", "inverse", "rows")
        )
        self.depth = arrays["latent.depth"].astype(np.int64)
        self.levels = len(self.depth)
        self.sublevels = len(self.gain) // self.levels
        self.hyper_in = _layer(arrays, "hyper_in", INPUT_MAX)
        self.hyper_up = _layer(arrays, "hyper_up", HIDDEN_MAX)
        self.groups = [self._group(arrays, f"group{i}") for i in range(int(arrays["groups"][0]))]

    @property
    def channels(self) -> int:
        """K."""
        return int(self.gain.shape[1])

    @property
    def hyper_channels(self) -> int:
        """Kh."""
        return int(self.hyper_gain.shape[1])

    def _group(self, arrays: Mapping[str, NDArray[np.generic]], name: str) -> Group:
        previous = _layer(arrays, f"{name}.previous", INPUT_MAX)
        local = _layer(arrays, f"{name}.local", INPUT_MAX)
        reach = INPUT_MAX * (np.abs(previous.weight).sum(0) + np.abs(local.weight).sum(0))
        if reach.max() >= EXACT_LIMIT:
            raise CorruptTable(f"{name}: sums could leave the exact range")
        middle, output = (_layer(arrays, f"{name}.{part}", HIDDEN_MAX) for part in ("middle", "output"))
        return Group(
            previous, local, arrays[f"{name}.embedding"].astype(np.int64), middle, output, output.weight.shape[1] // 2
        )

    def hyper_features(self, hyper: Ints, position: Ints) -> Floats:
        """Hyper symbols (hb, wb, Kh) at table positions (hb, wb) to features (h, w, F)."""
        shift = GAIN_BITS - FRACTION_BITS
        inputs = _round_shift(hyper * self.hyper_inverse[position], shift)
        hidden = _activate(_convolve(_clip_input(inputs), self.hyper_in), self.hyper_in)
        up = _activate(_convolve(hidden, self.hyper_up), self.hyper_up)
        rows, columns, _ = up.shape
        cells = up.reshape(rows, columns, -1, SITES, SITES).transpose(0, 3, 1, 4, 2)  # pixel shuffle
        return np.ascontiguousarray(cells.reshape(rows * SITES, columns * SITES, -1))

    def inputs(self, dequantised16: Ints, position: Ints, span: slice) -> Floats:
        """Dequantised latents (h, w, C) in 1/16 steps to network inputs: gains undone, clipped to 8 bits."""
        return _clip_input(_round_shift(dequantised16 * self.inverse[position, span], GAIN_BITS))

    def base(self, group: Group, inputs: Floats, position: Ints) -> Ints:
        """First-layer accumulator without the local part: (h, w, F)."""
        level, fraction = np.divmod(position, self.sublevels)
        above = np.minimum(level + 1, self.levels - 1)
        table = group.embedding
        embedded = table[level] * (self.sublevels - fraction)[..., None] + table[above] * fraction[..., None]
        result: Ints = _convolve(inputs, group.previous) + group.previous.bias + embedded // self.sublevels
        return result

    def local(self, group: Group, inputs: Floats) -> Ints:
        """What the coded half of this group adds to the accumulator: (h, w, F)."""
        return _convolve(inputs, group.local)

    def predict(self, group: Group, accumulator: Ints, position: Ints, span: slice) -> Prediction:
        """First-layer accumulators (P, F) of sites at `position` (P,) to rows and means (P, C)."""
        first = _shift_clip(accumulator, group.previous.exponent)
        hidden = _shift_clip(_product(first, group.middle) + group.middle.bias, group.middle.exponent)
        out = _product(hidden, group.output) + group.output.bias
        half = group.channels
        exponent = group.output.exponent
        means16 = _round_shift(out[:, :half] * self.gain[position, span], exponent[:half] + GAIN_BITS)
        scale16 = (
            (out[:, half:] * (SCALE_STEP << FRACTION_BITS)) >> (exponent[half:] + FRACTION_BITS)
        ) + self.scale_offset[position, span]
        rows = np.clip(_round_shift(scale16, FRACTION_BITS), 0, SCALES - 1)
        channel = np.arange(span.start, span.stop)
        active = channel[None, :] < self.depth[position // self.sublevels][:, None]
        return Prediction(np.where(active, rows, 0), np.where(active, means16, 0))


def _layer(arrays: Mapping[str, NDArray[np.generic]], name: str, largest_input: int) -> Layer:
    """Weight (O, I, kh, kw) int8 to a patch matrix, with the check that its sums stay exact."""
    kernel = arrays[f"{name}.weight"].astype(np.int64)
    outputs, _, side, _ = kernel.shape
    weight = kernel.transpose(2, 3, 1, 0).reshape(-1, outputs)
    if largest_input * np.abs(weight).sum(0).max(initial=0) >= EXACT_LIMIT:
        raise CorruptTable(f"{name}: sums could leave the exact range")
    exponent = arrays[f"{name}.exponent"].astype(np.int64)
    bias = arrays[f"{name}.bias"].astype(np.int64) if f"{name}.bias" in arrays else np.zeros(outputs, np.int64)
    return Layer(weight.astype(np.float32), bias, exponent, side)


def _product(x: Floats, layer: Layer) -> Ints:
    return (x @ layer.weight).astype(np.int64)


def _convolve(x: Floats, layer: Layer) -> Ints:
    """Same-size convolution of (h, w, I) without bias: (h, w, O), in strips of bounded memory."""
    height, width, channels = x.shape
    side = layer.side
    if side == 1:
        return _product(x.reshape(-1, channels), layer).reshape(height, width, -1)
    padded = np.pad(x, ((side // 2,) * 2, (side // 2,) * 2, (0, 0)))
    windows = sliding_window_view(padded, (side, side), axis=(0, 1)).transpose(0, 1, 3, 4, 2)  # h w kh kw I
    strip = max(1, STRIP_ELEMENTS // (width * side * side * channels))
    out = np.empty((height, width, layer.weight.shape[1]), np.int64)
    for top in range(0, height, strip):
        patches = windows[top : top + strip].reshape(-1, side * side * channels)
        out[top : top + strip] = _product(patches, layer).reshape(-1, width, out.shape[2])
    return out


def _activate(accumulator: Ints, layer: Layer) -> Floats:
    return _shift_clip(accumulator + layer.bias, layer.exponent)


def _shift_clip(accumulator: Ints, exponent: Ints) -> Floats:
    return np.clip(_round_shift(accumulator, exponent), 0, HIDDEN_MAX).astype(np.float32)


def _clip_input(x: Ints) -> Floats:
    return np.clip(x, -INPUT_MAX, INPUT_MAX).astype(np.float32)


def _round_shift(x: Ints, bits: Ints | int) -> Ints:
    """x / 2**bits, halves up. An arithmetic shift floors, so this is exact for negative x too."""
    half = np.left_shift(1, bits) >> 1
    result: Ints = (x + half) >> bits
    return result
