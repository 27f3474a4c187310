"""A tiny seeded model and small synthetic pictures: real code paths in seconds, no network, no GPU, no trained
weights."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from gancodec.models.config import MODELS
from gancodec.train.freeze import freeze
from gancodec.train.recipes import RECIPES
from gancodec.train.state import Trained
from gancodec.weights import Weights

RECIPE = "gic1-tiny-s2"


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Smooth colour gradients with a few hard edges and a noisy corner, (height, width, 3) uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / 64.0
    waves = [np.sin(x * rng.uniform(0.3, 3) + rng.uniform(0, 6)) + np.cos(y * rng.uniform(0.3, 3)) for _ in range(3)]
    rgb = np.stack(waves, -1) * 55 + 128
    rgb[height // 3 : height // 2, width // 4 : width // 2] += 60
    rgb[: height // 4, : width // 4] += rng.normal(0, 25, (height // 4, width // 4, 3))
    return np.clip(rgb, 0, 255).astype(np.uint8)


@lru_cache(maxsize=1)
def tiny_network() -> Trained:
    """Seeded untrained network whose latents are lively enough to exercise every path."""
    torch.manual_seed(7)
    net = Trained(RECIPES[RECIPE])
    with torch.no_grad():
        net.model.encoder.trunk[-1].weight.mul_(6)
        net.model.encoder.hyper[-1].weight.mul_(6)
        for group in net.context.groups:
            group.embedding.normal_(0, 0.3)
            group.output.bias.normal_(0, 0.7)
    return net.eval()


@lru_cache(maxsize=1)
def tiny_weights() -> Weights:
    """The tiny model, frozen."""
    return freeze(tiny_network(), MODELS["gic1-tiny"], [picture(192, 256, s) for s in range(3)])
