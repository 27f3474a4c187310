"""What a run of gic1 trains, and the integers that it is frozen into."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gancodec.entropy.logistic import SCALE_MIN, SCALE_STEP, SCALES, logistic_tables
from gancodec.entropy.tables import Arrays
from gancodec.models.gic1.config import FRACTION_BITS, GAIN_BITS, INPUT_MAX, WEIGHT_LIMIT, TunableConfig
from gancodec.models.gic1.context import ContextNetwork, GroupContext, weight_exponents
from gancodec.models.gic1.discriminator import Discriminator
from gancodec.models.gic1.network import Gains, TunableModel
from gancodec.models.layers import interpolate_rows
from gancodec.models.levels import LEVELS, SUBLEVELS
from gancodec.models.training import Networks


class Trained(Networks):
    """gic1: model, context network and, from S3 on, discriminator."""

    coders, stretched = ("range",), True  # both coders have the same rows
    model: TunableModel

    def __init__(self, config: TunableConfig, discriminator: int | None = None) -> None:
        """`discriminator` has channels in its first layers, and with it there is a natural end."""
        super().__init__()
        self.model = TunableModel(config, natural=discriminator is not None)
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
