"""From a saliency map to a soft mask of what is salient."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gancodec.errors import optional
from gancodec.types import FloatArray

LONGEST = 512  # pixels of the working copy: time stays bounded
SIGMA_COLOUR = 25  # of 255: what the bilateral filter smooths over
SIGMA_SPACE = 1 / 128  # of the longest side, for both filters
FLAT = 1e-6  # what counts as no difference, and as zero
LEAST_SHARE, MOST_SHARE = 0.05, 0.5  # of the picture


def adaptive_mask(values: FloatArray) -> FloatArray:
    """The adaptive saliency mask of the paper, section 5.1: "Otsu's thresholding and histogram-based adjustments", with
    "bilateral filtering and Gaussian blurring to preserve edges and details".

    It gives no more than that. Chosen here, on a copy of at most 512 pixels a side: the map, stretched to 8 bit, is
    smoothed by a bilateral filter; Otsu's threshold splits it; where that would make less than a twentieth or more than
    half of the picture salient, the threshold moves to the gray level of the histogram that keeps the share in that
    range (gray levels are not split: a plateau is in or out as a whole, what has the least value is out); a Gaussian
    blur, its sigma 1/128 of the longest side, makes the edges of the mask soft.

    Parameters
    ----------
    values : (H, W) float32
        Saliency in [0, 1]; what is not a number counts as 0.

    Returns
    -------
    (H, W) float32
        In [0, 1]; from 0.5 on a pixel is salient. A constant map is all 0 where it is 0 and all 1 elsewhere: nothing
        in it matters less than the rest.

    Raises
    ------
    MissingExtra
        Without OpenCV.
    """
    cv2 = optional("cv2", "the adaptive mask", "saliency")
    values = np.nan_to_num(np.clip(np.asarray(values, np.float32), 0, 1))
    height, width = values.shape
    scale = min(1, LONGEST / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(values, size, interpolation=cv2.INTER_AREA)
    low, high = float(small.min()), float(small.max())
    if high - low < FLAT:
        return np.full(values.shape, high > FLAT, np.float32)
    gray = np.round((small - low) * (255 / (high - low))).astype(np.uint8)
    sigma = SIGMA_SPACE * max(size)
    smooth = np.asarray(cv2.bilateralFilter(gray, 0, SIGMA_COLOUR, sigma), np.uint8)
    mask = cv2.GaussianBlur((smooth > _limit(cv2, smooth)).astype(np.float32), (0, 0), sigma)
    mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.clip(np.asarray(mask, np.float32), 0, 1)


def _limit(cv2: Any, gray: NDArray[np.uint8]) -> int:
    """The gray level above which a pixel is salient."""
    otsu, _ = cv2.threshold(gray, 0, 255, cv2.THRESH_OTSU)
    share = 1 - np.cumsum(np.bincount(gray.ravel(), minlength=256)) / gray.size  # above each level
    lowest = int((share > MOST_SHARE).sum())
    highest = int((share >= LEAST_SHARE).sum()) - 1
    return max(min(max(int(otsu), lowest), highest), int(gray.min()))
