"""The static saliency methods of OpenCV: spectral residual, fine grained, both together, and the first one times the
centre prior."""

from __future__ import annotations

from typing import Any

import numpy as np

from gancodec.errors import MissingExtra
from gancodec.saliency.base import Pixels, stretched
from gancodec.saliency.prior import center
from gancodec.types import FloatArray


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
    return stretched(spectral(rgb) + fine(rgb))


def spectral_center(rgb: Pixels) -> FloatArray:
    """Spectral residual times the centre prior, stretched to [0, 1]: of all methods here the one that foretells best
    where people look (docs/saliency.md)."""
    return stretched(spectral(rgb) * center(rgb))


def _computed(method: Any, rgb: Pixels) -> FloatArray:
    done, values = method.computeSaliency(np.ascontiguousarray(rgb[..., ::-1]))  # OpenCV wants BGR
    if not done:
        return np.zeros(rgb.shape[:2], np.float32)
    return stretched(np.nan_to_num(np.asarray(values, np.float32)))
