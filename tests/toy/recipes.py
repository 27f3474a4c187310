"""How the toy is trained. Importing this needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gancodec.models.recipe import Objective, Recipe
from gancodec.models.registry import config_as
from tests.toy.config import ToyConfig

if TYPE_CHECKING:
    from torch import Tensor

    from gancodec.models.recipe import Distance
    from tests.toy.training import ToyTrained


@dataclass(frozen=True)
class Plain(Objective["ToyTrained"]):
    """Squared error and a little of the magnitude of the symbols, at an n drawn for each batch."""

    weight: float = 1e-3

    def networks(self, model: str) -> ToyTrained:
        """The model."""
        from tests.toy.training import ToyTrained

        return ToyTrained(config_as(model, ToyConfig))

    def losses(self, net: ToyTrained, features: Distance | None, x: Tensor, progress: float) -> dict[str, Tensor]:
        """See `Objective.losses`."""
        import torch

        decoded, size = net.model(x, 4 * torch.rand(()).item() - 2)
        mse = (decoded - x).square().mean()
        return {"loss": mse + self.weight * size, "mse": mse, "size": size}


RECIPES = {"toy-tiny": Recipe("toy-tiny", Plain(), crop=64, batch=2, warmup=2)}
