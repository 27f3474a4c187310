"""Where slices end: so that the first bytes of a file are a picture, and each slice about doubles the bytes so far."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gancodec.container import spec
from gancodec.entropy.tables import Tables
from gancodec.models.gic2.config import LADDER
from gancodec.models.gic2.integers import EntropyModel
from gancodec.models.gic2.symbols import LAST
from gancodec.types import IntArray

WHOLE_BELOW = 6000  # bytes of a picture in a single slice
TOGETHER = 256  # blocks that are looked at together: bounds memory on large pictures


def entropies(tables: Tables) -> NDArray[np.float64]:
    """Expected bits of a symbol by row, 0 for row 0, which is not coded."""
    frequency = [(counts + 1) / (1 << 24) for counts in tables.counts]
    bits = np.array([-(p * np.log2(p)).sum() for p in frequency])
    bits[0] = 0
    return bits


def slice_ends(model: EntropyModel, hyper: IntArray, position: IntArray) -> tuple[int, ...]:
    """Steps of the ladder before which the slices of a picture end.

    They follow from what its rows promise: hyper-latent symbols (hb, wb, Kh) at positions (hb, wb) of the whole
    picture, so that all of its tiles are cut alike.
    """
    expected = entropies(model.tables)
    bits, hyper_bits = np.zeros(LAST), 0.0
    blocks, places = hyper.reshape(1, -1, hyper.shape[2]), position.reshape(1, -1)  # none looks at another
    for first in range(0, places.size, TOGETHER):
        part = np.s_[:, first : first + TOGETHER]
        rows, keys = model.rows_and_keys(blocks[part], places[part])
        bits += np.bincount(model.steps(keys).ravel(), expected[rows.ravel()], minlength=LAST)
        hyper_bits += expected[model.hyper_rows(blocks[part][0], places[part][0], 0)].sum()
    total = (np.cumsum(bits) + hyper_bits) / 8
    whole = total[-1]
    most = spec.CODECS[spec.CODEC_GIC2].slices
    count = 1 if whole < WHOLE_BELOW else min(most, 2 + int(np.log2(whole / WHOLE_BELOW)))
    ends: list[int] = []
    for halvings in range(count - 1, 0, -1):
        end = 1 + int(np.abs(np.log(np.maximum(total[:LADDER], 1) * 2.0**halvings / whole)).argmin())
        if end > (ends[-1] if ends else 0):
            ends.append(end)
    return (*ends, LAST)
