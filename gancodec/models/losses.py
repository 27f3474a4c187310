"""Losses that the training of several models shares, and the levels that it is done on."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gancodec.metrics import MS_SSIM_WEIGHTS
from gancodec.models.levels import LAMBDA_CENTRE, LAMBDA_SLOPE, LEVELS, N_LIMIT, logit_to_level


def _halve(x: Tensor) -> Tensor:
    """Mean of 2x2 pixels, by slices: several times faster on a CPU than average pooling."""
    x = x[..., 0::2, :] + x[..., 1::2, :]
    return (x[..., 0::2] + x[..., 1::2]) * 0.25


def _window4(x: Tensor) -> Tensor:
    """Mean of every 4x4 window, step 1, by slices."""
    x = x[..., :-1, :] + x[..., 1:, :]
    x = x[..., :-2, :] + x[..., 2:, :]
    x = x[..., :-1] + x[..., 1:]
    return (x[..., :-2] + x[..., 2:]) * 0.0625


def box_ms_ssim(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    """MS-SSIM with 8x8 box windows at every second pixel (far cheaper than Gaussian ones), each site weighted: (B,).

    a, b : (B, 3, H, W) in [0, 1]; weight : (B, hb, wb), positive. H and W are at least 128 for all five scales;
    smaller crops use the scales that fit.
    """
    a, b = a.contiguous(), b.contiguous()
    result: Tensor | float = 1.0
    for scale, power in enumerate(MS_SSIM_WEIGHTS):
        half_a, half_b = _halve(a), _halve(b)
        if min(half_a.shape[2:]) < 4:
            break
        mean_a, mean_b = _window4(half_a), _window4(half_b)
        squares, product = _window4(_halve(a * a + b * b)), _window4(_halve(a * b))
        means, mean_product = mean_a * mean_a + mean_b * mean_b, mean_a * mean_b
        value = (2 * (product - mean_product) + 9e-4) / (squares - means + 9e-4)
        if scale == len(MS_SSIM_WEIGHTS) - 1:
            value = value * (2 * mean_product + 1e-4) / (means + 1e-4)
        sites = F.interpolate(weight[:, None], size=value.shape[2:], mode="nearest")
        value = (value.mean(1, keepdim=True) * sites).sum((1, 2, 3)) / sites.sum((1, 2, 3))
        result = result * value.clamp(min=0.01).pow(power)
        a, b = half_a, half_b
    return result  # type: ignore[return-value]


def distortion_weight(logit: Tensor) -> Tensor:
    """Lambda of importance logits (n = -logit on a flat map)."""
    return LAMBDA_CENTRE * torch.exp(LAMBDA_SLOPE * logit)


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
