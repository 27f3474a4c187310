"""The tunability curve: fitting, storing with the model, and the rate search that starts from it."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gancodec import weights
from gancodec.codec import EncodeOptions, encode_picture
from gancodec.codec import rate as rate_search
from gancodec.models.curve import TunabilityCurve, fit
from gancodec.types import Picture
from tests.conftest import Run
from tests.tiny import picture

NS = [3.0, 2.0, 1.0, 0.0, -1.0, -2.0, -3.0, -4.0]


def test_fit_recovers_a_cubic() -> None:
    truth = (-1.9, -0.5, -0.03, 0.002)
    bpp = [math.exp(sum(c * n**i for i, c in enumerate(truth))) for n in NS]
    found = fit(NS, bpp)
    assert found.coefficients == pytest.approx(truth, abs=1e-9)
    assert (found.low, found.high) == (-4, 3)
    for n in (-3.7, 0.2, 2.9):
        assert found.n_at(found.log_bpp(n), (-8, 8)) == pytest.approx(n, abs=1e-6)


def test_fit_is_least_squares() -> None:
    rng = np.random.default_rng(1)
    bpp = np.exp(-1.9 - 0.5 * np.array(NS) + rng.normal(0, 0.05, len(NS)))
    found = fit(NS, list(bpp))
    expected = np.polyfit(NS, np.log(bpp), len(found.coefficients) - 1)[::-1]
    assert found.coefficients == pytest.approx(expected, abs=1e-9)


def test_a_curve_always_falls() -> None:
    """A cubic through rates that rise at one end would send the search the wrong way: a lower degree is taken."""
    bpp = [0.03, 0.05, 0.1, 0.17, 0.3, 0.4, 0.42, 0.30]
    found = fit(NS, bpp)
    steps = np.diff([found.log_bpp(n) for n in np.linspace(-8, 8, 200)])
    assert steps.max() < 0
    assert all(found.slope(n) < 0 for n in np.linspace(-8, 8, 50))
    with pytest.raises(ValueError, match="two different n"):
        fit([1.0, 1.0], [0.1, 0.2])


def test_old_calibrations_are_straight_lines() -> None:
    line = TunabilityCurve.from_calibration({"log_bpp_at_0": -2.0, "log_bpp_slope": -0.5})
    assert [line.log_bpp(n) for n in (-8.0, 0.0, 8.0)] == pytest.approx([2.0, -2.0, -6.0])
    assert TunabilityCurve.from_calibration(line.to_calibration()) == line


@pytest.fixture
def own_folder(tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the tiny model's folder that may be written to."""
    folder = tmp_path / "weights"
    shutil.copytree(tiny_folder, folder)
    monkeypatch.setenv(weights.ENVIRONMENT, str(folder))
    return folder


def test_command_measures_stores_and_draws(run: Run, own_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for seed in range(2):
        Image.fromarray(picture(192, 256, seed)).save(tmp_path / "in" / f"{seed}.png")
    before = json.loads((own_folder / "manifest.json").read_text())
    blob = (own_folder / "gic1-tiny.safetensors").read_bytes()
    ran = run("tune-curve", tmp_path / "in", "--n", "-2,-1,0,1,2,3", "--out", tmp_path / "curve", "--store", "--json")
    assert ran.code == 0, ran.err
    record = json.loads(ran.out)
    assert record == json.loads((tmp_path / "curve" / "tune-curve.json").read_text())
    assert [p["n"] for p in record["points"]] == [3, 2, 1, 0, -1, -2]
    rates = [p["bpp"] for p in record["points"]]
    assert rates == sorted(rates)
    expected = np.mean([encode_picture(Picture(picture(192, 256, s)), EncodeOptions(n=1.0)).bpp for s in range(2)])
    assert rates[2] == pytest.approx(expected)
    assert {p.suffix for p in (tmp_path / "curve").iterdir()} == {".json", ".svg", ".png"}
    after = json.loads((own_folder / "manifest.json").read_text())
    assert (own_folder / "gic1-tiny.safetensors").read_bytes() == blob
    calibration = after["models"]["gic1-tiny"].pop("calibration")
    old = before["models"]["gic1-tiny"].pop("calibration")
    assert after == before, "nothing but the calibration changes"
    assert calibration == old | record["calibration"]
    assert calibration != old


def test_search_starts_from_the_stored_curve(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guesses = []
    search = rate_search.search
    monkeypatch.setattr(rate_search, "search", lambda *a, **k: guesses.append(a[2]) or search(*a, **k))
    rgb = Picture(picture(192, 256))
    encode_picture(rgb, EncodeOptions(bpp=0.1))
    weights.store_calibration("gic1-tiny", {"log_bpp_at_0": -9.0, "log_bpp_c2": 0.0, "log_bpp_c3": 0.0})
    encode_picture(rgb, EncodeOptions(bpp=0.1))
    assert guesses[1] < guesses[0] - 1, "a model that is said to make small files is asked for more"


def test_refusals(run: Run, own_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"nothing")
    for words, code in (((tmp_path / "x.png",), 3), ((tmp_path / "x.png", "--n", "1"), 2), (("x", "--n", "1,99"), 2)):
        ran = run("tune-curve", *words)
        assert (ran.code, len(ran.err.splitlines())) == (code, 1), ran.err
    assert run("tune-curve", tmp_path / "x.png", "--model", "nonsense").code == 4
