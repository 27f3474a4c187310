"""The networks of a wu2019 model on a device."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from gancodec.models.inference import Analyser, Generate, Graph, Network, Port
from gancodec.models.registry import config_as
from gancodec.models.wu2019.config import STRIDE, Wu2019Config
from gancodec.models.wu2019.network import Wu2019Model, standardise
from gancodec.tiling import Progress, Tile
from gancodec.types import Geometry
from gancodec.weights import Weights


class Wu2019Network(Network[Wu2019Model]):
    """Encoder, masker and generator of `models.wu2019.network`, batch normalisation folded into the convolutions before
    it."""

    encoder_halo = 128  # more than the reach of the encoder, 58 pixels, and of the masker, 6 sites, together
    generator_halo = 320  # more than its reach, 32 sites and 14 pixels

    def architecture(self, weights: Weights) -> Wu2019Model:
        return Wu2019Model(config_as(weights.info.name, Wu2019Config))

    def prepared(self, model: Wu2019Model) -> Wu2019Model:
        """Without batch normalisation, which is a scale and a shift by now."""
        fold(model)
        return model

    def _analyse(
        self, rgb: NDArray[np.uint8], tiles: list[Tile], geometry: Geometry, progress: Progress | None
    ) -> tuple[Tensor, Tensor]:
        """Omega (1, K, h, w) and importance (1, h, w)."""
        height, width = (side // STRIDE for side in geometry.padded)
        omega = torch.empty((1, self.model.config.channels, height, width), device=self.device)
        y = torch.empty((1, height, width), device=self.device)
        for done, tile in enumerate(tiles):
            place, kept = tile.inner.sites(STRIDE), tile.inner.seen_from(tile.outer).sites(STRIDE)
            outer = self.model.encoder(self._pixels(rgb, tile.outer))
            omega[place], y[place] = outer[kept], self.model.masker(outer)[kept]
            if progress is not None:
                progress(done + 1, len(tiles))
        return omega, standardise(y)

    def _generator(self, realism: float, reduce: int = 1) -> Generate:
        """The only generator there is; what it makes is averaged for a smaller picture."""

        def generate(planes: tuple[Tensor, ...], place: tuple[int, int]) -> Tensor:
            picture: Tensor = self.model.generator(*planes)
            return F.avg_pool2d(picture, reduce) if reduce > 1 else picture

        return generate

    def graphs(self, realism: float) -> tuple[Graph, Graph]:
        """Encoder and generator; see `Network.graphs`.

        ``rgb`` to ``omega`` (B, K, H/8, W/8) and ``importance`` (B, H/8, W/8); ``latent`` (B, K, H/8, W/8), which is z,
        to ``picture``.
        """
        latent = Port("latent", self.model.config.channels, STRIDE)
        return (
            Graph(Analyser(self.model), (Port("rgb", 3, 1),), ("omega", "importance")),
            Graph(self.model.generator, (latent,), ("picture",)),
        )


def fold(module: nn.Module) -> None:
    """Fold every batch normalisation that follows a convolution in a sequence into it."""
    for child in module.children():
        fold(child)
    if isinstance(module, nn.Sequential):
        for i, (layer, after) in enumerate(zip(module, list(module)[1:], strict=False)):
            if isinstance(after, nn.BatchNorm2d) and isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                module[i] = fuse_conv_bn_eval(layer, after, transpose=isinstance(layer, nn.ConvTranspose2d))
                module[i + 1] = nn.Identity()
