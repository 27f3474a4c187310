"""Frequency tables of logistic densities by scale index, which several models share."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from gancodec.entropy.tables import Arrays, fit_counts

SCALE_STEP = 6  # scale indices per doubling of the residual's scale
SCALE_MIN = 0.05  # scale of index 0, below which a residual is certainly 0
SCALES = 64  # scale indices
MAX_RADIUS = 400


def logistic_weights(row: int) -> NDArray[np.float64]:
    """Probabilities of -r .. r and of anything beyond, under the logistic density of a scale index."""
    scale = SCALE_MIN * 2 ** (row / SCALE_STEP)
    radius = min(MAX_RADIUS, max(1, math.ceil(11 * scale)))
    edges = (np.arange(-radius, radius + 2) - 0.5) / scale
    inside = np.diff(0.5 * (1 + np.tanh(edges / 2)))
    return np.append(inside, max(1 - inside.sum(), 1e-7))


def logistic_tables(histograms: list[NDArray[np.float64]] | None = None, strength: float = 400.0) -> Arrays:
    """Frequency tables: logistic priors, pulled towards the `histograms` of coded symbols where there are any.

    `strength` is how many symbols the prior is worth. Histograms are symmetrised: no sign is likelier by design.
    """
    radius, counts = [], []
    for row in range(SCALES):
        weights = logistic_weights(row)
        if histograms is not None:
            seen = histograms[row].copy()
            seen[:-1] = (seen[:-1] + seen[-2::-1]) / 2
            weights = seen + strength * weights
        radius.append((len(weights) - 2) // 2)
        counts.append(fit_counts(weights))
    return {"tables.radius": np.array(radius, np.int32), "tables.counts": np.concatenate(counts).astype(np.int32)}
