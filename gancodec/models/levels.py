"""Importance levels, which several models share: logits to levels and back, and how much distortion weighs at a
logit."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

LEVELS = 32  # importance levels L
SUBLEVELS = 16  # steps of the header's level shift between two levels
N_LIMIT = 4.2  # |n| at the two ends of the level range
LAMBDA_CENTRE = 0.0024  # bits per pixel per unit of distortion at n = 0, near 0.14 bpp
LAMBDA_SLOPE = 1.125  # of log lambda per unit of n
BALANCE = -0.35  # sample weights lambda**BALANCE: without them the high rates own the gradient

Value = TypeVar("Value", float, "Tensor")


def level_to_logit(level: float) -> float:
    """Importance logit of a (fractional) level: uniform steps over [-N_LIMIT, N_LIMIT]; n = -logit for a flat map."""
    return (2 * level / (LEVELS - 1) - 1) * N_LIMIT


def logit_to_level(logit: Value) -> Value:
    """Inverse of `level_to_logit`, not clipped; of numbers and tensors."""
    return (logit / N_LIMIT + 1) / 2 * (LEVELS - 1)
