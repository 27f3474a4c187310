"""The networks of a toy model on a device."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gancodec.models.inference import Analyser, Generate, Graph, Network, Port
from gancodec.models.registry import config_as
from gancodec.tiling import Progress, Tile
from gancodec.types import Geometry
from gancodec.weights import Weights
from tests.toy.config import CLASS, COARSE, FINE, ToyConfig
from tests.toy.network import ToyModel


class ToyNetwork(Network[ToyModel]):
    """Encoder and generator of `tests.toy.network`."""

    encoder_halo = 64
    generator_halo = 64

    def architecture(self, weights: Weights) -> ToyModel:
        """The model."""
        return ToyModel(config_as(weights.info.name, ToyConfig))

    def _analyse(
        self, rgb: NDArray[np.uint8], tiles: list[Tile], geometry: Geometry, progress: Progress | None
    ) -> tuple[Tensor, ...]:
        """Fine and coarse latents, classes and importance."""
        config, (height, width) = self.model.config, geometry.padded
        strides, channels = (FINE, COARSE, CLASS, CLASS), ((config.fine,), (config.coarse,), (), ())
        arrays = [
            torch.empty((1, *c, height // s, width // s), device=self.device)
            for c, s in zip(channels, strides, strict=True)
        ]
        for done, tile in enumerate(tiles):
            parts = self.model.analyse(self._pixels(rgb, tile.outer))
            for array, part, stride in zip(arrays, parts, strides, strict=True):
                array[tile.inner.sites(stride)] = part[tile.inner.seen_from(tile.outer).sites(stride)]
            if progress is not None:
                progress(done + 1, len(tiles))
        return tuple(arrays)

    def _generator(self, realism: float, reduce: int = 1) -> Generate:
        """The only generator; what it makes is averaged for a smaller picture."""

        def generate(planes: tuple[Tensor, ...], place: tuple[int, int]) -> Tensor:
            picture: Tensor = self.model.generator(*planes)
            return F.avg_pool2d(picture, reduce) if reduce > 1 else picture

        return generate

    def graphs(self, realism: float) -> tuple[Graph, Graph]:
        """Encoder and generator."""
        config = self.model.config
        ports = (
            Port("classes", None, CLASS, torch.uint8),
            Port("coarse", config.coarse, COARSE),
            Port("fine", config.fine, FINE),
        )
        outputs = ("fine", "coarse", "classes", "importance")
        return (
            Graph(Analyser(self.model), (Port("rgb", 3, 1),), outputs),
            Graph(self.model.generator, ports, ("picture",)),
        )
