"""Losses through torch.compile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gancodec.errors import UsageError
from gancodec.models.recipe import Objective

# Draws of the compiled code are then those of the plain one, and follow from torch.manual_seed as those do.
OPTIONS: dict[str, str | int | bool | Callable[..., Any]] = {"fallback_random": True}


def compiled(objective: Objective[Any], name: str, device: torch.device) -> Callable[..., dict[str, Tensor]]:
    """`objective.losses`, compiled once for each phase of the run: a float that changes from step to step would be
    compiled anew each time. UsageError where the objective has no phases, or nothing can be compiled here."""
    if objective.phase(0.0) is None:
        raise UsageError(f"{name}: its losses change from step to step, which --compile cannot do")
    try:
        torch.compile(torch.square, dynamic=False)(torch.ones(64, device=device))
    except Exception as error:  # of any kind: what is missing differs between devices and versions of PyTorch
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UsageError(f"--compile needs what torch.compile builds with, a C++ compiler for CPUs: {why}") from error
    losses = torch.compile(objective.losses, dynamic=False, options=OPTIONS)

    def at_phase(net: Any, features: Any, x: Tensor, progress: float) -> dict[str, Tensor]:
        phase = objective.phase(progress)
        assert phase is not None  # it was not at the start
        return losses(net, features, x, phase)

    return at_phase
