"""Where the user wants the bits: maps, and the bias that they give the importance of each block."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gancodec.types import FloatArray

PROTECT_STRENGTH = 1.5  # logit units of a protected block over the others; docs/results/protect.md has the measurement
REGION_STRENGTH = 2.0  # of a white block over a black one, at strength 1; docs/saliency.md
SALIENCY_STRENGTH = 0.25  # of one standard deviation of the saliency of blocks, at strength 1; docs/saliency.md
LEAST_SPREAD = 0.02  # standard deviation of block saliency that counts in full: flat maps say nothing
FULL_SHARE = 0.1  # of a block's area that has it protected in full: a line of small letters across it


class Guidance(NamedTuple):
    """Maps (H, W) float32 in [0, 1] of what the user asked for, None where it was not, and the strength that scales
    saliency and region. A codec uses those that it knows."""

    saliency: FloatArray | None = None
    region: FloatArray | None = None
    protection: FloatArray | None = None
    strength: float = 1.0

    def biased(self, importance: FloatArray, side: int) -> FloatArray:
        """Importance with wished blocks raised over the others, its mean kept so that n still means about the same
        rate.

        Parameters
        ----------
        importance : (hb, wb) float32
            In logit units, as a masker gives it.
        side : int
            Of the blocks, in pixels.

        Returns
        -------
        (hb, wb) float32
            Equal to `importance` where nothing is asked for, and where everything is wished alike.
        """
        bias = np.zeros(importance.shape)
        if self.protection is not None:
            bias += PROTECT_STRENGTH * _covered(self.protection, importance.shape, side)
        if self.region is not None:
            # A region that reaches into a block needs that block.
            region = _by_block(self.region, importance.shape, side, lambda pixels: pixels.max(1))
            bias += self.strength * REGION_STRENGTH * region
        if self.saliency is not None:
            bias += self.strength * SALIENCY_STRENGTH * _standardised(self.saliency, importance.shape, side)
        if not bias.any():
            return importance
        result: FloatArray = (importance + (bias - bias.mean())).astype(np.float32)
        return result


UNGUIDED = Guidance()


def _standardised(values: FloatArray, blocks: tuple[int, ...], side: int) -> NDArray[np.float64]:
    """Map (H, W) to its mean in each block (hb, wb), with mean 0 and standard deviation (at most) 1."""
    means = _by_block(values, blocks, side, lambda pixels: pixels.mean(1))
    result: NDArray[np.float64] = (means - means.mean()) / max(float(means.std()), LEAST_SPREAD)
    return result


def _covered(values: FloatArray, blocks: tuple[int, ...], side: int) -> NDArray[np.float64]:
    """Map (H, W) to its mean in each block (hb, wb), full from FULL_SHARE on."""
    return np.minimum(_by_block(values, blocks, side, lambda pixels: pixels.mean(1)) / FULL_SHARE, 1)


def _by_block(
    values: FloatArray,
    blocks: tuple[int, ...],
    side: int,
    value_of: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """What `value_of` makes of the pixels (wb, side**2) of each row of blocks; edges repeated as the encoder pads
    them."""
    result = np.empty(blocks)
    last = values.shape[0] - 1
    for row in range(blocks[0]):  # one at a time: a copy of the whole map would be larger than the picture
        rows = np.minimum(np.arange(row * side, (row + 1) * side), last)
        strip = values[rows].astype(np.float64)
        padded = np.pad(strip, ((0, 0), (0, blocks[1] * side - strip.shape[1])), mode="edge")
        result[row] = value_of(padded.reshape(side, blocks[1], side).swapaxes(0, 1).reshape(blocks[1], side**2))
    return result
