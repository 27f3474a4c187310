"""The recipes of gic2: frozen values, derived from one another."""

from __future__ import annotations

from dataclasses import replace

from gancodec.models.gic2.objectives import RateDistortion
from gancodec.models.recipe import Recipe

_S1 = Recipe("gic2", RateDistortion(), crop=256, batch=8, rate=2e-3, final_rate=2e-5)
_S2 = replace(_S1, objective=RateDistortion(quantised=True), rate=6e-4, final_rate=6e-6, warmup=100)
_TINY = replace(_S1, model="gic2-tiny", objective=RateDistortion(natural=0), crop=128, batch=2, rate=1e-2, warmup=5)

_AB = replace(_S1, rate=1e-3, final_rate=1e-5)

RECIPES: dict[str, Recipe] = {
    "ab-base": _AB,
    "ab-mse": replace(_AB, objective=RateDistortion(mse=0.5)),
    **{f"ab-{name}": replace(_AB, model=f"gic2-{name}") for name in ("blocks3", "blocks5", "ratio6", "zmeans")},
    "gic2-s1": _S1,
    "gic2-s2": _S2,
    "gic2-tiny-s1": _TINY,
    "gic2-tiny-s2": replace(_TINY, objective=RateDistortion(quantised=True, natural=0)),
}
