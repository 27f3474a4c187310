"""The receiver: two blocks at 1/16, and a pointwise renderer at 1/4 that they modulate; and its natural end."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancodec.models.gic2.config import Gic2Config
from gancodec.models.gic2.layers import Block, LevelScale, between_blocks, planar, shuffle
from gancodec.models.layers import ByteLinear
from gancodec.types import BLOCK, SITES

RENDER_STRIDE = 4  # pixels a site of the renderer
NOISE_CHANNELS = 8
GREY = 0.5


class Renderer(nn.Module):
    """The pointwise end of a receiver at 1/4: content, modulated by what the body says of its place."""

    def __init__(self, config: Gic2Config) -> None:
        super().__init__()
        width = config.render_width
        self.condition = ByteLinear(config.body_width, SITES**2 * width)
        self.ada = ByteLinear(width, 3 * width)
        self.first, self.second = ByteLinear(width, width), ByteLinear(width, width)
        self.scale = LevelScale(width)
        self.to_rgb, self.stride = ByteLinear(width, 3 * RENDER_STRIDE**2), RENDER_STRIDE
        nn.init.zeros_(self.ada.weight)
        self.ada.bias.data = torch.tensor([0.0, 1.0, 1.0]).repeat_interleave(width)  # no shift, scale 1, gate 1
        nn.init.constant_(self.to_rgb.bias, GREY)

    def forward(self, body: Tensor, cells: Tensor, position: Tensor) -> Tensor:
        """Body (B, h, w, W), cells (B, 4h, 4w, R) and positions (B, 4h, 4w) to RGB (B, H, W, 3), not clipped."""
        shift, scale, gate = self.ada(F.silu(shuffle(self.condition(body), SITES))).chunk(3, -1)
        mixed = self.second(F.silu(self.first(torch.addcmul(shift, cells, scale))))
        cells = torch.addcmul(cells, mixed, gate)
        return shuffle(self.to_rgb(self.scale(cells, position)), self.stride).float()


class Receiver(nn.Module):
    """Latents to picture, most faithful."""

    def __init__(self, config: Gic2Config) -> None:
        super().__init__()
        self.inp = ByteLinear(config.channels, config.body_width)
        self.scale = LevelScale(config.body_width)
        self.shared, self.own = Block(config.body_width, 2), Block(config.body_width, 2)
        self.content = ByteLinear(config.channels, SITES**2 * config.render_width)
        self.render = Renderer(config)

    def begin(self, latent: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (B, h, w, C) and positions (B, hb, wb) to what both ends share: body and content."""
        return self.body(latent, position), self.content(latent)

    def body(self, latent: Tensor, position: Tensor) -> Tensor:
        """What both ends share of the body, (B, h, w, W)."""
        shared: Tensor = self.shared(self.scale(self.inp(latent), between_blocks(position, SITES)))
        return shared

    def end(self, body: Tensor, content: Tensor, position: Tensor) -> Tensor:
        """The rest, to pictures (B, H, W, 3), not clipped."""
        fine = between_blocks(position, BLOCK // RENDER_STRIDE)
        decoded: Tensor = self.render(self.own(body), shuffle(content, SITES), fine)
        return decoded

    def forward(self, latent: Tensor, position: Tensor) -> Tensor:
        """Latents (B, h, w, C), gains undone, and positions (B, hb, wb) in [0, 1] to pictures (B, H, W, 3)."""
        return self.end(*self.begin(latent, position), position)


class NaturalEnd(nn.Module):
    """What the natural end of the receiver has of its own: texture from noise, and a depthwise 3x3 at 1/4."""

    def __init__(self, config: Gic2Config) -> None:
        super().__init__()
        width = config.render_width
        self.own, self.render = Block(config.body_width, 2), Renderer(config)
        self.place = nn.Parameter(torch.zeros(SITES**2 * width))  # a bias for each of a site's 4x4 cells
        self.noise_scale, self.noise_in = LevelScale(NOISE_CHANNELS), ByteLinear(NOISE_CHANNELS, width)
        self.near = nn.Conv2d(width, width, 3, padding=1, groups=width)
        nn.init.normal_(self.noise_in.weight, std=0.02)
        for parameter in (self.noise_in.bias, self.near.weight, self.near.bias):
            nn.init.zeros_(parameter)  # type: ignore[arg-type]

    def forward(self, body: Tensor, content: Tensor, position: Tensor) -> Tensor:
        """As `Receiver.end`, with new noise each time."""
        fine = between_blocks(position, BLOCK // RENDER_STRIDE)
        cells = shuffle(content + self.place.to(content.dtype), SITES)
        noise = torch.randn(*cells.shape[:3], NOISE_CHANNELS, device=cells.device, dtype=cells.dtype)
        cells = cells + self.noise_in(self.noise_scale(noise, fine))
        cells = cells + self.near(planar(cells)).permute(0, 2, 3, 1)
        decoded: Tensor = self.render(self.own(body), cells, fine)
        return decoded
