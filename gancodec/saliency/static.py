"""Saliency without networks: OpenCV's static methods, and the centre prior that any method has to beat."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gancodec.errors import optional
from gancodec.types import FloatArray, Pixels

SIGMA = 0.25  # of each side


def stretched(values: NDArray[np.floating[Any]]) -> FloatArray:
    """A map moved and scaled to [0, 1] float32; all zero where it is flat."""
    low, high = float(values.min()), float(values.max())
    if high - low < 1e-6:
        return np.zeros(values.shape, np.float32)
    return ((values - low) / (high - low)).astype(np.float32)


def none(rgb: Pixels) -> FloatArray:
    """Zero everywhere."""
    return np.zeros(rgb.shape[:2], np.float32)


def center(rgb: Pixels) -> FloatArray:
    """A Gaussian around the middle, 1 at its top: photographers put what matters there, and viewers look there first.

    Its standard deviation is a quarter of the height and of the width.
    """
    down, across = (np.exp(-((((np.arange(n) + 0.5) / n - 0.5) / SIGMA) ** 2) / 2) for n in rgb.shape[:2])
    values = np.outer(down / down.max(), across / across.max())
    return values.astype(np.float32)


def spectral(rgb: Pixels) -> FloatArray:
    """Spectral residual (Hou and Zhang, CVPR 2007), on OpenCV's 64x64 copy of the picture."""
    return _computed("StaticSaliencySpectralResidual_create", rgb)


def fine(rgb: Pixels) -> FloatArray:
    """Fine-grained centre-surround differences (Montabone and Soto, 2010)."""
    return _computed("StaticSaliencyFineGrained_create", rgb)


def combined(rgb: Pixels) -> FloatArray:
    """Mean of both, each stretched to [0, 1]."""
    return stretched(spectral(rgb) + fine(rgb))


def spectral_center(rgb: Pixels) -> FloatArray:
    """Spectral residual times the centre prior, stretched to [0, 1]: of all methods here the one that foretells best
    where people look (docs/saliency.md)."""
    return stretched(spectral(rgb) * center(rgb))


def _computed(name: str, rgb: Pixels) -> FloatArray:
    # The module is only in the build with contributed modules.
    method = getattr(optional("cv2", "saliency", "saliency", "saliency"), name)()
    done, values = method.computeSaliency(np.ascontiguousarray(rgb[..., ::-1]))  # OpenCV wants BGR
    if not done:
        return np.zeros(rgb.shape[:2], np.float32)
    return stretched(np.nan_to_num(np.asarray(values, np.float32)))
