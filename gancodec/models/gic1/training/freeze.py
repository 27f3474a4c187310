"""Networks to the integers that decide every bit."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gancodec.entropy.logistic import SCALE_MIN, SCALE_STEP, SCALES, logistic_tables
from gancodec.entropy.tables import Arrays
from gancodec.models.gic1.config import FRACTION_BITS, GAIN_BITS, WEIGHT_LIMIT
from gancodec.models.gic1.context import ContextNetwork, GroupContext
from gancodec.models.gic1.network import Gains, TunableModel
from gancodec.models.gic1.quantise import weight_exponents
from gancodec.models.layers import interpolate_rows
from gancodec.models.levels import LEVELS, SUBLEVELS


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
