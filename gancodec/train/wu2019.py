"""The training of wu2019: the source paper's eqs. 5 to 7, in one stage.

There is no rate in its loss: what a picture costs is decided by n, drawn for each batch, and by what eqs. 3 and 4
leave of omega.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancodec.models.wu2019 import SCALES
from gancodec.train.recipes import Recipe
from gancodec.train.state import Wu2019Trained

STATISTICS_UNTIL = 0.5  # of the run, when the rate falls


class Wu2019Parts(NamedTuple):
    """The scalar to minimise and its parts.

    loss : generator's and discriminator's together; mse : in 8-bit units; adversarial : eq. 5's second term, as the
    generator has it; discriminator : what the discriminator minimises; on : share of omega that eq. 3 leaves on; n :
    what was drawn.
    """

    loss: Tensor
    mse: Tensor
    adversarial: Tensor
    discriminator: Tensor
    on: Tensor
    n: Tensor


def wu2019(net: Wu2019Trained, x: Tensor, recipe: Recipe, progress: float, bf16: bool) -> Wu2019Parts:
    """Eq. 7 for crops x (B, 3, H, W) in [0, 1] when `progress` (0 .. 1) of the run is over.

    The MSE of eq. 6 is in 8-bit units.
    """
    kind = x.device.type
    hold_statistics(net.model, progress >= STATISTICS_UNTIL)
    low, high = recipe.n_range
    n = low + (high - low) * torch.rand(()).item()
    with torch.autocast(kind, torch.bfloat16, enabled=bf16):
        decoded, matrix = net.model(x, n)
        fooled, judged = _play(net, decoded, x)
    squared = (decoded - x).square().mean() * 255**2
    loss = recipe.kappa * squared + recipe.adversarial * (fooled + judged)
    return Wu2019Parts(loss, squared, fooled, judged, matrix.mean(), torch.tensor(n))


def hold_statistics(model: nn.Module, hold: bool) -> None:
    """Normalise by the running means and variances from now on, as decoders do.

    Those of a batch belong to its n, and a decoder has none: it meets all n with the same ones. The second half of the
    run is trained with what it will have.
    """
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train(not hold)


def log_of(scores: list[Tensor], real: bool) -> Tensor:
    """Sum of beta_i E[log D_i] where `real`, else of beta_i E[log(1 - D_i)]; scores are logits."""
    parts = [
        beta * -F.softplus(-s if real else s).mean()
        for beta, s in zip(SCALES, (s.float() for s in scores), strict=True)
    ]
    return torch.stack(parts).sum()


def _play(net: Wu2019Trained, decoded: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Eq. 5 as the generator minimises it, through a discriminator that is held, and as the discriminator maximises
    it (with the sign turned); zeros without one."""
    discriminator = net.discriminator
    if discriminator is None:
        return torch.zeros(()), torch.zeros(())
    discriminator.requires_grad_(False)
    fooled = log_of(discriminator(decoded), False)
    discriminator.requires_grad_(True)
    both = discriminator(torch.cat((decoded.detach(), x)))
    fake, real = ([s[half] for s in both] for half in (slice(len(x)), slice(len(x), None)))
    return fooled, -log_of(real, True) - log_of(fake, False)
