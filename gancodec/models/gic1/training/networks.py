"""What a run of gic1 trains."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gancodec.entropy.logistic import SCALES, logistic_tables
from gancodec.entropy.tables import Arrays
from gancodec.models.gic1.config import TunableConfig
from gancodec.models.gic1.context import ContextNetwork
from gancodec.models.gic1.discriminator import Discriminator
from gancodec.models.gic1.network import TunableModel
from gancodec.models.gic1.training.freeze import freeze_entropy
from gancodec.models.recipe import Recipe
from gancodec.models.registry import MODELS
from gancodec.models.training import Networks


class Trained(Networks):
    """gic1: model, context network and, from S3 on, discriminator."""

    coders, stretched = ("range",), True  # both coders have the same rows

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        config, adversarial = MODELS[recipe.model], recipe.stage >= 3
        assert isinstance(config, TunableConfig)  # for the type checker: see `networks`
        self.model = TunableModel(config, natural=adversarial)
        self.context = ContextNetwork(config)
        self.discriminator = Discriminator(config.latent_channels, recipe.discriminator) if adversarial else None
        self.prepare(recipe)

    def integers(self) -> Arrays:
        """Gains, context network, and logistic tables."""
        return freeze_entropy(self.model, self.context)

    def tables(self, histograms: list[NDArray[np.float64]]) -> Arrays:
        """Logistic tables, pulled towards the histograms."""
        return logistic_tables(histograms[:SCALES])
