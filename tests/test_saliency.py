"""Saliency maps without networks: their range whatever the picture, and that they find what stands out."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gancodec import saliency
from gancodec.errors import MissingExtra, UsageError
from gancodec.saliency import METHODS, check_method, saliency_map
from tests.pretrained import PICTURES, check_map, large_picture
from tests.tiny import ODD_PICTURES, picture

pytest.importorskip("cv2")

Pixels = NDArray[np.uint8]
OPENCV = ("spectral", "fine", "combined", "spectral-center")
ALL = (*OPENCV, "center", "none")


def test_names() -> None:
    assert [*METHODS] == [*ALL, "gradcam", "sam2", "segment"]
    assert saliency.__all__ == sorted(saliency.__all__)
    for name in saliency.__all__:
        assert hasattr(saliency, name)


def test_nothing_heavy_is_imported_before_it_is_used() -> None:
    heavy = ("torch", "cv2", "transformers", "captum", "huggingface_hub")
    code = f"import sys, gancodec.saliency; print([name for name in {heavy} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("method", ALL)
def test_range_and_shape(method: str, name: str) -> None:
    rgb = PICTURES[name]
    before = rgb.copy()
    values = saliency_map(rgb, method)
    check_map(values, rgb)
    assert np.array_equal(values, saliency_map(rgb, method)), "deterministic"
    assert np.array_equal(rgb, before)


@pytest.mark.parametrize("method", ALL)
def test_large_picture(method: str) -> None:
    rgb = large_picture()
    check_map(saliency_map(rgb, method), rgb)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 255), st.integers(0, 100), st.sampled_from(ALL))
def test_range_of_noise(height: int, width: int, level: int, spread: int, method: str) -> None:
    noise = np.random.default_rng(level).normal(level, spread, (height, width, 3))
    rgb = np.clip(noise, 0, 255).astype(np.uint8)
    check_map(saliency_map(rgb, method), rgb)


@pytest.mark.parametrize("name", ["1x1", "3x5", "1x300", "7x100", "black", "constant"])
@pytest.mark.parametrize("method", OPENCV)
def test_nothing_stands_out_of_flat_and_tiny_pictures(method: str, name: str) -> None:
    assert not saliency_map(ODD_PICTURES[name], method).any()


@pytest.mark.parametrize("colours", [((90, 90, 90), (240, 240, 240)), ((40, 60, 160), (230, 90, 40))])
@pytest.mark.parametrize(("row", "column"), [(70, 90), (120, 200)])
@pytest.mark.parametrize("method", OPENCV)
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
    assert len({saliency_map(rgb, method).tobytes() for method in ALL}) == len(ALL)


def test_colours_are_read_as_rgb() -> None:
    """Blue on black is darker than red on black in the gray picture behind the fine-grained method."""
    rgb = np.zeros((64, 96, 3), np.uint8)
    rgb[20:44, 12:36, 0] = 200
    rgb[20:44, 60:84, 2] = 200
    values = saliency_map(rgb, "fine")
    assert values[20:44, 12:36].mean() > values[20:44, 60:84].mean() + 0.1


@pytest.mark.parametrize("name", PICTURES)
def test_center_is_a_gaussian_that_does_not_look(name: str) -> None:
    rgb = PICTURES[name]
    values = saliency_map(rgb, "center")
    height, width = values.shape
    assert values.max() == 1
    assert values[height // 2, width // 2] == 1
    assert np.allclose(values, values[::-1], atol=1e-6)
    assert np.allclose(values, values[:, ::-1], atol=1e-6)
    assert (np.diff(values[: height // 2 + 1], axis=0) >= 0).all(), "falls from the middle"
    assert np.array_equal(values, saliency_map(np.zeros_like(rgb), "center"))


def test_width_of_center() -> None:
    values = saliency_map(np.zeros((401, 801, 3), np.uint8), "center")
    one_sigma = np.exp(-0.5)  # at a quarter of each side
    assert values[200 - 100, 400] == pytest.approx(one_sigma, abs=0.01)
    assert values[200, 400 + 200] == pytest.approx(one_sigma, abs=0.01)


def test_none_is_zero() -> None:
    assert not saliency_map(picture(30, 40), "none").any()


@pytest.mark.parametrize("check", [check_method, lambda *names: saliency_map(picture(20, 20), *names)])
@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("guess",), f"^saliency guess: choose {', '.join(METHODS)}$"),
        (("guess", "some/model"), "saliency guess: choose spectral, fine"),
        (("spectral", "some/model"), "^saliency spectral takes no model$"),
        (("none", "some/model"), "^saliency none takes no model$"),
    ],
)
def test_wrong_method(check, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check(*names)


def test_right_method() -> None:
    for method in METHODS:
        check_method(method)
    check_method("gradcam", "some/model")


@pytest.mark.parametrize("module", [None, ModuleType("cv2")], ids=["no OpenCV", "OpenCV without contributed modules"])
@pytest.mark.parametrize("method", OPENCV)
def test_missing_opencv(method: str, module: ModuleType | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", module)
    with pytest.raises(MissingExtra) as raised:
        saliency_map(picture(20, 20), method)
    assert str(raised.value) == "saliency needs an optional package: pip install 'gancodec[saliency]'"


@pytest.mark.parametrize("method", ["center", "none"])
def test_opencv_is_not_needed(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    check_map(saliency_map(picture(20, 20), method), picture(20, 20))
