"""Layers that models share: dense 3x3 convolutions, which are what a CPU computes fastest, modulation by level, fixed
noise, rounding."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.1  # of every leaky ReLU


def fast_bfloat16() -> bool:
    """Does this CPU compute bfloat16 convolutions in hardware? No, where PyTorch does not tell."""
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", bool)())


FAST_BFLOAT16 = fast_bfloat16()  # asked once: what compiles losses cannot look into it


def half_precision(kind: str) -> bool:
    """Do training, and encoders that choose freely, compute in bfloat16 on devices of this kind? Where a CPU emulates
    it, it is tens of times as slow as float32."""
    return kind != "cpu" or FAST_BFLOAT16


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    """Convolution that keeps the size (or divides it by `stride`)."""
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)


class ResidualBlock(nn.Module):
    """x + conv(leaky(conv(x))); no normalisation, so tiles and whole pictures agree. (B, C, h, w) to the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv(channels, channels)
        self.second = conv(channels, channels)
        with torch.no_grad():  # start near the identity: deep stacks of blocks train from the first step
            self.second.weight.mul_(0.3)

    def forward(self, x: Tensor) -> Tensor:
        """Return x plus its correction."""
        return x + self.second(F.leaky_relu(self.first(x), SLOPE))


def residual_stack(channels: int, count: int) -> nn.Sequential:
    """`count` residual blocks in a row."""
    return nn.Sequential(*(ResidualBlock(channels) for _ in range(count)))


def interpolate_rows(table: Tensor, position: Tensor) -> Tensor:
    """Rows of `table` (R, C) at fractional positions (...) in [0, R-1], linearly interpolated: (..., C)."""
    below = position.detach().floor().clamp(0, table.shape[0] - 2).long()
    fraction = (position - below).unsqueeze(-1)
    return torch.lerp(table[below], table[below + 1], fraction)


class LevelFilm(nn.Module):
    """Feature-wise scale and shift chosen by the importance level of each site: how starved a region is."""

    def __init__(self, channels: int, knots: int) -> None:
        super().__init__()
        self.knots = knots
        self.table = nn.Parameter(torch.zeros(knots, 2 * channels))

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """x (B, C, h, w), level (B, hb, wb) in [0, 1]; returns x scaled and shifted."""
        modulation = interpolate_rows(self.table, level * (self.knots - 1))  # B hb wb 2C
        modulation = modulation.permute(0, 3, 1, 2).to(x.dtype)
        repeat = x.shape[2] // level.shape[1]
        modulation = modulation.repeat_interleave(repeat, 2).repeat_interleave(repeat, 3)
        scale, shift = modulation.chunk(2, 1)
        return x * (1 + scale) + shift


NOISE_PERIOD = 64  # sites; 256 pixels at 1/4
NOISE_GAIN = 4.0  # gates start closed, and small steps shall open them
Origin = tuple[int, int]


def fixed_noise(channels: int, period: int = NOISE_PERIOD) -> Tensor:
    """Noise of mean 0 and variance 1, (1, channels, period, period), from integers: the same on every machine.

    The 32-bit finaliser of MurmurHash3 (Appleby) turns counters into evenly spread values.
    """
    # On the CPU even where modules are made without memory: there arithmetic makes PyTorch import sympy, for seconds.
    counters = torch.arange(1, channels * period * period + 1, dtype=torch.int64, device="cpu")
    x = counters * 0x9E3779B1 & 0xFFFFFFFF
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        x = (x ^ (x >> shift)) * factor & 0xFFFFFFFF
    uniform = (x >> 8).float() / 2**24
    return ((uniform - 0.5) * 12**0.5).view(1, channels, period, period)


class TextureNoise(nn.Module):
    """x + gate(x) * mix(noise): the features choose where fixed noise becomes texture. (B, C, h, w) to the same.

    Without noise, whatever a convolutional generator invents in a region of equal latents repeats with the latents'
    grid. The noise is fixed, so decoding is deterministic, and repeats every 64 sites. Closed gates (the start, and the
    faithful end) add exactly nothing.
    """

    noise: Tensor

    def __init__(self, channels: int, noise_channels: int) -> None:
        super().__init__()
        self.mix = conv(noise_channels, channels)
        self.gate = conv(channels, channels, 1)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)  # type: ignore[arg-type]
        self.register_buffer("noise", fixed_noise(noise_channels), persistent=False)

    def forward(self, x: Tensor, origin: Origin) -> Tensor:
        """Add the texture; `origin` is the place of the first site of x in the noise (row, column)."""
        rows, columns = (torch.arange(n, device=x.device) + o for n, o in zip(x.shape[2:], origin, strict=True))
        noise = self.noise[:, :, rows % NOISE_PERIOD][:, :, :, columns % NOISE_PERIOD]
        texture: Tensor = self.gate(x) * self.mix(NOISE_GAIN * noise.to(x.dtype))
        return x + texture


def standardised(y: Tensor) -> Tensor:
    """Eq. 2 of Wu et al. for y (B, hb, wb) of whole pictures: mean 0, standard deviation at most 1.

    The equation divides by the standard deviation so that the sigmoid does not saturate. Dividing by max(sigma, 1)
    keeps that and leaves flat maps flat, and the same n then means the same rate step for every picture.
    """
    y = y - y.mean((1, 2), keepdim=True)
    sigma = y.square().mean((1, 2), keepdim=True).add(1e-6).sqrt()
    return y / sigma.clamp(min=1.0)


def ste_round(x: Tensor) -> Tensor:
    """Round to the nearest integer; the gradient passes straight through."""
    return x + (x.round() - x).detach()


class ByteLinear(nn.Linear):
    """A matrix that is shipped in int8, with a float16 scale for each row (output).

    With `rounded` it computes with the values that will be shipped; gradients pass straight through.
    """

    rounded = False

    def forward(self, x: Tensor) -> Tensor:
        """Return the product."""
        return F.linear(
            x, self.weight + (self.shipped() - self.weight).detach() if self.rounded else self.weight, self.bias
        )

    def shipped(self) -> Tensor:
        """The weight as it is shipped."""
        values, scale = to_bytes(self.weight)
        return values.to(self.weight.dtype) * scale.to(self.weight.dtype)


@torch.no_grad()
def to_bytes(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """A matrix (O, I) in int8, and the scale of each row, (O, 1) float16."""
    most = matrix.abs().amax(1, keepdim=True) * (1 + 2**-10) / 127  # no less than it is, once it is half
    scale = most.clamp(min=6e-8).half()  # rows of zeros: float16's least
    return (matrix / scale.float()).round().clamp(-127, 127).to(torch.int8), scale
