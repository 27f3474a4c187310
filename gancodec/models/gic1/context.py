"""Torch twin of the integer context network in `integers.py`: the same arithmetic with straight-through
gradients.

Channel groups are coded one after the other and each in two halves of a checkerboard, so 2 * len(groups) vectorised
passes. The network works in units of omega (gains undone), which makes it nearly independent of the rate: its means
are multiplied by the gain and its scale indices are shifted by the gain's logarithm.

Legend: B batch, K latent channels, h w latent grid, hb wb blocks, F hidden features.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancodec.entropy.logistic import SCALE_MIN, SCALE_STEP, SCALES
from gancodec.models.gic1.config import FRACTION_BITS, HIDDEN_MAX, INPUT_MAX, KNOTS, WEIGHT_LIMIT, TunableConfig
from gancodec.models.layers import conv, interpolate_rows, ste_round
from gancodec.models.levels import LEVELS
from gancodec.types import SITES

MAX_EXPONENT = 14


class Coded(NamedTuple):
    """Latents as the decoder will see them, and what they cost.

    latents : (B, K, h, w) dequantised, gains still applied; bits : (B,) estimated bits; rows : (B, K, h, w) scale
    indices;
    residual : (B, K, h, w) symbols.
    """

    latents: Tensor
    bits: Tensor
    rows: Tensor
    residual: Tensor


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


def convolve(x: Tensor, layer: nn.Conv2d, exponents: Tensor | None) -> Tensor:
    """Apply `layer`, with its weights rounded to int8 multiples of 2**-exponents where those are given."""
    weight = layer.weight if exponents is None else fake_quantise_weight(layer.weight, exponents)
    return F.conv2d(x, weight, layer.bias, layer.stride, layer.padding)


class GroupContext(nn.Module):
    """Probability parameters of one channel group: earlier groups, hyper features, level, and the coded checkerboard
    half."""

    def __init__(self, earlier: int, channels: int, config: TunableConfig) -> None:
        super().__init__()
        first, second, hyper = config.context_widths
        self.channels = channels
        self.previous = conv(earlier + hyper, first)
        self.local = nn.Conv2d(channels, first, 5, padding=2, bias=False)
        self.embedding = nn.Parameter(torch.zeros(KNOTS, first))
        self.middle = conv(first, second, 1)
        self.output = conv(second, 2 * channels, 1)

    def first_exponents(self) -> Tensor:
        """Both first-layer convolutions add into one accumulator, so they share their exponents."""
        return weight_exponents(self.previous.weight, self.local.weight)

    def base(self, earlier: Tensor, level: Tensor, quantised: bool) -> Tensor:
        """First-layer accumulator without the local part, shared by both halves: (B, F, h, w)."""
        embedded = interpolate_rows(self.embedding, level * ((KNOTS - 1) / (LEVELS - 1))).permute(0, 3, 1, 2)
        embedded = embedded.repeat_interleave(SITES, 2).repeat_interleave(SITES, 3)
        return convolve(earlier, self.previous, self.first_exponents() if quantised else None) + embedded

    def coded_half(self, values: Tensor, quantised: bool) -> Tensor:
        """First-layer contribution of the anchors of this group, `values` being 0 elsewhere: (B, F, h, w)."""
        return convolve(values, self.local, self.first_exponents() if quantised else None)

    def parameters_of(self, accumulator: Tensor, quantised: bool) -> tuple[Tensor, Tensor]:
        """First-layer accumulator to (means, log2 scales) in units of omega, each (B, C, h, w)."""
        x = activation(accumulator, quantised)
        x = activation(convolve(x, self.middle, weight_exponents(self.middle.weight) if quantised else None), quantised)
        out = convolve(x, self.output, weight_exponents(self.output.weight) if quantised else None)
        mean, scale = out.chunk(2, 1)
        return mean, scale


class Sites(NamedTuple):
    """One channel group of gained latents `y` with its log gains, activity (each (B, C, h, w)) and input exponents."""

    y: Tensor
    log_gain: Tensor
    active: Tensor
    exponent: Tensor

    def as_input(self, latents: Tensor, quantised: bool) -> Tensor:
        """Dequantised latents as the network sees them: gains undone, scaled, clipped."""
        return network_input(latents * torch.exp(-self.log_gain) * torch.exp2(self.exponent), quantised)

    def quantise(self, mean: Tensor, log2_scale: Tensor, quantised: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Round y around its predicted mean: (dequantised, gained mean, scale row, residual symbol), masked sites 0."""
        mean = mean * self.log_gain.exp() * self.active
        rows = scale_index(log2_scale + self.log_gain / math.log(2))
        if quantised:
            mean, rows = ste_round(mean * 16) / 16, ste_round(rows)
        residual = ste_round(self.y - mean) * self.active
        if quantised:
            residual = residual * (rows > 0.5)  # row 0: certainly 0, not coded
        return mean + residual, mean, rows, residual


class ContextNetwork(nn.Module):
    """Estimates the bits of gained latents and returns them as decoded; see `symbols.walk` for the real coder."""

    input_exponent: Tensor
    hyper_exponent: Tensor

    def __init__(self, config: TunableConfig) -> None:
        super().__init__()
        hyper = config.context_widths[2]
        self.config = config
        self.hyper_in = conv(config.hyper_channels, 2 * hyper)
        self.hyper_up = conv(2 * hyper, SITES**2 * hyper, 1)
        self.hyper_scale = nn.Parameter(torch.full((config.hyper_channels,), -1.0))  # log2, units of the hyper-latent
        earlier = [sum(config.groups[:i]) for i in range(len(config.groups))]
        self.groups = nn.ModuleList(GroupContext(e, g, config) for e, g in zip(earlier, config.groups, strict=True))
        # Powers of two that bring omega into the range of the network's inputs; set once, before S2.
        self.register_buffer("input_exponent", torch.zeros(config.latent_channels))
        self.register_buffer("hyper_exponent", torch.zeros(config.hyper_channels))

    def hyper_features(self, hyper: Tensor, quantised: bool) -> Tensor:
        """Dequantised hyper-latent (B, Kh, hb, wb), gains undone, to features (B, F, h, w)."""
        x = network_input(hyper * torch.exp2(self.hyper_exponent)[:, None, None], quantised)
        x = activation(
            convolve(x, self.hyper_in, weight_exponents(self.hyper_in.weight) if quantised else None), quantised
        )
        x = convolve(x, self.hyper_up, weight_exponents(self.hyper_up.weight) if quantised else None)
        return activation(F.pixel_shuffle(x, SITES), quantised)

    def code_hyper(self, hyper: Tensor, log_gain: Tensor, quantised: bool = False) -> tuple[Tensor, Tensor]:
        """Quantise the hyper-latent: (dequantised with gains undone, bits (B,))."""
        gain = log_gain.exp()
        y = hyper * gain
        rows = scale_index(self.hyper_scale[:, None, None] + log_gain / math.log(2))
        symbols = ste_round(y)
        if quantised:
            rows = ste_round(rows)
            symbols = symbols * (rows > 0.5)
        bits = logistic_bits(_noisy(y) if self.training and not quantised else symbols, rows)
        return symbols / gain, bits.flatten(1).sum(1)

    def forward(
        self, y: Tensor, log_gain: Tensor, active: Tensor, hyper: Tensor, level: Tensor, quantised: bool = False
    ) -> Coded:
        """Code gained latents.

        Parameters
        ----------
        y : (B, K, h, w)
            Gained latents; masked channels are ignored.
        log_gain, active : (B, K, h, w)
            Natural log of the gains; 1 where a channel is on.
        hyper : (B, Kh, hb, wb)
            Dequantised hyper-latent, gains undone.
        level : (B, hb, wb)
            Fractional levels.
        quantised : bool
            Integer arithmetic of the run-time network (stage S2); float otherwise.
        """
        features = self.hyper_features(hyper, quantised)
        rows, columns = torch.arange(y.shape[2], device=y.device), torch.arange(y.shape[3], device=y.device)
        anchor = ((rows[:, None] + columns[None, :]) % 2 == 0).to(y.dtype)
        seen: list[Tensor] = []
        parts: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        start = 0
        for group in self.groups:
            assert isinstance(group, GroupContext)  # for the type checker: a ModuleList forgets what it holds
            span = slice(start, start + group.channels)
            start = span.stop
            base = group.base(torch.cat([*seen, features], 1), level, quantised)
            sites = Sites(y[:, span], log_gain[:, span], active[:, span], self.input_exponent[span, None, None])
            parts.append(self._code_group(group, base, sites, anchor, quantised))
            seen.append(sites.as_input(parts[-1][0], quantised))
        latents, bits, index, residual = (torch.cat(p, 1) for p in zip(*parts, strict=True))
        return Coded(latents, bits.flatten(1).sum(1), index, residual)

    def _code_group(
        self, group: GroupContext, base: Tensor, sites: Sites, anchor: Tensor, quantised: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One group in two halves: (dequantised, bits, scale rows, residuals), each (B, C, h, w)."""
        first = group.parameters_of(base, quantised)
        coded = sites.quantise(*first, quantised)[0] * anchor
        second = group.parameters_of(base + group.coded_half(sites.as_input(coded, quantised), quantised), quantised)
        mean, scale = (a * anchor + b * (1 - anchor) for a, b in zip(first, second, strict=True))
        latents, mean, rows, residual = sites.quantise(mean, scale, quantised)
        # Uniform noise gives S1 smooth gradients; S2 sees the true symbols, as noise overrates nearly silent channels.
        seen = _noisy(sites.y - mean) if self.training and not quantised else residual
        return latents, logistic_bits(seen, rows) * sites.active, rows, residual


def _noisy(x: Tensor) -> Tensor:
    return x + torch.rand_like(x) - 0.5


def scale_index(log2_scale: Tensor) -> Tensor:
    """Scale of a residual to its index in [0, 63]; straight-through outside, so that it can come back."""
    index = (log2_scale - math.log2(SCALE_MIN)) * SCALE_STEP
    return index + (index.clamp(0, SCALES - 1) - index).detach()


def logistic_bits(residual: Tensor, index: Tensor) -> Tensor:
    """Bits of residuals under a logistic density of scale SCALE_MIN * 2**(index / SCALE_STEP), integrated over one
    step."""
    scale = SCALE_MIN * torch.exp2(index / SCALE_STEP)
    centre = residual.abs()  # symmetric: differences of the small tail lose no precision
    probability = torch.sigmoid((0.5 - centre) / scale) - torch.sigmoid((-0.5 - centre) / scale)
    return -torch.log2(probability.clamp(min=1e-7))
