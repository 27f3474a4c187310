"""The model `gic2`: a sender that is heavy where CPUs are fast, and a decoder that is light everywhere.

    x --16x16 patches--> Sender --> y --(* gain[level, k])--> round around a mean --> symbols
                            │        ├──Masker──> importance ──eq. 2, n──> levels
                            │        └──HyperEncoder──> z (integers, 1/64)
    z ──Projection──> row of a frozen table for each symbol        integers: `integers` computes the same in numpy
    z, symbols ──Means──> latents, gains undone                    float32, after the entropy decoder
    latents, levels ──Receiver──> two blocks at 1/16, modulated pointwise renderer at 1/4, 4x4 RGB

Legend: B batch, C latent channels, Kh hyper channels, H W pixels, h w = H/16 W/16 sites, hb wb = H/64 W/64 blocks.
Features are (B, rows, columns, channels): everything heavy is a matrix product. A *position* in [0, 1] is a level over
its range.

References
----------
.. [1] Jia et al.: PULSE, arXiv 2609.18602 (scales from one integer projection, a pointwise renderer at 1/4).
.. [2] Wu, Huang, Shen: GAN-based tunable image compression (masker, importance and n: eqs. 2 and 3).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancodec.models.gic2.config import KNOTS, NEAR_MAX, STEPS, Gic2Config
from gancodec.models.gic2.layers import Block, around, at_position, planar, quadrants, shuffle, unshuffle
from gancodec.models.gic2.receiver import Receiver
from gancodec.models.layers import ByteLinear, standardised
from gancodec.models.levels import N_LIMIT
from gancodec.types import LATENT_STRIDE, SITES

CENTRE_GAIN, GAIN_SLOPE = 4.0, 0.52  # at the start: step size ~ lambda**-0.5
HYPER_CENTRE_GAIN, HYPER_GAIN_SLOPE = 1.5, 0.3
FINEST = 0.1  # logarithm by which steps are finer still at the top: else the smoothest of Kodak's ends at 0.98 bpp
FIRST_ROW = 8.0  # bias of the projection at the start


class Analysis(NamedTuple):
    """What the encoder makes of a picture; independent of n.

    latent : (B, C, h, w); hyper : (B, Kh, hb, wb); importance : (B, hb, wb), deviations in logit units, mean 0.
    """

    latent: Tensor
    hyper: Tensor
    importance: Tensor


class Sender(nn.Module):
    """Patches of 16x16 pixels to latents: dense blocks at 1/16, which only the encoder has."""

    def __init__(self, config: Gic2Config) -> None:
        super().__init__()
        self.patch = nn.Linear(3 * LATENT_STRIDE**2, config.sender_width)
        self.blocks = nn.ModuleList(Block(config.sender_width, 4, nn.Linear) for _ in range(config.sender_blocks))
        self.to_latent = nn.Linear(config.sender_width, config.channels)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, 3, H, W) in [0, 1] to latents (B, h, w, C)."""
        return self.sent(self.patches(x))

    def sent(self, features: Tensor, rows: int | None = None) -> Tensor:
        """Latents of `patches`; what sees no other site is computed `rows` at a time."""
        for block in self.blocks:
            features = block(features, rows)
        latent: Tensor = self.to_latent(features)
        return latent

    def patches(self, x: Tensor) -> Tensor:
        """What blocks begin with, (B, h, w, width), of x (B, 3, H, W)."""
        embedded: Tensor = self.patch(unshuffle(x.permute(0, 2, 3, 1).contiguous() - 0.5, LATENT_STRIDE))
        return embedded


class HyperEncoder(nn.Module):
    """Latents to the hyper-latent at 1/64, each block by itself."""

    def __init__(self, config: Gic2Config) -> None:
        super().__init__()
        site, block = config.hyper_widths
        self.inp = nn.Linear(config.channels, site)
        self.mid = nn.Linear(site * SITES**2, block)
        self.out = nn.Linear(block, config.hyper_channels)

    def forward(self, latent: Tensor) -> Tensor:
        """Latents (B, h, w, C) to (B, hb, wb, Kh)."""
        hyper: Tensor = self.out(F.hardswish(self.mid(unshuffle(self.inp(latent), SITES))))
        return hyper


class Masker(nn.Module):
    """Latents to importance deviations of blocks (Wu et al., section 3.1, eq. 2); at first 0 everywhere."""

    def __init__(self, config: Gic2Config) -> None:
        super().__init__()
        self.inp = nn.Linear(config.channels, config.masker_width)
        self.near = nn.Conv2d(config.masker_width, config.masker_width, 3, padding=1, groups=config.masker_width)
        self.out = nn.Linear(config.masker_width, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, latent: Tensor) -> Tensor:
        """Latents (B, h, w, C) to deviations (B, hb, wb) in logit units: mean 0, standard deviation at most 1."""
        return standardised(self.scores(latent))

    def scores(self, latent: Tensor) -> Tensor:
        """Latents (B, h, w, C) to what eq. 2 calls y, (B, hb, wb); of tiles as of the whole, away from their edges."""
        features = F.hardswish(self.near(planar(F.hardswish(self.inp(latent.detach())))).permute(0, 2, 3, 1))
        y: Tensor = F.avg_pool2d(planar(self.out(features)).float(), SITES).squeeze(1)
        return y


class Gains(nn.Module):
    """Learned gain g[level, k] (generalises eq. 3), non-decreasing in the level."""

    def __init__(self, channels: int, centre: float, slope: float) -> None:
        super().__init__()
        step = 2 * N_LIMIT / (KNOTS - 1) * slope
        self.start = nn.Parameter(torch.full((channels,), math.log(centre) - N_LIMIT * slope))
        self.steps = nn.Parameter(torch.full((KNOTS - 1, channels), math.log(math.expm1(step))))

    def knots(self) -> Tensor:
        """Natural logarithms of the gains at the knots, (KNOTS, C)."""
        rise = F.pad(F.softplus(self.steps).cumsum(0), (0, 0, 1, 0)) + self.start
        return torch.cat((rise[:-1], rise[-1:] + FINEST))

    def forward(self, position: Tensor) -> Tensor:
        """Logarithms of the gains at positions (...): (..., C)."""
        return at_position(self.knots(), position)


class Projection(nn.Module):
    """The row of every latent symbol, from the hyper-latent alone: one matrix, and a line of knots for each channel.

    weight : (SITES**2 * C, Kh), rows for a unit of the hyper-latent; bias : (C,), the row of one that is 0, at gain 1.
    """

    def __init__(self, config: Gic2Config) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(SITES**2 * config.channels, config.hyper_channels) * 0.05)
        self.bias = nn.Parameter(torch.full((config.channels,), FIRST_ROW))

    def forward(self, units: Tensor, weight: Tensor | None = None) -> Tensor:
        """Hyper-latent (B, hb, wb, Kh) in whole units to rows (B, h, w, C), without what the gain adds."""
        return shuffle(F.linear(units, self.weight if weight is None else weight), SITES)


class HyperRows(nn.Module):
    """Scales of the hyper-latent: by level and channel, and by the magnitudes of neighbours that are known already."""

    def __init__(self, config: Gic2Config) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(KNOTS, config.hyper_channels))  # logarithms, gains not among them
        self.near = nn.ModuleList(nn.Linear(config.hyper_channels, config.hyper_channels) for _ in range(STEPS - 1))
        for layer in self.near:
            nn.init.zeros_(layer.weight)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, symbols: Tensor, position: Tensor, log_gain: Tensor, least: float = -math.inf) -> Tensor:
        """Symbols (B, hb, wb, Kh), positions (B, hb, wb) and gains to the logarithms of the symbols' scales.

        What has a scale below `least` is not sent, and its neighbours do not see it.
        """
        start = at_position(self.scale, position) + log_gain
        turn = quadrants(symbols.shape[1], symbols.shape[2], symbols.device)[..., None]
        result = start
        magnitudes = symbols.detach().abs().clamp(max=float(NEAR_MAX))
        for step, layer in enumerate(self.near, 1):
            known = around(magnitudes * ((turn < step) & (result >= least)))
            result = torch.where(turn == step, start + layer(known).float(), result)
        return result


Code = Callable[[Tensor, Tensor], Tensor]  # means (B, h, w, C) and where they are asked for, to latents


class Means(nn.Module):
    """Where symbols lie: means of the latents from the hyper-latent and, in four steps, from latents nearby.

    It runs on whole streams, after the entropy decoder: floats that differ by a rounding move pixels by as much and
    never desynchronise anything.
    """

    def __init__(self, config: Gic2Config) -> None:
        super().__init__()
        width = config.means_width
        self.up = ByteLinear(config.hyper_channels, SITES**2 * width)
        self.join = ByteLinear(config.channels, width)
        self.steps = nn.ModuleList(Block(width, 2) for _ in range(STEPS))
        self.means = nn.ModuleList(ByteLinear(width, config.channels) for _ in range(STEPS))
        for layer in self.means:
            nn.init.zeros_(layer.weight)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, hyper: Tensor, code: Code) -> Tensor:
        """Latents (B, h, w, C) of a hyper-latent (B, hb, wb, Kh), gains undone in both.

        `code` is asked for those of each step, at the means known by then: a decoder adds its symbols, an encoder
        chooses them.
        """
        features = shuffle(self.up(hyper), SITES)
        turn = self.turns(features)
        latent = mean = torch.zeros(1, device=features.device)
        for step, (block, to_mean) in enumerate(zip(self.steps, self.means, strict=True)):
            if step:
                features = features + self.join(latent)
            features = block(features)
            mean = to_mean(features).float().add_(mean)
            mine = turn == step
            latent = torch.where(mine, code(mean, mine), latent)
        return latent

    def turns(self, features: Tensor) -> Tensor:
        """The step in which each latent is coded, (h, w, C): at every site a quarter of the channels in each."""
        channel = torch.arange(self.join.in_features, device=features.device).to(torch.uint8)
        quadrant = quadrants(features.shape[1], features.shape[2], features.device).to(torch.uint8)
        return (quadrant[..., None] - channel) & (STEPS - 1)  # modulo STEPS, many times as fast


class Gic2Model(nn.Module):
    """All that a file and its decoder need, and the sender.

    first : (C,), the level from which on each channel is on (eq. 3); set before S2.
    """

    first: Tensor

    def __init__(self, config: Gic2Config) -> None:
        super().__init__()
        self.config = config
        self.sender = Sender(config)
        self.hyper_encoder = HyperEncoder(config)
        self.masker = Masker(config)
        self.gains = Gains(config.channels, CENTRE_GAIN, GAIN_SLOPE)
        self.hyper_gains = Gains(config.hyper_channels, HYPER_CENTRE_GAIN, HYPER_GAIN_SLOPE)
        self.projection = Projection(config)
        self.hyper_rows = HyperRows(config)
        self.means = Means(config)
        self.receiver = Receiver(config)
        self.register_buffer("first", torch.zeros(config.channels))

    def analyse(self, x: Tensor) -> Analysis:
        """x (B, 3, H, W) in [0, 1], sides multiples of 64."""
        latent = self.sender(x)
        hyper = self.hyper_encoder(latent)
        return Analysis(planar(latent).float(), planar(hyper).float(), self.masker(latent))

    def generate(self, latent: Tensor, position: Tensor) -> Tensor:
        """Latents (B, C, h, w), gains undone, and positions (B, hb, wb) in [0, 1] to (B, 3, H, W), not clipped."""
        return planar(self.receiver(latent.permute(0, 2, 3, 1), position))
