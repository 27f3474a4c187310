"""What a training run trains, whatever the model."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gancodec.entropy.tables import Arrays
from gancodec.errors import UsageError
from gancodec.models.layers import ResidualBlock
from gancodec.models.recipe import Recipe


class Networks(nn.Module):
    """All networks of a run under one roof, so that optimisers, EMA and checkpoint see one set of names.

    Attributes
    ----------
    model : Module
        What is exported.
    coders : tuple of str
        Whose symbols the tables are fitted to.
    n_at : tuple of (float, float)
        Two values of n and the mean bpp that they shall give: n is stretched until they do. Empty for an n of a paper.
    default_realism : float or None
        What a model with two ends is decoded with; None for one without.
    """

    model: nn.Module
    held_at_zero: tuple[str, ...]
    coders: ClassVar[tuple[str, ...]]
    n_at: ClassVar[tuple[tuple[float, float], ...]]
    default_realism: float | None = None

    @abstractmethod
    def integers(self) -> Arrays:
        """Entropy arrays, with tables that have seen no picture."""

    @abstractmethod
    def tables(self, histograms: list[NDArray[np.float64]]) -> Arrays:
        """Tables fitted to symbols counted by row."""

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

    def begin_from(self, tensors: dict[str, Tensor]) -> None:
        """Load the weights of an earlier run."""
        grow(self, tensors)
        self.hold()

    def parameter_groups(self) -> list[list[nn.Parameter]]:
        """Parameters that are trained, in groups whose gradients are clipped apart: model, discriminator."""
        named = [(k, p) for k, p in self.named_parameters() if p.requires_grad]
        groups = [[p for k, p in named if k.startswith("discriminator.") is judge] for judge in (False, True)]
        return [group for group in groups if group]


@torch.no_grad()
def grow(net: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Load weights of the same network or of one with fewer channels or blocks.

    Residual blocks that the checkpoint lacks start as the identity.
    Where a tensor has grown, the old values fill its first rows and columns; new inputs of old outputs start at 0, so
    that old outputs stay what they were, and new outputs keep their random start. UsageError where nothing fits.
    """
    state = net.state_dict()
    if not tensors.keys() <= state.keys():
        raise UsageError(f"checkpoint of another architecture: {sorted(tensors.keys() - state.keys())[0]}")
    for name, module in net.named_modules():
        if isinstance(module, ResidualBlock) and f"{name}.second.weight" not in tensors:
            module.second.weight.zero_()
            module.second.bias.zero_()  # type: ignore[union-attr]
    for name, old in tensors.items():
        new = state[name]
        if new.ndim != old.ndim or any(n < o for n, o in zip(new.shape, old.shape, strict=True)):
            raise UsageError(
                f"checkpoint of another architecture: {name} is {tuple(old.shape)}, not {tuple(new.shape)}"
            )
        if new.ndim > 1 and name.endswith("weight"):
            new[: old.shape[0]] = 0
        new[tuple(slice(size) for size in old.shape)] = old
