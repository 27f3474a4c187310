"""What a run of the toy trains."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gancodec.entropy.tables import Arrays
from gancodec.models.training import Networks
from tests.toy.config import ToyConfig
from tests.toy.network import ToyModel
from tests.toy.symbols import toy_arrays


class ToyTrained(Networks):
    """The model, and nothing beside it."""

    coders, n_at = ("range",), ()  # Huffman's rows are the same
    model: ToyModel

    def __init__(self, config: ToyConfig) -> None:
        super().__init__()
        self.model = ToyModel(config)

    def integers(self) -> Arrays:
        """Channels and prior tables."""
        return toy_arrays(self.model.config)

    def tables(self, histograms: list[NDArray[np.float64]]) -> Arrays:
        """Channels and the tables of the histograms."""
        return toy_arrays(self.model.config, histograms)
