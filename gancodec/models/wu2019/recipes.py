"""The recipes of wu2019 and of the source paper's ablations."""

from __future__ import annotations

from dataclasses import replace

from gancodec.models.recipe import Recipe
from gancodec.models.wu2019.objective import Paper


def _wu2019() -> Recipe:
    """Section 4 of the paper: batches of 8, eta = 1, kappa = 16, 2e-3 and from half of the run on 2e-4."""
    return Recipe(
        "wu2019",
        Paper(),
        crop=256,
        rate=2e-3,
        final_rate=2e-4,
        schedule="halves",
    )


def _wu2019_small() -> dict[str, Recipe]:
    """The same with a quarter of the filters, whole and without something (the paper's figures 6 and 7)."""
    whole = replace(_wu2019(), model="wu2019-small", crop=192)
    return {
        "wu2019-small": whole,
        "wu2019-small-no-gan": replace(whole, objective=Paper(eta=0.0)),
        "wu2019-small-strong-gan": replace(
            whole, objective=Paper(kappa=Paper.kappa * (2 / 255) ** 2)
        ),  # as if pixels were in [-1, 1]
        "wu2019-small-no-masker": replace(whole, held_at_zero=("model.masker.score.",)),
        "wu2019-small-fixed": replace(whole, objective=Paper(n_range=(0.0, 0.0))),
    }


RECIPES: dict[str, Recipe] = {
    "wu2019": _wu2019(),
    **_wu2019_small(),
    "wu2019-tiny": replace(_wu2019(), model="wu2019-tiny", crop=64, batch=2, warmup=5),
}
