"""What a run of gic1 trains and is frozen into, and what its objectives are made of."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from gancodec.entropy.logistic import SCALE_MIN, SCALE_STEP, SCALES, logistic_tables
from gancodec.entropy.tables import Arrays
from gancodec.models.gic1.config import FRACTION_BITS, GAIN_BITS, INPUT_MAX, WEIGHT_LIMIT, TunableConfig
from gancodec.models.gic1.context import ContextNetwork, GroupContext, weight_exponents
from gancodec.models.gic1.discriminator import WEIGHTS, Discriminator
from gancodec.models.gic1.network import Analysis, Gains, TunableModel
from gancodec.models.layers import NOISE_PERIOD, interpolate_rows
from gancodec.models.levels import LEVELS, SUBLEVELS
from gancodec.models.training import Networks
from gancodec.types import SITES


class Trained(Networks):
    """gic1: model, context network and, from S3 on, discriminator."""

    coders = ("range",)  # both coders have the same rows
    n_at = ((2.0, 0.05), (-2.0, 0.4))
    model: TunableModel

    def __init__(self, config: TunableConfig, discriminator: int | None = None) -> None:
        """`discriminator` has channels in its first layers, and with it there is a natural end."""
        super().__init__()
        self.model = TunableModel(config, natural=discriminator is not None)
        self.default_realism = None if discriminator is None else 1.0
        self.context = ContextNetwork(config)
        self.discriminator = None if discriminator is None else Discriminator(config.latent_channels, discriminator)

    def integers(self) -> Arrays:
        """Gains, context network, and logistic tables."""
        return freeze_entropy(self.model, self.context)

    def tables(self, histograms: list[NDArray[np.float64]]) -> Arrays:
        """Logistic tables, pulled towards the histograms."""
        return logistic_tables(histograms[:SCALES])

    @torch.no_grad()
    def begin_from(self, tensors: dict[str, Tensor]) -> None:
        """Load the weights of an earlier stage; what the natural end has no weights for starts as the faithful one."""
        super().begin_from(tensors)
        if self.model.natural is not None:
            natural, faithful = self.model.natural.state_dict(), self.model.generator.state_dict()
            for name in natural.keys() - {k.removeprefix("model.natural.") for k in tensors}:
                natural[name].copy_(faithful[name])

    @torch.no_grad()
    def prepare_quantisation(self, batches: Iterable[Tensor]) -> None:
        """Choose the power of two per channel that brings omega (and the hyper-latent) into the network's input
        range."""
        analyses = [self.model.analyse(x) for x in batches]
        for name, buffer in (("omega", self.context.input_exponent), ("hyper", self.context.hyper_exponent)):
            values = torch.cat([getattr(a, name) for a in analyses]).abs().transpose(0, 1).flatten(1)
            limit = torch.quantile(values[:, :: max(1, values.shape[1] // 100_000)], 0.999, dim=1).clamp(min=1e-3)
            buffer.copy_(torch.floor(torch.log2(INPUT_MAX / 2**FRACTION_BITS / limit)).clamp(-6, 4))


@torch.no_grad()
def freeze_entropy(model: TunableModel, context: ContextNetwork) -> Arrays:
    """Integer arrays of `models.gic1.integers.EntropyModel`, with plain logistic frequency tables for now."""
    config = model.config
    arrays: Arrays = {
        "groups": np.array([len(config.groups)], np.int32),
        "latent.depth": np.array([config.depth(level) for level in range(LEVELS)], np.int32),
    }
    arrays |= _gain_arrays("latent", model.gains, context.input_exponent)
    gain = arrays["latent.gain"].astype(np.float64) / (1 << GAIN_BITS)
    arrays["latent.offset"] = np.rint(16 * SCALE_STEP * np.log2(gain / SCALE_MIN)).astype(np.int16)
    arrays |= _gain_arrays("hyper", model.hyper_gains, context.hyper_exponent)
    hyper_gain = arrays["hyper.gain"].astype(np.float64) / (1 << GAIN_BITS)
    hyper_index = SCALE_STEP * (context.hyper_scale.double().numpy() + np.log2(hyper_gain / SCALE_MIN))
    arrays["hyper.rows"] = np.clip(np.rint(hyper_index), 0, SCALES - 1).astype(np.uint8)
    arrays |= _layer_arrays("hyper_in", context.hyper_in)
    arrays |= _layer_arrays("hyper_up", context.hyper_up)
    for i, group in enumerate(context.groups):
        arrays |= _group_arrays(f"group{i}", group)  # type: ignore[arg-type]
    return arrays | logistic_tables()


def _gain_arrays(name: str, gains: Gains, exponent: Tensor) -> Arrays:
    position = (torch.arange(LEVELS * SUBLEVELS) / SUBLEVELS).clamp(max=LEVELS - 1)
    gain = torch.exp(gains.log_gain(position).double())
    return {
        f"{name}.gain": torch.round(gain * (1 << GAIN_BITS)).to(torch.int32).numpy(),
        f"{name}.inverse": torch.round((1 << GAIN_BITS) * torch.exp2(exponent.double()) / gain).to(torch.int32).numpy(),
    }


def _integer_weight(weight: Tensor, exponents: Tensor) -> NDArray[np.int8]:
    scaled = (weight * torch.exp2(exponents)[:, None, None, None]).round().clamp(-WEIGHT_LIMIT, WEIGHT_LIMIT)
    return scaled.to(torch.int8).contiguous().numpy()


def _at_accumulator(values: Tensor, exponents: Tensor) -> NDArray[np.int32]:
    return torch.round(values.double() * torch.exp2(exponents.double() + FRACTION_BITS)).to(torch.int32).numpy()


def _layer_arrays(name: str, layer: nn.Conv2d, exponents: Tensor | None = None) -> Arrays:
    exponents = weight_exponents(layer.weight) if exponents is None else exponents
    arrays: Arrays = {
        f"{name}.weight": _integer_weight(layer.weight, exponents),
        f"{name}.exponent": exponents.to(torch.int32).numpy(),
    }
    if layer.bias is not None:
        arrays[f"{name}.bias"] = _at_accumulator(layer.bias, exponents)
    return arrays


def _group_arrays(name: str, group: GroupContext) -> Arrays:
    shared = group.first_exponents()
    knots = group.embedding
    rows = interpolate_rows(knots, torch.arange(LEVELS) * ((knots.shape[0] - 1) / (LEVELS - 1)))
    arrays = _layer_arrays(f"{name}.previous", group.previous, shared) | _layer_arrays(
        f"{name}.local", group.local, shared
    )
    arrays[f"{name}.embedding"] = _at_accumulator(rows, shared)
    return arrays | _layer_arrays(f"{name}.middle", group.middle) | _layer_arrays(f"{name}.output", group.output)


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


def least_squares(scores: Tensor, real: bool) -> Tensor:
    """LSGAN (Mao et al., ICCV 2017): squared distance of the scores from 1 (real) or 0."""
    return (scores - float(real)).square().mean()


def log_loss(scores: Tensor, real: bool) -> Tensor:
    """Log loss of Wu et al.'s eq. 5, scores being logits: -log D for real, -log(1 - D) otherwise."""
    return F.softplus(-scores if real else scores).mean()


GRIDS, GRID_WINDOW = (4, 8, 16), 16  # pixels that the generator makes from a site of each layer; sites
GAN_LOSSES = {"lsgan": least_squares, "log": log_loss}


def over_scales(scores: list[Tensor], real: bool, name: str) -> Tensor:
    """Adversarial loss over the three scales, weighted 1/2, 1/4, 1/4.

    The generator minimises it with `real` (the non-saturating form), the discriminator with what is true.
    """
    parts = [weight * GAN_LOSSES[name](s.float(), real) for weight, s in zip(WEIGHTS, scores, strict=True)]
    return torch.stack(parts).sum()


def draw_realism() -> float:
    """Beta of one step: 1 in half of them, uniform otherwise; what happens at 0 is settled already."""
    full, between = torch.rand(2).tolist()
    return 1.0 if full < 0.5 else between


def draw_origin() -> tuple[int, int]:
    """Place of the crops in the noise: anywhere, so that all of the noise is trained with."""
    row, column = torch.randint(NOISE_PERIOD, (2,)).tolist()
    return row, column


def as_picture(decoded: Tensor) -> Tensor:
    """Clip and round to 8 bits, gradients straight through: the discriminator shall see what a user gets."""
    return decoded + ((decoded * 255).round().clamp(0, 255) / 255 - decoded).detach()


def grid_pattern(decoded: Tensor) -> Tensor:
    """Fine detail that repeats every 4, 8 or 16 pixels, squared, in 8-bit units. `decoded` is (B, 3, H, W).

    The generator makes 4x4 pixels from one site of its last layer, 8x8 and 16x16 from one of those before. A fixed
    pattern in them is the cheapest texture, which neither the features nor the discriminator punish enough;
    photographs have none that keeps its phase. What texture of random phase would give is taken off. No gradient flows
    through that part: it would reward louder texture wherever there is a pattern.
    """
    taps = torch.tensor([0.25, 0.5, 0.25], device=decoded.device)
    kernel = torch.outer(taps, taps).expand(3, 1, 3, 3)
    fine = (decoded - F.conv2d(F.pad(decoded, (1, 1, 1, 1), mode="reflect"), kernel, groups=3)) * 255
    total = torch.zeros((), device=decoded.device)
    for period in GRIDS:
        phases = F.pixel_unshuffle(fine, period)
        window = min(GRID_WINDOW, *phases.shape[2:])
        count = window * window
        mean, square = (F.avg_pool2d(v, window, max(1, window // 2)) for v in (phases, phases.detach().square()))
        total = total + (mean.square() - square / count).clamp(min=0).mean()
    return total


def play(
    discriminator: Discriminator, decoded: Tensor, x: Tensor, latents: Tensor, level: Tensor, gan: str
) -> tuple[Tensor, Tensor]:
    """Loss of the generator, through a discriminator that is held, and loss of the discriminator."""
    discriminator.requires_grad_(False)
    fooled = over_scales(discriminator(decoded, latents, level), True, gan)
    discriminator.requires_grad_(True)
    both = discriminator(torch.cat((decoded.detach(), x)), latents.repeat(2, 1, 1, 1), level.repeat(2, 1, 1))
    fake, real = ([s[half] for s in both] for half in (slice(len(x)), slice(len(x), None)))
    return fooled, over_scales(fake, False, gan) + over_scales(real, True, gan)
