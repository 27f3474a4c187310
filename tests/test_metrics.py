"""PSNR and MS-SSIM against closed forms and against a published implementation's values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gancodec.metrics import ms_ssim, psnr
from tests.tiny import picture

# pytorch-msssim 1.0.0 (data_range=255), on the pictures of _pair(seed, sigma).
PUBLISHED = {(1, 5.0): 0.9716089, (2, 20.0): 0.7408027, (3, 50.0): 0.4707480}


def _pair(seed: int, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    a = picture(211, 300, seed)
    noise = np.random.default_rng(seed).normal(0, sigma, a.shape)
    return a, np.clip(a + noise, 0, 255).astype(np.uint8)


def test_psnr_of_a_known_error() -> None:
    a = np.full((8, 8, 3), 100, np.uint8)
    assert psnr(a, a + 5) == pytest.approx(10 * math.log10(255**2 / 25))
    assert psnr(a, a) == math.inf


@pytest.mark.parametrize(("case", "value"), PUBLISHED.items())
def test_ms_ssim_matches_the_published_implementation(case: tuple[int, float], value: float) -> None:
    assert ms_ssim(*_pair(*case)) == pytest.approx(value, abs=5e-5)


def test_ms_ssim_falls_with_noise_and_works_on_small_pictures() -> None:
    values = [ms_ssim(*_pair(1, s)) for s in (0, 5, 20, 60)]
    assert values[0] == pytest.approx(1.0)
    assert values == sorted(values, reverse=True)
    small = picture(40, 30)
    assert ms_ssim(small, small) == pytest.approx(1.0)
    assert 0 < ms_ssim(small[:1, :1], 255 - small[:1, :1]) < 1
