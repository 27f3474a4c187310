"""The codec of the gic1 models: levels per block, gains, and the context network's probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gancodec.container.spec import CODEC_GIC1
from gancodec.entropy.coder import OnSymbols
from gancodec.models.gic1.config import GAIN_BITS
from gancodec.models.gic1.integers import EntropyModel
from gancodec.models.gic1.symbols import TARGET_BITS, Symbols, Target, walk
from gancodec.models.guidance import UNGUIDED, Guidance
from gancodec.models.importance import block_levels
from gancodec.models.learned import LearnedCodec
from gancodec.models.levels import LEVELS, SUBLEVELS
from gancodec.models.stream import Frame, Levels, NextCoder
from gancodec.tiling import Area, Progress
from gancodec.types import BLOCK, LATENT_STRIDE, FloatArray, IntArray, Plane, Planes, per_site

TARGET_LIMIT = 1 << 22  # of gained latents in 1/256 steps, beyond what any symbol can reach
HYPER_LIMIT = 1 << 14  # of hyper-latent symbols


class Analysis(NamedTuple):
    """Encoder's view of one picture, independent of n: omega (K, h, w), hyper (Kh, hb, wb), importance (hb, wb) in
    logit units."""

    omega: FloatArray
    hyper: FloatArray
    importance: FloatArray


class TunableCodec(LearnedCodec[Analysis, Target, Symbols]):
    """Encoder and decoder of a model of `models.gic1`."""

    id = CODEC_GIC1
    entropy: EntropyModel
    entropy_class = EntropyModel

    def analyse(
        self, rgb: NDArray[np.uint8], guidance: Guidance = UNGUIDED, progress: Progress | None = None
    ) -> Analysis:
        analysis = Analysis(*self.network.analyse(rgb, progress))
        return analysis._replace(importance=guidance.biased(analysis.importance, BLOCK))

    def levels_at(self, analysis: Analysis, n: float) -> Levels:
        """Levels (hb, wb) of a whole picture at `n`: equation 2 with the calibration of the weights, logit =
        importance + offset - slope * n."""
        calibration = self.weights.info.calibration
        return block_levels(analysis.importance, calibration["logit_offset"] - calibration["logit_slope"] * n)

    def wanted_of(self, analysis: Analysis, levels: Levels, area: Area | None = None, trim: int = 0) -> Target:
        """Quantised targets of a picture, or an area of it, at given levels (hb, wb); `trim` is the dead zone."""
        omega, hyper, chosen = analysis.omega, analysis.hyper, levels.values
        if area is not None:
            sites, blocks = area.sites(LATENT_STRIDE), area.sites(BLOCK)
            omega, hyper, chosen = omega[sites], hyper[blocks], chosen[blocks]
        position = chosen.astype(np.int64) * SUBLEVELS + levels.shift
        scale = float(1 << GAIN_BITS)
        symbols = np.rint(hyper * (self.entropy.hyper_gain[position].transpose(2, 0, 1) / scale))
        gain = self.entropy.gain[per_site(position)].transpose(2, 0, 1) / scale
        gained = np.clip(np.rint(omega * gain * (1 << TARGET_BITS)), -TARGET_LIMIT, TARGET_LIMIT)
        coded = np.clip(symbols, -HYPER_LIMIT, HYPER_LIMIT).astype(np.int32)
        return Target(chosen, coded, gained.astype(np.int32), trim)

    def walk(
        self, next_coder: NextCoder, frame: Frame, wanted: Target | None, on_symbols: OnSymbols | None = None
    ) -> Symbols:
        """See `models.gic1.symbols`; both coders have the same order and the same rows."""
        return walk(next_coder(), self.entropy, frame.geometry, frame.level_shift, wanted, on_symbols)

    def gathered(self, arrays: Sequence[IntArray]) -> Symbols:
        return Symbols(*arrays)

    def planes(self, symbols: Symbols, frame: Frame) -> Planes:
        """Latents (K, h, w) with gains undone, and fractional levels (hb, wb)."""
        position = self._position(symbols, frame)
        levels = (position / SUBLEVELS).astype(np.float32)
        return Plane(self._undo_gains(symbols, position), LATENT_STRIDE), Plane(levels, BLOCK)

    def importance_of(self, symbols: Symbols, frame: Frame) -> Plane:
        """Levels (hb, wb) over their range."""
        return Plane(self._position(symbols, frame) / (LEVELS * SUBLEVELS - 1), BLOCK)

    def synthesises(self, realism: float) -> bool:
        """The faithful end invents nothing."""
        return realism > 0

    @staticmethod
    def _position(symbols: Symbols, frame: Frame) -> NDArray[np.int64]:
        position: NDArray[np.int64] = symbols.levels.astype(np.int64) * SUBLEVELS + frame.level_shift
        return position

    def _undo_gains(self, symbols: Symbols, position: NDArray[np.int64]) -> FloatArray:
        sites = per_site(position)
        gain = self.entropy.gain[sites].transpose(2, 0, 1).astype(np.float32)
        latent = symbols.dequantised16.astype(np.float32) * np.float32((1 << GAIN_BITS) / 16) / gain
        depth = self.entropy.depth[sites // SUBLEVELS].astype(np.int32)
        result: FloatArray = np.where(np.arange(self.entropy.channels)[:, None, None] < depth, latent, np.float32(0))
        return result
