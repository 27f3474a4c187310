"""The tunable model `gic1`: encoder E, masker M, gains, generator G (Wu, Huang, Shen: GAN-based tunable compression).

    x ──E──> omega ──────────────(* gain)──> quantise ──> q ──(/ gain)──> G ──> picture
              ├──M──> y ──eq. 2, n──> levels ──┘ depth, gain                │ FiLM
              └──H──> hyper-latent ──> context network (probabilities)      └── levels, realism

Legend: B batch, K latent channels, Kh hyper channels, H W pixels, h w = H/16 W/16, hb wb = H/64 W/64.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from gancodec.models.gic1.config import KNOTS, TunableConfig
from gancodec.models.layers import (
    SLOPE,
    LevelFilm,
    Origin,
    TextureNoise,
    conv,
    interpolate_rows,
    residual_stack,
    standardised,
)
from gancodec.models.levels import LEVELS, N_LIMIT
from gancodec.types import SITES

CENTRE_GAIN = 4.0
GAIN_SLOPE = 0.52  # log gain per unit of logit at the start: step size ~ lambda**-0.5


class Analysis(NamedTuple):
    """What the encoder and the masker make of a picture; independent of n.

    omega : (B, K, h, w); hyper : (B, Kh, hb, wb); importance : (B, hb, wb), deviations in logit units, mean 0.
    """

    omega: Tensor
    hyper: Tensor
    importance: Tensor


class PyramidEncoder(nn.Module):
    """Three scales (1, 1/2, 1/4), weighted 1/2, 1/4, 1/4 (section 3.1, figure 3), then a trunk to 1/16."""

    WEIGHTS = (0.5, 0.25, 0.25)

    def __init__(self, config: TunableConfig) -> None:
        super().__init__()
        eighth, sixteenth = config.encoder_widths
        blocks_eighth, blocks_sixteenth = config.encoder_blocks
        self.scales = nn.ModuleList(
            nn.Sequential(nn.PixelUnshuffle(f), conv(3 * f * f, eighth), residual_stack(eighth, blocks_eighth))
            for f in (8, 4, 2)
        )
        self.trunk = nn.Sequential(
            conv(eighth, sixteenth, 3, 2),
            residual_stack(sixteenth, blocks_sixteenth),
            conv(sixteenth, config.latent_channels),
        )
        self.hyper = nn.Sequential(
            conv(config.latent_channels, sixteenth // 2, 3, 2),
            nn.LeakyReLU(SLOPE),
            conv(sixteenth // 2, config.hyper_channels, 3, 2),
        )

    def latents(self, x: Tensor) -> Tensor:
        """x (B, 3, H, W) in [0, 1] to omega (B, K, h, w)."""
        total: Tensor | float = 0.0
        x = x - 0.5
        for scale, weight in zip(self.scales, self.WEIGHTS, strict=True):
            total = total + weight * scale(x)
            x = F.avg_pool2d(x, 2)
        omega: Tensor = self.trunk(total)
        return omega

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, 3, H, W) in [0, 1] to omega (B, K, h, w) and the hyper-latent (B, Kh, hb, wb)."""
        omega = self.latents(x)
        return omega, self.hyper(omega)


class Masker(nn.Module):
    """omega to importance deviations per 64-pixel block (section 3.1, eq. 2)."""

    def __init__(self, config: TunableConfig) -> None:
        super().__init__()
        width = config.masker_width
        self.body = nn.Sequential(conv(config.latent_channels, width), residual_stack(width, 1), conv(width, 1))

    def forward(self, omega: Tensor) -> Tensor:
        """Omega (B, K, h, w) to deviations (B, hb, wb) in logit units: mean 0, standard deviation at most 1."""
        return standardised(self.scores(omega))

    def scores(self, omega: Tensor) -> Tensor:
        """Omega (B, K, h, w) to what eq. 2 calls y, (B, hb, wb); of tiles as of the whole, away from their edges."""
        y: Tensor = F.avg_pool2d(self.body(omega.detach()), SITES).squeeze(1).float()
        return y


class Gains(nn.Module):
    """Learned gain g[level, k], non-decreasing in the level and zero above the level's depth (generalises eq. 3)."""

    def __init__(self, config: TunableConfig, channels: int, masked: bool) -> None:
        super().__init__()
        step = 2 * N_LIMIT / (KNOTS - 1) * GAIN_SLOPE
        self.start = nn.Parameter(torch.full((channels,), math.log(CENTRE_GAIN) - N_LIMIT * GAIN_SLOPE))
        self.steps = nn.Parameter(torch.full((KNOTS - 1, channels), math.log(math.expm1(step))))
        depth = [config.depth(level) if masked else channels for level in range(LEVELS)]
        mask = torch.arange(channels)[None, :] < torch.tensor(depth)[:, None]
        self.register_buffer("mask", mask.float(), persistent=False)

    def log_gain(self, level: Tensor) -> Tensor:
        """Natural logarithm of the gains at fractional levels (...) in [0, L-1]: (..., C), mask not applied."""
        knots = torch.cat((torch.zeros_like(self.start)[None], F.softplus(self.steps).cumsum(0))) + self.start
        return interpolate_rows(knots, level * ((KNOTS - 1) / (LEVELS - 1)))

    def active(self, level: Tensor) -> Tensor:
        """1 where a channel is on at levels (...): (..., C)."""
        mask: Tensor = self.mask  # type: ignore[assignment]
        return mask[level.detach().floor().clamp(0, LEVELS - 1).long()]


class Generator(nn.Module):
    """Latents to picture: residual trunk at 1/16, sub-pixel upsampling through 1/8 and 1/4, FiLM by level, texture
    from noise."""

    def __init__(self, config: TunableConfig) -> None:
        super().__init__()
        sixteenth, eighth, quarter = config.generator_widths
        blocks_sixteenth, blocks_eighth, blocks_quarter = config.generator_blocks
        self.head = conv(config.latent_channels, sixteenth)
        self.film_head = LevelFilm(sixteenth, KNOTS)
        self.trunk = residual_stack(sixteenth, blocks_sixteenth)
        self.film_trunk = LevelFilm(sixteenth, KNOTS)
        self.up_eighth = nn.Sequential(conv(sixteenth, 4 * eighth, 1), nn.PixelShuffle(2))
        self.detail = residual_stack(eighth, blocks_eighth)
        self.up_quarter = nn.Sequential(conv(eighth, 4 * quarter), nn.PixelShuffle(2), nn.LeakyReLU(SLOPE))
        self.texture = TextureNoise(quarter, config.noise_channels) if config.noise_channels else None
        self.fine = residual_stack(quarter, blocks_quarter)
        self.to_rgb = nn.Sequential(conv(quarter, 3 * 16), nn.PixelShuffle(4))

    def forward(self, latent: Tensor, level: Tensor, origin: Origin = (0, 0)) -> Tensor:
        """Latent (B, K, h, w) with gains undone, level (B, hb, wb) in [0, L-1]; returns (B, 3, H, W), not clipped.

        `origin` (row, column) is where a tile lies in the picture, in units of 4 pixels: noise depends on the place.
        """
        position = level / (LEVELS - 1)
        x = self.film_head(self.head(latent), position)
        x = self.film_trunk(self.trunk(x), position)
        x = self.detail(self.up_eighth(x))
        x = self.up_quarter(x)
        if self.texture is not None:
            x = self.texture(x, origin)
        return self.to_rgb(self.fine(x)) + 0.5


class TunableModel(nn.Module):
    """Encoder, masker, gains and generator; the probabilities live in `gic1.context`.

    Parameters
    ----------
    config : TunableConfig
    natural : bool
        With a second set of generator weights, the natural end of realism. The generator at realism beta has the
        weights in between, (1 - beta) faithful + beta natural: every kernel is conditioned on beta, the faithful end is
        untouched by the training of the natural one, and no realism costs more than another.

    References
    ----------
    .. [1] Wang et al.: ESRGAN, ECCV Workshops 2018, section 3.4 (network interpolation). Here the weights in between
       are trained too.
    """

    def __init__(self, config: TunableConfig, natural: bool = False) -> None:
        super().__init__()
        self.config = config
        self.encoder = PyramidEncoder(config)
        self.masker = Masker(config)
        self.gains = Gains(config, config.latent_channels, masked=True)
        self.hyper_gains = Gains(config, config.hyper_channels, masked=False)
        self.generator = Generator(config)
        self.natural = Generator(config) if natural else None

    def analyse(self, x: Tensor) -> Analysis:
        """x (B, 3, H, W) in [0, 1], sides multiples of 64."""
        omega, hyper = self.encoder(x)
        return Analysis(omega.float(), hyper.float(), self.masker(omega))

    def generate(self, latent: Tensor, level: Tensor, realism: float = 0.0, origin: Origin = (0, 0)) -> Tensor:
        """Picture (B, 3, H, W), not clipped, at a realism in [0, 1]; see `Generator.forward` for the rest.

        For training: gradients reach both ends. It swaps the weights of one module, so threads must not share it.
        """
        decoded: Tensor = functional_call(self.generator, self.generator_weights(realism), (latent, level, origin))
        return decoded

    def generator_weights(self, realism: float) -> dict[str, Tensor]:
        """Weights of the generator by name at a realism in [0, 1]; only 0 for a model without a natural end."""
        faithful: dict[str, Tensor] = dict(self.generator.named_parameters())
        if realism == 0 or self.natural is None:
            if realism:
                raise ValueError("this model has no natural end")
            return faithful
        natural: dict[str, Tensor] = dict(self.natural.named_parameters())
        return natural if realism == 1 else {k: torch.lerp(v, natural[k], realism) for k, v in faithful.items()}

    def generator_at(self, realism: float) -> Generator:
        """A generator of its own with the weights of `generator_weights(realism)`, for inference."""
        with torch.device("meta"):  # no weights of its own: it takes those given, without a copy where none is needed
            generator = Generator(self.config)
        generator.load_state_dict(self.generator_weights(realism), assign=True)
        if generator.texture is not None and self.generator.texture is not None:
            generator.texture.noise = self.generator.texture.noise  # not among the weights, so still to be given
        return generator.eval()
