"""`gancodec saliency`: maps, masks and overlays as files that `encode` and people can use."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from gancodec.cli import options
from gancodec.saliency import METHODS, adaptive_mask, saliency_map
from gancodec.saliency.overlay import laid_over
from tests.conftest import Run
from tests.tiny import picture

pytest.importorskip("cv2")


@pytest.fixture
def drawing(tmp_path: Path) -> Path:
    """A bright disc on gray, 120x90."""
    y, x = np.mgrid[0:90, 0:120]
    inside = (y - 30) ** 2 + (x - 80) ** 2 < 15**2
    Image.fromarray(np.where(inside[..., None], (250, 200, 40), (90, 90, 100)).astype(np.uint8)).save(
        tmp_path / "disc.png"
    )
    return tmp_path / "disc.png"


def pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.mark.parametrize("method", ["spectral", "fine", "combined", "spectral-center", "center", "none"])
def test_a_gray_picture_of_the_map(method: str, run: Run, drawing: Path) -> None:
    ran = run("saliency", drawing, "--method", method, "--json")
    assert ran.code == 0, ran.err
    target = drawing.with_name("disc.saliency.png")
    record = json.loads(ran.out)
    assert (record["file"], record["output"], record["method"]) == (str(drawing), str(target), method)
    values = saliency_map(pixels(drawing), method)
    assert pixels(target).shape == (90, 120)
    assert np.array_equal(pixels(target), np.rint(values * 255).astype(np.uint8))
    assert record["mean"] == pytest.approx(pixels(target).mean() / 255)
    assert f"{target}: 120x90, {method}, " in ran.err


def test_the_help_names_every_method() -> None:
    assert options.METHODS.split(", ") == list(METHODS)


def test_mask_and_overlay(run: Run, drawing: Path) -> None:
    assert run("saliency", drawing, "--mask").code == 0
    values = adaptive_mask(np.rint(saliency_map(pixels(drawing)) * 255).astype(np.float32) / 255)
    mask = pixels(drawing.with_name("disc.mask.png"))
    assert np.array_equal(mask >= 128, values >= 0.5)
    assert mask[30, 80] > 128 > mask[80, 10]
    assert run("saliency", drawing, "--overlay").code == 0
    laid = pixels(drawing.with_name("disc.overlay.png"))
    assert laid.shape == (90, 120, 3)
    assert laid[30, 80].sum() > laid[80, 10].sum() + 100


def test_a_map_from_a_file(run: Run, drawing: Path, tmp_path: Path) -> None:
    gray = np.tile(np.arange(0, 240, 2, dtype=np.uint8), (90, 1))
    Image.fromarray(gray).save(tmp_path / "map.png")
    out = tmp_path / "o.png"
    assert run("saliency", drawing, "--method", f"file:{tmp_path / 'map.png'}", "-o", out).code == 0
    assert np.array_equal(pixels(out), gray)


def test_orientation_is_applied(run: Run, drawing: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(drawing) as image:
        image.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    assert run("saliency", tmp_path / "turned.jpg", "--method", "center").code == 0
    assert pixels(tmp_path / "turned.saliency.png").shape == (120, 90)


@pytest.mark.parametrize("method", ["spectral", "fine", "combined", "spectral-center", "center", "none"])
def test_odd_files(method: str, run: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    odd = {
        "1x1": Image.new("RGB", (1, 1), "red"),
        "3x5": Image.fromarray(picture(3, 5)),
        "constant": Image.new("L", (70, 50), 128),
        "gray": Image.fromarray(picture(50, 70)[..., 0]),
        "16-bit": Image.fromarray(rng.integers(0, 65536, (50, 70), dtype=np.uint16)),
        "clear": Image.new("RGBA", (70, 50), (0, 0, 0, 0)),
    }
    for name, image in odd.items():
        image.save(tmp_path / f"{name}.png")
    for words in ((), ("--mask",), ("--overlay",)):
        ran = run("saliency", tmp_path, "-d", tmp_path / "-".join(("maps", *words)), "--method", method, *words)
        assert ran.code == 0, ran.err
    for name, image in odd.items():
        assert pixels(tmp_path / "maps" / f"{name}.saliency.png").shape == image.size[::-1]
    assert pixels(tmp_path / "maps" / "16-bit.saliency.png").any() == (method != "none")


def test_folders_and_pipes(run: Run, drawing: Path, tmp_path: Path) -> None:
    ran = run("saliency", tmp_path, "-d", tmp_path / "maps")
    assert ran.code == 0, ran.err
    assert [p.name for p in (tmp_path / "maps").iterdir()] == ["disc.saliency.png"]
    piped = run("saliency", "-", stdin=drawing.read_bytes())
    assert piped.out == (tmp_path / "maps" / "disc.saliency.png").read_bytes()


def test_a_folder_is_searched_for_pictures_not_for_maps(run: Run, drawing: Path) -> None:
    for words in ((), ("--mask",), ("--overlay",), ("-f",)):
        assert run("saliency", drawing.parent, *words).code == 0
    names = {"disc.png", "disc.saliency.png", "disc.mask.png", "disc.overlay.png"}
    assert {p.name for p in drawing.parent.iterdir()} == names
    assert run("saliency", drawing.with_name("disc.mask.png")).code == 0, "named, a map is a picture like any other"


def test_what_was_dropped_on_reading_is_said(run: Run, tmp_path: Path) -> None:
    Image.fromarray(np.linspace(0, 65535, 3000).reshape(50, 60).astype(np.uint16)).save(tmp_path / "deep.png")
    ran = run("saliency", tmp_path / "deep.png", "--json")
    assert "warning: more than 8 bits per sample: reduced to 8" in ran.err
    assert json.loads(ran.out)["warnings"] == ["more than 8 bits per sample: reduced to 8"]


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("--method", "guess"), 2, "saliency guess: choose spectral"),
        (("--method", "file:absent.png"), 3, "map absent.png: "),
        (("--method", "spectral", "--saliency-model", "x"), 2, "takes no model"),
        (("-o", "map.jpg"), 2, "map.jpg: maps are written as PNG"),
    ],
)
def test_refusals_are_one_line_and_leave_no_file(
    arguments: tuple[str, ...], code: int, word: str, run: Run, drawing: Path
) -> None:
    ran = run("saliency", drawing, *arguments)
    assert (ran.code, len(ran.err.splitlines())) == (code, 1)
    assert word in ran.err
    assert [p.name for p in drawing.parent.iterdir()] == [drawing.name]


def test_existing_files_are_kept(run: Run, drawing: Path) -> None:
    target = drawing.with_name("disc.saliency.png")
    target.write_bytes(b"mine")
    assert run("saliency", drawing).code == 6
    assert run("saliency", drawing, "--skip-existing").code == 0
    assert target.read_bytes() == b"mine"
    assert run("saliency", drawing, "-f").code == 0
    assert target.read_bytes().startswith(b"\x89PNG")


def test_overlays_are_lighter_where_the_map_is_higher() -> None:
    rgb = picture(40, 256)
    values = np.tile(np.linspace(0, 1, 256, dtype=np.float32), (40, 1))
    flat = laid_over(np.full_like(rgb, 128), values).astype(int) @ (299, 587, 114)
    assert (np.diff(flat[0]) >= 0).mean() > 0.95
    assert laid_over(rgb, values).shape == rgb.shape
    assert not np.array_equal(laid_over(rgb, values), laid_over(rgb[:, ::-1], values)), "the picture shows through"
