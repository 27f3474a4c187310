"""The toy codec. Its levels are the fine channels that are on in each place of 32 x 32 pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gancodec.entropy.coder import OnSymbols
from gancodec.models.guidance import UNGUIDED, Guidance
from gancodec.models.learned import LearnedCodec
from gancodec.models.stream import Frame, Levels, NextCoder
from gancodec.tiling import Area, Progress
from gancodec.types import FloatArray, IntArray, Plane, Planes
from tests.toy.config import CLASS, COARSE, CODEC_TOY, FINE
from tests.toy.symbols import Symbols, ToyIntegers, per_fine, walk

TRIM = 512  # steps of a trim that take one more channel everywhere
COARSE_STEP = np.float32(0.5)  # of the quantiser of coarse latents


class Analysis(NamedTuple):
    """fine (K, h/8, w/8), coarse (K, h/16, w/16), classes (h/32, w/32) uint8, importance (h/32, w/32), in logit
    units."""

    fine: FloatArray
    coarse: FloatArray
    classes: NDArray[np.uint8]
    importance: FloatArray


class ToyCodec(LearnedCodec[Analysis, Symbols, Symbols]):
    """Encoder and decoder of a toy model."""

    id = CODEC_TOY
    entropy: ToyIntegers
    entropy_class = ToyIntegers

    def analyse(
        self, rgb: NDArray[np.uint8], guidance: Guidance = UNGUIDED, progress: Progress | None = None
    ) -> Analysis:
        """Run the encoder once on (H, W, 3) uint8 pixels."""
        fine, coarse, classes, importance = self.network.analyse(rgb, progress)
        return Analysis(fine, coarse, classes.astype(np.uint8), guidance.biased(importance, CLASS))

    def levels_at(self, analysis: Analysis, n: float) -> Levels:
        """Channels that are on, 0 .. K."""
        m = 1 / (1 + np.exp(n - analysis.importance.astype(np.float64)))
        return Levels(np.rint(self.entropy.fine * m).astype(np.int32))

    def wanted_of(self, analysis: Analysis, levels: Levels, area: Area | None = None, trim: int = 0) -> Symbols:
        """Quantised latents. A trim takes a channel at a share of the places, evenly spread."""
        fine, coarse, classes, _ = analysis
        depth = levels.values
        if area is not None:
            fine, coarse, classes = (v[area.sites(s)] for v, s in ((fine, FINE), (coarse, COARSE), (classes, CLASS)))
            depth = depth[area.sites(CLASS)]
        spread = (np.arange(depth.size) * 0x9E3779B1 % (1 << 32) * TRIM >> 32).reshape(depth.shape)  # Fibonacci hashing
        depth = np.maximum(depth - (spread + trim) // TRIM, 0).astype(np.int32)
        on = np.arange(len(fine))[:, None, None] < per_fine(depth)
        return Symbols(
            classes, depth, np.rint(coarse / COARSE_STEP).astype(np.int32), (np.rint(fine) * on).astype(np.int32)
        )

    def walk(
        self, next_coder: NextCoder, frame: Frame, wanted: Symbols | None, on_symbols: OnSymbols | None = None
    ) -> Symbols:
        """See `tests.toy.symbols`; both coders have the same rows."""
        return walk(next_coder, self.entropy, frame.geometry, wanted, on_symbols)

    def gathered(self, arrays: Sequence[IntArray]) -> Symbols:
        """The arrays by name."""
        return Symbols(*arrays)  # type: ignore[arg-type]

    def planes(self, symbols: Symbols, frame: Frame) -> Planes:
        """Classes, coarse and fine latents; where fine ones are on the generator does not learn."""
        return (
            Plane(symbols.classes, CLASS),
            Plane(symbols.coarse.astype(np.float32) * COARSE_STEP, COARSE),
            Plane(symbols.fine.astype(np.float32), FINE),
        )

    def importance_of(self, symbols: Symbols, frame: Frame) -> Plane:
        """Share of the channels that are on."""
        return Plane(symbols.depth / self.entropy.fine, CLASS)

    def synthesises(self, realism: float) -> bool:
        """It is trained without a discriminator."""
        return False
