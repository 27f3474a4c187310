"""The networks of a gic1 model on a device."""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gancodec.models.gic1.config import TunableConfig
from gancodec.models.gic1.network import Generator, TunableModel
from gancodec.models.inference import Analyser, Generate, Graph, Network, Port
from gancodec.models.layers import SLOPE, ResidualBlock, fast_bfloat16, standardised
from gancodec.models.registry import config_as
from gancodec.tiling import Progress, Tile
from gancodec.types import BLOCK, LATENT_STRIDE, Geometry
from gancodec.weights import Weights

QUARTER = 4  # pixels per site of the generator's last layer, and of its noise


class HalfBlock(nn.Module):
    """`ResidualBlock` with its convolutions in bfloat16, for inference. (B, C, h, w) float32 to the same.

    The sum stays in float32: only the block's correction is rounded, so errors do not grow from block to block.
    """

    def __init__(self, block: ResidualBlock) -> None:
        super().__init__()
        self.first, self.second = (copy.deepcopy(c).to(torch.bfloat16) for c in (block.first, block.second))

    def forward(self, x: Tensor) -> Tensor:
        """Return x plus its correction."""
        inner = nn.functional.leaky_relu_(self.first(x.to(torch.bfloat16)), SLOPE)
        corrected: Tensor = x + self.second(inner)
        return corrected


def with_half_trunk(generator: Generator) -> Generator:
    """Compute the trunk of `generator` in half blocks; returns it.

    Pixels move by at most 0.12 of 255 on photographs and 0.7 on random squares. With the blocks at 1/8 in half blocks
    as well the latter would move by up to 1.9, and decoders would no longer agree within a level.
    """
    generator.trunk = nn.Sequential(*map(HalfBlock, generator.trunk))  # type: ignore[arg-type]
    return generator


def reduced(generator: Generator, factor: int) -> Generator:
    """Make `generator` give the means of factor x factor pixels (1, 2, 4 or 8); returns it.

    A mean of what a convolution makes is what the mean of its kernels makes: the last one then has fewer outputs.
    """
    if factor == 1:
        return generator
    last: nn.Conv2d = generator.to_rgb[0]  # type: ignore[assignment]
    inner = min(factor, QUARTER)  # of the sub-pixels, which lie in the channels
    left = QUARTER // inner
    shape = (3, left, inner, left, inner)
    weight = last.weight.detach().reshape(*shape, *last.weight.shape[1:]).mean((2, 4)).flatten(0, 2)
    layer = nn.Conv2d(last.in_channels, len(weight), last.kernel_size, padding=last.padding, device="meta")  # type: ignore[arg-type]
    assert last.bias is not None
    bias = last.bias.detach().reshape(shape).mean((2, 4)).flatten()
    layer.load_state_dict({"weight": weight, "bias": bias}, assign=True)
    generator.to_rgb = nn.Sequential(layer, nn.PixelShuffle(left), nn.AvgPool2d(factor // inner))
    return generator


class TunableNetwork(Network[TunableModel]):
    """Encoder, masker and generator of `models.gic1.network`."""

    encoder_halo = 128  # more than the reach of encoder, masker and hyper-encoder
    # Not quite the reach of the generator, whose far end weighs nothing: what is cut off moved pixels of photographs by
    # at most 0.006 of 255 (docs/decisions.md; tests/test_tiling.py), and would make tiles a tenth larger.
    generator_halo = 192
    elsewhere = ("gains.", "hyper_gains.")
    _prepared: tuple[tuple[float, int, torch.device], Generator] | None = None

    def architecture(self, weights: Weights) -> TunableModel:
        return TunableModel(
            config_as(weights.info.name, TunableConfig), natural=weights.info.default_realism is not None
        )

    def is_used(self, name: str) -> bool:
        """Released weights of gic1-small hold an unused array of zeros by this name."""
        return not name.endswith(".realism.weight")

    def _analyse(
        self, rgb: NDArray[np.uint8], tiles: list[Tile], geometry: Geometry, progress: Progress | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Omega (1, K, h, w), hyper (1, Kh, hb, wb) and importance (1, hb, wb)."""
        encoder, config = self.model.encoder, self.model.config
        omega = torch.empty((1, config.latent_channels, *geometry.latent), device=self.device)
        for done, tile in enumerate(tiles):
            kept = tile.inner.seen_from(tile.outer)
            omega[tile.inner.sites(LATENT_STRIDE)] = encoder.latents(self._pixels(rgb, tile.outer))[
                kept.sites(LATENT_STRIDE)
            ]
            if progress is not None:
                progress(done + 1, len(tiles))
        hyper = torch.empty((1, config.hyper_channels, *geometry.blocks), device=self.device)
        scores = torch.empty((1, *geometry.blocks), device=self.device)
        for tile in tiles:
            z = omega[tile.outer.sites(LATENT_STRIDE)]
            place, blocks = tile.inner.sites(BLOCK), tile.inner.seen_from(tile.outer).sites(BLOCK)
            hyper[place] = encoder.hyper(z)[blocks]
            scores[place] = self.model.masker.scores(z)[blocks]
        return omega, hyper, standardised(scores)

    def _generator(self, realism: float, reduce: int = 1) -> Generate:
        """The generator at `realism`; noise is by the place in units of QUARTER pixels."""
        generator = self.generator(realism, reduce)

        def generate(planes: tuple[Tensor, ...], place: tuple[int, int]) -> Tensor:
            latent, level = planes
            pixels: Tensor = generator(latent, level, (place[0] // QUARTER, place[1] // QUARTER))
            return pixels

        return generate

    def generator(self, realism: float, reduce: int = 1) -> Generator:
        """The generator at `realism`, made for this device; that of the last realism is kept.

        Each is a module of its own and never changed, so that threads may decode at different realisms.
        """
        prepared = self._prepared
        key = realism, reduce, self.device
        if prepared is None or prepared[0] != key:
            generator = reduced(self.model.generator_at(realism), reduce)
            if self.device.type == "cpu" and fast_bfloat16():
                generator = with_half_trunk(generator)
            prepared = self._prepared = key, generator
        return prepared[1]

    def graphs(self, realism: float) -> tuple[Graph, Graph]:
        """Encoder and generator; see `Network.graphs`.

        ``rgb`` to ``omega`` (B, K, H/16, W/16), ``hyper`` (B, Kh, H/64, W/64) and ``importance`` (B, H/64, W/64) in
        logit units; ``latent`` (B, K, H/16, W/16) with gains undone and ``level`` (B, H/64, W/64) in [0, 31] to
        ``picture``.
        """
        latent = Port("latent", self.model.config.latent_channels, LATENT_STRIDE)
        return (
            Graph(Analyser(self.model), (Port("rgb", 3, 1),), ("omega", "hyper", "importance")),
            Graph(self.model.generator_at(realism), (latent, Port("level", None, BLOCK)), ("picture",)),
        )
