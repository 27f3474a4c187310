"""What the objectives share: levels to train on, and what a decoder gets at them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gancodec.models.gic1.context import ContextNetwork
from gancodec.models.gic1.network import Analysis, TunableModel
from gancodec.models.levels import LEVELS, N_LIMIT, logit_to_level
from gancodec.models.losses import distortion_weight
from gancodec.types import SITES


def random_levels(importance: Tensor) -> tuple[Tensor, Tensor]:
    """Levels to train on, and the lambda of each block.

    The first half of the batch follows the masker (`importance`, (B, hb, wb)) at one lambda a picture, which is what
    teaches the masker where bits pay; the other half gets random smooth maps with the lambda of each level, which
    teaches every level beside every other. Returns (levels (B, hb, wb) in [0, L-1], lambdas (B, hb, wb)).
    """
    batch, rows, columns = importance.shape
    wide = torch.rand(batch, device=importance.device) < 0.25
    logit = (torch.rand(batch, device=importance.device) * 2 - 1) * torch.where(wide, N_LIMIT, 2.4)
    logit = logit[:, None, None]
    noise = torch.randn(batch, 1, rows + 2, columns + 2, device=importance.device)
    smooth = F.avg_pool2d(noise, 3, 1).squeeze(1) * 3 * torch.rand(batch, 1, 1, device=importance.device)
    followed = (torch.arange(batch, device=importance.device) < (batch + 1) // 2)[:, None, None]
    logits = logit + torch.where(followed, importance, smooth)
    level = logit_to_level(logits).clamp(0, LEVELS - 1)
    weight = distortion_weight(torch.where(followed, logit, logits.clamp(-N_LIMIT, N_LIMIT)))
    return level, weight.detach()


def per_site(rows: Tensor) -> Tensor:
    """Per-block rows (B, hb, wb, C) to sites (B, C, h, w)."""
    return rows.permute(0, 3, 1, 2).repeat_interleave(SITES, 2).repeat_interleave(SITES, 3)


def coded_latents(
    model: TunableModel, context: ContextNetwork, analysis: Analysis, level: Tensor, quantised: bool
) -> tuple[Tensor, Tensor]:
    """What the decoder gets at `level`, and its price: (latents (B, K, h, w), gains undone; bits (B,))."""
    log_gain = per_site(model.gains.log_gain(level))
    active = per_site(model.gains.active(level))
    hyper_gain = model.hyper_gains.log_gain(level).permute(0, 3, 1, 2)
    hyper, hyper_bits = context.code_hyper(analysis.hyper, hyper_gain, quantised)
    coded = context(analysis.omega * log_gain.exp(), log_gain, active, hyper, level, quantised)
    return coded.latents * torch.exp(-log_gain) * active, coded.bits + hyper_bits
