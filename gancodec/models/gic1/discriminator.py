"""Three-scale patch discriminator, conditioned on what the decoder knows (Wu, Huang, Shen, section 3.2).

x ──────────> D_1 ──> scores, a site for 8 pixels     weight 1/2
└─ pool ────> D_2 ──> scores, a site for 16 pixels    weight 1/4
   └─ pool ─> D_3 ──> scores, a site for 32 pixels    weight 1/4
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gancodec.models.layers import SLOPE
from gancodec.types import SITES

WEIGHTS = (0.5, 0.25, 0.25)  # beta_i of the paper
CONDITION = 16  # channels that latents and levels are reduced to


class PatchDiscriminator(nn.Module):
    """One scale: scores (B, 1, H/8, W/8) of a picture (B, 3, H, W), given its condition (B, C, h, w).

    Spectral norm in every layer keeps the scores' slope bounded, and with it the generator's gradients (as HiFiC has
    it). Space to depth instead of a first strided convolution: few channels at full resolution are slow on a CPU.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = spectral_norm(nn.Conv2d(12, width, 3, padding=1))
        self.second = spectral_norm(nn.Conv2d(width, 2 * width, 4, 2, 1))
        self.third = spectral_norm(nn.Conv2d(2 * width, 4 * width, 4, 2, 1))
        self.fourth = spectral_norm(nn.Conv2d(4 * width + CONDITION, 4 * width, 3, padding=1))
        self.score = spectral_norm(nn.Conv2d(4 * width, 1, 1))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Score every patch; higher is more like a photograph."""
        y = F.leaky_relu(self.first(F.pixel_unshuffle(2 * x - 1, 2)), SLOPE)
        y = F.leaky_relu(self.second(y), SLOPE)
        y = F.leaky_relu(self.third(y), SLOPE)
        beside = F.interpolate(condition, size=y.shape[2:], mode="nearest")
        y = F.leaky_relu(self.fourth(torch.cat((y, beside), 1)), SLOPE)
        scores: Tensor = self.score(y)
        return scores


class Discriminator(nn.Module):
    """Scores at three scales, average pooling in between.

    Parameters
    ----------
    latent_channels : int
        K of the model whose latents are the condition.
    width : int
        Channels of the first layer at each scale.
    """

    def __init__(self, latent_channels: int, width: int) -> None:
        super().__init__()
        self.condition = nn.Conv2d(latent_channels + 1, CONDITION, 3, padding=1)
        self.scales = nn.ModuleList(PatchDiscriminator(width) for _ in WEIGHTS)

    def forward(self, x: Tensor, latent: Tensor, level: Tensor) -> list[Tensor]:
        """Scores of x (B, 3, H, W) in [0, 1], whose latents are (B, K, h, w) and levels (B, hb, wb) in [0, 1]."""
        levels = level[:, None].repeat_interleave(SITES, 2).repeat_interleave(SITES, 3)
        condition = F.leaky_relu(self.condition(torch.cat((latent, levels), 1)), SLOPE)
        scores = []
        for scale in self.scales:
            scores.append(scale(x, condition))
            x = F.avg_pool2d(x, 2)
        return scores
