"""Scores of saliency maps against fixations: by hand, by brute force, against the loop of the MIT code; and the table
made of them."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from gancodec.errors import MissingExtra
from tools import saliency_scores
from tools.saliency_scores import Row, Scene, auc_judd, correlation, fixated, nss

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]


def _mask(rows: list[str]) -> Mask:
    return np.array([[c == "x" for c in row] for row in rows])


def _random(seed: int, levels: int, share: float = 0.2) -> tuple[Float, Mask]:
    """A map of few levels and a mask with both kinds of pixels."""
    rng = np.random.default_rng(seed)
    values, seen = rng.integers(0, levels, (7, 9)) / levels, rng.random((7, 9)) < share
    seen[0, :2] = True, False
    return values, seen


# Fixations


def test_fixations_on_pixels() -> None:
    points = np.array([[0, 0], [2.99, 0.5], [1.2, 1.9], [1.9, 1.1]])
    assert np.array_equal(fixated(points, (2, 3)), _mask(["x.x", ".x."])), "two on one pixel are one"


def test_fixations_out_of_the_picture_are_dropped() -> None:
    points = np.array([[-0.1, 0], [0, -0.1], [3, 0], [0, 2], [1e9, 1], [-1e9, 1], [2.5, 1.5]])
    assert np.array_equal(fixated(points, (2, 3)), _mask(["...", "..x"]))
    assert not fixated(np.zeros((0, 2)), (2, 3)).any()


# AUC


@pytest.mark.parametrize(
    ("saliency", "expected"),
    [
        ([[9, 1], [2, 3]], 1),
        ([[0, 1], [2, 3]], 0),
        ([[2, 1], [2, 3]], 0.5),  # above one, level with one, below one
        ([[3, 1], [2, 3]], 2.5 / 3),
        ([[5, 5], [5, 5]], 0.5),
    ],
)
def test_auc_by_hand(saliency: list[list[int]], expected: float) -> None:
    assert auc_judd(np.array(saliency), _mask(["x.", ".."])) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("levels", [1, 2, 5, 1000])
@pytest.mark.parametrize("seed", range(5))
def test_auc_is_the_chance_to_be_more_salient(levels: int, seed: int) -> None:
    values, seen = _random(seed, levels)
    pairs = [float(a > b) + 0.5 * float(a == b) for a in values[seen] for b in values[~seen]]
    assert auc_judd(values, seen) == pytest.approx(np.mean(pairs), abs=1e-12)
    assert auc_judd(-values, seen) == pytest.approx(1 - np.mean(pairs), abs=1e-12)


def _mit_code(values: Float, seen: Mask) -> float:
    """AUC_Judd.m of the MIT benchmark, line by line, without its jitter."""
    saliency, fixations = values.ravel(), seen.ravel()
    thresholds = np.sort(saliency[fixations])[::-1]
    count, pixels = len(thresholds), len(saliency)
    true, false = np.zeros(count + 2), np.zeros(count + 2)
    true[-1] = false[-1] = 1
    for i, threshold in enumerate(thresholds, 1):
        above = (saliency >= threshold).sum()
        true[i], false[i] = i / count, (above - i) / (pixels - count)
    return float((np.diff(false) * (true[1:] + true[:-1]) / 2).sum())


@pytest.mark.parametrize("share", [0.02, 0.2, 0.7])
@pytest.mark.parametrize("seed", range(5))
def test_auc_is_that_of_the_mit_code_but_for_its_straight_lines(seed: int, share: float) -> None:
    _, seen = _random(seed, 1, share)
    values = np.random.default_rng(seed).permutation(seen.size).reshape(seen.shape) / seen.size  # no ties
    excess = (values[~seen] > values[seen].min()).mean() / (2 * seen.sum())
    assert _mit_code(values, seen) == pytest.approx(auc_judd(values, seen) + excess, abs=1e-12)


def test_jitter_of_the_mit_code_is_ties_that_count_half() -> None:
    values, seen = _random(1, 3, 0.5)
    rng = np.random.default_rng(0)
    jittered = [_mit_code(values + rng.random(values.shape) / 1e7, seen) for _ in range(1000)]
    assert abs(float(np.mean(jittered)) - auc_judd(values, seen)) < 0.5 / seen.sum() + 0.005


@settings(deadline=None)
@given(arrays.arrays(np.int16, (4, 5), elements=st.integers(-8, 8)), arrays.arrays(np.bool_, (4, 5)))
def test_auc_is_unchanged_by_increasing_functions(values: NDArray[np.int16], seen: Mask) -> None:
    assume(seen.any() and not seen.all())
    auc = auc_judd(values, seen)
    exact = values.astype(np.float64)
    for other in (3 * exact - 7, exact**3, np.exp(exact), np.arctan(exact), exact.astype(np.float32) / 1e20):
        assert auc_judd(other, seen) == auc
    assert auc_judd(values[:, ::-1], seen[:, ::-1]) == auc
    assert 0 <= auc <= 1


# NSS


def test_nss_by_hand() -> None:
    values = np.array([[0.0, 0], [0, 4]])  # mean 1, deviation sqrt(3)
    assert nss(values, _mask(["..", ".x"])) == pytest.approx(math.sqrt(3))
    assert nss(values, _mask(["x.", ".x"])) == pytest.approx(1 / math.sqrt(3))
    assert nss(values, _mask(["x.", ".."])) == pytest.approx(-1 / math.sqrt(3))
    assert nss(values, _mask(["xx", "xx"])) == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("seed", range(3))
def test_nss_ignores_scale_and_offset(seed: int) -> None:
    values, seen = _random(seed, 50)
    expected = ((values - values.mean()) / values.std())[seen].mean()
    for other in (values, 255 * values, values / 1e30 + 1e-30, 5 + values):
        assert nss(other, seen) == pytest.approx(expected, abs=1e-9)


# CC


@pytest.mark.parametrize("seed", range(3))
def test_correlation_is_that_of_numpy(seed: int) -> None:
    a, b = _random(seed, 50)[0], np.random.default_rng(seed + 9).random((7, 9))
    assert correlation(a, b) == pytest.approx(np.corrcoef(a.ravel(), b.ravel())[0, 1], abs=1e-12)
    assert correlation(a, 3 * a + 1) == pytest.approx(1)
    assert correlation(a, -a) == pytest.approx(-1)


def test_correlation_of_other_sizes() -> None:
    with pytest.raises(ValueError, match=r"\(3, 2\) against a density \(2, 3\)"):
        correlation(np.zeros((3, 2)), np.zeros((2, 3)))


# All


@pytest.mark.parametrize("value", [0, 0.1, 1 / 3, 1e300, 5e-324, -7])
def test_constant_maps_score_chance(value: float) -> None:
    """0.1 and 1/3 have means that are not exactly themselves."""
    values, (other, seen) = np.full((7, 9), value), _random(0, 9)
    assert auc_judd(values, seen) == 0.5
    assert nss(values, seen) == correlation(values, other) == correlation(other, values) == 0


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32])
def test_any_kind_of_number(dtype: type) -> None:
    values, seen = _random(4, 16)
    same = (values * 128).astype(dtype)  # sixteenths are exact in all of them
    assert auc_judd(same, seen) == auc_judd(values, seen)
    assert nss(same, seen) == pytest.approx(nss(values, seen))
    assert correlation(same, values) == pytest.approx(1)


def test_nearly_constant_maps_have_finite_scores() -> None:
    values, seen = np.zeros((7, 9)), _random(0, 9)[1]
    values[0, 0] = 1e-310
    assert nss(values, seen) > 0
    assert correlation(values, values) == pytest.approx(1)


def test_nothing_seen() -> None:
    values = np.arange(6.0).reshape(2, 3)
    for score in (auc_judd, nss):
        with pytest.raises(ValueError, match="no pixel was seen"):
            score(values, np.zeros((2, 3), bool))
    with pytest.raises(ValueError, match="every pixel was seen"):
        auc_judd(values, np.ones((2, 3), bool))


# The tool


def _scene(seed: int) -> Scene:
    rng = np.random.default_rng(seed)
    density = rng.integers(0, 256, (6, 8)).astype(np.float64)
    return Scene(rng.integers(0, 256, (12, 16, 3), np.uint8), density, rng.random((12, 16)) < 0.1)


def test_table_of_synthetic_scores() -> None:
    scores = np.stack([np.linspace(0.4, 0.6, 30), np.full(30, 1.25), np.linspace(-1, 1, 30)], axis=1)
    rows = [Row("a", scores, 0.004), Row("b x center", scores[::-1], 0.0102)]
    head, rule, first, second = saliency_scores.table(rows, 0.004)
    assert head == "| method | AUC-Judd | NSS | CC | ms per picture | x spectral |"
    assert rule == "| --- | --- | --- | --- | --- | --- |"
    cells = [cell.strip() for cell in first.strip("|").split("|")]
    assert cells[0] == "a"
    assert cells[2] == "1.250 [1.250, 1.250]"
    assert cells[4:] == ["4.0", "1.0"]
    mean, low, high = (float(v) for v in re.findall(r"-?[0-9.]+", cells[1]))
    spread = 1.96 * scores[:, 0].std() / math.sqrt(30)
    assert mean == pytest.approx(0.5)
    assert (low, high) == pytest.approx((0.5 - spread, 0.5 + spread), abs=0.003)
    assert second.endswith("| 10.2 | 2.6 |")
    assert second.split("|")[2:5] != first.split("|")[2:5] or scores.std(0)[1] == 0
    assert saliency_scores.table(rows, 0.004) == [head, rule, first, second], "a fixed seed"
    assert saliency_scores.table([Row("density", scores, None)], 0.004)[2].endswith("|  |  |")


def test_scores_of_a_perfect_and_of_a_constant_map() -> None:
    scene = _scene(0)
    assert saliency_scores.score(np.zeros((12, 16)), scene) == (0.5, 0, 0)
    auc, deviations, _ = saliency_scores.score(scene.seen.astype(np.float32), scene)
    assert auc == 1
    assert deviations == pytest.approx(math.sqrt((~scene.seen).sum() / scene.seen.sum()))
    smooth = scene._replace(density=np.outer(np.arange(6), np.arange(8)))
    enlarged = saliency_scores.resized(smooth.density, (12, 16))
    assert saliency_scores.score(enlarged, smooth)[2] == pytest.approx(1, abs=0.01)
    assert saliency_scores.score(enlarged.T, smooth._replace(seen=scene.seen.T, density=smooth.density.T))[2] > 0.99


def test_the_best_network_is_multiplied() -> None:
    """The best by NSS; none where networks or the centre are missing."""
    low, high = np.zeros((5, 3)), np.ones((5, 3))
    rows = [Row("center", high, 0.1), Row("fine", 2 * high, 0.2), Row("gradcam", low, 0.3), Row("segment", high, 0.3)]
    assert saliency_scores.best(rows) == ["segment"]
    assert saliency_scores.best(rows[:3]) == ["gradcam"]
    assert saliency_scores.best(rows[:2]) == []
    assert saliency_scores.best(rows[1:]) == []


def test_what_cannot_run_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(rgb: NDArray[np.uint8], method: str, model: str | None) -> NDArray[np.float32]:
        if method == "gradcam":
            raise MissingExtra("saliency", "saliency")
        return np.full(rgb.shape[:2], 0.5 if model is None else float(model == "sam"), np.float32)

    monkeypatch.setattr(saliency_scores, "saliency_map", fake)
    scenes = [_scene(seed) for seed in range(3)]
    methods = saliency_scores.methods_of({"gradcam": Path("g"), "sam2": Path("sam")})
    assert list(methods) == ["none", "center", "spectral", "fine", "combined", "spectral-center", "gradcam", "sam2"]
    assert (methods["sam2"](scenes[0].rgb) == 1).all()
    assert (saliency_scores.product(methods["sam2"], methods["center"])(scenes[0].rgb) == 0.5).all()
    rows, absent = saliency_scores.measure(scenes, {name: methods[name] for name in ("fine", "gradcam")})
    assert [row.method for row in rows] == ["fine"]
    assert np.array_equal(rows[0].scores, np.tile([0.5, 0, 0], (3, 1)))
    assert rows[0].seconds is not None
    assert rows[0].seconds > 0
    assert absent == ["gradcam: saliency needs an optional package: pip install 'gancodec[saliency]'"]


def test_without_pictures_nothing_is_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "page.md"
    monkeypatch.setattr("sys.argv", ["saliency_scores.py", "--shared", str(tmp_path), "--output", str(output)])
    assert saliency_scores.main() == 0
    assert "nothing scored" in capsys.readouterr().out
    assert not output.exists()
