"""The networks of the toy: patches of 8 x 8 pixels to features, and features to what is coded."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gancodec.models.layers import SLOPE, conv, ste_round
from tests.toy.codec import COARSE_STEP
from tests.toy.config import CLASS, COARSE, FINE, ToyConfig


class Features(NamedTuple):
    """fine (B, K, h/8, w/8), coarse (B, K, h/16, w/16), scores of the classes (B, C, h/32, w/32), importance
    (B, h/32, w/32)."""

    fine: Tensor
    coarse: Tensor
    scores: Tensor
    importance: Tensor


class Encoder(nn.Module):
    """Reaches 8 pixels beyond a site."""

    def __init__(self, config: ToyConfig) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, config.width, FINE, FINE)
        self.fine = conv(config.width, config.fine)
        self.coarse = nn.Conv2d(config.width, config.coarse, 2, 2)
        self.scores = nn.Conv2d(config.width, config.classes, 1)
        self.importance = nn.Conv2d(config.width, 1, 1)
        with torch.no_grad():  # random weights give something to code: latents of some steps, all classes
            for layer, gain in ((self.fine, 12), (self.coarse, 8), (self.scores, 20), (self.importance, 8)):
                layer.weight.mul_(gain)

    def forward(self, x: Tensor) -> Features:
        """x (B, 3, H, W) in [0, 1], sides multiples of 32."""
        features = F.leaky_relu(self.stem(2 * x - 1), SLOPE)
        means = F.avg_pool2d(features, CLASS // FINE)
        importance = self.importance(means).squeeze(1)
        return Features(self.fine(features), self.coarse(features), self.scores(means), importance)


class Generator(nn.Module):
    """Reaches 2 fine sites beyond a pixel's own."""

    def __init__(self, config: ToyConfig) -> None:
        super().__init__()
        self.classes = nn.Parameter(torch.randn(config.classes, config.width))
        self.coarse = nn.Conv2d(config.coarse, config.width, 1)
        self.fine = conv(config.fine, config.width)
        self.middle = conv(config.width, config.width)
        self.pixels = nn.Conv2d(config.width, 3 * FINE**2, 1)

    def forward(self, classes: Tensor, coarse: Tensor, fine: Tensor) -> Tensor:
        """Classes (B, h/32, w/32), coarse and fine latents to pixels (B, 3, H, W)."""
        return self.painted(self.classes[classes.long()].permute(0, 3, 1, 2), coarse, fine)

    def painted(self, embedded: Tensor, coarse: Tensor, fine: Tensor) -> Tensor:
        """`forward` with the features (B, width, h/32, w/32) of the classes."""
        x = F.interpolate(embedded, scale_factor=CLASS / FINE) + self.fine(fine)
        x = F.leaky_relu(x + F.interpolate(self.coarse(coarse), scale_factor=COARSE / FINE), SLOPE)
        pixels: Tensor = F.pixel_shuffle(self.pixels(F.leaky_relu(self.middle(x), SLOPE)), FINE)
        return (pixels + 1) / 2


class ToyModel(nn.Module):
    """Encoder and generator."""

    def __init__(self, config: ToyConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.generator = Encoder(config), Generator(config)
        self.gains = nn.Conv2d(config.fine, config.fine, 1, groups=config.fine)  # floats, whatever gic1's gains are
        nn.init.ones_(self.gains.weight)

    def analyse(self, x: Tensor) -> tuple[Tensor, ...]:
        """x (B, 3, H, W) in [0, 1] to fine and coarse latents, classes and importance."""
        fine, coarse, scores, importance = self.encoder(x)
        return self.gains(fine), coarse, scores.argmax(1).float(), importance

    def forward(self, x: Tensor, n: float) -> tuple[Tensor, Tensor]:
        """What is decoded of x at n, and mean magnitude of what is coded. Gradients pass straight through rounding and
        choosing."""
        fine, coarse, scores, importance = self.encoder(x)
        soft = scores.softmax(1)
        chosen = F.one_hot(soft.argmax(1), soft.shape[1]).permute(0, 3, 1, 2) + soft - soft.detach()
        channels = torch.arange(self.config.fine, device=x.device)[:, None, None]
        reach = self.config.fine * torch.sigmoid(importance - n)[:, None] - channels
        mask = reach.clamp(0, 1) + ((reach > 0.5).float() - reach.clamp(0, 1)).detach()
        fine = ste_round(self.gains(fine)) * F.interpolate(mask, scale_factor=CLASS / FINE)
        coarse = ste_round(coarse / float(COARSE_STEP)) * float(COARSE_STEP)
        embedded = torch.einsum("bchw,cf->bfhw", chosen, self.generator.classes)
        return self.generator.painted(embedded, coarse, fine), fine.abs().mean() + coarse.abs().mean()
