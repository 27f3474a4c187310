"""What a run of gic2 trains and is frozen into, and what its objectives are made of."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gancodec.entropy.gaussian import ROWS, ROWS_A_NEPER, SIGMA_MIN, gaussian_tables
from gancodec.entropy.tables import Arrays
from gancodec.models.gic2.config import GAIN_BITS, INPUT_MAX, LADDER, ROW_BITS, UNIT_BITS, Gic2Config
from gancodec.models.gic2.layers import at_position, per_site
from gancodec.models.gic2.network import Gic2Model
from gancodec.models.gic2.receiver import NaturalEnd
from gancodec.models.layers import ByteLinear, ste_round
from gancodec.models.levels import LEVELS, N_LIMIT, logit_to_level
from gancodec.models.losses import box_ms_ssim, distortion_weight
from gancodec.models.training import Networks
from gancodec.types import BLOCK, SITES

WEIGHT_LIMIT = 127  # int8 weights
LEAST_SCALE = 0.05  # of a hyper-latent, in S1
ESCAPE = 20.0  # bits from which a symbol is an escape
QUIET = 1e-4  # share of a channel's latents that may reach half a step where the channel is off
WIDE, USUAL_N = 0.25, 2.8  # share of crops over all n, and the limit of the others
MOST_WORTH = 60  # rows, either way
WORTHY, LOUDEST, STILLEST = 90, 28, 6  # of the ladder: percentile of worth, and rows above it and below the median
PROBE = 7  # sites a side of what measures a channel's worth


class Trained(Networks):
    """gic2: the model, and the natural end of its receiver."""

    coders = ("range",)  # both coders have the same rows
    n_at = ((2.0, 0.05), (-2.0, 0.4))
    model: Gic2Model

    def __init__(self, config: Gic2Config) -> None:
        super().__init__()
        self.model = Gic2Model(config)
        self.natural = NaturalEnd(config)

    def integers(self) -> Arrays:
        """Projection, knots, keys, and Gaussian tables."""
        return freeze_entropy(self.model)

    def tables(self, histograms: list[NDArray[np.float64]]) -> Arrays:
        """Gaussian tables, pulled towards the histograms."""
        return gaussian_tables(histograms)

    @torch.no_grad()
    def begin_from(self, tensors: dict[str, Tensor]) -> None:
        """Load the weights of an earlier stage; a natural end that has none begins as the faithful one."""
        own = self.state_dict()
        super().begin_from({k: v for k, v in tensors.items() if k in own})
        if not any(name.startswith("natural.") for name in tensors):
            self.natural.own.load_state_dict(self.model.receiver.own.state_dict())
            self.natural.render.load_state_dict(self.model.receiver.render.state_dict())

    def round_matrices(self, rounded: bool) -> None:
        """Compute with matrices as they are shipped, or not."""
        for module in self.modules():
            if isinstance(module, ByteLinear):
                module.rounded = rounded

    @torch.no_grad()
    def switch_channels(self, batches: Iterable[Tensor]) -> None:
        """Set from which level on each channel is on: where its latents reach half a step often enough (eq. 3)."""
        latents = torch.cat([self.model.analyse(x).latent for x in batches]).abs().transpose(0, 1).flatten(1)
        loud = torch.quantile(latents[:, :: max(1, latents.shape[1] // 100_000)], 1 - QUIET, dim=1)
        position = torch.arange(LEVELS, device=loud.device) / (LEVELS - 1)
        reaches = self.model.gains(position).exp() * loud >= 0.5
        self.model.first.copy_((~reaches).sum(0).clamp(max=LEVELS - 1))


class Coded(NamedTuple):
    """What the decoder gets: latents (B, h, w, C), gains undone; and its price (B,), in bits that noise makes smooth,
    and in bits of what is rounded, for information: the noise costs .14 bits a symbol even in the stillest row."""

    latents: Tensor
    bits: Tensor
    rounded_bits: Tensor


def coded_latents(model: Gic2Model, latent: Tensor, hyper: Tensor, level: Tensor, quantised: bool) -> Coded:
    """Code latents (B, h, w, C) and hyper-latents (B, hb, wb, Kh) at levels (B, hb, wb) in [0, L-1].

    What is decoded is rounded, and the rate sees noise: a rounded zero has no gradient. With `quantised`, inputs,
    weights and rows are the integers of `gic2.integers`, and what has row 0 is 0.
    """
    position = level / (LEVELS - 1)
    hyper_log_gain = model.hyper_gains(position)
    hyper_gain = hyper_log_gain.exp()
    z = hyper.float() * hyper_gain
    symbols = ste_round(z)
    least = math.log(SIGMA_MIN) + 1 / ROWS_A_NEPER if quantised else -math.inf
    z_rows = (model.hyper_rows(symbols, position, hyper_log_gain, least) - math.log(SIGMA_MIN)) * ROWS_A_NEPER
    if quantised:
        z_rows = floored(z_rows)
        symbols = symbols * (z_rows >= 1)
    middle = 0.5 if quantised else 0.0  # a whole row has the table of its middle
    z_sigma = sigma_at(z_rows + middle, math.log(LEAST_SCALE))
    units = symbols / hyper_gain
    log_gain = per_site(model.gains(position))
    inverse = at_position((-model.hyper_gains.knots()).exp(), position)  # as it is frozen: between knots along a line
    rows = projected_rows(model, symbols * inverse, log_gain, quantised)
    on = per_site(level)[..., None] >= model.first if quantised else torch.ones_like(rows, dtype=torch.bool)
    sent = on & (rows >= 1) if quantised else on
    latents, residual = around_means(model, latent.float(), units, log_gain.exp(), sent)
    sigma = sigma_at(rows + middle)
    mean = model.hyper_rows.means(symbols, hyper_gain)
    bits = gaussian_bits(z - mean + noise_like(z), z_sigma).sum((1, 2, 3))
    bits = bits + (gaussian_bits(residual + noise_like(residual), sigma) * on).sum((1, 2, 3))
    with torch.no_grad():
        rounded = gaussian_bits(symbols - mean, z_sigma).sum((1, 2, 3))
        rounded = rounded + (gaussian_bits(residual.round() * sent, sigma) * sent).sum((1, 2, 3))
    return Coded(latents, bits, rounded)


def around_means(model: Gic2Model, wanted: Tensor, units: Tensor, gain: Tensor, sent: Tensor) -> tuple[Tensor, Tensor]:
    """Decoded latents and residuals before rounding, both (B, h, w, C); what is not `sent` counts as 0."""
    residuals = []

    def code(mean: Tensor, mine: Tensor) -> Tensor:
        residual = (wanted - mean) * gain
        residuals.append(residual * mine)
        return mean + ste_round(residual) * sent / gain

    return model.means(units, code), torch.stack(residuals).sum(0)


def projected_rows(model: Gic2Model, units: Tensor, log_gain: Tensor, quantised: bool) -> Tensor:
    """Rows (B, h, w, C) of latents, fractional, or floored with gradients straight through."""
    projection = model.projection
    weight = None
    if quantised:
        units = ste_round(units).clamp(-INPUT_MAX, INPUT_MAX)
        integers, scale = projection_integers(projection.weight, model.config.channels)
        shipped = integers * (scale.repeat(SITES**2)[:, None] / (1 << ROW_BITS))
        weight = projection.weight + (shipped - projection.weight).detach()
    with torch.autocast(units.device.type, enabled=False):
        rows = projection(units, weight) + projection.bias + log_gain * ROWS_A_NEPER
    return floored(rows) if quantised else rows.clamp(0, ROWS)


def floored(rows: Tensor) -> Tensor:
    """Whole rows, gradients straight through."""
    rows = rows.clamp(0, ROWS - 1)
    return rows + (rows.floor() - rows).detach()


def sigma_at(rows: Tensor, least: float = math.log(SIGMA_MIN)) -> Tensor:
    """Deviations at fractional rows."""
    return (math.log(SIGMA_MIN) + rows / ROWS_A_NEPER).clamp(min=least).exp()


def noise_like(x: Tensor) -> Tensor:
    """Uniform noise as wide as a rounding error."""
    return torch.rand_like(x) - 0.5


def gaussian_bits(v: Tensor, sigma: Tensor) -> Tensor:
    """Bits of a symbol under a discretised zero-mean Gaussian; below 2**-20 those of an escape."""
    v = v.abs()
    p = torch.special.ndtr((0.5 - v) / sigma) - torch.special.ndtr((-0.5 - v) / sigma)
    least = 2**-ESCAPE
    return torch.where(p > least, -torch.log2(p.clamp(min=least)), ESCAPE + 2 * torch.log2(1 + v))


def one_level(importance: Tensor) -> tuple[Tensor, Tensor]:
    """A random level for each picture, whatever the importance (B, hb, wb) of its blocks.

    Returns (levels (B, hb, wb) in [0, L-1], lambdas (B, hb, wb)).
    """
    batch, device = len(importance), importance.device
    wide = torch.rand(batch, device=device) < WIDE
    logit = (torch.rand(batch, device=device) * 2 - 1) * torch.where(wide, N_LIMIT, USUAL_N)
    logits = logit[:, None, None].expand_as(importance)
    return logit_to_level(logits), distortion_weight(logits)


def weighted_distortion(
    decoded: Tensor, x: Tensor, weight: Tensor, mse: float, ms_ssim: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Lambda * D (B,), squared errors in 8-bit units, and MS-SSIM (B,).

    decoded : (B, H, W, 3); x : (B, 3, H, W); weight : (B, hb, wb), the lambda of each block.
    D = mse * MSE + ms_ssim * (1 - MS-SSIM).
    """
    decoded = decoded.float().permute(0, 3, 1, 2).contiguous()
    pixels = weight[:, None].repeat_interleave(BLOCK, 2).repeat_interleave(BLOCK, 3)
    squared = (decoded - x).square() * 255**2
    similar = box_ms_ssim(decoded.clamp(0, 1), x, weight)
    distortion = mse * (squared * pixels).mean((1, 2, 3)) + ms_ssim * weight.mean((1, 2)) * (1 - similar)
    return distortion, squared, similar


@torch.no_grad()
def projection_integers(weight: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """Integers (16 C, Kh) of the projection, as floats, and the scale of each channel, (C,), in 1/256 rows."""
    most = weight.abs().amax(1).view(-1, channels).amax(0)
    scale = (most * (1 << ROW_BITS) / WEIGHT_LIMIT).ceil().clamp(min=1)
    integers = (weight * (1 << ROW_BITS) / scale.repeat(SITES**2)[:, None]).round()
    return integers.clamp(-WEIGHT_LIMIT, WEIGHT_LIMIT), scale


@torch.no_grad()
def freeze_entropy(model: Gic2Model) -> Arrays:
    """Integer arrays of `models.gic2.integers.EntropyModel`, with plain Gaussian frequency tables for now."""
    config, per_row = model.config, 1 << ROW_BITS
    weight, scale = projection_integers(model.projection.weight, config.channels)
    gains, hyper_gains = model.gains.knots().double(), model.hyper_gains.knots().double()
    offset = model.projection.bias + gains * ROWS_A_NEPER
    hyper_offset = (model.hyper_rows.scale + hyper_gains - math.log(SIGMA_MIN)) * ROWS_A_NEPER
    near = [_near_integers(layer) for layer in model.hyper_rows.near]  # type: ignore[arg-type]
    worth = channel_worth(model)
    return {
        "projection.weight": weight.view(SITES**2, config.channels, -1).to(torch.int8).numpy(),
        "projection.scale": scale.to(torch.int16).numpy(),
        "latent.offset": torch.round(offset * per_row).to(torch.int32).numpy(),
        "latent.gain": torch.round(gains * (1 << GAIN_BITS)).to(torch.int32).numpy(),
        "latent.first": model.first.to(torch.uint8).numpy(),
        "latent.worth": worth,
        "latent.ladder": ladder(worth),
        "hyper.offset": torch.round(hyper_offset * per_row).to(torch.int32).numpy(),
        "hyper.gain": torch.round(hyper_gains * (1 << GAIN_BITS)).to(torch.int32).numpy(),
        "hyper.inverse": torch.round((1 << UNIT_BITS) * (-hyper_gains).exp()).to(torch.int32).numpy(),
        **{f"near.{k}": np.stack([arrays[k] for arrays in near]) for k in ("weight", "scale", "bias")},
        **gaussian_tables(),
    }


def _near_integers(layer: torch.nn.Linear) -> Arrays:
    """What neighbours add to the rows of the hyper-latent, in 1/256 rows."""
    weight = layer.weight * (ROWS_A_NEPER * (1 << ROW_BITS))
    scale = (weight.abs().amax(1) / WEIGHT_LIMIT).ceil().clamp(min=1)
    return {
        "weight": (weight / scale[:, None]).round().to(torch.int8).numpy(),
        "scale": scale.to(torch.int16).numpy(),
        "bias": torch.round(layer.bias * (ROWS_A_NEPER * (1 << ROW_BITS))).to(torch.int32).numpy(),
    }


def channel_worth(model: Gic2Model) -> NDArray[np.int16]:
    """What to add to a latent's row, its gain undone, so that keys order symbols by squared error per bit: (C,).

    Rows measure logarithms of deviations; a pulse in each channel tells how far the channel moves pixels.
    """
    channels = model.config.channels
    pulse = torch.zeros(channels, PROBE, PROBE, channels)
    pulse[:, PROBE // 2, PROBE // 2] = torch.eye(channels)
    side = -(-PROBE // SITES) * SITES
    pulse = F.pad(pulse, (0, 0, 0, side - PROBE, 0, side - PROBE))
    position = torch.full((channels, side // SITES, side // SITES), 0.5)
    still = model.receiver(torch.zeros_like(pulse[:1]), position[:1])
    energy = torch.cat([(model.receiver(p[None], position[:1]) - still).square().sum()[None] for p in pulse])
    rows = model.projection.bias + energy.clamp(min=1e-12).log() / 2 * ROWS_A_NEPER
    return (rows - rows.median()).round().clamp(-MOST_WORTH, MOST_WORTH).to(torch.int16).numpy()


def ladder(worth: NDArray[np.int16]) -> NDArray[np.int16]:
    """Keys, falling, at which slices may end, from what nearly no symbol reaches to what nearly all do: (LADDER,)."""
    top, bottom = np.percentile(worth, WORTHY) + LOUDEST, np.median(worth) - STILLEST
    keys = np.rint(np.linspace(top, bottom, LADDER)).astype(np.int16)
    result: NDArray[np.int16] = np.minimum(keys, keys[0] - np.arange(LADDER, dtype=np.int16))
    return result
