"""Importance of blocks to their levels, as several models have them."""

from __future__ import annotations

import numpy as np

from gancodec.models.levels import LEVELS, SUBLEVELS, logit_to_level
from gancodec.models.stream import Levels
from gancodec.types import FloatArray

FINE_BLOCKS, FINE_SHARE = 48, 0.25  # least blocks, and greatest share that moves at once, for n alone to steer finely


def block_levels(importance: FloatArray, offset: float) -> Levels:
    """Levels (hb, wb) of a whole picture, of logits that are importance (hb, wb) + offset.

    Where many blocks differ in importance, a small step of the offset moves a few of them by a level, which is as fine
    as anybody needs. Small maps, and maps of few values, have no such steps: there the level shift moves all blocks by
    sixteenths of a level. (Blocks beyond an end are lifted with the others each time these pass a whole level.)
    """
    centre = logit_to_level(offset)
    relative = (logit_to_level(1.0) - logit_to_level(0.0)) * importance
    if _moves_by_block(relative):
        levels, shift = np.rint(centre + relative), 0
    else:
        whole, shift = divmod(int(np.floor(centre * SUBLEVELS)), SUBLEVELS)
        levels = np.rint(whole + relative)
        if levels.max() < 0:  # beyond the ends nothing moves any more
            shift = 0
        elif levels.min() >= LEVELS:
            shift = SUBLEVELS - 1
    return Levels(np.clip(levels, 0, LEVELS - 1).astype(np.int32), shift)


def _moves_by_block(relative: FloatArray) -> bool:
    """Does a small step of n move few enough blocks (hb, wb), given in levels around any centre?

    Blocks are rounded to whole levels, so those with about the same fractional part move together, however far apart.
    """
    parts = np.sort(relative % 1, axis=None)
    around = np.concatenate([parts, parts + 1])
    together = np.searchsorted(around, parts + 1 / SUBLEVELS) - np.arange(parts.size)
    return bool(parts.size >= FINE_BLOCKS and together.max() <= FINE_SHARE * parts.size)
