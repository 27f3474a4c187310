"""Training recipes: frozen values, derived from one another, named in one dict."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Recipe:
    """One training job.

    Attributes
    ----------
    model : str
        Name in `models.config.MODELS`.
    quantised : bool
        False: S1, float rate-distortion. True: S2, everything sees the integer context network and true symbols.
    crop, batch : int
        Side of the square crops (a multiple of 64) and crops per step and worker.
    rate, final_rate : float
        Peak learning rate and what the cosine ends at.
    mse, ms_ssim : float
        D = mse * MSE (8-bit units) + ms_ssim * (1 - MS-SSIM).
    """

    model: str
    quantised: bool = False
    crop: int = 192
    batch: int = 8
    rate: float = 1e-3
    final_rate: float = 1e-4
    warmup: int = 200
    clip: float = 1.0
    ema: float = 0.998
    mse: float = 0.25
    ms_ssim: float = 1000.0


LAMBDA_CENTRE = 0.0024  # bits per pixel per unit of distortion at n = 0, near 0.14 bpp
LAMBDA_SLOPE = 1.125  # of log lambda per unit of n
BALANCE = -0.35  # sample weights lambda**BALANCE: without them the high rates own the gradient


def distortion_weight(logit: float) -> float:
    """Lambda of an importance logit (n = -logit on a flat map)."""
    return LAMBDA_CENTRE * math.exp(LAMBDA_SLOPE * logit)


def _small_s1() -> Recipe:
    return Recipe(model="gic1-small")


def _small_grown() -> Recipe:
    """S1 of gic1-small that starts from a half-trained model with fewer latent channels (see docs/training.md)."""
    return replace(_small_s1(), rate=7e-4, final_rate=2.5e-4)


def _s2(first: Recipe) -> Recipe:
    return replace(first, quantised=True, rate=2.5e-4, final_rate=5e-6, warmup=50)


def _full_s1() -> Recipe:
    return Recipe(model="gic1", crop=256, batch=16, rate=4e-4, final_rate=4e-5, ema=0.9995)


def _tiny_s1() -> Recipe:
    return Recipe(model="gic1-tiny", crop=64, batch=2, rate=1e-2, warmup=5)


RECIPES: dict[str, Recipe] = {
    "gic1-s1": _full_s1(),
    "gic1-s2": _s2(_full_s1()),
    "gic1-small-s1": _small_s1(),
    "gic1-small-grown": _small_grown(),
    "gic1-small-s2": replace(_s2(_small_s1()), rate=4.5e-4),
    "gic1-tiny-s1": _tiny_s1(),
    "gic1-tiny-s2": _s2(_tiny_s1()),
}
