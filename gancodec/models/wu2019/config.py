"""Configurations of the wu2019 models. Ids are never reused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gancodec.container.spec import CODEC_WU2019
from gancodec.models.config import Config

STRIDE = 8  # pixels per site of omega


@dataclass(frozen=True)
class Wu2019Config(Config):
    """Widths and depths of the source paper's model; `wu2019` has those of its section 3.1.

    Attributes
    ----------
    channels : int
        K, the channels of omega at 1/8.
    encoder_widths : (at 1/2, at 1/4, at 1/8)
    masker_width : int
        Filters of the masker's two residual blocks.
    generator_widths : (first convolution, second one and residual blocks, first two transposed convolutions)
    generator_blocks : int
        Residual blocks of two convolutions.
    discriminator_width : int
        Filters of the first layer at each scale.
    """

    codec: ClassVar[int] = CODEC_WU2019
    channels: int = 16
    encoder_widths: tuple[int, int, int] = (16, 64, 256)
    masker_width: int = 256
    generator_widths: tuple[int, int, int, int] = (128, 256, 128, 64)
    generator_blocks: int = 15
    discriminator_width: int = 64


_WU2019 = Wu2019Config(name="wu2019", id=4)

_WU2019_SMALL = Wu2019Config(
    name="wu2019-small",  # a quarter of the filters, for training on a CPU
    id=5,
    encoder_widths=(4, 16, 64),
    masker_width=64,
    generator_widths=(32, 64, 32, 16),
    discriminator_width=16,
)

_WU2019_TINY = Wu2019Config(
    name="wu2019-tiny",  # seeded weights, for tests only
    id=65534,
    encoder_widths=(4, 6, 8),
    masker_width=8,
    generator_widths=(6, 8, 6, 4),
    generator_blocks=2,
    discriminator_width=4,
)

MODELS = (_WU2019, _WU2019_SMALL, _WU2019_TINY)
