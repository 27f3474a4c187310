"""Layers of the gic2 models: (B, rows, columns, channels) throughout, so that everything heavy is a matrix product."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancodec.models.gic2.config import KNOTS
from gancodec.models.layers import ByteLinear, interpolate_rows
from gancodec.types import SITES


def unshuffle(x: Tensor, factor: int) -> Tensor:
    """Squares of sites (B, h, w, C) as channels: (B, h/f, w/f, f*f*C), rows first."""
    b, h, w, c = x.shape
    squares = x.view(b, h // factor, factor, w // factor, factor, c).permute(0, 1, 3, 2, 4, 5)
    return squares.reshape(b, h // factor, w // factor, factor * factor * c)


def shuffle(x: Tensor, factor: int) -> Tensor:
    """Inverse of `unshuffle`."""
    b, h, w, c = x.shape
    inner = c // (factor * factor)
    squares = x.view(b, h, w, factor, factor, inner).permute(0, 1, 3, 2, 4, 5)
    return squares.reshape(b, h * factor, w * factor, inner)


def norm(x: Tensor) -> Tensor:
    """x over its root mean square along the channels."""
    return F.rms_norm(x, (x.shape[-1],), eps=1e-6)


def planar(x: Tensor) -> Tensor:
    """Channels first, as convolutions want them; (B, h, w, C) to (B, C, h, w)."""
    return x.permute(0, 3, 1, 2)


def between_blocks(position: Tensor, sites: int) -> Tensor:
    """Positions (B, hb, wb) interpolated between the centres of blocks, `sites` a block and side: (B, rows, columns).

    Levels change hard from block to block; what is float and sees them must not show it.
    """
    return F.interpolate(position[:, None], scale_factor=float(sites), mode="bilinear", align_corners=False)[:, 0]


def per_site(values: Tensor) -> Tensor:
    """Values of blocks (B, hb, wb, ...) as those of their sites (B, h, w, ...)."""
    return values.repeat_interleave(SITES, 1).repeat_interleave(SITES, 2)


def at_position(knots: Tensor, position: Tensor) -> Tensor:
    """Rows of `knots` (KNOTS, C) at positions (...), linearly interpolated: (..., C)."""
    return interpolate_rows(knots, position * (KNOTS - 1))


class Block(nn.Module):
    """Depthwise 3x3 between two projections, then a feed-forward pair: (B, h, w, C) to the same.

    Hardswish, for it is the same in every runtime and GELU took a seventh of a training step.
    """

    def __init__(self, channels: int, ratio: int, linear: type[nn.Linear] = ByteLinear) -> None:
        super().__init__()
        self.inp, self.out = linear(channels, channels), linear(channels, channels)
        self.spatial = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.up, self.down = linear(channels, ratio * channels), linear(ratio * channels, channels)
        for layer in (self.out, self.down):  # the identity at the start
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, rows: int | None = None) -> Tensor:
        """Return x plus its two corrections, the second one computed `rows` at a time."""
        x = x + self.near(norm(x))
        if rows is None:
            return x + self.feed(norm(x))
        return torch.cat([part + self.feed(norm(part)) for part in x.split(rows, 1)], 1)

    def near(self, x: Tensor) -> Tensor:
        """The first correction, which sees the sites around."""
        mixed: Tensor = self.out(F.hardswish(self.spatial(planar(self.inp(x))).permute(0, 2, 3, 1)))
        return mixed

    def feed(self, x: Tensor) -> Tensor:
        """The second one, of each site by itself."""
        fed: Tensor = self.down(F.hardswish(self.up(x)))
        return fed


def quadrants(rows: int, columns: int, device: torch.device) -> Tensor:
    """Which of STEPS passes each site belongs to, (rows, columns): of every 2x2, 0 and 2 above, 3 and 1 below."""
    y, x = torch.arange(rows, device=device)[:, None] % 2, torch.arange(columns, device=device) % 2
    return torch.where(y == x, y, 2 + y)


def around(x: Tensor) -> Tensor:
    """Sums over 3x3 neighbourhoods, (B, h, w, C), zeros outside."""
    padded = F.pad(x, (0, 0, 1, 1, 1, 1))
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    return rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]


class LevelScale(nn.Module):
    """Features scaled by level: how starved a region is."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.ones(KNOTS, channels))

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        """x (B, rows, columns, C) and positions (B, rows, columns)."""
        places = torch.arange(KNOTS, device=position.device, dtype=position.dtype)
        hats = (1 - (position[..., None] * (KNOTS - 1) - places).abs()).clamp(min=0)  # `at_position`, as a product
        return x * (hats @ self.table).to(x.dtype)
