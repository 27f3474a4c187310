"""The model of Wu, Huang and Shen, "A GAN-based Tunable Image Compression System", as printed.

    x ──E──> omega ──Q──> q ─────(*)──> z ──G──> picture ──┐
              └──M──> y ──eq. 2, n──> m ──eq. 3──┘         D <── x

Sections, equations and figures are those of the paper. What it leaves open, and what was chosen, is told in
docs/papers/wu2019.md.

Legend: B batch, K channels of omega, H W pixels, h w = H/8 W/8.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancodec.models.layers import ste_round
from gancodec.models.wu2019.config import Wu2019Config

VALUES = 4  # of the quantiser: 2**L with L = 2
SCALES = (0.5, 0.25, 0.25)  # alpha_i of the encoder and beta_i of the discriminator
SIGMA_MIN = 1e-3  # of flat pictures, whose sigma is 0
LEAKY = 0.2  # slope of the discriminator's Leaky ReLU, as in its reference [29] (pix2pixHD)


class Analysis(NamedTuple):
    """What the encoder and the masker make of a picture, whatever n: omega (B, K, h, w) in [0, 3] and the standardised
    y of eq. 2 (B, h, w), from which n is to be subtracted."""

    omega: Tensor
    importance: Tensor


def norm(channels: int) -> nn.BatchNorm2d:
    """Batch normalisation; its averages are over many batches, as each has another n."""
    return nn.BatchNorm2d(channels, momentum=0.01)


def down(inputs: int, outputs: int) -> nn.Sequential:
    """ "k5-n64-s2↓" of figure 2: a convolution with kernel 5 and stride 2."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 5, 2, 2), norm(outputs), nn.ReLU())


def up(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    """Transposed convolution to twice the size."""
    return nn.ConvTranspose2d(inputs, outputs, 5, 2, 2, output_padding=1)


class ResidualBlock(nn.Module):
    """x + two convolutions, "followed by a batch normalization and a ReLU" (figure 2). (B, C, h, w) to the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            norm(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            norm(channels),
        )
        nn.init.zeros_(self.body[-1].weight)  # type: ignore[arg-type]  # start as the identity: deep stacks then train faster

    def forward(self, x: Tensor) -> Tensor:
        """Return x plus its correction."""
        corrected: Tensor = x + self.body(x)
        return corrected


def residual_stack(channels: int, count: int) -> nn.Sequential:
    """`count` residual blocks in a row."""
    return nn.Sequential(*(ResidualBlock(channels) for _ in range(count)))


class PyramidEncoder(nn.Module):
    """Three scales, weighted and summed, then two convolutions (section 3.1, figure 3).

    Scale m starts from the picture at 1/2**(m-1) and crosses convolutions of stride 2 with residual blocks until 1/8.
    """

    def __init__(self, config: Wu2019Config) -> None:
        super().__init__()
        widths = config.encoder_widths
        self.scales = nn.ModuleList(self._scale(widths[first:]) for first in range(len(SCALES)))
        self.last = nn.Sequential(
            nn.Conv2d(widths[-1], widths[-1], 3, padding=1),
            norm(widths[-1]),
            nn.ReLU(),
            nn.Conv2d(widths[-1], config.channels, 3, padding=1),
        )

    @staticmethod
    def _scale(widths: tuple[int, ...]) -> nn.Sequential:
        return nn.Sequential(*(nn.Sequential(down(a, b), ResidualBlock(b)) for a, b in pairwise((3, *widths))))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, 3, H, W) in [0, 1] to omega (B, K, h, w) in [0, 3]: a sigmoid keeps it where Q can follow it."""
        x = 2 * x - 1
        total: Tensor | float = 0.0
        for scale, alpha in zip(self.scales, SCALES, strict=True):
            total = total + alpha * scale(x)
            x = F.avg_pool2d(x, 2)
        omega: Tensor = (VALUES - 1) * torch.sigmoid(self.last(total).float())
        return omega


class Masker(nn.Module):
    """omega to y: two residual blocks and a convolution with one filter (section 3.1)."""

    def __init__(self, config: Wu2019Config) -> None:
        super().__init__()
        width = config.masker_width
        self.first = nn.Conv2d(config.channels, width, 3, padding=1)  # to the filters of the blocks
        self.blocks = residual_stack(width, 2)
        self.score = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, omega: Tensor) -> Tensor:
        """Omega (B, K, h, w) to y (B, h, w)."""
        y: Tensor = self.score(self.blocks(self.first(omega))).squeeze(1).float()
        return y


def standardise(y: Tensor) -> Tensor:
    """(y - mean) / sigma of each map (B, h, w): eq. 2 before n. Sigma is the standard deviation."""
    centred = y - y.mean((1, 2), keepdim=True)
    # Clamped before the root, whose gradient at 0 is infinite.
    return centred / centred.square().mean((1, 2), keepdim=True).clamp(min=SIGMA_MIN**2).sqrt()


def importance_matrix(m: Tensor, channels: int) -> Tensor:
    """Eq. 3: importance map m (B, h, w) in [0, 1] to the binary matrix (B, K, h, w).

    Channel k (from 1 on) is on where m >= (k - 1) / K. The gradient is that of the ramp clip(K m - k + 1, 0, 1),
    straight through the step (Mentzer et al., CVPR 2018, the paper's [15]).
    """
    k = torch.arange(1, channels + 1, device=m.device)[:, None, None]
    reach = channels * m[:, None] - k + 1
    ramp = reach.clamp(0, 1)
    return ramp + ((reach >= 0).to(m.dtype) - ramp).detach()


class Generator(nn.Module):
    """z to picture: convolutions of 128 and 256 filters, 15 residual blocks, three transposed convolutions."""

    def __init__(self, config: Wu2019Config) -> None:
        super().__init__()
        first, width, half, quarter = config.generator_widths
        self.head = nn.Sequential(
            *(nn.Conv2d(config.channels, first, 3, padding=1), norm(first), nn.ReLU()),
            *(nn.Conv2d(first, width, 3, padding=1), norm(width), nn.ReLU()),
        )
        self.blocks = residual_stack(width, config.generator_blocks)
        self.up = nn.Sequential(
            *(up(width, half), norm(half), nn.ReLU()),
            *(up(half, quarter), norm(quarter), nn.ReLU()),
            up(quarter, 3),
        )

    def forward(self, z: Tensor) -> Tensor:
        """Z (B, K, h, w) in 0 .. 3 to a picture (B, 3, H, W), in [0, 1] but for what is still to be clipped."""
        picture: Tensor = self.up(self.blocks(self.head(z)))
        return (picture + 1) / 2


class PatchDiscriminator(nn.Module):
    """One scale D_m: logits (B, 1, H/8, W/8) of pictures (B, 3, H, W) in [0, 1]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = (3, width, 2 * width, 4 * width)
        layers = (nn.Sequential(nn.Conv2d(a, b, 4, 2, 1), nn.LeakyReLU(LEAKY)) for a, b in pairwise(widths))
        self.body = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """Score every patch; higher is more like a photograph."""
        scores: Tensor = self.body(2 * x - 1)
        return scores


class Discriminator(nn.Module):
    """Three scales, average pooling in between (section 3.1)."""

    def __init__(self, config: Wu2019Config) -> None:
        super().__init__()
        self.scales = nn.ModuleList(PatchDiscriminator(config.discriminator_width) for _ in SCALES)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Logits of x (B, 3, H, W) in [0, 1] at each scale."""
        scores = []
        for scale in self.scales:
            scores.append(scale(x))
            x = F.avg_pool2d(x, 2)
        return scores


class Wu2019Model(nn.Module):
    """Encoder, masker and generator."""

    def __init__(self, config: Wu2019Config) -> None:
        super().__init__()
        self.config = config
        self.encoder = PyramidEncoder(config)
        self.masker = Masker(config)
        self.generator = Generator(config)

    def analyse(self, x: Tensor) -> Analysis:
        """x (B, 3, H, W) in [0, 1], sides multiples of 8."""
        omega = self.encoder(x)
        return Analysis(omega, standardise(self.masker(omega)))

    def forward(self, x: Tensor, n: float) -> tuple[Tensor, Tensor]:
        """x (B, 3, H, W) in [0, 1] at n: the decoded picture, not clipped, and the importance matrix (B, K, h, w)."""
        omega, importance = self.analyse(x)
        m = torch.sigmoid(importance - n)
        matrix = importance_matrix(m, self.config.channels)
        return self.generator(ste_round(omega) * matrix).float(), matrix
