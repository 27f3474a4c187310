"""What a run of gic1 trains."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gancodec.entropy.logistic import SCALES, logistic_tables
from gancodec.entropy.tables import Arrays
from gancodec.models.gic1.config import FRACTION_BITS, INPUT_MAX, TunableConfig
from gancodec.models.gic1.context import ContextNetwork
from gancodec.models.gic1.discriminator import Discriminator
from gancodec.models.gic1.network import TunableModel
from gancodec.models.gic1.training.freeze import freeze_entropy
from gancodec.models.training import Networks


class Trained(Networks):
    """gic1: model, context network and, from S3 on, discriminator."""

    coders, stretched = ("range",), True  # both coders have the same rows
    model: TunableModel

    def __init__(self, config: TunableConfig, discriminator: int | None = None) -> None:
        """`discriminator` has channels in its first layers, and with it there is a natural end."""
        super().__init__()
        self.model = TunableModel(config, natural=discriminator is not None)
        self.context = ContextNetwork(config)
        self.discriminator = None if discriminator is None else Discriminator(config.latent_channels, discriminator)

    def integers(self) -> Arrays:
        """Gains, context network, and logistic tables."""
        return freeze_entropy(self.model, self.context)

    def tables(self, histograms: list[NDArray[np.float64]]) -> Arrays:
        """Logistic tables, pulled towards the histograms."""
        return logistic_tables(histograms[:SCALES])

    @torch.no_grad()
    def begin_from(self, tensors: dict[str, Tensor]) -> None:
        """Load the weights of an earlier stage; what the natural end has no weights for starts as the faithful one."""
        super().begin_from(tensors)
        if self.model.natural is not None:
            natural, faithful = self.model.natural.state_dict(), self.model.generator.state_dict()
            for name in natural.keys() - {k.removeprefix("model.natural.") for k in tensors}:
                natural[name].copy_(faithful[name])

    @torch.no_grad()
    def prepare_quantisation(self, batches: Iterable[Tensor]) -> None:
        """Choose the power of two per channel that brings omega (and the hyper-latent) into the network's input
        range."""
        analyses = [self.model.analyse(x) for x in batches]
        for name, buffer in (("omega", self.context.input_exponent), ("hyper", self.context.hyper_exponent)):
            values = torch.cat([getattr(a, name) for a in analyses]).abs().transpose(0, 1).flatten(1)
            limit = torch.quantile(values[:, :: max(1, values.shape[1] // 100_000)], 0.999, dim=1).clamp(min=1e-3)
            buffer.copy_(torch.floor(torch.log2(INPUT_MAX / 2**FRACTION_BITS / limit)).clamp(-6, 4))
