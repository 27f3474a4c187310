"""Muon for convolutions: momentum whose matrix is orthogonalised by a Newton-Schulz iteration (Jordan et al., 2024).

torch.optim.Muon takes two-dimensional parameters alone; here a kernel (O, I, kh, kw) counts as an O x (I*kh*kw)
matrix, and what has fewer than two dimensions worth the name is left to Adam. Updates are scaled as in Moonlight (Liu
et al., 2025), so that one learning rate serves both.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # quintic with the steepest slope at 0 that still converges
MIN_SIDE = 16


def suits(parameter: Tensor) -> bool:
    """Whether a parameter is a kernel that gains from orthogonal updates."""
    return parameter.ndim == 4 and min(parameter.shape[0], parameter[0].numel()) >= MIN_SIDE


def orthogonalise(matrix: Tensor, steps: int = 5) -> Tensor:
    """Nearest (semi-)orthogonal matrix, roughly: singular values end between 0.7 and 1.2. (R, C) to (R, C)."""
    a, b, c = COEFFICIENTS
    x = matrix.to(torch.bfloat16)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.T if tall else x).to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised. For parameters that `suits` accepts."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                buffer = state.setdefault("momentum", torch.zeros_like(p))
                buffer.lerp_(p.grad, 1 - group["momentum"])
                update = p.grad.lerp(buffer, group["momentum"]).flatten(1)
                scale = 0.2 * max(update.shape) ** 0.5
                p.sub_(orthogonalise(update).view(p.shape), alpha=group["lr"] * scale)
