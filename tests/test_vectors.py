"""The conformance set: every symbol as released, pixels within their bounds. See tests/vectors/README.md."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gancodec import weights
from gancodec.codec import decode_bytes
from gancodec.errors import GicError
from gancodec.models.config import MODELS
from gancodec.train.freeze import install
from tests.tiny import tiny_weights
from tools import make_vectors

VECTORS = Path(__file__).parent / "vectors"
RELEASED = sorted(VECTORS.glob("*/*.gic"))
SOME = ["pixel", "odd", "alpha", "metadata"]


def load(path: Path) -> tuple[bytes, dict[str, Any]]:
    return path.read_bytes(), json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))


def check_symbols(data: bytes, record: dict[str, Any]) -> None:
    expected = {key: value for key, value in record.items() if key != "pixels"}
    assert make_vectors.describe(data) == expected


def check_pixels(rgb: np.ndarray, expected: np.ndarray, record: dict[str, Any]) -> None:
    pixels = record["pixels"]
    assert (pixels["cell"], pixels["unit"]) == (make_vectors.CELL, make_vectors.UNIT)
    found = make_vectors.pixel_errors(rgb, expected, np.array(pixels["means"]))
    for name, bound in pixels["bounds"].items():
        assert found[name] <= bound, f"{name} {found[name]:.3f}, bound {bound}"


def png(path: Path) -> np.ndarray:
    with Image.open(path.with_suffix(".png")) as image:
        return np.asarray(image.convert("RGB"))


def test_there_are_vectors() -> None:
    assert len(RELEASED) >= 10, "released vectors stay: none may be taken away"


def test_every_vector_is_whole() -> None:
    for path in (p for folder in VECTORS.iterdir() if folder.is_dir() for p in folder.iterdir()):
        assert all(path.with_suffix(f".{kind}").is_file() for kind in ("gic", "json", "png")), path.name


@pytest.mark.parametrize("path", RELEASED, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_symbols_are_exact(path: Path) -> None:
    check_symbols(*load(path))


@pytest.mark.parametrize("path", RELEASED, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_pixels_are_within_bounds(path: Path) -> None:
    data, record = load(path)
    check_pixels(decode_bytes(data).rgb, png(path), record)


# --- the maker and the checks themselves, with the tiny model


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("weights")
    install(tiny_weights(), MODELS["gic1-tiny"], folder, {"description": "seeded, for tests"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(weights.ENVIRONMENT, str(folder))
        vectors = tmp_path_factory.mktemp("vectors") / "v1"
        make_vectors.write_all(vectors, SOME)
        yield vectors


@pytest.mark.parametrize("name", SOME)
def test_fresh_vectors_pass(made: Path, name: str) -> None:
    path = made / f"{name}.gic"
    data, record = load(path)
    check_symbols(data, record)
    check_pixels(decode_bytes(data).rgb, png(path), record)
    assert make_vectors.CASES[name].holds(record)


def test_any_changed_symbol_fails(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, record = load(made / "odd.gic")
    true = make_vectors.read_symbols(data)
    for field in true._fields:
        changed = copy.deepcopy(true)
        getattr(changed, field).flat[-1] += 1
        monkeypatch.setattr(make_vectors, "read_symbols", lambda _, changed=changed: changed)
        with pytest.raises(AssertionError):
            check_symbols(data, record)


def test_wrong_pixels_fail(made: Path) -> None:
    path = made / "odd.gic"
    data, record = load(path)
    rgb, expected = decode_bytes(data).rgb, png(path)
    spot = rgb.copy()
    spot[5, 5, 0] ^= 0x40
    for wrong in (255 - rgb, np.roll(rgb, 3, 1), np.where(rgb > 250, rgb - 2, rgb + 2).astype(np.uint8), spot):
        with pytest.raises(AssertionError):
            check_pixels(wrong, expected, record)
    rng = np.random.default_rng(0)
    noise = (rng.random(rgb.shape) < 0.01).astype(np.int64)  # what rounding elsewhere does
    check_pixels(np.clip(rgb + noise, 0, 255).astype(np.uint8), expected, record)


def test_released_vectors_are_never_made_again(made: Path) -> None:
    before = {path: path.read_bytes() for path in made.iterdir()}
    with pytest.raises(GicError, match="never made again"):
        make_vectors.write_all(made, ["flat", "pixel"])
    assert {path: path.read_bytes() for path in made.iterdir()} == before


def test_a_model_that_is_not_installed_fails(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(weights.ENVIRONMENT, str(tmp_path))
    with pytest.raises(GicError):
        check_symbols(*load(made / "pixel.gic"))
