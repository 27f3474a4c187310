"""Gray pictures: told from near-gray ones, coded with a flag, and shown with one channel at every rate and realism."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

import gancodec
from gancodec import container, imageio, pillow_plugin
from gancodec.codec import DecodeOptions, EncodeOptions, decode_bytes, encode_picture
from gancodec.container import spec
from gancodec.models.inference import Network, load_network
from gancodec.tiling import Area, View
from gancodec.types import Picture, is_gray
from gancodec.weights import get
from tests.conftest import Run, needs_weights


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch, tiny_folder: Path) -> None:
    monkeypatch.setenv("GANCODEC_WEIGHTS", str(tiny_folder))


def gray_pixels(height: int = 40, width: int = 70) -> np.ndarray:
    values = np.add.outer(np.arange(height) * 3, np.arange(width) * 2).astype(np.uint8)
    return np.dstack([values] * 3)


def flagged(data: bytes) -> bool:
    return bool(container.read(data).header.flags & spec.FLAG_GRAY)


def with_flags(data: bytes, flags: int) -> bytes:
    """The file with other flags in its header."""
    parsed = container.read(data)
    header = container.Header(**{**vars(parsed.header), "flags": flags})
    return container.write(container.Container(**{**vars(parsed), "header": header}))


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_one_level_in_one_pixel_is_a_colour(channel: int) -> None:
    pixels = gray_pixels()
    assert is_gray(pixels)
    pixels[-1, -1, channel] ^= 1
    assert not is_gray(pixels)
    assert not flagged(encode_picture(Picture(pixels), EncodeOptions(n=0.0)).data)


def test_a_sepia_tone_survives() -> None:
    """A neutral picture with a tint of a level: not gray, so its file has no flag and it decodes as RGB."""
    pixels = gray_pixels()
    pixels[..., 2] = np.maximum(pixels[..., 2], 1) - 1
    image = gancodec.decode(gancodec.encode(Image.fromarray(pixels), n=0.0))
    assert image.mode == "RGB"


@needs_weights
@pytest.mark.parametrize("n", [-2.0, 3.0])
@pytest.mark.parametrize(
    ("model", "realism"),
    [("gic1-small-2", 0.0), ("gic1-small-2", 0.5), ("gic1-small-2", 1.0), ("gic1-small", None), ("wu2019-small", None)],
)
def test_a_gray_picture_decodes_to_its_luma(
    model: str, n: float, realism: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Luma of BT.601 of what the generator makes: compared with the same file without the flag."""
    monkeypatch.delenv("GANCODEC_WEIGHTS")
    data = encode_picture(Picture(gray_pixels()), EncodeOptions(n=n, model=model)).data
    assert flagged(data)
    other = with_flags(data, container.read(data).header.flags & ~spec.FLAG_GRAY)
    gray, plain = (decode_bytes(file, DecodeOptions(realism=realism)) for file in (data, other))
    assert (gray.gray, plain.gray) == (True, False)
    assert is_gray(gray.rgb)
    assert not is_gray(plain.rgb)  # or this test could not fail
    inside = ((plain.rgb > 0) & (plain.rgb < 255)).all(2)  # where nothing was clipped
    luma = plain.rgb.astype(float) @ [0.299, 0.587, 0.114]
    assert inside.sum() > 100
    assert np.abs(luma - gray.rgb[..., 0])[inside].max() <= 1.0


def test_the_luma_is_taken_before_clipping_and_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = torch.zeros(1, 3, 64, 64)
    pixels[0, :, 0, :2] = torch.tensor([[1.4, 0.2, -0.7], [0.5, 0.5021, 0.4979]]).T

    def generator(self: Network, realism: float, reduce: int = 1) -> object:
        return lambda planes, place: pixels

    network = load_network(get(None), "cpu")
    monkeypatch.setattr(type(network), "_generator", generator)
    geometry = Picture(gray_pixels(64, 64)).geometry
    out = network.synthesise(lambda area: (), geometry, 0.0, View(Area(0, 1, 0, 2), 1), None, True)
    expected = [1.4 * 0.299 + 0.2 * 0.587 - 0.7 * 0.114, 0.5 * 0.299 + 0.5021 * 0.587 + 0.4979 * 0.114]
    assert out.shape == (1, 2, 3)
    assert out[0].tolist() == [[round(255 * value)] * 3 for value in expected]


@pytest.mark.parametrize(
    ("alpha", "profile", "mode"),
    [(False, False, "L"), (True, False, "LA"), (False, True, "RGB"), (True, True, "RGBA")],
)
def test_every_way_out_has_one_channel_but_for_rgb_profiles(
    alpha: bool, profile: bool, mode: str, run: Run, tmp_path: Path
) -> None:
    image = Image.fromarray(gray_pixels()[..., 0])
    if alpha:
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() if profile else None
    image.convert(mode).save(tmp_path / "in.png", icc_profile=icc)
    run("encode", tmp_path / "in.png", "-o", tmp_path / "x.gic", "--n", "0")
    data = (tmp_path / "x.gic").read_bytes()
    decoded = gancodec.decode(data)
    assert decoded.mode == mode
    pillow_plugin.register()
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.mode == mode
        assert opened.tobytes() == decoded.tobytes()
    for suffix, modes in {"png": mode, "tif": mode, "jpg": mode.removesuffix("A"), "webp": "RGB" + "A" * alpha}.items():
        assert run("decode", tmp_path / "x.gic", "-o", tmp_path / f"out.{suffix}").code == 0
        with Image.open(tmp_path / f"out.{suffix}") as written:
            assert written.mode == modes
            if suffix != "jpg":
                assert np.array_equal(np.asarray(written.convert("RGBA")), np.asarray(decoded.convert("RGBA")))
            else:
                assert is_gray(np.asarray(written.convert("RGB")))


def test_parts_and_thumbnails_are_gray_too() -> None:
    data = encode_picture(Picture(gray_pixels(130, 150)), EncodeOptions(n=0.0)).data
    whole = decode_bytes(data)
    part = decode_bytes(data, DecodeOptions(region=(10, 20, 30, 40)))
    small = decode_bytes(data, DecodeOptions(reduce=4))
    assert np.array_equal(part.rgb, whole.rgb[20:60, 10:40])
    assert [imageio.to_image(p).mode for p in (part, small)] == ["L", "L"]
    assert is_gray(small.rgb)


@pytest.mark.parametrize(
    ("mode", "alpha"),
    [
        ("1", False),
        ("L", False),
        ("LA", True),
        ("I;16", False),
        ("F", False),
        ("P", False),
        ("RGB", False),
        ("RGBA", True),
    ],
)
def test_gray_of_every_mode_is_told(mode: str, alpha: bool) -> None:
    image = Image.fromarray(gray_pixels()[..., 0])
    if alpha:
        image = image.convert("LA")
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    image = image.convert("I").convert(mode) if mode == "I;16" else image.convert(mode)
    data = gancodec.encode(image, n=0.0)
    assert flagged(data)
    assert gancodec.decode(data).mode == ("LA" if alpha else "L")


def test_colour_files_are_what_they_were() -> None:
    pixels = gray_pixels()
    pixels[..., 0] //= 2
    data = encode_picture(Picture(pixels), EncodeOptions(n=0.0)).data
    assert container.read(data).header.flags == 0
    assert not decode_bytes(data).gray


def test_info_and_the_command_tell(run: Run, tmp_path: Path) -> None:
    Image.fromarray(gray_pixels()[..., 0]).save(tmp_path / "in.png")
    run("encode", tmp_path / "in.png", "--n", "0")
    assert b'"gray": true' in run("info", tmp_path / "in.gic", "--json").out
    assert b"gray" in run("info", tmp_path / "in.gic").out
