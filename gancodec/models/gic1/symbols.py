"""One traversal, run by encoder and decoder alike: levels, hyper-latent, then channel groups in two checkerboard
halves each."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gancodec.entropy.coder import Coder, Ints, OnSymbols
from gancodec.entropy.levels import code_levels
from gancodec.models.gic1.integers import EntropyModel
from gancodec.types import BLOCK, LATENT_STRIDE, SITES, Geometry, IntArray, Plane, Planes, per_site

TARGET_BITS = 8  # gained latents enter in 1/256 steps
SYMBOL_LIMIT = 1 << 15  # magnitude of a residual symbol


class Symbols(NamedTuple):
    """Everything that the entropy coder codes for one picture; integers only.

    levels : (hb, wb) int32, importance levels in 0 .. L-1
    hyper : (Kh, hb, wb) int32, hyper-latent symbols
    latents : (K, h, w) int32, residual symbols around the predicted means
    means16 : (K, h, w) int32, predicted means in 1/16 steps of the gained domain
    """

    levels: IntArray
    hyper: IntArray
    latents: IntArray
    means16: IntArray

    @property
    def grids(self) -> Planes:
        """The arrays, with their strides."""
        return tuple(map(Plane, self, (BLOCK, BLOCK, LATENT_STRIDE, LATENT_STRIDE)))

    @property
    def dequantised16(self) -> IntArray:
        """(K, h, w) int32: dequantised gained latents in 1/16 steps."""
        return self.latents * 16 + self.means16


class Target(NamedTuple):
    """What the encoder wants coded; integers.

    levels : (hb, wb) int32; hyper : (Kh, hb, wb) int32 symbols; latents256 : (K, h, w) int32, gained latents in 1/256
    steps; deadzone : how much farther than a half, in 1/4096 steps, a residual must be from zero to be rounded away
    from it. A larger one makes a slightly smaller file.
    """

    levels: IntArray
    hyper: IntArray
    latents256: IntArray
    deadzone: int = 0


def walk(
    coder: Coder,
    model: EntropyModel,
    geometry: Geometry,
    level_shift: int,
    target: Target | None,
    on_symbols: OnSymbols | None = None,
) -> Symbols:
    """Code one picture in either direction: the coder is a writer with a `target`, or a reader without.

    `level_shift`, in steps of 1/16 level, is added to every level. `on_symbols` is told of every symbol of hyper-latent
    and latents. Returns the symbols as the decoder has them; CorruptFile where the stream is damaged.
    """
    levels = code_levels(coder, geometry.blocks, model.levels, target.levels if target else None)
    block_position = levels.astype(np.int64) * model.sublevels + level_shift
    hyper = _code_hyper(coder, model, block_position, target)
    if on_symbols:
        _tell(on_symbols, model.hyper_rows[block_position], hyper, tuple(np.indices(block_position.shape)))  # type: ignore[arg-type]
    position = per_site(block_position)
    features = model.hyper_features(hyper, block_position)
    height, width = geometry.latent
    latents = np.zeros((height, width, model.channels), np.int64)
    means16 = np.zeros_like(latents)
    halves = _checkerboard(height, width)
    inputs = features
    start = 0
    for group in model.groups:
        span = slice(start, start + group.channels)
        start = span.stop
        accumulator = model.base(group, inputs, position)
        for half in range(2):
            sites = halves[half]
            if half:
                coded = model.inputs((latents * 16 + means16)[..., span], position, span)  # the other half is still 0
                accumulator = accumulator + model.local(group, coded)
            rows, means = model.predict(group, accumulator[sites], position[sites], span)
            wanted = target.latents256.transpose(1, 2, 0)[..., span][sites] if target else None
            means16[..., span][sites] = means
            deadzone = target.deadzone if target else 0
            latents[..., span][sites] = residuals = _code_residuals(coder, rows, means, wanted, deadzone)
            if on_symbols:
                _tell(on_symbols, rows, residuals, (sites[0] // SITES, sites[1] // SITES))
        coded = model.inputs((latents * 16 + means16)[..., span], position, span)
        inputs = np.concatenate((inputs[..., : -features.shape[2]], coded, features), axis=2)
    return Symbols(levels, *(np.ascontiguousarray(a.transpose(2, 0, 1), np.int32) for a in (hyper, latents, means16)))


def _tell(on_symbols: OnSymbols, rows: Ints, symbols: Ints, blocks: tuple[Ints, Ints]) -> None:
    """Tell of rows and symbols (..., C) of blocks (...), those that are coded."""
    coded = rows > 0
    channels = [np.broadcast_to(b[..., None], rows.shape)[coded] for b in blocks]
    on_symbols(rows[coded], symbols[coded], (channels[0], channels[1]))


def _checkerboard(height: int, width: int) -> tuple[tuple[Ints, Ints], tuple[Ints, Ints]]:
    even = (np.arange(height)[:, None] + np.arange(width)[None, :]) % 2 == 0
    return np.nonzero(even), np.nonzero(~even)  # type: ignore[return-value]


def _code_hyper(coder: Coder, model: EntropyModel, position: Ints, target: Target | None) -> Ints:
    rows = model.hyper_rows[position]  # hb wb Kh
    wanted = target.hyper.transpose(1, 2, 0) if target else None
    return _code_coded(coder, rows, wanted)


def _code_residuals(coder: Coder, rows: Ints, means16: Ints, wanted256: IntArray | None, deadzone: int) -> Ints:
    """Residuals around the means, halves up, of gained latents in 1/256 steps."""
    if wanted256 is None:
        return _code_coded(coder, rows, None)
    half = 1 << (TARGET_BITS - 1)
    exact = wanted256 - means16 * (1 << (TARGET_BITS - 4))
    if deadzone:  # sixteenths of a step: that share of the sites has one more than the others
        nearer = (deadzone + np.arange(len(exact))[:, None] % 16) >> 4
        exact = exact - np.sign(exact) * np.minimum(np.abs(exact), nearer)
    residual = (exact + half) >> TARGET_BITS
    return _code_coded(coder, rows, np.clip(residual, -SYMBOL_LIMIT, SYMBOL_LIMIT))


def _code_coded(coder: Coder, rows: Ints, wanted: Ints | IntArray | None) -> Ints:
    """Code the symbols whose row is above 0; row 0 means certainly 0 and costs nothing."""
    coded = rows > 0
    symbols = np.zeros(rows.shape, np.int64)
    symbols[coded] = coder.code(
        rows[coded].astype(np.int32), None if wanted is None else wanted[coded].astype(np.int32)
    )
    return symbols
