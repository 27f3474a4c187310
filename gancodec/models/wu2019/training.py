"""What a run of wu2019 trains, eq. 5, and the tables of a trained model."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from gancodec.entropy.tables import Arrays, fit_counts
from gancodec.models.training import Networks
from gancodec.models.wu2019.config import Wu2019Config
from gancodec.models.wu2019.network import SCALES, Discriminator, Wu2019Model
from gancodec.models.wu2019.symbols import SYMBOLS, row_count


class Wu2019Trained(Networks):
    """wu2019: model and, but for the ablation without it, discriminator."""

    coders, n_at = ("range", "huffman"), ()  # n is the paper's
    model: Wu2019Model

    def __init__(self, config: Wu2019Config, adversarial: bool) -> None:
        super().__init__()
        self.model = Wu2019Model(config)
        self.discriminator = Discriminator(config) if adversarial else None

    def integers(self) -> Arrays:
        """K and even tables."""
        return plane_tables(self.model.config.channels)

    def tables(self, histograms: list[NDArray[np.float64]]) -> Arrays:
        """K and the tables of the histograms."""
        return plane_tables(self.model.config.channels, histograms)


def hold_statistics(model: nn.Module, hold: bool) -> None:
    """Normalise by the running means and variances from now on, as decoders do.

    Those of a batch belong to its n, and a decoder has none: it meets all n with the same ones. The second half of the
    run is trained with what it will have.
    """
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train(not hold)


def log_of(scores: list[Tensor], real: bool) -> Tensor:
    """Sum of beta_i E[log D_i] where `real`, else of beta_i E[log(1 - D_i)]; scores are logits."""
    parts = [
        beta * -F.softplus(-s if real else s).mean()
        for beta, s in zip(SCALES, (s.float() for s in scores), strict=True)
    ]
    return torch.stack(parts).sum()


def play(net: Wu2019Trained, decoded: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Eq. 5 as the generator minimises it, through a discriminator that is held, and as the discriminator maximises
    it (with the sign turned); zeros without one."""
    discriminator = net.discriminator
    if discriminator is None:
        return torch.zeros(()), torch.zeros(())
    discriminator.requires_grad_(False)
    fooled = log_of(discriminator(decoded), False)
    discriminator.requires_grad_(True)
    both = discriminator(torch.cat((decoded.detach(), x)))
    fake, real = ([s[half] for s in both] for half in (slice(len(x)), slice(len(x), None)))
    return fooled, -log_of(real, True) - log_of(fake, False)


def plane_tables(channels: int, histograms: list[NDArray[np.float64]] | None = None, strength: float = 16.0) -> Arrays:
    """Integer arrays of `symbols.PlaneModel`: even priors worth `strength` symbols, and what was coded."""
    radius = int(SYMBOLS[-1])
    counts = [fit_counts(np.array([1.0, 1.0]))]  # of the row that is not used
    for row in range(1, row_count(channels)):
        weights = np.full(2 * radius + 2, strength / (len(SYMBOLS) + 1))
        weights[-1] = 0  # nothing lies beyond
        counts.append(fit_counts(weights if histograms is None else weights + histograms[row]))
    sizes = [0, *(radius for _ in counts[1:])]
    return {
        "channels": np.array([channels], np.int32),
        "tables.radius": np.array(sizes, np.int32),
        "tables.counts": np.concatenate(counts).astype(np.int32),
    }
