"""Muon for convolutions and matrices: momentum that a Newton-Schulz iteration makes orthogonal (Jordan et al., 2024).

torch.optim.Muon takes two-dimensional parameters alone; here a kernel (O, I, kh, kw) counts as an O x (I*kh*kw)
matrix, and what has fewer than two dimensions worth the name is left to Adam. Updates are scaled as in Moonlight (Liu
et al., 2025), so that one learning rate serves both.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from gancodec.models.layers import fast_bfloat16

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # quintic with the steepest slope at 0 that still converges
MIN_SIDE = 16  # of a kernel
MIN_MATRIX_SIDE = 32  # tables by level and the like have fewer rows


def is_matrix(tensor: Tensor) -> bool:
    """Whether a tensor is a matrix, and no table or list of vectors."""
    return tensor.ndim == 2 and min(tensor.shape) >= MIN_MATRIX_SIDE


def suits(parameter: Tensor) -> bool:
    """Whether a parameter is a kernel or a matrix that gains from orthogonal updates."""
    kernel = parameter.ndim == 4 and min(parameter.shape[0], parameter[0].numel()) >= MIN_SIDE
    return kernel or is_matrix(parameter)


def _working_type(device: torch.device) -> torch.dtype:
    """What is fast on a device: CPUs that have to emulate bfloat16 take twenty times as long with it."""
    return torch.bfloat16 if device.type != "cpu" or fast_bfloat16() else torch.float32


def orthogonalise(matrix: Tensor, steps: int = 5) -> Tensor:
    """Nearest (semi-)orthogonal matrix, roughly: singular values end between 0.7 and 1.2. (R, C) to (R, C)."""
    a, b, c = COEFFICIENTS
    x = matrix.to(_working_type(matrix.device))
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.T if tall else x).to(matrix.dtype)


def orthogonalise_all(matrices: list[Tensor]) -> list[Tensor]:
    """`orthogonalise` of each. Processes of one run, which have the same matrices, do a share each and tell the
    others, so that all get what each alone would."""
    if not dist.is_initialized():
        return [orthogonalise(matrix) for matrix in matrices]
    rank, processes, results = dist.get_rank(), dist.get_world_size(), list(matrices)
    order = sorted(range(len(matrices)), key=lambda i: -matrices[i].numel())
    shares = [order[owner::processes] for owner in range(processes)]  # about equal: the largest are dealt first
    for i in shares[rank]:
        results[i] = orthogonalise(matrices[i])
    for owner, share in enumerate(shares):
        if share:
            flat = torch.cat([results[i].flatten() for i in share]).to(_working_type(matrices[0].device))  # is exact
            dist.broadcast(flat.view(torch.uint8), owner)  # gloo has not always known bfloat16
            for i, told in zip(share, flat.split([matrices[i].numel() for i in share]), strict=True):
                results[i] = told.view_as(matrices[i]).to(matrices[i].dtype)
    return results


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised. For parameters that `suits` accepts."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            given = [p for p in group["params"] if p.grad is not None]
            updates = orthogonalise_all([self._momentum(p, group["momentum"]).flatten(1) for p in given])
            for p, update in zip(given, updates, strict=True):
                p.sub_(update.view(p.shape), alpha=group["lr"] * (0.2 * max(update.shape) ** 0.5))

    def _momentum(self, p: nn.Parameter, momentum: float) -> Tensor:
        """Take the gradient into account; what is to be made orthogonal."""
        state = self.state[p]
        if not state:
            state["momentum"] = torch.zeros_like(p)
        assert p.grad is not None
        buffer: Tensor = state["momentum"]
        buffer.lerp_(p.grad, 1 - momentum)
        return p.grad.lerp(buffer, momentum)
