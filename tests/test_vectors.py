"""The conformance set: all that is coded as released, pixels within their bounds. See tests/vectors/README.md."""

from __future__ import annotations

import copy
import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gancodec import container, weights
from gancodec.codec import decode_bytes
from gancodec.container import spec
from gancodec.errors import GicError
from gancodec.models.gic2.codec import Gic2Codec
from gancodec.models.gic2.inference import Gic2Network
from gancodec.models.gic2.symbols import Symbols
from gancodec.models.registry import MODELS
from gancodec.models.split import codec as split
from gancodec.models.stream import Frame
from gancodec.train.freeze import install
from gancodec.types import per_site
from tests.test_split import cells_of, enlarged, grown, parts_of, shrunk
from tests.tiny import tiny_weights
from tools import make_vectors

VECTORS = Path(__file__).parent / "vectors"
RELEASED = sorted(VECTORS.glob("*/*.gic"))
SPLIT = sorted(VECTORS.glob("*-split/*.gic"))
SYMBOLS = [path for path in RELEASED if path not in SPLIT]
TILED = sorted(VECTORS.glob("*-tiles/*.gic"))
SLICED = sorted(VECTORS.glob("*-gic2-*/*.gic"))
SOME = ["pixel", "odd", "alpha", "metadata"]


@pytest.fixture(autouse=True)
def weights_beside(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors whose weights are in their folder are read with these."""
    path = getattr(request.node, "callspec", None) and request.node.callspec.params.get("path")
    if path and (path.parent / "manifest.json").is_file():
        monkeypatch.setenv(weights.ENVIRONMENT, str(path.parent))


def load(path: Path) -> tuple[bytes, dict[str, Any]]:
    return path.read_bytes(), json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))


def check_coded(data: bytes, record: dict[str, Any]) -> None:
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
    assert len(SYMBOLS) >= 10, "released vectors stay: none may be taken away"
    assert len(SPLIT) >= 5, "those of the split codec too"
    assert len(TILED) >= 3, "and those in tiles"
    assert len(list(VECTORS.glob("*-wu2019-*/*.gic"))) >= 7, "and those of the wu2019 codec"
    assert len(SLICED) >= 15, "and those of codec 6"


def test_every_vector_is_whole() -> None:
    model = ("manifest.json", "gic2-tiny.safetensors")
    for path in (p for p in VECTORS.glob("*/*") if p.name not in model):
        assert all(path.with_suffix(f".{kind}").is_file() for kind in ("gic", "json", "png")), path.name


@pytest.mark.parametrize("path", SYMBOLS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_symbols_are_exact(path: Path) -> None:
    check_coded(*load(path))
    assert "symbols" in load(path)[1]


@pytest.mark.parametrize("path", SPLIT, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_cells_and_streams_are_exact(path: Path) -> None:
    check_coded(*load(path))
    assert {"factor", "cells", "streams"} <= set(load(path)[1])


@pytest.mark.parametrize("path", RELEASED, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_pixels_are_within_bounds(path: Path) -> None:
    data, record = load(path)
    check_pixels(make_vectors.decoded(data, record), png(path), record)


# --- split files, by another decoder


def by_the_words(data: bytes, added: bool = True) -> np.ndarray:
    """Picture of a split file by the words of docs/format.md, in real numbers but for libwebp; `added`: T = s + R."""
    parsed = container.read(data)
    shift, _, *streams = parts_of(parsed.image)
    cells, factor = cells_of(data), 1 << shift
    layers = []
    for stream, keep, side in zip(streams, (cells, ~cells), (16, 16 // factor), strict=True):
        kept = keep.repeat(side, 0).repeat(side, 1)
        layer = np.zeros((*kept.shape, 3))
        if stream:
            rows, columns = np.flatnonzero(kept.any(1)), np.flatnonzero(kept.any(0))
            layer[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = webp_pixels(stream)
        layers.append(layer * kept[..., None])
    salient, rest = layers
    whole = enlarged(shrunk(salient, factor) + rest if added else rest, factor)
    joined = np.where(grown(cells)[..., None], salient, whole)
    return joined[: parsed.header.height, : parsed.header.width].astype(np.uint8)


def webp_pixels(stream: bytes) -> np.ndarray:
    kind = b"VP8L" if stream[0] == 0x2F else b"VP8 "
    chunk = b"WEBP" + kind + len(stream).to_bytes(4, "little") + stream + bytes(len(stream) % 2)
    with Image.open(io.BytesIO(b"RIFF" + len(chunk).to_bytes(4, "little") + chunk)) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("path", SPLIT, ids=lambda p: p.stem)
def test_another_decoder_is_within_the_bounds(path: Path) -> None:
    """One that enlarges in real numbers is; one without the paper's step against stitching artifacts is not."""
    data, record = load(path)
    check_pixels(by_the_words(data), png(path), record)
    if None not in record["streams"].values():
        with pytest.raises(AssertionError):
            check_pixels(by_the_words(data, added=False), png(path), record)


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
    check_coded(data, record)
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
            check_coded(data, record)


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
        check_coded(*load(made / "pixel.gic"))


# --- the same of split files, which need no model


def test_fresh_split_vectors_pass_and_stay(tmp_path: Path) -> None:
    cases = make_vectors.SPLIT_CASES
    make_vectors.write_all(tmp_path, list(cases), "split")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(before) == 3 * len(cases)
    for name, case in cases.items():
        data, record = load(tmp_path / f"{name}.gic")
        check_coded(data, record)
        check_pixels(decode_bytes(data).rgb, png(tmp_path / f"{name}.gic"), record)
        assert case.holds(record)
    with pytest.raises(GicError, match="never made again: odd"):
        make_vectors.write_all(tmp_path, ["odd"], "split")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("path", SPLIT, ids=lambda p: p.stem)
def test_any_changed_cell_or_factor_fails(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, record = load(path)
    cells, factor = split.read_cells(data)
    other = cells.copy()
    other[-1, -1] ^= True
    for changed in ((other, factor), (cells.T, factor), (cells, factor * 2)):
        monkeypatch.setattr(split, "read_cells", lambda _, changed=changed: changed)
        with pytest.raises(AssertionError):
            check_coded(data, record)


def test_wrong_pixels_of_split_files_fail() -> None:
    for path in SPLIT:
        data, record = load(path)
        rgb = decode_bytes(data).rgb
        spot = rgb.copy()
        spot[5, 5, 0] ^= 0x40
        for wrong in (np.roll(rgb, 1, 1), np.where(rgb > 250, rgb - 2, rgb + 2).astype(np.uint8), spot):
            with pytest.raises(AssertionError):
                check_pixels(wrong, png(path), record)


# --- files in slices, whose weights are beside them


def test_vectors_in_slices_show_what_there_is() -> None:
    """All that a stream of codec 6 has: each coder with slices, tiles and cuts, row 0 and channels that are off, every
    pass of the hyper-latents, levels of all kinds."""
    found = {
        (record["header"]["coder"], record["slices"]["of"] > 1, "tiles" in record, "cut" in record)
        for record in records()
    }
    for coder in (spec.CODER_RANGE, spec.CODER_HUFFMAN):
        assert {(coder, False, False, False), (coder, True, False, False), (coder, True, True, False)} <= found
    assert {(tiled, cut) for _, _, tiled, cut in found} == set(itertools.product((False, True), repeat=2))
    assert max(record["slices"]["of"] for record in records()) >= 6


def records() -> list[dict[str, Any]]:
    return [load(path)[1] for path in SLICED]


@pytest.mark.parametrize("path", SLICED, ids=lambda p: p.stem)
def test_any_changed_symbol_of_slices_fails(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, record = load(path)
    true = Gic2Codec.symbols
    for field in ("levels", "hyper", "latents"):

        def wrong(codec: Gic2Codec, parsed: container.Container, field: str = field) -> Symbols:
            symbols = true(codec, parsed)
            changed = getattr(symbols, field).copy()
            changed.flat[-1] += 1
            return symbols._replace(**{field: changed})

        monkeypatch.setattr(Gic2Codec, "symbols", wrong)
        with pytest.raises(AssertionError):
            check_coded(data, record)


@pytest.mark.parametrize("path", [p for p in SLICED if p.stem in ("photo", "tiles")], ids=lambda p: p.stem)
def test_means_and_levels_are_in_the_pixels(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that leaves out the means, or takes the position of another level, is outside the bounds."""
    data, record = load(path)
    latents, planes = Gic2Network.latents, Gic2Codec.planes

    def without(network: Gic2Network, hyper: Any, gain: Any, symbols: Any) -> Any:
        return np.ascontiguousarray(symbols / per_site(gain).transpose(2, 0, 1), np.float32)

    def shifted(codec: Gic2Codec, symbols: Symbols, frame: Frame) -> Any:
        latent, position = planes(codec, symbols, frame)
        return latent, position._replace(values=1 - position.values)

    for owner, name, wrong, right in (
        (Gic2Network, "latents", without, latents),
        (Gic2Codec, "planes", shifted, planes),
    ):
        monkeypatch.setattr(owner, name, wrong)
        with pytest.raises(AssertionError):
            check_pixels(make_vectors.decoded(data, record), png(path), record)
        monkeypatch.setattr(owner, name, right)
    check_pixels(make_vectors.decoded(data, record), png(path), record)
