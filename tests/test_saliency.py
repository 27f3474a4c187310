"""Saliency maps: their range whatever the picture, and that they find what stands out."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gancodec.errors import MissingExtra, UsageError
from gancodec.saliency import METHODS, saliency_map
from tests.tiny import ODD_PICTURES, picture

pytest.importorskip("cv2")

Pixels = NDArray[np.uint8]


def _check(values: NDArray[np.float32], rgb: Pixels) -> None:
    assert values.dtype == np.float32
    assert values.shape == rgb.shape[:2]
    assert np.isfinite(values).all()
    assert values.min() >= 0
    assert values.max() <= 1


@pytest.mark.parametrize("name", ODD_PICTURES)
@pytest.mark.parametrize("method", METHODS)
def test_range_and_shape(method: str, name: str) -> None:
    rgb = ODD_PICTURES[name]
    before = rgb.copy()
    values = saliency_map(rgb, method)
    _check(values, rgb)
    assert np.array_equal(values, saliency_map(rgb, method)), "deterministic"
    assert np.array_equal(rgb, before)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 255), st.integers(0, 100), st.sampled_from([*METHODS]))
def test_range_of_noise(height: int, width: int, level: int, spread: int, method: str) -> None:
    noise = np.random.default_rng(level).normal(level, spread, (height, width, 3))
    rgb = np.clip(noise, 0, 255).astype(np.uint8)
    _check(saliency_map(rgb, method), rgb)


@pytest.mark.parametrize("name", ["1x1", "3x5", "1x300", "7x100", "black", "constant"])
@pytest.mark.parametrize("method", METHODS)
def test_nothing_stands_out_of_flat_and_tiny_pictures(method: str, name: str) -> None:
    assert not saliency_map(ODD_PICTURES[name], method).any()


@pytest.mark.parametrize("colours", [((90, 90, 90), (240, 240, 240)), ((40, 60, 160), (230, 90, 40))])
@pytest.mark.parametrize(("row", "column"), [(70, 90), (120, 200)])
@pytest.mark.parametrize("method", METHODS)
def test_a_disc_stands_out(
    method: str, row: int, column: int, colours: tuple[tuple[int, int, int], tuple[int, int, int]]
) -> None:
    y, x = np.mgrid[0:200, 0:300]
    inside = (y - row) ** 2 + (x - column) ** 2 < 30**2
    rgb = np.where(inside[..., None], colours[1], colours[0]).astype(np.uint8)
    values = saliency_map(rgb, method)
    assert values[inside].mean() > 3 * values[~inside].mean()
    assert values.max() == 1
    top, left = np.unravel_index(int(values.argmax()), values.shape)
    assert (top - row) ** 2 + (left - column) ** 2 < 40**2


def test_combined_is_the_mean_of_both() -> None:
    rgb = picture(120, 160)
    mean = (saliency_map(rgb, "spectral") + saliency_map(rgb, "fine")) / 2
    combined = saliency_map(rgb)
    assert np.allclose(combined, (mean - mean.min()) / (mean.max() - mean.min()), atol=1e-6)
    assert len({saliency_map(rgb, method).tobytes() for method in METHODS}) == 3


def test_colours_are_read_as_rgb() -> None:
    """Blue on black is darker than red on black in the gray picture behind the fine-grained method."""
    rgb = np.zeros((64, 96, 3), np.uint8)
    rgb[20:44, 12:36, 0] = 200
    rgb[20:44, 60:84, 2] = 200
    values = saliency_map(rgb, "fine")
    assert values[20:44, 12:36].mean() > values[20:44, 60:84].mean() + 0.1


def test_unknown_method() -> None:
    with pytest.raises(UsageError, match="saliency guess: choose spectral, fine, combined"):
        saliency_map(picture(20, 20), "guess")


@pytest.mark.parametrize("module", [None, ModuleType("cv2")], ids=["no OpenCV", "OpenCV without contributed modules"])
@pytest.mark.parametrize("method", METHODS)
def test_missing_opencv(method: str, module: ModuleType | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", module)
    with pytest.raises(MissingExtra) as raised:
        saliency_map(picture(20, 20), method)
    assert str(raised.value) == "saliency needs an optional package: pip install 'gancodec[saliency]'"
