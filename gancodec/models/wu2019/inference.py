"""The networks of a wu2019 model on a device."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from gancodec.models.inference import Generate, Network
from gancodec.models.layers import Origin
from gancodec.models.registry import MODELS
from gancodec.models.wu2019.codec import STRIDE
from gancodec.models.wu2019.config import Wu2019Config
from gancodec.models.wu2019.network import Wu2019Model, standardise
from gancodec.tiling import Progress, Tile
from gancodec.types import Geometry
from gancodec.weights import Weights


class Wu2019Network(Network):
    """Encoder, masker and generator of `models.wu2019`, batch normalisation folded into the convolutions before it."""

    encoder_halo = 128  # more than the reach of the encoder, 58 pixels, and of the masker, 6 sites, together
    generator_halo = 320  # more than its reach, 32 sites and 14 pixels

    def architecture(self, weights: Weights) -> Wu2019Model:
        """The model."""
        config = MODELS[weights.info.name]
        assert isinstance(config, Wu2019Config)  # for the type checker: see `build`
        return Wu2019Model(config)

    def prepared(self, model: nn.Module) -> nn.Module:
        """Without batch normalisation, which is a scale and a shift by now."""
        return folded(model)

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

        def generate(latent: Tensor, level: Tensor, origin: Origin) -> Tensor:
            picture: Tensor = self.model.generator(latent)
            return F.avg_pool2d(picture, reduce) if reduce > 1 else picture

        return generate


def folded(module: nn.Module) -> nn.Module:
    """Fold every batch normalisation that follows a convolution in a sequence into it; returns the module."""
    for child in module.children():
        folded(child)
    if isinstance(module, nn.Sequential):
        for i, (layer, after) in enumerate(zip(module, list(module)[1:], strict=False)):
            if isinstance(after, nn.BatchNorm2d):
                assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)  # for the type checker: nothing else is there
                module[i] = fuse_conv_bn_eval(layer, after, transpose=isinstance(layer, nn.ConvTranspose2d))
                module[i + 1] = nn.Identity()
    return module
