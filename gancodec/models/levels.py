"""Importance levels, which several models share: logits to levels and back, and how much distortion weighs at a
logit."""

from __future__ import annotations

LEVELS = 32  # importance levels L
SUBLEVELS = 16  # steps of the header's level shift between two levels
N_LIMIT = 4.2  # |n| at the two ends of the level range


def level_to_logit(level: float) -> float:
    """Importance logit of a (fractional) level: uniform steps over [-N_LIMIT, N_LIMIT]; n = -logit for a flat map."""
    return (2 * level / (LEVELS - 1) - 1) * N_LIMIT


def logit_to_level(logit: float) -> float:
    """Inverse of `level_to_logit`, not clipped."""
    return (logit / N_LIMIT + 1) / 2 * (LEVELS - 1)
