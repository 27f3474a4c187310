"""The tunable codec of the gic1 models: levels per block, gains, and the context network's probabilities."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gancodec.container.spec import CODEC_TUNABLE
from gancodec.entropy.coder import Coder
from gancodec.models.gic1.integers import EntropyModel
from gancodec.models.gic1.symbols import TARGET_BITS, Symbols, Target, walk
from gancodec.models.learned import Codec, checked
from gancodec.models.levels import LEVELS, SUBLEVELS, logit_to_level
from gancodec.tiling import Area
from gancodec.types import BLOCK, LATENT_STRIDE, FloatArray, Geometry, IntArray
from gancodec.weights import Weights

if TYPE_CHECKING:
    from gancodec.tiling import Progress

FINE_BLOCKS, FINE_SHARE = 48, 0.25  # least blocks, and greatest share that moves at once, for n alone to steer finely
TARGET_LIMIT = 1 << 22  # of gained latents in 1/256 steps, beyond what any symbol can reach


class Analysis(NamedTuple):
    """Encoder's view of one picture, independent of n: omega (K, h, w), hyper (Kh, hb, wb), importance (hb, wb) in
    logit units."""

    omega: FloatArray
    hyper: FloatArray
    importance: FloatArray


@lru_cache(maxsize=4)
def _entropy_model(weights: Weights) -> EntropyModel:
    model: EntropyModel = checked(weights, EntropyModel)
    return model


class TunableCodec(Codec):
    """Encoder and decoder of a model of `models.tunable`; see `Codec`."""

    id = CODEC_TUNABLE
    stride, importance_stride = LATENT_STRIDE, BLOCK
    symbol_strides = (BLOCK, BLOCK, LATENT_STRIDE, LATENT_STRIDE)
    entropy: EntropyModel

    def __init__(self, weights: Weights, device: str = "auto") -> None:
        super().__init__(weights, device)
        self.entropy = _entropy_model(weights)

    def analyse(self, rgb: NDArray[np.uint8], progress: Progress | None = None) -> Analysis:
        """Run encoder and masker once on (H, W, 3) uint8 pixels."""
        return Analysis(*self.network.analyse(rgb, progress))

    def levels_at(self, importance: FloatArray, n: float) -> tuple[IntArray, int]:
        """Levels (hb, wb) of a whole picture at `n`, with the level shift.

        Equation 2 with the calibration of the weights: logit = importance + offset - slope * n. Where many blocks
        differ in importance, a small step of n moves a few of them by a level, which is as fine as anybody needs.
        Small maps, and maps of few values, have no such steps: there the level shift moves all blocks by sixteenths
        of a level. (Blocks beyond an end are lifted with the others each time these pass a whole level.)
        """
        calibration = self.weights.info.calibration
        centre = logit_to_level(calibration["logit_offset"] - calibration["logit_slope"] * n)
        relative = (logit_to_level(1.0) - logit_to_level(0.0)) * importance
        if _moves_by_block(relative):
            levels, shift = np.rint(centre + relative), 0
        else:
            whole, shift = divmod(int(np.floor(centre * SUBLEVELS)), SUBLEVELS)
            levels = np.rint(whole + relative)
            if levels.max() < 0:  # beyond the ends nothing moves any more
                shift = 0
            elif levels.min() >= LEVELS:
                shift = SUBLEVELS - 1
        return np.clip(levels, 0, LEVELS - 1).astype(np.int32), shift

    def target_of(self, analysis: Analysis, levels: IntArray, level_shift: int, area: Area | None = None) -> Target:
        """Quantised targets of a picture, or an area of it, at given levels (hb, wb)."""
        omega, hyper = analysis.omega, analysis.hyper
        if area is not None:
            sites, blocks = area.sites(LATENT_STRIDE), area.sites(BLOCK)
            omega, hyper, levels = omega[sites], hyper[blocks], levels[blocks]
        position = levels.astype(np.int64) * SUBLEVELS + level_shift
        scale = float(1 << 16)
        symbols = np.rint(hyper * (self.entropy.hyper_gain[position].transpose(2, 0, 1) / scale))
        gain = self.entropy.gain[position.repeat(4, 0).repeat(4, 1)].transpose(2, 0, 1) / scale
        gained = np.clip(np.rint(omega * gain * (1 << TARGET_BITS)), -TARGET_LIMIT, TARGET_LIMIT)
        return Target(levels, np.clip(symbols, -(1 << 14), 1 << 14).astype(np.int32), gained.astype(np.int32))

    def trimmed(self, target: Target, amount: int) -> Target:
        """The target with a dead zone of `amount`; see `Target`."""
        return target._replace(deadzone=amount)

    def walk(
        self, coder: Coder, name: str, geometry: Geometry, level_shift: int, target: Target | None, watch: Any
    ) -> Symbols:
        """See `entropy.walk`; both coders have the same order and the same rows."""
        return walk(coder, self.entropy, geometry, level_shift, target, watch)

    def generator_input(self, symbols: Symbols, level_shift: int) -> tuple[FloatArray, FloatArray]:
        """What the generator takes: latents (K, h, w) with gains undone and fractional levels (hb, wb)."""
        position = symbols.levels.astype(np.int64) * SUBLEVELS + level_shift
        return self._undo_gains(symbols, position), (position / SUBLEVELS).astype(np.float32)

    def block_levels(self, symbols: Symbols, level_shift: int) -> NDArray[np.int64]:
        """Levels (hb, wb) in sixteenths."""
        levels: NDArray[np.int64] = symbols.levels.astype(np.int64) * SUBLEVELS + level_shift
        return levels

    def synthesises(self, realism: float) -> bool:
        """The faithful end invents nothing."""
        return realism > 0

    def _undo_gains(self, symbols: Symbols, position: NDArray[np.int64]) -> FloatArray:
        sites = position.repeat(4, 0).repeat(4, 1)
        gain = self.entropy.gain[sites].transpose(2, 0, 1).astype(np.float32)
        latent = symbols.dequantised16.astype(np.float32) * np.float32((1 << 16) / 16) / gain
        depth: IntArray = self.entropy.depth[sites // SUBLEVELS].astype(np.int32)
        result: FloatArray = np.where(np.arange(self.entropy.channels)[:, None, None] < depth, latent, np.float32(0))
        return result


def _moves_by_block(relative: FloatArray) -> bool:
    """Does a small step of n move few enough blocks (hb, wb), given in levels around any centre?

    Blocks are rounded to whole levels, so those with about the same fractional part move together, however far apart.
    """
    parts = np.sort(relative % 1, axis=None)
    around = np.concatenate([parts, parts + 1])
    together = np.searchsorted(around, parts + 1 / SUBLEVELS) - np.arange(parts.size)
    return bool(parts.size >= FINE_BLOCKS and together.max() <= FINE_SHARE * parts.size)
