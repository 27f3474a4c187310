"""How well a saliency map foretells where people look: AUC-Judd, NSS and CC, as the MIT benchmark defines them.

All three take a map (H, W) of any range and scale. A constant map scores what chance does: AUC 0.5, NSS 0, CC 0.

References
----------
.. [1] Bylinskii, Judd, Oliva, Torralba, Durand: What do different evaluation metrics tell us about saliency models?
   IEEE TPAMI 41 (3), 2019.
.. [2] Judd, Ehinger, Durand, Torralba: Learning to predict where humans look, ICCV 2009.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.floating[Any]] | NDArray[np.integer[Any]]
Mask = NDArray[np.bool_]


def fixated(points: Map, shape: tuple[int, int]) -> Mask:
    """Pixels that were looked at.

    Parameters
    ----------
    points : (N, 2) array
        Fixations as x, y in pixels; the top left pixel reaches from 0 to 1. Those out of the picture are dropped.
    shape : (H, W)

    Returns
    -------
    (H, W) bool
        Several fixations on one pixel count once, in AUC and in NSS, as in the code of [1]_ (``S(F > 0)`` and
        ``map(logical(fixationMap))``).
    """
    x, y = np.floor(np.asarray(points, np.float64).reshape(-1, 2)).T
    inside = (x >= 0) & (x < shape[1]) & (y >= 0) & (y < shape[0])
    result = np.zeros(shape, bool)
    result[y[inside].astype(np.int64), x[inside].astype(np.int64)] = True
    return result


def auc_judd(saliency: Map, seen: Mask) -> float:
    """Area under the ROC curve of "seen" by thresholds on saliency: seen pixels against all others [1]_, [2]_.

    Equals the chance that a seen pixel is more salient than another one, where ties count half. The MIT code sets its
    thresholds at seen pixels only, with straight lines between, and breaks ties by random jitter. Without ties, that
    adds P(another pixel is more salient than the least salient seen one) / 2N for N seen pixels: 0.004 at most for 130.

    Parameters
    ----------
    saliency : (H, W) array
    seen : (H, W) bool

    Returns
    -------
    float
        In [0, 1]; unchanged by any increasing function of the map.

    Raises
    ------
    ValueError
        Where no pixel was seen, or every one.
    """
    levels, level_of = np.unique(saliency, return_inverse=True)
    hits, others = (np.bincount(level_of.ravel()[m.ravel()], minlength=len(levels)) for m in (_some(seen), ~seen))
    if not others.any():
        raise ValueError("every pixel was seen: nothing to tell apart")
    below = np.cumsum(others) - others / 2
    return float(hits @ below / (hits.sum() * others.sum()))


def nss(saliency: Map, seen: Mask) -> float:
    """Normalised scanpath saliency: mean over seen pixels of the map at zero mean and unit deviation [1]_.

    Parameters
    ----------
    saliency : (H, W) array
    seen : (H, W) bool

    Returns
    -------
    float
        In deviations; 0 is chance.

    Raises
    ------
    ValueError
        Where no pixel was seen.
    """
    return float(_standardised(saliency)[_some(seen)].mean())


def correlation(saliency: Map, density: Map) -> float:
    """CC: Pearson's correlation of a map with the density of fixations [1]_.

    Parameters
    ----------
    saliency, density : (H, W) array

    Returns
    -------
    float
        In [-1, 1]; 0 where either is constant.
    """
    if saliency.shape != density.shape:
        raise ValueError(f"a map {saliency.shape} against a density {density.shape}")
    return float((_standardised(saliency) * _standardised(density)).mean())


def _some(seen: Mask) -> Mask:
    if not seen.any():
        raise ValueError("no pixel was seen: nothing to foretell")
    return seen


def _standardised(values: Map) -> NDArray[np.float64]:
    """Zero mean, unit deviation; zero where constant. Stretched to [0, 1] first, so that no deviation underflows."""
    exact = np.asarray(values, np.float64)
    low, high = exact.min(), exact.max()
    if low == high:
        return np.zeros(exact.shape)
    stretched = (exact - low) / (high - low)
    result: NDArray[np.float64] = (stretched - stretched.mean()) / stretched.std()
    return result
