"""The adaptive mask: what stands out becomes 1, softly, and never all or nothing of a picture with something in it."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gancodec.errors import MissingExtra
from gancodec.saliency import adaptive_mask, saliency_map
from tests.pretrained import PICTURES
from tests.tiny import picture

pytest.importorskip("cv2")

FloatArray = NDArray[np.float32]


def _blob(height: int, width: int, row: float, column: float, radius: float) -> FloatArray:
    y, x = np.mgrid[0:height, 0:width]
    return (np.hypot(y - row, x - column) < radius).astype(np.float32)


def _check(mask: FloatArray, values: FloatArray) -> None:
    assert mask.dtype == np.float32
    assert mask.shape == values.shape
    assert np.isfinite(mask).all()
    assert mask.min() >= 0
    assert mask.max() <= 1


@pytest.mark.parametrize("scale", [1, 4])
def test_a_bright_blob_becomes_the_mask(scale: int) -> None:
    blob = _blob(200 * scale, 300 * scale, 80 * scale, 120 * scale, 50 * scale)
    noise = np.random.default_rng(0).uniform(0, 0.2, blob.shape).astype(np.float32)
    mask = adaptive_mask(0.7 * blob + noise)
    found = mask >= 0.5
    assert (found & (blob > 0)).sum() / (found | (blob > 0)).sum() > 0.95
    assert mask.min() == 0
    assert mask.max() > 0.999


def test_edges_are_soft_at_any_size() -> None:
    widths = []
    for scale in (1, 2, 4):
        mask = adaptive_mask(_blob(256 * scale, 256 * scale, 128 * scale, 128 * scale, 70 * scale))
        row = mask[128 * scale]
        assert np.abs(np.diff(row)).max() < 0.4
        widths.append(((row > 0.1) & (row < 0.9)).sum() / scale)
    assert max(widths) < 1.5 * min(widths), "a blur as wide as the picture asks for"


def test_noise_is_smoothed_and_edges_stay() -> None:
    blob = _blob(256, 256, 100, 100, 60)
    noisy = np.clip(0.3 * blob + 0.2 + np.random.default_rng(0).normal(0, 0.1, blob.shape), 0, 1).astype(np.float32)
    mask = adaptive_mask(noisy)
    assert ((mask >= 0.5) != (blob > 0)).mean() < 0.001
    assert np.abs(mask - blob).mean() < 0.05


@pytest.mark.parametrize("seed", range(8))
def test_the_share_stays_in_range(seed: int) -> None:
    """Also where Otsu would take most of the picture, or hardly any of it."""
    rng = np.random.default_rng(seed)
    smooth = 0.95 * saliency_map(picture(200, 300), "center") + rng.uniform(0, 0.05, (200, 300))
    for power in (0.05, 0.3, 1, 3, 20, 60):
        share = (adaptive_mask((smooth**power).astype(np.float32)) >= 0.5).mean()
        assert 0.03 < share < 0.52, power


def test_at_most_half_is_salient() -> None:
    """A fifth is dark, so that Otsu would take the other four; among those the brightest are kept."""
    values = np.tile(np.linspace(0.7, 1, 300, dtype=np.float32), (200, 1))
    values[:, :60] = 0
    found = adaptive_mask(values) >= 0.5
    assert found.mean() == pytest.approx(0.5, abs=0.02)
    assert found[:, 155:].all()


def test_otsu_decides_within_the_range() -> None:
    """Two gray levels with a third of the picture in the brighter one, anywhere in the range of levels."""
    for low, high in ((0, 1), (0.1, 0.2), (0.8, 0.9)):
        values = np.full((90, 120), low, np.float32)
        values[:, :40] = high
        assert (adaptive_mask(values) >= 0.5)[:, :38].all()
        assert not (adaptive_mask(values) >= 0.5)[:, 42:].any()


def test_a_plateau_is_not_split() -> None:
    """Seven tenths at the top: more than may be salient, but nothing tells them apart."""
    values = np.zeros((100, 100), np.float32)
    values[:70] = 1
    assert (adaptive_mask(values) >= 0.5).mean() == pytest.approx(0.7, abs=0.02)


def test_a_small_spot_stays_small() -> None:
    """A hundredth of the picture on black: black is never salient, however small the share."""
    share = (adaptive_mask(_blob(200, 200, 90, 90, 12)) >= 0.5).mean()
    assert share == pytest.approx(np.pi * 12**2 / 200**2, rel=0.2)


@pytest.mark.parametrize(("level", "expected"), [(0, 0), (0.3, 1), (1, 1)])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (200, 300)])
def test_constant_maps(shape: tuple[int, int], level: float, expected: float) -> None:
    assert np.array_equal(adaptive_mask(np.full(shape, level, np.float32)), np.full(shape, expected, np.float32))


@pytest.mark.parametrize("name", PICTURES)
def test_odd_sizes(name: str) -> None:
    values = (PICTURES[name] / np.float32(255)).mean(2, dtype=np.float32)
    before = values.copy()
    mask = adaptive_mask(values)
    _check(mask, values)
    assert np.array_equal(mask, adaptive_mask(values))
    assert np.array_equal(values, before)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.floats(0.01, 30))
def test_range_of_noise(height: int, width: int, seed: int, power: float) -> None:
    values = (np.random.default_rng(seed).random((height, width)) ** power).astype(np.float32)
    _check(adaptive_mask(values), values)


def test_what_is_not_a_number_counts_as_zero() -> None:
    values = _blob(100, 100, 50, 50, 25)
    broken = values.copy()
    broken[:5] = np.nan
    broken[-5:] = -np.inf
    broken[45:55, 45:55] = np.inf
    assert np.array_equal(adaptive_mask(broken), adaptive_mask(values))


def test_large_maps_are_fast() -> None:
    values = np.tile(_blob(500, 400, 200, 200, 90), (10, 10))
    start = time.process_time()
    _check(adaptive_mask(values), values)
    assert time.process_time() - start < 2


def test_missing_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtra) as raised:
        adaptive_mask(np.zeros((8, 8), np.float32))
    assert str(raised.value) == "the adaptive mask needs an optional package: pip install 'gancodec[saliency]'"
