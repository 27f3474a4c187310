"""Fake quantisation of the context network, for training."""

from __future__ import annotations

import torch
from torch import Tensor

from gancodec.models.gic1.config import FRACTION_BITS, HIDDEN_MAX, INPUT_MAX, WEIGHT_LIMIT

MAX_EXPONENT = 14


def weight_exponents(*weights: Tensor) -> Tensor:
    """Exponent e per output channel so that round(w * 2**e) fits int8 for all `weights` (O, I, kh, kw) together."""
    largest = torch.stack([w.detach().abs().flatten(1).amax(1) for w in weights if w.numel()]).amax(0).clamp(min=1e-8)
    return torch.floor(torch.log2(WEIGHT_LIMIT / largest)).clamp(0, MAX_EXPONENT)


def fake_quantise_weight(weight: Tensor, exponents: Tensor) -> Tensor:
    """Round `weight` to multiples of 2**-e per output channel, clipped to int8; straight-through gradient."""
    scale = torch.exp2(exponents)[:, None, None, None]
    return weight + ((weight * scale).round().clamp(-WEIGHT_LIMIT, WEIGHT_LIMIT) / scale - weight).detach()


def activation(x: Tensor, quantised: bool) -> Tensor:
    """ReLU clipped to [0, 255/16]; rounded to multiples of 1/16 where `quantised` (half up, as the shifts round)."""
    x = x.clamp(0, HIDDEN_MAX / 2**FRACTION_BITS)
    return _grid(x) if quantised else x


def network_input(x: Tensor, quantised: bool) -> Tensor:
    """Clip to [-127/16, 127/16]; rounded to multiples of 1/16 where `quantised`."""
    x = x.clamp(-INPUT_MAX / 2**FRACTION_BITS, INPUT_MAX / 2**FRACTION_BITS)
    return _grid(x) if quantised else x


def _grid(x: Tensor) -> Tensor:
    return x + ((x * 2**FRACTION_BITS + 0.5).floor() / 2**FRACTION_BITS - x).detach()
