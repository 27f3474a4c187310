"""The codec of the wu2019 models: the source paper's importance matrix and symbol order in this package's container.

Nothing but z is in a file. Where it is masked a decoder learns from the termination codes; n and importance are the
encoder's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gancodec.container.spec import CODEC_WU2019
from gancodec.entropy.coder import Ints, OnSymbols
from gancodec.models.guidance import UNGUIDED, Guidance
from gancodec.models.learned import LearnedCodec
from gancodec.models.stream import Frame, Levels, NextCoder
from gancodec.models.wu2019.config import STRIDE
from gancodec.models.wu2019.symbols import PlaneModel, Symbols, walk
from gancodec.tiling import Area, Progress
from gancodec.types import BLOCK, FloatArray, IntArray, Plane, Planes

TRIM = 512  # steps of a trim that mask one more channel everywhere
SITES = BLOCK // STRIDE  # along the side of a block


class Analysis(NamedTuple):
    """Encoder's view of one picture, independent of n: omega (K, h, w) in [0, 3], and importance (h, w), which is y of
    eq. 2 with mean 0 and standard deviation 1."""

    omega: FloatArray
    importance: FloatArray


class Wu2019Codec(LearnedCodec[Analysis, Symbols, Symbols]):
    """Encoder and decoder of a model of `models.wu2019`. Its levels are the channels that are on at each site."""

    id = CODEC_WU2019
    entropy: PlaneModel
    entropy_class = PlaneModel

    def analyse(
        self, rgb: NDArray[np.uint8], guidance: Guidance = UNGUIDED, progress: Progress | None = None
    ) -> Analysis:
        omega, importance = self.network.analyse(rgb, progress)
        return Analysis(omega, guidance.biased(importance, STRIDE))

    def levels_at(self, analysis: Analysis, n: float) -> Levels:
        """Channels that eq. 3 leaves on (h, w), 1 .. K, where m = sigmoid(importance - n)."""
        channels = self.entropy.channels
        m = 1 / (1 + np.exp(n - analysis.importance.astype(np.float64)))
        return Levels(np.minimum(np.floor(channels * m) + 1, channels).astype(np.int32))

    def wanted_of(self, analysis: Analysis, levels: Levels, area: Area | None = None, trim: int = 0) -> Symbols:
        """Quantised omega (eq. 4) of a picture, or an area of it, and the channels that are on.

        A trim masks one more channel for each full TRIM, and at a share of the sites, evenly spread, for the rest;
        never the first one.
        """
        omega, depth = analysis.omega, levels.values
        if area is not None:
            omega, depth = omega[area.sites(STRIDE)], depth[area.sites(STRIDE)]
        if trim:
            spread = np.arange(depth.size) * 0x9E3779B1 % (1 << 32) * TRIM >> 32  # Fibonacci hashing, 0 .. TRIM - 1
            lost = (spread.reshape(depth.shape) + trim) // TRIM
            depth = np.maximum(depth - lost, 1).astype(np.int32)
        return Symbols(depth, np.rint(omega).astype(np.int32))

    def walk(
        self, next_coder: NextCoder, frame: Frame, wanted: Symbols | None, on_symbols: OnSymbols | None = None
    ) -> Symbols:
        """See `models.wu2019.symbols`; the range coder's tables know what is coded already, Huffman's are static."""

        def on_sites(rows: Ints, symbols: Ints, sites: tuple[Ints, Ints]) -> None:
            if on_symbols is not None:
                on_symbols(rows, symbols, (sites[0] // SITES, sites[1] // SITES))

        height, width = (side // STRIDE for side in frame.geometry.padded)
        context = frame.coder == "range"
        return walk(next_coder(), self.entropy, (height, width), context, wanted, on_sites if on_symbols else None)

    def gathered(self, arrays: Sequence[IntArray]) -> Symbols:
        return Symbols(*arrays)

    def planes(self, symbols: Symbols, frame: Frame) -> Planes:
        """Z (K, h, w), which is all that the generator takes."""
        return (Plane(symbols.z.astype(np.float32), STRIDE),)

    def importance_of(self, symbols: Symbols, frame: Frame) -> Plane:
        """Mean share of the channels that are on in each block (hb, wb)."""
        rows, columns = (side // SITES for side in symbols.depth.shape)
        means = symbols.depth.reshape(rows, SITES, columns, SITES).mean((1, 3))
        return Plane(means / self.entropy.channels, BLOCK)

    def synthesises(self, realism: float) -> bool:
        """There is one generator, which the recipe trains against a discriminator."""
        return True
