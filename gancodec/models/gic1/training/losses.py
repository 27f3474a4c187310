"""Losses as pure functions that return named parts."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from gancodec.models.gic1.context import ContextNetwork
from gancodec.models.gic1.network import Analysis, TunableModel
from gancodec.models.levels import LEVELS, N_LIMIT
from gancodec.models.losses import box_ms_ssim
from gancodec.models.recipe import BALANCE, LAMBDA_CENTRE, LAMBDA_SLOPE, Recipe


class Parts(NamedTuple):
    """Mean loss (a scalar to minimise) and its parts, each a mean over the batch."""

    loss: Tensor
    bpp: Tensor
    mse: Tensor
    ms_ssim: Tensor


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
    level = ((logits / N_LIMIT + 1) / 2 * (LEVELS - 1)).clamp(0, LEVELS - 1)
    weight = LAMBDA_CENTRE * torch.exp(LAMBDA_SLOPE * torch.where(followed, logit, logits.clamp(-N_LIMIT, N_LIMIT)))
    return level, weight.detach()


def per_site(rows: Tensor) -> Tensor:
    """Per-block rows (B, hb, wb, C) to sites (B, C, h, w)."""
    return rows.permute(0, 3, 1, 2).repeat_interleave(4, 2).repeat_interleave(4, 3)


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


def rate_distortion(model: TunableModel, context: ContextNetwork, x: Tensor, recipe: Recipe, bf16: bool) -> Parts:
    """R + lambda * D of crops x (B, 3, H, W) in [0, 1], at random n and levels (S1), with true symbols in S2."""
    kind = x.device.type
    with torch.autocast(kind, torch.bfloat16, enabled=bf16):
        analysis = model.analyse(x)
    level, weight = random_levels(analysis.importance)
    latents, bits = coded_latents(model, context, analysis, level, recipe.quantised)
    with torch.autocast(kind, torch.bfloat16, enabled=bf16):
        decoded = model.generator(latents, level)
    decoded = decoded.float()

    bpp = bits / (x.shape[2] * x.shape[3])
    pixels = weight[:, None].repeat_interleave(64, 2).repeat_interleave(64, 3)
    mean_weight = weight.mean((1, 2))
    squared = (decoded - x).square() * 255**2
    ms_ssim = box_ms_ssim(decoded.clamp(0, 1), x, weight)
    distortion = recipe.mse * (squared * pixels).mean((1, 2, 3)) + recipe.ms_ssim * mean_weight * (1 - ms_ssim)
    balance = (mean_weight / LAMBDA_CENTRE) ** BALANCE
    return Parts(((bpp + distortion) * balance).mean(), bpp.mean(), squared.mean(), ms_ssim.mean())
