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
    gray = rgb.mean(2)
    shades = [np.interp(values, STOPS, channel) for channel in zip(*COLOURS, strict=True)]
    layers = [np.rint(COVER * shade + (1 - COVER) * gray) for shade in shades]
    return np.stack(layers, axis=2).astype(np.uint8)
