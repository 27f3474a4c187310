"""A tiny seeded model and small synthetic pictures: real code paths in seconds, no network, no GPU, no trained
weights."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file

from gancodec.features import SMALL_VGG19, SQUEEZE_TAPS
from gancodec.models.gic1.training import Trained
from gancodec.models.gic2.layers import Block
from gancodec.models.gic2.training import Trained as Gic2Trained
from gancodec.models.inference import Source
from gancodec.models.registry import MODELS
from gancodec.models.stream import CODERS, Frame, StreamCodec
from gancodec.models.wu2019.training import Wu2019Trained
from gancodec.tiling import Area
from gancodec.train.data import HELD_OUT
from gancodec.train.freeze import freeze
from gancodec.train.recipes import RECIPES
from gancodec.train.state import networks
from gancodec.types import BLOCK, LATENT_STRIDE, FloatArray, Geometry, Plane, Planes
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


def held(*planes: Plane) -> Source:
    """What the generator asks for its input, of planes of a whole picture."""

    def source(area: Area) -> Planes:
        return tuple(Plane(values[area.sites(stride)], stride) for values, stride in planes)

    return source


def held_levels(latent: FloatArray, level: NDArray[np.floating]) -> Source:
    """`held` of gic1: latents (K, h, w) and levels (hb, wb)."""
    return held(Plane(latent, LATENT_STRIDE), Plane(level.astype(np.float32), BLOCK))


class Stream(NamedTuple):
    """One coded stream, what a decoder knows of it, and its symbols as the writer had them."""

    data: bytes
    frame: Frame
    symbols: Any


def wanted_at(codec: StreamCodec[Any, Any, Any], analysis: Any, n: float, trim: int = 0) -> tuple[Any, int]:
    """What is to be coded of a picture at `n`, with the level shift."""
    levels = codec.levels_at(analysis, n)
    return codec.wanted_of(analysis, levels, trim=trim), levels.shift


def coded(
    codec: StreamCodec[Any, Any, Any], analysis: Any, geometry: Geometry, n: float, coder: str = "range", trim: int = 0
) -> Stream:
    """An analysed picture at `n` in one stream."""
    wanted, shift = wanted_at(codec, analysis, n, trim)
    frame = Frame(geometry, coder, shift)
    writer = CODERS[coder][0](codec.entropy.tables)
    symbols = codec.walk(lambda: writer, frame, wanted)
    (data,) = codec.write(wanted, frame)
    assert data == writer.finish()
    return Stream(data, frame, symbols)


ODD_PICTURES: dict[str, NDArray[np.uint8]] = {
    "1x1": picture(1, 1),
    "3x5": picture(3, 5),
    "8x8": picture(8, 8),
    "16x16": picture(16, 16),
    "1x300": picture(1, 300),
    "7x100": picture(7, 100),
    "9x500": picture(9, 500),
    "20x3000": picture(20, 3000),
    "200x300": picture(200, 300),
    "400x1800": picture(400, 1800),
    "black": np.zeros((40, 50, 3), np.uint8),
    "constant": np.full((200, 300, 3), (10, 200, 77), np.uint8),
    "gray": np.repeat(picture(90, 121)[..., :1], 3, axis=2),
    "noise": np.random.default_rng(0).integers(0, 256, (150, 200, 3), dtype=np.uint8),
    "not contiguous": picture(200, 300)[::-2, ::3],
}


@lru_cache(maxsize=2)
def tiny_network(seed: int = 3, gain: float = 20) -> Trained:
    """Seeded untrained network whose latents are lively enough to exercise every path; a smaller `gain` gives latents
    of few steps, as trained models have them."""
    torch.manual_seed(seed)
    net = networks(RECIPES[RECIPE])
    assert isinstance(net, Trained)
    with torch.no_grad():
        net.model.encoder.trunk[-1].weight.mul_(gain)
        net.model.encoder.hyper[-1].weight.mul_(6)
        for group in net.context.groups:
            group.embedding.normal_(0, 0.3)
            group.output.bias.normal_(0, 0.7)
    return net.eval()


@lru_cache(maxsize=2)
def tiny_weights(seed: int = 3, gain: float = 20) -> Weights:
    """The tiny model, frozen."""
    return freeze(tiny_network(seed, gain), MODELS["gic1-tiny"], [picture(192, 256, s) for s in range(3)])


def write_pictures(folder: Path) -> Path:
    """A little more to train on than is held out; returns `folder`."""
    for seed in range(HELD_OUT + 2):
        Image.fromarray(picture(96, 112, seed)).save(folder / f"{seed:02d}.png")
    return folder


def write_backbones(folder: Path) -> Path:
    """Feature networks with random weights and few channels, under the names that recipes know; returns `folder`."""
    generator = torch.Generator().manual_seed(11)
    save_file(_random(_vgg_shapes(), generator), folder / "vgg19_16x.safetensors")
    heads = {f"lin{i}.weight": torch.rand(4, generator=generator) for i in range(len(SQUEEZE_TAPS))}
    save_file(_random(_squeeze_shapes(), generator) | heads, folder / "lpips_squeeze.safetensors")
    return folder


def _random(shapes: dict[str, tuple[int, int, int]], generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Weights and biases of convolutions given as (outputs, inputs, kernel)."""
    arrays = {}
    for name, (outputs, inputs, kernel) in shapes.items():
        scale = (2 / (inputs * kernel**2)) ** 0.5
        arrays[f"{name}.weight"] = torch.randn(outputs, inputs, kernel, kernel, generator=generator) * scale
        arrays[f"{name}.bias"] = torch.randn(outputs, generator=generator) * 0.1
    return arrays


def _vgg_shapes() -> dict[str, tuple[int, int, int]]:
    names = [name for stage in SMALL_VGG19 for name in stage]
    return {"conv0": (3, 3, 1)} | {name: (4, 4 if i else 3, 3) for i, name in enumerate(names)}


def _squeeze_shapes() -> dict[str, tuple[int, int, int]]:
    shapes = {"features.0": (4, 3, 3)}
    for place in (3, 4, 6, 7, 9, 10, 11, 12):
        expand = {f"features.{place}.expand{k}x{k}": (2, 2, k) for k in (1, 3)}
        shapes |= {f"features.{place}.squeeze": (2, 4, 1), **expand}
    return shapes


@lru_cache(maxsize=2)
def tiny_wu2019_network(seed: int = 3) -> Wu2019Trained:
    """A seeded untrained wu2019: all four values, all depths, and statistics of pictures."""
    torch.manual_seed(seed)
    net = networks(RECIPES["wu2019-tiny"])
    assert isinstance(net, Wu2019Trained)
    x = torch.stack([torch.from_numpy(picture(128, 128, s)).permute(2, 0, 1) for s in range(4)]).float() / 255
    with torch.no_grad():
        net.model.encoder.last[-1].weight.mul_(8)
        for module in net.model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 0.5
                module.weight.uniform_(0.5, 1)
                module.bias.normal_(0, 0.2)
        for _ in range(4):
            net.model(x, 0.0)
    return net.eval()


@lru_cache(maxsize=1)
def tiny_wu2019_weights() -> Weights:
    """The tiny wu2019, frozen."""
    return freeze(tiny_wu2019_network(), MODELS["wu2019-tiny"], [picture(192, 256, s) for s in range(3)])


@lru_cache(maxsize=1)
def tiny_gic2_network() -> Gic2Trained:
    """A seeded untrained gic2: all rows, depths, steps of the ladder and escapes; levels and means have a say."""
    torch.manual_seed(3)
    net = networks(RECIPES["gic2-tiny-s2"])
    assert isinstance(net, Gic2Trained)
    model, receiver = net.model, net.model.receiver
    with torch.no_grad():
        model.sender.to_latent.weight.mul_(8)
        model.hyper_encoder.out.weight.mul_(20)
        model.masker.out.weight.normal_(0, 2)
        model.projection.weight.normal_(0, 0.6)
        model.projection.bias.copy_(torch.linspace(-4, 40, len(model.projection.bias)))
        model.first.copy_(torch.tensor([0, 0, 0, 4, 8, 12, 20, 28]))
        model.hyper_rows.scale.normal_(0, 0.7)
        for layer in model.hyper_rows.near:
            layer.weight.normal_(0, 0.05)
            layer.bias.normal_(0, 0.3)
        for layer in (*model.means.means, receiver.render.ada):
            layer.weight.normal_(0, 0.1)
        for block in (b for b in net.modules() if isinstance(b, Block)):
            for layer in (block.out, block.down):
                layer.weight.normal_(0, 0.1)
        for scale in (receiver.scale, receiver.render.scale):
            scale.table.normal_(1, 0.3)
    return net.eval()


@lru_cache(maxsize=1)
def tiny_gic2_weights() -> Weights:
    """The tiny gic2, frozen."""
    return freeze(tiny_gic2_network(), MODELS["gic2-tiny"], [picture(192, 256, s) for s in range(3)])
