"""The static saliency methods of OpenCV: spectral residual, fine grained, and both together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gancodec.errors import MissingExtra, UsageError
from gancodec.types import FloatArray

Pixels = NDArray[np.uint8]
LEAST_SIDE = 8  # pixels; smaller pictures have no structure that the methods could find


def _opencv() -> Any:
    try:
        import cv2

        return cv2.saliency  # only in the build with contributed modules
    except (ImportError, AttributeError) as error:
        raise MissingExtra("saliency", "saliency") from error


def spectral(rgb: Pixels) -> FloatArray:
    """Spectral residual (Hou and Zhang, CVPR 2007), on OpenCV's 64x64 copy of the picture."""
    return _computed(_opencv().StaticSaliencySpectralResidual_create(), rgb)


def fine(rgb: Pixels) -> FloatArray:
    """Fine-grained centre-surround differences (Montabone and Soto, 2010)."""
    return _computed(_opencv().StaticSaliencyFineGrained_create(), rgb)


def combined(rgb: Pixels) -> FloatArray:
    """Mean of both, each stretched to [0, 1]."""
    return _stretched(spectral(rgb) + fine(rgb))


METHODS: dict[str, Callable[[Pixels], FloatArray]] = {"spectral": spectral, "fine": fine, "combined": combined}


def saliency_map(rgb: Pixels, method: str = "combined") -> FloatArray:
    """Saliency of a picture, deterministic.

    Parameters
    ----------
    rgb : (H, W, 3) uint8
    method : str
        A key of METHODS.

    Returns
    -------
    (H, W) float32
        In [0, 1]; zero everywhere for flat and for tiny pictures.
    """
    if method not in METHODS:
        raise UsageError(f"saliency {method}: choose {', '.join(METHODS)}")
    # In a flat picture the methods would stretch their own rounding noise to the full range.
    if min(rgb.shape[:2]) < LEAST_SIDE or (rgb == rgb[0, 0]).all():
        return np.zeros(rgb.shape[:2], np.float32)
    return METHODS[method](rgb)


def _computed(method: Any, rgb: Pixels) -> FloatArray:
    done, values = method.computeSaliency(np.ascontiguousarray(rgb[..., ::-1]))  # OpenCV wants BGR
    if not done:
        return np.zeros(rgb.shape[:2], np.float32)
    return _stretched(np.nan_to_num(np.asarray(values, np.float32)))


def _stretched(values: NDArray[np.floating[Any]]) -> FloatArray:
    low, high = float(values.min()), float(values.max())
    if high - low < 1e-6:
        return np.zeros(values.shape, np.float32)
    return ((values - low) / (high - low)).astype(np.float32)
