"""Colour: what a colour-managed viewer shows of the decoded picture is what it shows of the source."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from gancodec import colour, exif, imageio
from tests.conftest import Run, needs_weights

PICTURES = Path(__file__).parent / "pictures"
Pixels = NDArray[np.uint8]
OUTPUTS = ["png", "jpeg", "webp", "tiff"]
WIDE = {  # white, red, green, blue; exponent (None: the curve of sRGB)
    "Display P3": (colour.PRIMARIES[12], None),
    "Adobe RGB": (((0.3127, 0.3290), (0.64, 0.33), (0.21, 0.71), (0.15, 0.06)), 563 / 256),
    "ProPhoto": (((0.3457, 0.3585), (0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001)), 1.8),
}
WIDE_PROFILES = {name: colour.matrix_profile(space, gamma) for name, (space, gamma) in WIDE.items()}


def cube(steps: int = 9) -> Pixels:
    """All corners and many colours between them, as a picture."""
    axis = np.linspace(0, 255, steps).astype(np.uint8)
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(steps, steps * steps, 3)


RGB = cube()


def shown(data: bytes) -> Pixels:
    """As a viewer on an sRGB screen shows a file: through the embedded profile, perceptually, by lcms."""
    with Image.open(io.BytesIO(data)) as image:
        icc = image.info.get("icc_profile")
        if icc is None:
            return np.asarray(image.convert("RGB"))
        turned = ImageCms.profileToProfile(image, io.BytesIO(icc), ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert turned is not None
    return np.asarray(turned)


def saved(image: Image.Image | Pixels, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(buffer, format, **options)
    return buffer.getvalue()


def through(data: bytes, format: str) -> bytes:
    """Read and written, without the codec."""
    buffer = io.BytesIO()
    imageio.save(imageio.load(io.BytesIO(data)), buffer, format)
    return buffer.getvalue()


def lab(rgb: Pixels) -> NDArray[np.float64]:
    """CIELAB of sRGB, for D65."""
    light = np.where(rgb / 255 <= 0.04045, rgb / 255 / 12.92, ((rgb / 255 + 0.055) / 1.055) ** 2.4)
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = light @ matrix.T / matrix.sum(1)
    root = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def difference(one: Pixels, other: Pixels) -> NDArray[np.float64]:
    """Delta E of 1976, by pixel."""
    return np.asarray(np.linalg.norm(lab(one) - lab(other), axis=-1))


# Profiles for tests, made by hand: of one gray curve, and of four inks


def profile(space: bytes, kind: bytes, connection: bytes, name: bytes, body: bytes) -> bytes:
    """ICC 2 profile with its one telling tag."""
    white = struct.pack(">4sI3i", b"XYZ ", 0, 63190, 65536, 54061)
    start = 128 + 4 + 24
    table = struct.pack(">I4sII4sII", 2, b"wtpt", start, 20, name, start + 20, len(body))
    head = struct.pack(">I4sI4s4s4s", start + 20 + len(body), b"", 0x02100000, kind, space, connection)
    head += struct.pack(">6H4s", 2024, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + table + white + body


def gray_profile(gamma: float) -> bytes:
    curve = struct.pack(">4sIIH2x", b"curv", 0, 1, round(gamma * 256))
    return profile(b"GRAY", b"mntr", b"XYZ ", b"kTRC", curve)


def ink_profile() -> bytes:
    """CMYK to Lab by a table of the 16 corners: dull inks, so that nothing looks as the plain formula has it."""
    paper, inks = np.array([95.0, 0, -2]), np.array([[55, -37, -50], [48, 74, -3], [89, -5, 93], [16, 0, 0]])
    corners = [[(i >> 3) & 1, (i >> 2) & 1, (i >> 1) & 1, i & 1] for i in range(16)]
    values = [paper * np.prod([(k / 95)[0] if on else 1 for on, k in zip(c, inks, strict=True)]) for c in corners]
    values = [v + sum((np.array([0, *k[1:]]) for on, k in zip(c, inks, strict=True) if on), np.zeros(3)) for v, c in zip(values, corners, strict=True)]  # fmt: skip # noqa: E501
    grid = [round(float(np.clip(v, 0, 255))) for x in values for v in (x[0] * 2.55, x[1] + 128, x[2] + 128)]
    ramp = bytes(range(256))
    table = struct.pack(">4sI4B9i", b"mft1", 0, 4, 3, 2, 0, *(65536 * (i % 4 == 0) for i in range(9)))
    return profile(b"CMYK", b"prtr", b"Lab ", b"A2B0", table + ramp * 4 + bytes(grid) + ramp * 3)


# Wide gamuts keep their numbers and their profile


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("name", WIDE)
def test_wide_gamuts(name: str, output: str) -> None:
    source = saved(RGB, "PNG", icc_profile=WIDE_PROFILES[name])
    assert difference(shown(source), RGB).max() > 15  # ignoring the profile would show
    error = difference(shown(through(source, output)), shown(source))
    assert error.max() == 0 if output != "jpeg" else error.mean() < 3


def test_the_profile_of_a_phone() -> None:
    source = (PICTURES / "frame_size.mpo").read_bytes()
    assert difference(shown(through(source, "png")), shown(source)).max() == 0
    with Image.open(io.BytesIO(source)) as image:
        apple = image.info["icc_profile"]
    ours, theirs = (shown(saved(RGB, "PNG", icc_profile=icc)) for icc in (WIDE_PROFILES["Display P3"], apple))
    assert difference(ours, theirs).max() < 1


@needs_weights
@pytest.mark.parametrize("name", WIDE)
def test_wide_gamuts_through_the_codec(run: Run, tmp_path: Path, name: str) -> None:
    y, x = np.mgrid[0:128, 0:192]
    rgb = np.stack([x * 255 // 191, y * 255 // 127, 255 - x * 255 // 191], -1).astype(np.uint8)
    source, coded, decoded = (tmp_path / f for f in ("source.png", "coded.gic", "decoded.png"))
    source.write_bytes(saved(rgb, "PNG", icc_profile=WIDE_PROFILES[name]))
    assert run("encode", source, "-o", coded, "--bpp", "1").code == 0
    assert run("decode", coded, "-o", decoded, "--realism", "0").code == 0
    error = difference(shown(decoded.read_bytes()), shown(source.read_bytes()))
    wrong = difference(rgb, shown(source.read_bytes()))
    assert error.mean() < 3 < wrong.mean()


# Gray and CMYK go through their profile


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.6])
@pytest.mark.parametrize("mode", ["L", "LA", "I;16", "1"])
def test_gray_with_a_curve_of_its_own(mode: str, gamma: float) -> None:
    """Against the curve itself, and against lcms as it is."""
    levels = np.arange(256, dtype=np.uint8)[None].repeat(4, 0)
    image = Image.fromarray(levels)
    if mode == "I;16":
        image = Image.fromarray(levels.astype(np.uint16) * 257)
    elif mode == "LA":
        image.putalpha(Image.fromarray(levels.T.copy().T // 2 + 100))
    elif mode == "1":
        image = image.convert("1")
    source = saved(image, "PNG", icc_profile=gray_profile(gamma))
    picture = imageio.load(io.BytesIO(source))
    stored = np.asarray(image.convert("L")) if mode == "1" else levels
    light = (stored / 255) ** gamma
    expected = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055) * 255
    assert np.abs(picture.rgb - expected[..., None]).max() <= 0.6
    assert picture.icc is None
    assert "gray with an ICC profile converted to sRGB" in picture.notices
    if mode == "LA":
        np.testing.assert_array_equal(picture.alpha, levels // 2 + 100)
    if mode == "L" and gamma > 1:  # with a gamma of 1 the tables of lcms are too coarse in the dark
        assert np.abs(shown(through(source, "png")).astype(int) - shown(source)).max() <= 2


def inks(seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (16, 16, 4), np.uint8)
    values[:2, :2] = [[[0, 0, 0, 0], [255, 0, 0, 0]], [[0, 255, 255, 0], [255, 255, 255, 255]]]
    return Image.frombytes("CMYK", (16, 16), values.tobytes())


@pytest.mark.parametrize("format", ["TIFF", "JPEG"])
def test_cmyk_with_a_profile(format: str) -> None:
    """Pillow's JPEG is Adobe's: inverted, and marked so."""
    options = {"quality": 100, "subsampling": 0} if format == "JPEG" else {}
    source = saved(inks(), format, icc_profile=ink_profile(), **options)
    picture = imageio.load(io.BytesIO(source))
    expected = shown(source)
    assert difference(picture.rgb, expected).max() == 0
    assert difference(shown(through(source, "png")), expected).max() == 0
    assert difference(np.asarray(inks().convert("RGB")), expected).mean() > 10
    assert picture.notices == ("CMYK converted to RGB",)


def test_cmyk_of_photoshop() -> None:
    """Inverted, without a profile: white paper is white, and the picture is that of its RGB twin, roughly."""
    picture = imageio.load(PICTURES / "pil_sample_cmyk.jpg")
    with Image.open(PICTURES / "pil_sample_cmyk.jpg") as image:
        ink = np.asarray(image).astype(int)
    expected = 255 - np.minimum(255, ink[..., :3] * (255 - ink[..., 3:]) / 255 + ink[..., 3:])
    assert np.abs(picture.rgb - expected).max() <= 1.5


def test_deep_cmyk_is_told() -> None:
    pixels = np.zeros((8, 8, 4), np.uint16).tobytes()
    short = {256: 8, 257: 8, 258: 16, 259: 1, 262: 5, 273: 8, 277: 4, 278: 8, 279: len(pixels)}
    tags = {tag: exif.numbers("<", exif.SHORT, *[value] * (4 if tag == 258 else 1)) for tag, value in short.items()}
    at = 8 + len(pixels)
    data = b"II*\0" + struct.pack("<I", at) + pixels + exif.write_directory(tags, at, "<")
    picture = imageio.load(io.BytesIO(data))
    assert (picture.rgb == 255).all()
    assert picture.notices == (colour.DEEP, "CMYK converted to RGB")


def test_lab() -> None:
    """Against the formulas, for D50 as TIFF has it: white, gray, and a strong red and green."""
    values = np.array([[[255, 0, 0], [128, 0, 0], [136, 70, 50], [140, 256 - 40, 30]]], np.uint8)
    image = Image.frombytes("LAB", (4, 1), values.tobytes())
    picture = imageio.load(io.BytesIO(saved(image, "TIFF")))
    wanted = values[0].astype(float)
    wanted = np.stack([wanted[:, 0] / 2.55, *(np.where(c > 127, c - 256, c) for c in (wanted[:, 1], wanted[:, 2]))], -1)
    assert np.abs(lab(picture.rgb)[0] - wanted).max() < 3  # Lab of D50 and of D65 differ a little
    assert (picture.icc, picture.notices) == (None, ("LAB converted to RGB",))


# PNG and AVIF that state their colour in other words


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    """`RGB` as PNG, with chunks before the pixels."""
    data = saved(RGB, "PNG")
    parts = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    return data[:33] + b"".join(parts) + data[33:]


def gamma_chunk(value: float) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", round(value * 100_000))


def chromaticities(space: colour.Chromaticities) -> tuple[bytes, bytes]:
    return b"cHRM", struct.pack(">8I", *(round(v * 100_000) for point in space for v in point))


SRGB_SAID = [
    [],
    [(b"sRGB", b"\0")],
    [gamma_chunk(0.45455)],
    [gamma_chunk(0.45455), chromaticities(colour.SRGB_PRIMARIES)],
    [(b"sRGB", b"\0"), gamma_chunk(1.0)],
    [(b"cICP", bytes([1, 13, 0, 1]))],
    [(b"cICP", bytes([2, 2, 0, 1]))],
]


@pytest.mark.parametrize("chunks", SRGB_SAID)
def test_srgb_in_other_words(chunks: list[tuple[bytes, bytes]]) -> None:
    picture = imageio.load(io.BytesIO(png(*chunks)))
    np.testing.assert_array_equal(picture.rgb, RGB)
    assert (picture.icc, picture.notices) == (None, ())


P3 = WIDE_PROFILES["Display P3"]
PROPHOTO = WIDE["ProPhoto"][0]
SAID = [
    ([gamma_chunk(1.0)], colour.matrix_profile(colour.SRGB_PRIMARIES, 1.0)),
    ([gamma_chunk(0.55)], colour.matrix_profile(colour.SRGB_PRIMARIES, 1 / 0.55)),
    ([gamma_chunk(0.45455), chromaticities(colour.PRIMARIES[12])], P3),
    ([chromaticities(colour.PRIMARIES[12])], P3),
    ([gamma_chunk(1 / 1.8), chromaticities(PROPHOTO)], WIDE_PROFILES["ProPhoto"]),
    ([(b"cICP", bytes([12, 13, 0, 1]))], P3),
    ([(b"cICP", bytes([12, 13, 0, 1])), (b"sRGB", b"\0")], P3),
    ([(b"cICP", bytes([9, 8, 0, 1]))], colour.matrix_profile(colour.PRIMARIES[9], 1.0)),
]


@pytest.mark.parametrize(("chunks", "meant"), SAID)
@pytest.mark.parametrize("output", ["png", "tiff"])
def test_colour_in_other_words(chunks: list[tuple[bytes, bytes]], meant: bytes, output: str) -> None:
    """Numbers stay, a profile says what the chunks said."""
    source = png(*chunks)
    np.testing.assert_array_equal(imageio.load(io.BytesIO(source)).rgb, RGB)
    expected = shown(saved(RGB, "PNG", icc_profile=meant))
    assert difference(shown(through(source, output)), expected).max() < 0.8
    assert difference(RGB, expected).max() > 5


def test_code_points_come_before_a_profile_in_png_only() -> None:
    with_profile = io.BytesIO(saved(RGB, "PNG", icc_profile=WIDE_PROFILES["Adobe RGB"]))
    data = with_profile.getvalue()
    both = data[:33] + png((b"cICP", bytes([12, 13, 0, 1])))[33 : 33 + 16] + data[33:]
    assert imageio.load(io.BytesIO(both)).icc == P3
    avif = saved(RGB, "AVIF", icc_profile=WIDE_PROFILES["Adobe RGB"])
    assert imageio.load(io.BytesIO(avif)).icc == WIDE_PROFILES["Adobe RGB"]


def avif(primaries: int, transfer: int) -> bytes:
    """`RGB` as AVIF with other code points, in the box (of the container) that readers go by."""
    data = saved(RGB, "AVIF", quality=95)
    before, box, after = data.partition(b"colrnclx")
    assert box
    return before + box + struct.pack(">HH", primaries, transfer) + after[4:]


def test_code_points_of_avif() -> None:
    assert imageio.load(io.BytesIO(avif(1, 13))).icc is None
    assert imageio.load(io.BytesIO(avif(12, 13))).icc == P3


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_told(transfer: int, name: str) -> None:
    for data in (png((b"cICP", bytes([9, transfer, 0, 1]))), avif(9, transfer)):
        notices = imageio.load(io.BytesIO(data)).notices
        assert notices == (f"HDR ({name}) is not kept as such: brightness and colours are approximate",)


@pytest.mark.parametrize(
    "chunks",
    [
        [gamma_chunk(0)],
        [gamma_chunk(20)],
        [(b"cHRM", bytes(32))],
        [(b"cHRM", struct.pack(">8I", *[33_000] * 8))],
        [gamma_chunk(0.5), (b"cHRM", b"\xff" * 32)],
        [(b"cICP", b"\1")],
    ],
)
def test_colour_that_makes_no_sense(chunks: list[tuple[bytes, bytes]]) -> None:
    picture = imageio.load(io.BytesIO(png(*chunks)))
    np.testing.assert_array_equal(picture.rgb, RGB)
    assert picture.icc is None
    assert set(picture.notices) <= {"colour space of the file makes no sense: taken for sRGB"}


def test_profiles_are_read_by_lcms() -> None:
    """Name, size, white point and primaries, as a reader of ICC sees them."""
    for icc in WIDE_PROFILES.values():
        read = ImageCms.ImageCmsProfile(io.BytesIO(icc)).profile
        assert read.xcolor_space.strip() == "RGB"
        assert read.is_matrix_shaper
        assert read.profile_description == "RGB as the source file states it"
        assert read.red_colorant is not None
        assert int.from_bytes(icc[:4], "big") == len(icc)
        red, green, blue = (np.array(v[0]) for v in (read.red_colorant, read.green_colorant, read.blue_colorant))
        np.testing.assert_allclose(red + green + blue, colour.D50, atol=2e-4)
