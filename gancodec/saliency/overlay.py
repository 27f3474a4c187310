"""A map laid over its picture, for people to look at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gancodec.types import FloatArray

# Dark blue over red to yellow: lighter means more, also for those who see no colours.
STOPS = (0.0, 0.35, 0.7, 1.0)
COLOURS = ((30, 30, 120), (150, 40, 140), (240, 100, 60), (255, 240, 90))
COVER = 0.65  # of the colour; the rest is the picture's brightness


def laid_over(rgb: NDArray[np.uint8], values: FloatArray) -> NDArray[np.uint8]:
    """Picture in gray under the colours of a map.

    Parameters
    ----------
    rgb : (H, W, 3) uint8
    values : (H, W) float32
        In [0, 1].

    Returns
    -------
    (H, W, 3) uint8
    """
    shades = np.stack([np.interp(np.arange(256) / 255, STOPS, channel) for channel in zip(*COLOURS, strict=True)], 1)
    colours = np.rint(COVER * 256 * shades).astype(np.uint16)[np.rint(values * 255).astype(np.uint8)]
    gray = rgb.sum(2, dtype=np.uint16) // 3 * np.uint16(256 - round(COVER * 256))
    result: NDArray[np.uint8] = ((colours + gray[..., None]) >> 8).astype(np.uint8)
    return result
