"""Configuration of the toy models, and what the header of their files may say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gancodec.container.spec import CODER_HUFFMAN, CODER_RANGE, CodecRules

CODEC_TOY = 200
FINE, COARSE, CLASS = 8, 16, 32  # pixels per site of the fine latents, of the coarse ones, of classes and importance


@dataclass(frozen=True)
class ToyConfig:
    """Channels of the fine and the coarse latents, classes of the map, and features of the networks."""

    codec: ClassVar[int] = CODEC_TOY
    name: str
    id: int
    fine: int = 6
    coarse: int = 3
    classes: int = 5
    width: int = 8


TOY_TINY = ToyConfig("toy-tiny", 65500)

RULES = CodecRules((CODER_RANGE, CODER_HUFFMAN), ("level_shift",), "levels", tile_sides=(256, 2048))
