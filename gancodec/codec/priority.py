"""Bits for what has to stay legible or recognisable: a bias of the importance that the masker gives each block."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gancodec.saliency import protection_map
from gancodec.types import BLOCK, FloatArray

STRENGTH = 1.5  # logit units of a protected block over the others; docs/results/protect.md has the measurement
FULL_SHARE = 0.1  # of a block's area that has it counted in full: a line of small letters across it


def raised(importance: FloatArray, rgb: NDArray[np.uint8], names: tuple[str, ...]) -> FloatArray:
    """Importance with protected blocks raised over the others, its mean kept so that n still means about the same rate.

    Parameters
    ----------
    importance : (hb, wb) float32
        In logit units, as the masker gives it.
    rgb : (H, W, 3) uint8
    names : tuple of str
        Keys of `saliency.DETECTORS`.

    Returns
    -------
    (hb, wb) float32
        Equal to `importance` where nothing is found, and where everything is protected alike.
    """
    bias = STRENGTH * _by_block(protection_map(rgb, names), importance.shape)
    result: FloatArray = (importance + (bias - bias.mean())).astype(np.float32)
    return result


def _by_block(values: FloatArray, blocks: tuple[int, ...]) -> FloatArray:
    """Map (H, W) to one value a block (hb, wb) in [0, 1]: its mean, full from FULL_SHARE on."""
    rows, columns = (count * BLOCK - side for count, side in zip(blocks, values.shape, strict=True))
    padded = np.pad(values, ((0, rows), (0, columns)), mode="edge")  # as the encoder pads the picture
    means = padded.reshape(blocks[0], BLOCK, blocks[1], BLOCK).mean((1, 3))
    result: FloatArray = np.minimum(means / FULL_SHARE, 1).astype(np.float32)
    return result
