"""What the processes of a run tell each other, so that all take the same steps. Alone, each of these is no work."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn


def average_gradients(parameters: list[nn.Parameter]) -> None:
    """Mean gradients over all processes: every process then takes the same step."""
    if dist.is_initialized():
        for p in parameters:
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        average([p.grad for p in parameters if p.grad is not None])


@torch.no_grad()
def average(tensors: list[Tensor]) -> None:
    """Mean over all processes, in place and in one message: the models are small."""
    if not dist.is_initialized() or not tensors:
        return
    flat = torch.cat([t.flatten() for t in tensors])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for t, mean in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        t.copy_(mean.view_as(t))


def agreed(seconds: float, computed: float, ended: bool, device: torch.device) -> tuple[float, float, bool]:
    """Seconds trained, CPU seconds of one more step, and whether to end, for all processes alike: the slowest clock,
    the sum, and the wish of any."""
    if not dist.is_initialized():
        return seconds, computed, ended
    mine = torch.tensor([seconds, computed, float(ended)], dtype=torch.float64, device=device)
    everyone = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(everyone, mine)
    clocks, sums, wishes = zip(*(told.tolist() for told in everyone), strict=True)
    return min(clocks), sum(sums), any(wishes)
