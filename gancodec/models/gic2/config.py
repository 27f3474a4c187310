"""Configurations of the gic2 models, and the numbers that decide bits. Ids are never reused."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from gancodec.container.spec import CODEC_GIC2
from gancodec.models.config import Config
from gancodec.models.levels import LEVELS, SUBLEVELS

STEPS = 4  # in which means are refined, and in which the rows of the hyper-latent see their neighbours
KNOTS = 9  # of everything that follows the level; between them it is interpolated
TOP = (LEVELS - 1) * SUBLEVELS  # the last position that a knot lies on; those behind it count as this one
POSITIONS = LEVELS * SUBLEVELS
ROW_BITS = 8  # rows are computed in 1/256
UNIT_BITS = 12  # of the inverse gains of the hyper-latent
GAIN_BITS = 16  # logarithms of gains are multiples of 2**-16
INPUT_MAX = 127  # of the projection's inputs, signed
NEAR_MAX = 15  # a neighbour's magnitude counts at most this
HYPER_LIMIT = 1 << 14  # of hyper-latent symbols
SYMBOL_LIMIT = 1 << 15  # of latent symbols
LADDER = 32  # keys at which slices may end


@dataclass(frozen=True)
class Gic2Config(Config):
    """Widths and depths of one model.

    Attributes
    ----------
    channels, hyper_channels : int
        C of the latents at 1/16, Kh of the hyper-latent at 1/64.
    sender_width, sender_blocks : int
    hyper_widths : (of a site, of a block), the hidden layers of the hyper-encoder
    masker_width, means_width, body_width : int
        Hidden channels at 1/16.
    render_width : int
        Channels of the receiver at 1/4.
    """

    codec: ClassVar[int] = CODEC_GIC2
    channels: int
    hyper_channels: int
    sender_width: int
    sender_blocks: int
    hyper_widths: tuple[int, int]
    masker_width: int
    means_width: int
    body_width: int
    render_width: int
    sender_ratio: int = 4
    hyper_means: bool = False


_FULL = Gic2Config(
    name="gic2",
    id=12,
    channels=192,
    hyper_channels=64,
    sender_width=320,
    sender_blocks=4,
    hyper_widths=(64, 256),
    masker_width=64,
    means_width=96,
    body_width=160,
    render_width=48,
)

_TINY = Gic2Config(
    name="gic2-tiny",  # seeded weights, for tests only
    id=65530,
    channels=8,
    hyper_channels=4,
    sender_width=16,
    sender_blocks=1,
    hyper_widths=(4, 16),
    masker_width=8,
    means_width=8,
    body_width=8,
    render_width=8,
)

VARIANTS = {
    "gic2-blocks3": replace(_FULL, name="gic2-blocks3", id=60001, sender_blocks=3),
    "gic2-blocks5": replace(_FULL, name="gic2-blocks5", id=60002, sender_blocks=5),
    "gic2-ratio6": replace(_FULL, name="gic2-ratio6", id=60003, sender_ratio=6),
    "gic2-zmeans": replace(_FULL, name="gic2-zmeans", id=60004, hyper_means=True),
}
MODELS = (_FULL, _TINY, *VARIANTS.values())
