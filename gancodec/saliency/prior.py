"""Maps that do not look at the picture: what any method has to beat."""

from __future__ import annotations

import numpy as np

from gancodec.saliency.base import Pixels
from gancodec.types import FloatArray

SIGMA = 0.25  # of each side


def center(rgb: Pixels) -> FloatArray:
    """A Gaussian around the middle, 1 at its top: photographers put what matters there, and viewers look there first.

    Its standard deviation is a quarter of the height and of the width.
    """
    down, across = (np.exp(-((((np.arange(n) + 0.5) / n - 0.5) / SIGMA) ** 2) / 2) for n in rgb.shape[:2])
    values = np.outer(down / down.max(), across / across.max())
    return values.astype(np.float32)


def none(rgb: Pixels) -> FloatArray:
    """Zero everywhere."""
    return np.zeros(rgb.shape[:2], np.float32)
