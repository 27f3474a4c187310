"""What the methods share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gancodec.types import FloatArray

Pixels = NDArray[np.uint8]


def stretched(values: NDArray[np.floating[Any]]) -> FloatArray:
    """A map moved and scaled to [0, 1] float32; all zero where it is flat."""
    low, high = float(values.min()), float(values.max())
    if high - low < 1e-6:
        return np.zeros(values.shape, np.float32)
    return ((values - low) / (high - low)).astype(np.float32)
