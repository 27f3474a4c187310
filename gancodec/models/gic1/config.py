"""Configurations of the gic1 models. Ids are never reused."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

from gancodec.container.spec import CODEC_GIC1
from gancodec.models.config import Config
from gancodec.models.levels import level_to_logit

# What decides bits: the integer network of `integers` and its twin for training in `context` share these.
FRACTION_BITS = 4  # activations and means are multiples of 1/16
GAIN_BITS = 16  # gains are multiples of 2**-16
INPUT_MAX, HIDDEN_MAX = 127, 255  # of inputs, signed, and of hidden activations, unsigned, in these steps
WEIGHT_LIMIT = 127  # int8 weights
KNOTS = 9  # of gains, modulations and embeddings over the level range


@dataclass(frozen=True)
class TunableConfig(Config):
    """Widths and depths of one tunable model.

    Attributes
    ----------
    groups : tuple of int
        Latent channels per context group; their sum is K.
    hyper_channels : int
        Channels of the hyper-latent at 1/64.
    encoder_widths, encoder_blocks : (at 1/8, at 1/16)
    generator_widths, generator_blocks : (at 1/16, at 1/8, at 1/4)
        Blocks are residual blocks of two convolutions.
    noise_channels : int
        Of the fixed noise that the natural end makes texture from; 0 for a generator without.
    context_widths : (first hidden layer, second hidden layer, hyper features)
    """

    codec: ClassVar[int] = CODEC_GIC1
    groups: tuple[int, ...]
    hyper_channels: int
    encoder_widths: tuple[int, int]
    encoder_blocks: tuple[int, int]
    generator_widths: tuple[int, int, int]
    generator_blocks: tuple[int, int, int]
    noise_channels: int
    masker_width: int
    context_widths: tuple[int, int, int]

    @property
    def latent_channels(self) -> int:
        """K, the number of latent channels at 1/16."""
        return sum(self.groups)

    def depth(self, level: int) -> int:
        """Return how many channels level `level` switches on.

        The paper's eq. 3 switches channel k on where m >= (k - 1) / K. With entropy-coded gains the low levels do
        better with more channels than m*K, so the line is moved up and made steeper: K * (0.25 + 1.25 m), at most K.
        """
        importance = 1 / (1 + math.exp(-level_to_logit(level)))
        return min(self.latent_channels, math.ceil(self.latent_channels * (0.25 + 1.25 * importance)))


_SMALL = TunableConfig(
    name="gic1-small",
    id=2,
    groups=(4, 8, 12, 24, 48),
    hyper_channels=8,
    encoder_widths=(64, 128),
    encoder_blocks=(1, 2),
    generator_widths=(128, 64, 32),
    generator_blocks=(3, 3, 0),
    noise_channels=0,
    masker_width=64,
    context_widths=(96, 64, 16),
)

_SMALL_2 = replace(
    _SMALL,
    name="gic1-small-2",
    id=3,
    generator_widths=(128, 64, 48),
    generator_blocks=(5, 4, 1),
    noise_channels=4,
)

_FULL = TunableConfig(
    name="gic1",
    id=1,
    groups=(8, 16, 32, 64, 72),
    hyper_channels=16,
    encoder_widths=(104, 288),
    encoder_blocks=(1, 2),
    generator_widths=(240, 144, 48),
    generator_blocks=(3, 5, 1),
    noise_channels=4,
    masker_width=64,
    context_widths=(192, 128, 32),
)

_TINY = TunableConfig(
    name="gic1-tiny",  # seeded weights, for tests only
    id=65535,
    groups=(2, 2, 4),
    hyper_channels=2,
    encoder_widths=(8, 12),
    encoder_blocks=(1, 1),
    generator_widths=(12, 8, 8),
    generator_blocks=(1, 1, 0),
    noise_channels=2,
    masker_width=8,
    context_widths=(12, 8, 4),
)

MODELS = (_FULL, _SMALL, _SMALL_2, _TINY)
