"""Gaussian tables: sums, deviations, what a sample costs; and the rows of level maps under them."""

from __future__ import annotations

import numpy as np
import pytest

from gancodec.entropy.gaussian import MAX_RADIUS, ROWS, SIGMA_MAX, SIGMA_MIN, gaussian_tables, sigma_of
from gancodec.entropy.levels import CLASSES, GAUSSIAN, LOGISTIC
from gancodec.entropy.tables import TOTAL, Tables


def tables_of(histograms: list[np.ndarray] | None = None) -> Tables:
    found = gaussian_tables(histograms)
    return Tables(found["tables.radius"], found["tables.counts"].astype(np.int64))


def test_gaussian_tables_are_symmetric_sums() -> None:
    tables = tables_of()
    assert len(tables) == ROWS
    assert tables.radius.max() == MAX_RADIUS
    for radius, counts in zip(tables.radius, tables.counts, strict=True):
        assert len(counts) == 2 * radius + 2
        assert counts.sum() + len(counts) == TOTAL
        assert np.abs(counts[:radius] - counts[2 * radius : radius : -1]).max() <= 1, "largest remainders go one way"


def test_deviations_of_rows_are_in_equal_logarithmic_steps() -> None:
    """From the table itself: the deviation of what it makes of each row."""
    tables = tables_of()
    ratio = (SIGMA_MAX / SIGMA_MIN) ** (1 / ROWS)
    for row in range(16, ROWS - 8):  # narrower ones are mostly 0, wider ones are cut off
        radius, p = tables.radius[row], (tables.counts[row][:-1] + 1) / TOTAL
        values = np.arange(-radius, radius + 1)
        deviation = np.sqrt((p * values**2).sum() - 1 / 12)  # a rounding adds the variance of its width
        assert deviation == pytest.approx(SIGMA_MIN * ratio ** (row + 0.5), rel=0.01)
    assert sigma_of(0) == SIGMA_MIN
    assert sigma_of(ROWS) == pytest.approx(SIGMA_MAX)


@pytest.mark.parametrize("row", [0, 5, 12, 20, 31, 44, 55, 63])
def test_a_gaussian_costs_its_entropy(row: int) -> None:
    """Of rounded samples, within 1 %."""
    tables = tables_of()
    sigma, count = SIGMA_MIN * (SIGMA_MAX / SIGMA_MIN) ** ((row + 0.5) / ROWS), 400_000
    symbols = np.rint(np.random.default_rng(row).normal(0, sigma, count)).astype(np.int32)
    _, seen = np.unique(symbols, return_counts=True)
    entropy = -(seen / count * np.log2(seen / count)).sum()
    assert tables.bits(np.full(count, row), symbols).mean() == pytest.approx(entropy, rel=0.01, abs=1e-3)


def test_tables_follow_what_was_coded() -> None:
    """Pulled towards the histograms, which count on both sides of 0 alike."""
    sizes = 2 * gaussian_tables()["tables.radius"].astype(int) + 2
    histograms = [np.zeros(size) for size in sizes]
    histograms[30][sizes[30] // 2 + 3] = 1e6
    plain, fitted = tables_of(), tables_of(histograms)
    rows, symbols = np.full(2, 30), np.array([4, -4], np.int32)
    assert fitted.bits(rows, symbols) == pytest.approx([1, 1], abs=0.01)
    assert plain.bits(rows, symbols).min() > 2
    for row in set(range(ROWS)) - {30}:
        np.testing.assert_array_equal(plain.counts[row], fitted.counts[row])


def test_level_maps_have_rows_of_about_the_deviations_that_the_logistic_ones_have() -> None:
    """A logistic density of scale s deviates by 1.81 s; its rows start at .05 and double every 6."""
    pairs = [(GAUSSIAN.busy, LOGISTIC.busy), (GAUSSIAN.first, LOGISTIC.first)]
    pairs += list(zip(GAUSSIAN.fine[1:], LOGISTIC.fine[1:], strict=True))
    assert len(GAUSSIAN.fine) == len(LOGISTIC.fine) == CLASSES
    for gaussian, logistic in pairs:
        assert sigma_of(gaussian + 0.5) / (1.814 * 0.05 * 2 ** (logistic / 6)) == pytest.approx(1, abs=0.25)
    reach = 12  # of the largest stream in one tile, 64 x 2 ** 18 pixels
    assert max(GAUSSIAN.fine) + GAUSSIAN.coarser * reach < ROWS
