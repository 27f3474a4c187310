"""Quality of a decoded picture: plain functions on 8-bit RGB arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gancodec.types import Pixels

MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW, SIGMA = 11, 1.5
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
Weight = NDArray[np.floating[Any]]


def psnr(a: Pixels, b: Pixels, weight: Weight | None = None) -> float:
    """Peak signal-to-noise ratio in dB of two (H, W, 3) uint8 pictures, over all channels; infinite where equal.

    With `weight` (H, W), not negative, the mean squared error is the weighted mean over the pixels.
    """
    squared = ((a.astype(np.float64) - b.astype(np.float64)) ** 2).mean(2)
    error = _mean(squared[None], weight)[0]
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def ms_ssim(a: Pixels, b: Pixels, weight: Weight | None = None) -> float:
    """Multi-scale structural similarity, mean over the colour channels, in [0, 1].

    Parameters
    ----------
    a, b : (H, W, 3) uint8
        Five scales need sides above 160 pixels; smaller pictures use the scales that fit, their weights scaled up,
        and below 11 pixels the mean absolute error stands in: 1 - |a - b| / 255.
    weight : (H, W) array, optional
        Not negative. At every scale the similarity map is averaged with it (halved along with the picture, cut to the
        centres of the windows), as information-weighted SSIM does with its weights.

    References
    ----------
    .. [1] Wang, Simoncelli, Bovik: Multiscale structural similarity, 2003. Gaussian 11x11 windows, sigma 1.5, 2x2
    means between scales.
    """
    x, y = (np.moveaxis(v.astype(np.float64), 2, 0) for v in (a, b))
    scales = _scales_that_fit(min(a.shape[:2]))
    if not scales:
        return 1 - float(np.abs(x - y).mean()) / 255
    weights = np.array(MS_SSIM_WEIGHTS[:scales]) / sum(MS_SSIM_WEIGHTS[:scales])
    result = np.ones(x.shape[0])
    for scale in range(scales):
        similarity, contrast = _ssim(x, y, weight)
        result *= np.maximum(similarity if scale == scales - 1 else contrast, 0) ** weights[scale]
        x, y = _halve(x), _halve(y)
        weight = None if weight is None else _halve(np.asarray(weight, np.float64)[None])[0]
    return float(result.mean())


def _scales_that_fit(side: int) -> int:
    count = 0
    while count < len(MS_SSIM_WEIGHTS) and side >= WINDOW:
        count, side = count + 1, (side + side % 2) // 2
    return count


def _mean(maps: NDArray[np.float64], weight: Weight | None) -> NDArray[np.float64]:
    """Mean of each map (C, h, w), by a weight (h, w) if there is one that is not zero everywhere."""
    if weight is None or not np.any(weight):
        return np.asarray(maps.mean((1, 2)))
    return np.asarray((maps * weight).sum((1, 2)) / np.sum(weight, dtype=np.float64))


def _ssim(
    x: NDArray[np.float64], y: NDArray[np.float64], weight: Weight | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean SSIM and mean contrast-structure term of each channel."""
    mean_x, mean_y = _blur(x), _blur(y)
    variance = _blur(x * x) - mean_x**2 + _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    contrast = (2 * covariance + C2) / (variance + C2)
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    edge = WINDOW // 2
    inner = None if weight is None else weight[edge : weight.shape[0] - edge, edge : weight.shape[1] - edge]
    return _mean(luminance * contrast, inner), _mean(contrast, inner)


def _blur(x: NDArray[np.float64]) -> NDArray[np.float64]:
    taps = np.exp(-((np.arange(WINDOW) - WINDOW // 2) ** 2) / (2 * SIGMA**2))
    taps /= taps.sum()
    height, width = x.shape[1] - WINDOW + 1, x.shape[2] - WINDOW + 1
    rows = np.sum([t * x[:, i : i + height] for i, t in enumerate(taps)], axis=0)
    result: NDArray[np.float64] = np.sum([t * rows[:, :, i : i + width] for i, t in enumerate(taps)], axis=0)
    return result


def _halve(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """2x2 means; an odd side is padded with zeros that count, as the usual implementations do."""
    height, width = x.shape[1:]
    x = np.pad(x, ((0, 0), (height % 2, height % 2), (width % 2, width % 2)))
    x = x[:, : x.shape[1] // 2 * 2, : x.shape[2] // 2 * 2]
    return (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4
