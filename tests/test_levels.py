"""The level map: exact round trips for every shape, near nothing for a flat one, damage noticed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gancodec.entropy.levels import code_levels
from gancodec.entropy.rangecoder import RangeReader, RangeWriter
from gancodec.errors import CorruptFile
from gancodec.models.gic1.integers import EntropyModel
from tests.tiny import tiny_weights

LEVELS = 32


@pytest.fixture(scope="module")
def tables():  # type: ignore[no-untyped-def]
    return EntropyModel(tiny_weights().entropy).tables


def _write(tables, levels):  # type: ignore[no-untyped-def]
    writer = RangeWriter(tables)
    code_levels(writer, levels.shape, LEVELS, levels)
    return writer.finish()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 13), st.integers(1, 13), st.integers(0, 2**31), st.sampled_from([0, 1, 4, 31]))
def test_round_trip(tables, height: int, width: int, seed: int, spread: int) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(seed)
    levels = np.clip(
        rng.integers(0, LEVELS) + rng.integers(-spread, spread + 1, (height, width)), 0, LEVELS - 1
    ).astype(np.int32)
    data = _write(tables, levels)
    np.testing.assert_array_equal(code_levels(RangeReader(tables, data), levels.shape, LEVELS, None), levels)


def test_flat_map_costs_next_to_nothing(tables) -> None:  # type: ignore[no-untyped-def]
    assert len(_write(tables, np.full((40, 60), 17, np.int32))) <= 8


def test_smooth_map_costs_about_two_bits_a_block(tables) -> None:  # type: ignore[no-untyped-def]
    y, x = np.mgrid[0:24, 0:32]
    smooth = np.rint(16 + 4 * np.sin(x / 5) + 3 * np.cos(y / 4)).astype(np.int32)
    assert 8 * len(_write(tables, smooth)) / smooth.size < 2.2


def test_levels_out_of_range_are_corrupt(tables) -> None:  # type: ignore[no-untyped-def]
    outside = np.array([[3, 40]], np.int32)
    writer = RangeWriter(tables)
    with pytest.raises(CorruptFile):
        code_levels(writer, outside.shape, LEVELS, outside)
