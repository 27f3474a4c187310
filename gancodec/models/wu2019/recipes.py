"""The training of wu2019: the source paper's eqs. 5 to 7, and the recipes of its ablations. No torch is imported
before a loss is asked for.

There is no rate in its loss: what a picture costs is decided by n, drawn for each batch, and by what eqs. 3 and 4
leave of omega.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gancodec.models.recipe import Objective, Recipe
from gancodec.models.registry import config_as
from gancodec.models.wu2019.config import Wu2019Config

if TYPE_CHECKING:
    from torch import Tensor

    from gancodec.models.recipe import Distance
    from gancodec.models.wu2019.training import Wu2019Trained

STATISTICS_UNTIL = 0.5  # of the run, when the rate falls


@dataclass(frozen=True)
class Paper(Objective["Wu2019Trained"]):
    """Eq. 7.

    kappa : weight of the MSE of eq. 6, in 8-bit units; eta : weight of the adversarial loss, 0 for a run without
    discriminator; n_range : what n is drawn from, anew for each batch, both ends alike for a model that is not tunable.
    """

    kappa: float = 16.0
    eta: float = 1.0
    n_range: tuple[float, float] = (-2.0, 2.0)

    def networks(self, model: str) -> Wu2019Trained:
        """Model and, with eta, discriminator."""
        from gancodec.models.wu2019.training import Wu2019Trained

        return Wu2019Trained(config_as(model, Wu2019Config), adversarial=bool(self.eta))

    def losses(self, net: Wu2019Trained, features: Distance | None, x: Tensor, progress: float) -> dict[str, Tensor]:
        import torch

        from gancodec.models.layers import half_precision
        from gancodec.models.wu2019.training import hold_statistics, play

        kind = x.device.type
        hold_statistics(net.model, progress >= STATISTICS_UNTIL)
        low, high = self.n_range
        n = low + (high - low) * torch.rand(()).item()
        with torch.autocast(kind, torch.bfloat16, enabled=half_precision(kind)):
            decoded, matrix = net.model(x, n)
            fooled, judged = play(net, decoded, x)
        squared = (decoded - x).square().mean() * 255**2
        parts = {"mse": squared, "adversarial": fooled, "discriminator": judged}
        loss = self.kappa * squared + self.eta * (fooled + judged)
        return {"loss": loss, **parts, "on": matrix.mean(), "n": torch.tensor(n)}


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
