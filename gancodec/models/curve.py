"""The tunability curve of a model: bits per pixel over n, fitted by least squares (the source paper's figure 8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

MOST_DEGREE = 3
STEEPEST, FLATTEST = -4.0, -0.05  # of d log(bpp) / d n: what a search may step by
HALVINGS = 40


class TunabilityCurve(NamedTuple):
    """log(bpp) as a polynomial in n, falling between `low` and `high`, and straight beyond them.

    coefficients : of n^0, n^1, ...
    """

    coefficients: tuple[float, ...]
    low: float
    high: float

    @classmethod
    def from_calibration(cls, calibration: Mapping[str, float]) -> TunabilityCurve:
        """As the manifest stores it; weights without the higher coefficients have a straight line."""
        names = ("log_bpp_at_0", "log_bpp_slope", "log_bpp_c2", "log_bpp_c3")
        coefficients = tuple(calibration.get(name, 0.0) for name in names)
        return cls(coefficients, calibration.get("curve_low", -2.0), calibration.get("curve_high", 2.0))

    def to_calibration(self) -> dict[str, float]:
        """Entries of the manifest."""
        names = ("log_bpp_at_0", "log_bpp_slope", "log_bpp_c2", "log_bpp_c3")
        padded = (*self.coefficients, 0.0, 0.0, 0.0)
        return dict(zip(names, padded, strict=False)) | {"curve_low": self.low, "curve_high": self.high}

    def log_bpp(self, n: float) -> float:
        """Natural logarithm of bits per pixel at n."""
        inside = min(max(n, self.low), self.high)
        value = sum(c * inside**i for i, c in enumerate(self.coefficients))
        return value + self.slope(inside) * (n - inside)

    def slope(self, n: float) -> float:
        """d log(bpp) / d n, kept away from 0."""
        inside = min(max(n, self.low), self.high)
        value = sum(i * c * inside ** (i - 1) for i, c in enumerate(self.coefficients) if i)
        return min(max(value, STEEPEST), FLATTEST)

    def n_at(self, log_bpp: float, bounds: tuple[float, float]) -> float:
        """n whose rate is exp(log_bpp), by bisection within `bounds`."""
        low, high = bounds
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if self.log_bpp(middle) > log_bpp else (low, middle)
        return (low + high) / 2


def fit(ns: Sequence[float], bpp: Sequence[float]) -> TunabilityCurve:
    """Least squares in log(bpp); of the degrees up to 3 the highest whose curve falls all the way.

    ValueError with fewer than two different n.
    """
    if len(set(ns)) < 2:
        raise ValueError("a curve needs at least two different n")
    low, high = float(min(ns)), float(max(ns))
    between = np.linspace(low, high, 101)
    for degree in range(min(MOST_DEGREE, len(set(ns)) - 1), 0, -1):
        polynomial = np.polynomial.Polynomial.fit(ns, np.log(bpp), degree).convert()
        if degree == 1 or polynomial.deriv()(between).max() < 0:
            break
    return TunabilityCurve(tuple(float(c) for c in polynomial.coef), low, high)
