"""What a training run trains, whatever the model."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from gancodec.entropy.tables import Arrays
from gancodec.models.recipe import Recipe


class Networks(nn.Module):
    """All networks of a run under one roof, so that optimisers, EMA and checkpoint see one set of names."""

    held_at_zero: tuple[str, ...]
    coders: ClassVar[tuple[str, ...]]  # whose symbols the tables are fitted to
    stretched: ClassVar[bool]  # is n stretched until its rates are as documented?

    def integers(self) -> Arrays:
        """Entropy arrays, with tables that have seen no picture."""
        raise NotImplementedError

    def tables(self, histograms: list[NDArray[np.float64]]) -> Arrays:
        """Tables fitted to symbols counted by row."""
        raise NotImplementedError

    def prepare(self, recipe: Recipe) -> None:
        """Train what the recipe trains, hold what it holds."""
        self.held_at_zero = recipe.held_at_zero
        for name, parameter in self.named_parameters():
            trained = not recipe.only or name.startswith(recipe.only)
            parameter.requires_grad_(trained and not name.startswith(self.held_at_zero))
        self.hold()

    @torch.no_grad()
    def hold(self) -> None:
        """Set to 0 what the recipe holds there."""
        for name, parameter in self.named_parameters():
            if name.startswith(self.held_at_zero):
                parameter.zero_()

    def teams(self) -> list[list[nn.Parameter]]:
        """Parameters that are trained, in groups whose gradients are clipped apart: model, discriminator."""
        named = [(k, p) for k, p in self.named_parameters() if p.requires_grad]
        teams = [[p for k, p in named if k.startswith("discriminator.") is judge] for judge in (False, True)]
        return [team for team in teams if team]
