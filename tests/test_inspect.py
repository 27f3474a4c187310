"""`gancodec inspect`: pictures of what the codec did, and bits that add up."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gancodec import container, weights
from gancodec.codec import (
    Box,
    DecodeOptions,
    EncodeOptions,
    decode_bytes,
    encode_picture,
    read_allocation,
    read_symbols,
)
from gancodec.evaluate.inspect import look
from gancodec.types import Picture
from tests.conftest import Ran, Run, needs_weights
from tests.tiny import picture

PANELS = {"original", "saliency", "importance", "bits", "decoded", "error", "inspect"}


@pytest.fixture
def go(run: Run, monkeypatch: pytest.MonkeyPatch, tiny_folder: Path) -> Run:
    """`gancodec inspect ...`, with the tiny model."""
    monkeypatch.setenv(weights.ENVIRONMENT, str(tiny_folder))
    return lambda *arguments: run("inspect", *arguments)


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def encoded(rgb: np.ndarray, entropy: str = "range", n: float = 0.0) -> bytes:
    return encode_picture(Picture(rgb), EncodeOptions(n=n, entropy=entropy)).data


@pytest.mark.parametrize("entropy", ["range", "huffman"])
@pytest.mark.parametrize(("height", "width"), [(192, 256), (70, 130), (1, 1)])
def test_bits_add_up_to_the_file(
    entropy: str, height: int, width: int, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(weights.ENVIRONMENT, str(tiny_folder))
    data = encoded(picture(height, width), entropy)
    found = read_allocation(data)
    bits, importance = found.bits.values, found.maps[0].plane.values
    assert bits.shape == importance.shape == (-(-height // 64), -(-width // 64))
    assert bits.min() >= 0
    assert bits.sum() == pytest.approx(8 * len(container.read(data).image), rel=1e-9)
    shift = container.read(data).header.level_shift
    np.testing.assert_allclose(importance * 511, read_symbols(data).levels * 16 + shift)


@needs_weights
def test_bits_are_where_the_picture_is() -> None:
    """Noise in one corner of a flat picture: its block costs the most."""
    rgb = np.full((192, 256, 3), 128, np.uint8)
    rgb[:64, 192:] = np.random.default_rng(0).integers(0, 256, (64, 64, 3))
    bits = read_allocation(encoded(rgb, n=-4)).bits.values
    assert np.unravel_index(bits.argmax(), bits.shape) == (0, 3)
    assert bits[0, 3] > 2 * np.median(bits)


def test_a_picture(go: Run, tmp_path: Path) -> None:
    Image.fromarray(picture(150, 200)).save(tmp_path / "photo.png")
    ran: Ran = go(tmp_path / "photo.png", "--n", "0", "--json")
    assert ran.code == 0, ran.err
    record = json.loads(ran.out)
    folder = tmp_path / "photo-inspect"
    assert {p.stem for p in folder.iterdir()} == PANELS
    assert sorted(map(Path, record["output"])) == sorted(folder.iterdir())
    assert record["bpp"] == 8 * record["bytes"] / (150 * 200)
    assert record["bits_per_block_max"] >= record["bits_per_block_min"] > 0
    for name in PANELS - {"inspect"}:
        assert pixels(folder / f"{name}.png").shape == (150, 200, 3), name
    assert np.array_equal(pixels(folder / "original.png"), picture(150, 200))
    assert len(np.unique(pixels(folder / "bits.png").reshape(-1, 3), axis=0)) <= 3 * 4


def test_saliency_and_regions_move_the_bits_that_are_shown(go: Run, tmp_path: Path) -> None:
    Image.fromarray(picture(256, 320)).save(tmp_path / "photo.png")
    asked = ("--saliency", "center", "--saliency-strength", "2", "--roi-box", "0,0,64,64")
    facts = {}
    for name, words in {"plain": (), "shown": (*asked[:2], "--saliency-strength", "0"), "used": asked}.items():
        ran = go(tmp_path / "photo.png", "--n", "0", "--json", "--out", tmp_path / name, *words)
        assert ran.code == 0, ran.err
        facts[name] = json.loads(ran.out)
    assert facts["shown"]["coded_bits"] == facts["plain"]["coded_bits"] != facts["used"]["coded_bits"]
    assert [facts[name]["saliency"] for name in facts] == ["combined", "center", "center"]
    assert {p.stem for p in (tmp_path / "used").iterdir()} == PANELS | {"region"}
    assert np.array_equal(pixels(tmp_path / "used" / "saliency.png"), pixels(tmp_path / "shown" / "saliency.png"))
    assert len(np.unique(pixels(tmp_path / "used" / "region.png").reshape(-1, 3), axis=0)) == 2


def test_saliency_stands_beside_the_bits(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(weights.ENVIRONMENT, str(tiny_folder))
    seen = look.at_picture(Picture(picture(100, 140)), EncodeOptions(n=0.0), DecodeOptions())
    assert list(seen.panels) == ["original", "saliency", "bits", "importance", "decoded", "error"]
    boxed = EncodeOptions(n=0.0, roi_boxes=((0, 0, 9, 9),))
    seen = look.at_picture(Picture(picture(100, 140)), boxed, DecodeOptions())
    assert list(seen.panels) == ["original", "saliency", "bits", "region", "importance", "decoded", "error"]


def test_the_file_is_the_one_that_encode_writes(
    go: Run, run: Run, tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Maps are made once; one of them can be read only once, as of a shell's <(...)."""
    monkeypatch.setenv(weights.ENVIRONMENT, str(tiny_folder))
    rgb = picture(100, 140)
    Image.fromarray(rgb).save(tmp_path / "photo.png")
    Image.fromarray(rgb[..., 0]).save(tmp_path / "map.png")
    asked = EncodeOptions(n=0.3, saliency="center", saliency_strength=3.0, roi=tmp_path / "map.png")
    expected = encode_picture(Picture(rgb), asked)
    seen = []
    monkeypatch.setattr(look, "decode_bytes", lambda data, options: (seen.append(data), decode_bytes(data, options))[1])
    os.mkfifo(tmp_path / "pipe")
    feeder = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes((tmp_path / "map.png").read_bytes()))
    feeder.start()
    words = ("--n", "0.3", "--saliency", "center", "--saliency-strength", "3", "--roi", tmp_path / "pipe")
    ran = go(tmp_path / "photo.png", *words)
    feeder.join(10)
    assert ran.code == 0, ran.err
    assert seen == [expected.data]


def test_a_file_with_and_without_its_original(go: Run, tmp_path: Path, tiny_folder: Path) -> None:
    rgb = picture(150, 200)
    Image.fromarray(rgb).save(tmp_path / "photo.png")
    (tmp_path / "x.gic").write_bytes(encoded(rgb))
    alone = go(tmp_path / "x.gic", "--out", tmp_path / "a")
    assert alone.code == 0, alone.err
    assert {p.stem for p in (tmp_path / "a").iterdir()} == PANELS - {"original", "error"}
    both = go(tmp_path / "x.gic", "--original", tmp_path / "photo.png", "--out", tmp_path / "b")
    assert both.code == 0, both.err
    assert {p.stem for p in (tmp_path / "b").iterdir()} == PANELS
    assert b"PSNR" in both.out
    other = go(tmp_path / "x.gic", "--saliency", "center", "--out", tmp_path / "c")
    assert other.code == 0, other.err
    assert not np.array_equal(pixels(tmp_path / "c" / "saliency.png"), pixels(tmp_path / "a" / "saliency.png"))
    assert b"PSNR" not in alone.out


def test_a_file_of_the_split_codec(go: Run, tmp_path: Path) -> None:
    rgb = picture(100, 150)
    asked = EncodeOptions(profile="split", factor=8, roi_boxes=(Box(16, 32, 48, 16),))
    (tmp_path / "x.gic").write_bytes(encode_picture(Picture(rgb), asked).data)
    Image.fromarray(rgb).save(tmp_path / "photo.png")
    ran = go(tmp_path / "x.gic", "--original", tmp_path / "photo.png", "--json")
    assert ran.code == 0, ran.err
    record = json.loads(ran.out)
    assert (record["factor"], record["kept_share"]) == (8, pytest.approx(3 / 70))
    folder = tmp_path / "x-inspect"
    assert {p.stem for p in folder.iterdir()} == PANELS - {"importance", "bits"} | {"kept"}
    kept = pixels(folder / "kept.png")
    assert kept.shape == (100, 150, 3)
    inside = (kept == kept[40, 30]).all(2)
    assert inside[32:48, 16:64].all()
    assert inside.sum() == 48 * 16
    again = go(tmp_path / "x.gic", "-f")
    assert b"4 % at full resolution, the rest shrunk by 8" in again.out


@pytest.mark.parametrize("words", ["", "--roi-box 16,32,48,16 --size 2kB --strip all"])
def test_a_picture_with_the_split_codec(go: Run, run: Run, tmp_path: Path, words: str) -> None:
    photo = tmp_path / "photo.png"
    Image.fromarray(picture(100, 150)).save(photo)
    asked = ("--profile", "split", "--factor", "8", *words.split())
    ran = go(photo, *asked, "--json")
    assert ran.code == 0, ran.err
    assert run("encode", photo, *asked).code == 0
    record = json.loads(ran.out)
    assert (record["factor"], record["bytes"]) == (8, photo.with_suffix(".gic").stat().st_size)
    assert record["kept_share"] > 0


def test_refusals(go: Run, tmp_path: Path, tiny_folder: Path) -> None:
    (tmp_path / "x.gic").write_bytes(encoded(picture(64, 64)))
    Image.fromarray(picture(80, 80)).save(tmp_path / "other.png")
    (tmp_path / "broken.gic").write_bytes((tmp_path / "x.gic").read_bytes()[:-3])
    cases = [
        ((tmp_path / "missing.png",), 3, "no such file"),
        ((tmp_path / "broken.gic",), 3, ""),
        ((tmp_path / "x.gic", "--bpp", "1"), 2, "encoded already"),
        ((tmp_path / "x.gic", "--original", tmp_path / "other.png"), 1, "the original is 80x80, the file 64x64"),
        ((tmp_path / "other.png", "--original", tmp_path / "other.png"), 2, "--original is for .gic files"),
        ((tmp_path / "other.png", "--bpp", "1", "--n", "1"), 2, "exclude each other"),
        ((tmp_path / "other.png", "--saliency", "x"), 2, "saliency x"),
        ((tmp_path / "x.gic", "--roi-box", "0,0,5,5"), 2, "takes --saliency alone"),
        ((tmp_path / "x.gic", "--protect", "text"), 2, "takes --saliency alone"),
        ((tmp_path / "other.png", "--roi-box", "80,0,5,5"), 2, "lies outside of the picture"),
        (("-",), 2, "use --out DIR"),
    ]
    for words, code, message in cases:
        ran = go(*words)
        assert (ran.code, len(ran.err.splitlines())) == (code, 1), ran.err
        assert message in ran.err
    assert not [p for p in tmp_path.iterdir() if p.is_dir()], "no half of a result"
