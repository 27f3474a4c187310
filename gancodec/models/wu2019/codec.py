"""The codec of the wu2019 models: the source paper's importance matrix and symbol order in this package's container.

Nothing but z is in a file. Where it is masked a decoder learns from the termination codes; n and importance are the
encoder's own.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gancodec.container.spec import CODEC_WU2019
from gancodec.entropy.coder import Coder
from gancodec.models.gic1.symbols import Symbols
from gancodec.models.learned import Codec, checked
from gancodec.models.levels import LEVELS, SUBLEVELS
from gancodec.models.wu2019.symbols import PlaneModel, Planes, walk
from gancodec.tiling import Area
from gancodec.types import BLOCK, FloatArray, Geometry, IntArray
from gancodec.weights import Weights

if TYPE_CHECKING:
    from gancodec.tiling import Progress

STRIDE = 8  # pixels per site of omega
TRIM = 512  # steps of a trim that mask one more channel everywhere


class Analysis(NamedTuple):
    """Encoder's view of one picture, independent of n: omega (K, h, w) in [0, 3], and importance (h, w), which is y of
    eq. 2 with mean 0 and standard deviation 1."""

    omega: FloatArray
    importance: FloatArray


@lru_cache(maxsize=4)
def _plane_model(weights: Weights) -> PlaneModel:
    model: PlaneModel = checked(weights, PlaneModel)
    return model


class Wu2019Codec(Codec):
    """Encoder and decoder of a model of `models.wu2019`; see `Codec`. Its levels are the channels that are on at each
    site."""

    id = CODEC_WU2019
    stride = importance_stride = STRIDE
    symbol_strides = (STRIDE, STRIDE, STRIDE, STRIDE)
    entropy: PlaneModel

    def __init__(self, weights: Weights, device: str = "auto") -> None:
        super().__init__(weights, device)
        self.entropy = _plane_model(weights)

    def analyse(self, rgb: NDArray[np.uint8], progress: Progress | None = None) -> Analysis:
        """Run encoder and masker once on (H, W, 3) uint8 pixels."""
        return Analysis(*self.network.analyse(rgb, progress))

    def levels_at(self, importance: FloatArray, n: float) -> tuple[IntArray, int]:
        """Channels that eq. 3 leaves on (h, w), 1 .. K, where m = sigmoid(importance - n); the level shift is 0."""
        channels = self.entropy.channels
        m = 1 / (1 + np.exp(n - importance.astype(np.float64)))
        return np.minimum(np.floor(channels * m) + 1, channels).astype(np.int32), 0

    def target_of(self, analysis: Analysis, levels: IntArray, level_shift: int, area: Area | None = None) -> Planes:
        """Quantised omega (eq. 4) of a picture, or an area of it, and the channels that are on."""
        omega = analysis.omega
        if area is not None:
            omega, levels = omega[area.sites(STRIDE)], levels[area.sites(STRIDE)]
        return Planes(levels, np.rint(omega).astype(np.int32))

    def trimmed(self, target: Planes, amount: int) -> Planes:
        """One more channel masked for each full TRIM, and at a share of the sites, evenly spread, for the rest; never
        the first one."""
        spread = np.arange(target.depth.size) * 0x9E3779B1 % (1 << 32) * TRIM >> 32  # Fibonacci hashing, 0 .. TRIM - 1
        lost = (spread.reshape(target.depth.shape) + amount) // TRIM
        return target._replace(depth=np.maximum(target.depth - lost, 1).astype(np.int32))

    def walk(
        self, coder: Coder, name: str, geometry: Geometry, level_shift: int, target: Planes | None, watch: Any
    ) -> Symbols:
        """See `entropy.planes`."""
        height, width = geometry.padded

        def tell(rows: Any, symbols: Any, sites: tuple[Any, Any]) -> None:
            watch(rows, symbols, (sites[0] * STRIDE // BLOCK, sites[1] * STRIDE // BLOCK))

        shape = height // STRIDE, width // STRIDE
        depth, z = walk(coder, self.entropy, shape, name == "range", target, tell if watch else None)
        return Symbols(depth, np.zeros((0, *shape), np.int32), z, np.zeros_like(z))

    def generator_input(self, symbols: Symbols, level_shift: int) -> tuple[FloatArray, FloatArray]:
        """Z (K, h, w), which is all that the generator takes; levels (hb, wb) of zeros beside it."""
        blocks = (side * STRIDE // BLOCK for side in symbols.levels.shape)
        return symbols.latents.astype(np.float32), np.zeros(tuple(blocks), np.float32)

    def block_levels(self, symbols: Symbols, level_shift: int) -> NDArray[np.int64]:
        """Mean share of the channels that are on in each block (hb, wb), over gic1's range of levels."""
        side = BLOCK // STRIDE
        rows, columns = (n // side for n in symbols.levels.shape)
        means = symbols.levels.reshape(rows, side, columns, side).mean((1, 3)) / self.entropy.channels
        scaled: NDArray[np.int64] = np.rint(means * (LEVELS - 1) * SUBLEVELS).astype(np.int64)
        return scaled

    def synthesises(self, realism: float) -> bool:
        """There is one generator, which the recipe trains against a discriminator."""
        return True
