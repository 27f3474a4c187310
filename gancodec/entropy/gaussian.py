"""Frequency tables of Gaussian densities by row: deviations in equal steps of their logarithm."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from gancodec.entropy.tables import Arrays, fit_counts

SIGMA_MIN, SIGMA_MAX = 0.11, 256.0
ROWS = 64
ROWS_A_NEPER = ROWS / math.log(SIGMA_MAX / SIGMA_MIN)  # rows by which a deviation grows by the factor e
MAX_RADIUS = 512
PRIOR = 400.0  # symbols that the density is worth beside those that were counted


def sigma_of(row: float) -> float:
    """Deviation at a fractional row; that of row r's middle is the one of its table."""
    return SIGMA_MIN * math.exp(row / ROWS_A_NEPER)


def gaussian_weights(row: int) -> NDArray[np.float64]:
    """Probabilities of -r .. r and of anything beyond, under the density of a row's middle."""
    sigma = sigma_of(row + 0.5)
    radius = min(MAX_RADIUS, max(1, math.ceil(5 * sigma)))
    edges = [math.erf((k - 0.5) / (sigma * math.sqrt(2))) / 2 for k in range(radius + 2)]
    upper = np.maximum(np.diff(edges), 0)  # of 0 .. r; that of 0 is symmetric
    inside = np.concatenate((upper[:0:-1], upper))
    return np.append(inside, max(1 - inside.sum(), 1e-7))


def gaussian_tables(histograms: list[NDArray[np.float64]] | None = None) -> Arrays:
    """Frequency tables: Gaussian priors, pulled towards the `histograms` of coded symbols where there are any.

    Histograms are symmetrised: no sign is likelier by design.
    """
    radius, counts = [], []
    for row in range(ROWS):
        weights = gaussian_weights(row)
        if histograms is not None:
            seen = histograms[row].copy()
            seen[:-1] = (seen[:-1] + seen[-2::-1]) / 2
            weights = seen + PRIOR * weights
        radius.append((len(weights) - 2) // 2)
        counts.append(fit_counts(weights))
    return {"tables.radius": np.array(radius, np.int32), "tables.counts": np.concatenate(counts).astype(np.int32)}
