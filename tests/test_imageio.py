"""Picture files in and out: formats, modes, orientations; what cannot be kept is told; damage is one clear line."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo

from gancodec import colour, imageio
from gancodec import exif as exif_bytes
from gancodec.cli import decode
from gancodec.container import spec
from gancodec.errors import UnreadablePicture, UsageError
from gancodec.formats.facts import Facts
from gancodec.imageio import reading
from gancodec.types import Picture

Pixels = NDArray[np.uint8]
FORMATS = ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF"]
OUTPUTS = ["png", "jpeg", "webp", "tiff"]
ORIENTATION, MAKE, CAMERA, TAKEN = 0x0112, 0x010F, 0x8769, 0x9003
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">\xc3\xa9</x:xmpmeta>'


def gradient(height: int = 24, width: int = 40) -> Pixels:
    """Smooth, and different in every direction."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, 255 - (x + y) * 255 // (width + height)], -1).astype(np.uint8)


RGB = gradient()


def saved(image: Image.Image | Pixels, format: str, **options: Any) -> io.BytesIO:
    buffer = io.BytesIO()
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(buffer, format, **options)
    buffer.seek(0)
    return buffer


def load(image: Image.Image | Pixels, format: str = "PNG", **options: Any) -> Picture:
    return imageio.load(saved(image, format, **options))


def png(colour: int, depth: int, width: int, rows: bytes, *extra: tuple[bytes, bytes]) -> io.BytesIO:
    """A PNG of one row, for what Pillow cannot write."""
    header = struct.pack(">IIBBBBB", width, 1, depth, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(b"\0" + rows)), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    ]
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def exif(orientation: int | None = 1) -> Image.Exif:
    tags = Image.Exif()
    tags[MAKE] = "Maker"
    tags[CAMERA] = {TAKEN: "2024:05:06 07:08:09"}
    if orientation is not None:
        tags[ORIENTATION] = orientation
    return tags_of(tags.tobytes())


def tags_of(data: bytes | None) -> Image.Exif:
    assert data is not None
    tags = Image.Exif()
    tags.load(data)
    return tags


# Reading


@pytest.mark.parametrize("format", FORMATS)
def test_formats(format: str) -> None:
    picture = load(RGB, format, **({"quality": 95} if format in ("JPEG", "AVIF") else {}))
    lossy = {"JPEG": 6, "WEBP": 12, "AVIF": 6, "GIF": 12}
    error = np.abs(picture.rgb.astype(int) - RGB)
    assert error.mean() <= lossy.get(format, 0)
    assert picture.rgb.dtype == np.uint8
    assert picture.rgb.flags["C_CONTIGUOUS"]
    assert (picture.alpha, picture.icc, picture.exif, picture.xmp, picture.notices) == (None, None, None, None, ())


def test_from_path(tmp_path: Path) -> None:
    path = tmp_path / "photo"  # the contents count, not the name
    path.write_bytes(saved(RGB, "PNG").getvalue())
    np.testing.assert_array_equal(imageio.load(path).rgb, RGB)
    np.testing.assert_array_equal(imageio.load(str(path)).rgb, RGB)


def test_mpo_is_a_photo() -> None:
    second = Image.fromarray(RGB[:12, :20])
    picture = load(RGB, "MPO", save_all=True, append_images=[second])
    assert picture.rgb.shape == RGB.shape
    assert picture.notices == ("only the first of 2 pictures is kept",)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF", "JPEG", "AVIF"])
def test_orientation_is_applied_and_reset(format: str, orientation: int) -> None:
    # Orientation n tells the viewer to undo this.
    turns = {
        1: RGB,
        2: RGB[:, ::-1],
        3: RGB[::-1, ::-1],
        4: RGB[::-1],
        5: RGB.transpose(1, 0, 2),
        6: np.rot90(RGB),
        7: np.rot90(RGB, 2).transpose(1, 0, 2),
        8: np.rot90(RGB, -1),
    }
    options: dict[str, Any] = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95, "subsampling": 0}}.get(format, {})
    picture = load(np.ascontiguousarray(turns[orientation]), format, exif=exif(orientation), **options)
    assert picture.rgb.shape == RGB.shape
    assert np.abs(picture.rgb.astype(int) - RGB).mean() <= {"JPEG": 2, "AVIF": 6}.get(format, 0)
    assert picture.notices == ()
    if format == "TIFF":  # Pillow turns TIFF itself
        assert tags_of(picture.exif).get(ORIENTATION, 1) == 1
        assert tags_of(picture.exif)[MAKE] == "Maker"
    elif format == "AVIF":  # Pillow writes it as a property of the picture, not into EXIF, which is kept as stored
        assert ORIENTATION not in tags_of(picture.exif)
    else:
        assert tags_of(picture.exif)[ORIENTATION] == 1


def test_orientation_of_xmp_is_applied_and_reset() -> None:
    xmp = b'<rdf tiff:Orientation="6"/>'
    picture = load(np.ascontiguousarray(np.rot90(RGB)), "JPEG", xmp=xmp, quality=95)
    assert np.abs(picture.rgb.astype(int) - RGB).mean() <= 3
    assert picture.xmp == b'<rdf tiff:Orientation="1"/>'


@pytest.mark.parametrize("orientation", [0, 9, 1000])
def test_orientations_that_mean_nothing(orientation: int) -> None:
    np.testing.assert_array_equal(load(RGB, exif=exif(orientation)).rgb, RGB)


def test_exif_is_kept() -> None:
    tags = tags_of(load(RGB, "JPEG", exif=exif(None)).exif)
    assert ORIENTATION not in tags
    assert tags[MAKE] == "Maker"
    assert tags.get_ifd(CAMERA)[TAKEN] == "2024:05:06 07:08:09"


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_is_kept_byte_for_byte_but_for_the_orientation(order: str) -> None:
    """A thumbnail and maker notes lie at offsets, so nothing may move."""
    head = {"<": b"II*\0\x08\0\0\0", ">": b"MM\0*\0\0\0\x08"}[order]
    entry = struct.pack(f"{order}HHIHH", ORIENTATION, 3, 1, 6, 0)
    thumbnail = struct.pack(f"{order}HHHIIHHIII", 2, 0x201, 4, 1, 56, 0x202, 4, 1, 9, 0) + b"thumbnail"
    stored = head + struct.pack(f"{order}H", 1) + entry + struct.pack(f"{order}I", 26) + thumbnail
    upright = stored.replace(entry, struct.pack(f"{order}HHIHH", ORIENTATION, 3, 1, 1, 0))
    picture = load(np.ascontiguousarray(np.rot90(RGB)), "WEBP", exif=stored, lossless=True)
    np.testing.assert_array_equal(picture.rgb, RGB)
    assert picture.exif == b"Exif\0\0" + upright


@pytest.mark.parametrize(
    "damaged", [b"Exif\0\0junk", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0II*\0\x08\0\0\0\xff\xff"]
)
def test_damaged_exif_takes_nothing_from_the_pixels(damaged: bytes) -> None:
    np.testing.assert_array_equal(load(RGB, "WEBP", exif=damaged, lossless=True).rgb, RGB)


def test_metadata_too_long_for_a_gic_file() -> None:
    assert imageio.METADATA_LIMIT == spec.MAX_METADATA
    longest = ICC + bytes(spec.MAX_METADATA - len(ICC))
    assert load(RGB, "WEBP", icc_profile=longest, lossless=True).icc == longest
    picture = load(RGB, "WEBP", icc_profile=longest + b"\0", lossless=True)
    assert picture.icc is None
    assert picture.notices == (
        f"ICC profile of {spec.MAX_METADATA + 1} bytes is longer than {spec.MAX_METADATA}: dropped",
    )


# Alpha

ALPHA = (np.arange(24 * 40).reshape(24, 40) % 256).astype(np.uint8)
RGBA = np.dstack((RGB, ALPHA))


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_rgba(format: str) -> None:
    picture = load(RGBA, format, **({"lossless": True, "exact": True} if format == "WEBP" else {}))
    np.testing.assert_array_equal(picture.rgb, RGB)
    np.testing.assert_array_equal(picture.alpha, ALPHA)


def test_opaque_alpha_is_dropped() -> None:
    picture = load(np.dstack((RGB, np.full_like(ALPHA, 255))))
    assert picture.alpha is None
    assert picture.notices == ()


def test_gray_with_alpha() -> None:
    gray = RGB[..., 0]
    for mode in ("LA", "La"):
        image = Image.merge("LA", (Image.fromarray(gray), Image.fromarray(np.full_like(ALPHA, 200))))
        picture = imageio.from_image(image if mode == "LA" else image.convert("La"))
        assert np.abs(picture.rgb.astype(int) - gray[..., None]).max() <= (0 if mode == "LA" else 1)
        assert picture.alpha is not None
        assert (picture.alpha == 200).all()


def test_palette_with_transparency() -> None:
    image = Image.fromarray(RGB).quantize(8)
    picture = load(image, transparency=bytes([0, 128]))
    index, plain = np.asarray(image), np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(picture.alpha, np.choose(np.minimum(index, 2), [0, 128, 255]))
    np.testing.assert_array_equal(picture.rgb, plain)


def test_transparent_colour() -> None:
    colour = tuple(int(v) for v in RGB[3, 4])
    picture = load(RGB, transparency=colour)
    np.testing.assert_array_equal(picture.alpha, np.where((RGB == colour).all(-1), 0, 255))
    np.testing.assert_array_equal(picture.rgb, RGB)
    gray = imageio.load(png(0, 8, 3, bytes([7, 8, 9]), (b"tRNS", b"\0\x08")))
    assert gray.alpha is not None
    assert gray.alpha.tolist() == [[255, 0, 255]]
    deep = imageio.load(png(0, 16, 3, struct.pack(">3H", 256, 257, 65535), (b"tRNS", struct.pack(">H", 257))))
    assert deep.alpha is not None
    assert deep.alpha.tolist() == [[255, 0, 255]]
    deep = imageio.load(
        png(2, 16, 2, struct.pack(">6H", 512, 0, 65535, 9, 9, 9), (b"tRNS", struct.pack(">3H", 512, 0, 65535)))
    )
    assert deep.alpha is not None
    assert deep.alpha.tolist() == [[0, 255]]


# Modes


def test_gray_one_bit_palette() -> None:
    gray = RGB[..., 1]
    np.testing.assert_array_equal(load(gray).rgb, np.repeat(gray[..., None], 3, 2))
    bits = gray > 100
    np.testing.assert_array_equal(load(Image.fromarray(bits)).rgb, np.repeat(bits[..., None] * np.uint8(255), 3, 2))
    palette = Image.fromarray(RGB).quantize(16)
    np.testing.assert_array_equal(load(palette).rgb, np.asarray(palette.convert("RGB")))


def test_cmyk() -> None:
    image = Image.fromarray(RGB).convert("CMYK")
    plain = load(image, "TIFF")
    np.testing.assert_array_equal(plain.rgb, RGB)
    assert plain.notices == ("CMYK converted to RGB",)
    # sRGB is no profile of CMYK: the plain formula, said aloud.
    unusable = load(image, "TIFF", icc_profile=ICC)
    np.testing.assert_array_equal(unusable.rgb, RGB)
    assert unusable.icc is None
    assert unusable.notices == ("CMYK converted to RGB", "its ICC profile is unusable: colours are approximate")


def test_cmyk_goes_through_its_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    used = []

    def convert(image: Image.Image, profile: io.BytesIO, *_: object, outputMode: str, flags: int) -> Image.Image:  # noqa: N803
        used.append((image.mode, profile.read(), outputMode))
        return Image.new("RGB", image.size, (1, 2, 3))

    monkeypatch.setattr(ImageCms, "profileToProfile", convert)
    picture = load(Image.fromarray(RGB).convert("CMYK"), "JPEG", icc_profile=ICC)
    assert used == [("CMYK", ICC, "RGB")]
    assert (picture.rgb == (1, 2, 3)).all()
    assert picture.icc is None


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bit_gray(format: str) -> None:
    values = np.array([[0, 128, 257 * 7, 257 * 200, 65535]], np.uint16)
    picture = load(Image.fromarray(values), format)
    assert picture.rgb[0].tolist() == [[v] * 3 for v in (0, 0, 7, 200, 255)]
    assert picture.notices == ("more than 8 bits per sample: reduced to 8",)


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (6, 4)])
def test_sixteen_bit_colour(colour: int, channels: int) -> None:
    values = np.array([65535, 256 * 9, 0, 256 * 128][:channels], ">u2")
    picture = imageio.load(png(colour, 16, 1, values.tobytes()))
    assert picture.rgb.tolist() == [[[255, 9, 0]]]
    assert (None if picture.alpha is None else picture.alpha.tolist()) == ([[128]] if channels == 4 else None)
    assert picture.notices == ("more than 8 bits per sample: reduced to 8",)


def test_float() -> None:
    unit = load(Image.fromarray(np.array([[0, 0.5, 1, np.nan, np.inf]], np.float32)), "TIFF")
    assert unit.rgb[0, :, 0].tolist() == [0, 128, 255, 0, 255]
    wide = load(Image.fromarray(np.array([[-10, 0, 10]], np.float32)), "TIFF")
    assert wide.rgb[0, :, 0].tolist() == [0, 128, 255]
    assert unit.notices == ("more than 8 bits per sample: reduced to 8",)
    assert wide.notices == ("more than 8 bits per sample: reduced to 8, -10 is black and 10 white",)
    assert load(Image.fromarray(np.full((2, 2), np.nan, np.float32)), "TIFF").rgb.max() == 0


def test_lab() -> None:
    spaces = [ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")]
    lab = ImageCms.profileToProfile(Image.fromarray(RGB), *spaces, outputMode="LAB")
    assert lab is not None
    picture = load(lab, "TIFF")
    assert np.abs(picture.rgb.astype(int) - RGB).mean() < 6
    assert "LAB converted to RGB" in picture.notices


def test_profiles_are_kept_where_they_describe_rgb() -> None:
    gray = ICC[:16] + b"GRAY" + ICC[20:]
    for image in (RGB, RGB[..., 0], Image.fromarray(RGB).quantize(8)):  # of a gray picture R = G = B
        assert load(image, icc_profile=ICC).icc == ICC
        picture = load(image, icc_profile=gray)
        assert picture.icc is None
        assert [n[:36] for n in picture.notices] == ["ICC profile does not describe RGB: dr"[:36]]


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_first_of_several_frames(format: str) -> None:
    frames = [Image.fromarray(RGB), Image.new("RGB", (40, 24), "red"), Image.new("RGB", (40, 24), "blue")]
    picture = load(
        frames[0], format, save_all=True, append_images=frames[1:], **({"lossless": True} if format == "WEBP" else {})
    )
    assert np.abs(picture.rgb.astype(int) - RGB).mean() < (12 if format == "GIF" else 1)
    assert picture.notices == ("only the first of 3 frames is kept",)


@pytest.mark.parametrize("format", [f for f in FORMATS if f != "AVIF"])
def test_one_pixel(format: str) -> None:
    assert load(np.array([[[10, 10, 10]]], np.uint8), format).rgb.shape == (1, 1, 3)


# Refusals


def stated(side: int) -> io.BytesIO:
    """A PNG that states a size and holds junk."""
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (header, b"IDATjunk")]
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def test_pixel_limit_comes_before_decoding() -> None:
    with pytest.raises(UnreadablePicture, match="more than 1000000 pixels; raise --max-pixels"):
        imageio.load(stated(10_000), max_pixels=1_000_000)
    imageio.load(saved(RGB, "PNG"), max_pixels=960)
    with pytest.raises(UnreadablePicture, match="40x24 is more than 959 pixels"):
        imageio.load(saved(RGB, "PNG"), max_pixels=959)


@pytest.mark.parametrize(("side", "limit"), [(16_000, imageio.MAX_PIXELS), (30_000, 1 << 30)])
def test_pillows_own_limit_is_not_in_the_way(side: int, limit: int) -> None:
    before = Image.MAX_IMAGE_PIXELS
    with pytest.raises(UnreadablePicture, match="unreadable picture"):  # the junk in it, not its size
        imageio.load(stated(side), max_pixels=limit)
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("format", FORMATS)
def test_cut_files(format: str) -> None:
    data = saved(RGB, format).getvalue()
    refused = 0
    for length in np.linspace(0, len(data) * 0.8, 12).astype(int).tolist():
        with pytest.raises(UnreadablePicture) as raised:
            imageio.load(io.BytesIO(data[:length]))
        assert len(str(raised.value).splitlines()) == 1
        refused += 1
    assert refused == 12


@pytest.mark.parametrize("format", FORMATS)
def test_damaged_files(format: str) -> None:
    """Whatever Pillow makes of them: a picture or one line."""
    rng = np.random.default_rng(4)
    options = {} if format in ("BMP", "GIF") else {"exif": exif(6), "icc_profile": ICC}
    data = saved(RGB, format, **options).getvalue()
    outcomes = []
    for _ in range(60):
        damaged = bytearray(data)
        for place in rng.integers(0, min(len(data), 600), 4).tolist():
            damaged[place] = int(rng.integers(256))
        try:
            outcomes.append(imageio.load(io.BytesIO(bytes(damaged)), max_pixels=1 << 20).rgb.ndim == 3)
        except UnreadablePicture as error:
            outcomes.append(len(str(error).splitlines()) == 1)
    assert all(outcomes)


@pytest.mark.parametrize("junk", [b"", b"\0", b"not a picture at all", bytes(5000), b"<svg/>", b"\x89GIC\r\n\x1a\n"])
def test_what_is_no_picture(junk: bytes) -> None:
    with pytest.raises(UnreadablePicture, match="not a picture in a format that is read here"):
        imageio.load(io.BytesIO(junk))


def test_formats_that_are_not_read() -> None:
    with pytest.raises(UnreadablePicture, match="not a picture in a format"):
        load(RGB, "PPM")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(UnreadablePicture, match="no such file"):
        imageio.load(tmp_path / "missing.png")
    with pytest.raises(UnreadablePicture, match=r"^unreadable picture: Is a directory$"):
        imageio.load(tmp_path)
    with pytest.raises(UnreadablePicture, match="unreadable picture"):
        imageio.load("nul\0byte.png")


def test_threads_leave_global_state_alone() -> None:
    before = (list(warnings.filters), Image.MAX_IMAGE_PIXELS)
    data = saved(RGB, "PNG").getvalue()
    with ThreadPoolExecutor(4) as pool:
        pictures = list(pool.map(lambda limit: imageio.load(io.BytesIO(data), limit), range(960, 1020)))
    assert all((picture.rgb == RGB).all() for picture in pictures)
    assert (list(warnings.filters), Image.MAX_IMAGE_PIXELS) == before


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (struct.error("short\nbuffer"), "unreadable picture: short"),
        (KeyError("x"), "unreadable picture: 'x'"),
        (RuntimeError(), "unreadable picture: RuntimeError"),
        (
            Image.DecompressionBombError("big"),
            "the picture has more than 268435456 pixels; raise --max-pixels to allow it",
        ),
    ],
)
def test_whatever_pillow_raises_is_one_line(error: Exception, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Picture:
        raise error

    monkeypatch.setattr(reading, "from_image", fail)
    with pytest.raises(UnreadablePicture) as raised:
        load(RGB)
    assert str(raised.value) == (told if "max-pixels" in told else f"{told} (a PNG of RGB with 8 bits a sample)")


def test_word_of_pillow_becomes_a_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = imageio.from_image

    def warn(image: Image.Image, max_pixels: int, facts: Facts) -> Picture:
        warnings.warn("Corrupt EXIF data.\nExpecting more", UserWarning, stacklevel=1)
        warnings.warn("bomb", Image.DecompressionBombWarning, stacklevel=1)
        return plain(image, max_pixels, facts)

    monkeypatch.setattr(reading, "from_image", warn)
    assert load(RGB).notices == ("Corrupt EXIF data.",)


# Writing

ICC_PICTURE = Picture(RGB, None, ICC, exif().tobytes(), XMP)


def written(picture: Picture, format: str) -> tuple[Picture, tuple[str, ...], bytes]:
    buffer = io.BytesIO()
    notices = imageio.save(picture, buffer, format)
    return imageio.load(io.BytesIO(buffer.getvalue())), notices, buffer.getvalue()


@pytest.mark.parametrize("format", OUTPUTS)
def test_metadata_survive_save_and_load(format: str) -> None:
    again, notices, _ = written(ICC_PICTURE, format)
    assert (again.icc, again.xmp) == (ICC, XMP)
    assert notices == ()
    tags = tags_of(again.exif)
    assert (tags[MAKE], tags[ORIENTATION]) == ("Maker", 1)
    assert tags.get_ifd(CAMERA)[TAKEN] == "2024:05:06 07:08:09"


@pytest.mark.parametrize("format", OUTPUTS)
def test_nothing_is_added(format: str) -> None:
    again, notices, _ = written(Picture(RGB), format)
    assert (again.alpha, again.icc, again.exif, again.xmp, notices) == (None, None, None, None, ())
    assert np.abs(again.rgb.astype(int) - RGB).mean() <= (1.5 if format == "jpeg" else 0)


@pytest.mark.parametrize("format", ["png", "webp", "tiff"])
def test_alpha_survives_with_colours_under_it(format: str) -> None:
    again, notices, _ = written(Picture(RGB, ALPHA), format)
    np.testing.assert_array_equal(again.rgb, RGB)
    np.testing.assert_array_equal(again.alpha, ALPHA)
    assert notices == ()


def test_jpeg_lays_transparency_over_white() -> None:
    half = np.where(np.arange(40) < 20, 0, 255).astype(np.uint8)[None].repeat(24, 0)
    again, notices, _ = written(Picture(np.zeros_like(RGB), half), "jpeg")
    assert notices == ("JPEG has no transparency: laid over white",)
    assert again.rgb[:, :14].min() > 240
    assert again.rgb[:, 26:].max() < 15


def test_metadata_too_long_for_jpeg() -> None:
    long = Picture(RGB, None, ICC * 40, b"Exif\0\0MM\0*\0\0\0\x08" + bytes(70_000), b"<x>" + b" " * 70_000 + b"</x>")
    again, notices, _ = written(long, "jpeg")
    assert notices == ("EXIF is too long for JPEG: dropped", "XMP is too long for JPEG: dropped")
    assert (again.icc, again.exif, again.xmp) == (ICC * 40, None, None)
    longest = Picture(RGB, None, None, None, bytes(65504).replace(b"\0", b"x"))
    assert written(longest, "jpeg")[0].xmp == longest.xmp


def test_xmp_that_png_cannot_hold() -> None:
    again, notices, _ = written(Picture(RGB, xmp=b"\xff\xfe<"), "png")
    assert (again.xmp, notices) == (None, ("XMP is not UTF-8, which PNG wants: dropped",))


def test_tags_of_storage_are_not_written_to_tiff() -> None:
    tags = Image.Exif()
    tags[MAKE], tags[0x0100], tags[0x0103] = "Maker", 999, 1  # width, compression
    again, notices, _ = written(Picture(RGB, exif=tags.tobytes()), "tiff")
    np.testing.assert_array_equal(again.rgb, RGB)
    assert tags_of(again.exif)[MAKE] == "Maker"
    assert notices == ()


def entry(order: str, tag: int, kind: int, count: int, value: int) -> bytes:
    """An entry of a TIFF directory; `value` is a number, or where the values lie."""
    return struct.pack(f"{order}HHI", tag, kind, count) + struct.pack(f"{order}{'H2x' if kind == 3 else 'I'}", value)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("alpha", [None, ALPHA])
def test_tiff_starts_with_exif_as_it_was(order: str, alpha: Pixels | None) -> None:
    """What lies at an offset stays there; values that no decoder takes (0/0) are passed on."""
    head = {"<": b"II*\0\x08\0\0\0", ">": b"MM\0*\0\0\0\x08"}[order]
    camera = struct.pack(f"{order}H", 1) + entry(order, 0x927C, 7, 9, 68) + bytes(4) + b"maker\0\1\2\3"
    root = [entry(order, 0x010E, 2, 1, 0), entry(order, 0x011A, 5, 1, 77), entry(order, CAMERA, 4, 1, 50)]
    stored = head + struct.pack(f"{order}H", 3) + b"".join(root) + bytes(4) + camera + bytes(8)
    again, notices, data = written(Picture(RGB, alpha, exif=b"Exif\0\0" + stored), "tiff")
    assert notices == ()
    assert data[:4] + data[8:85] == stored[:4] + stored[8:]
    np.testing.assert_array_equal(again.rgb, RGB)
    assert (again.alpha is None) == (alpha is None)
    with Image.open(io.BytesIO(data)) as image:
        assert image.getexif().get_ifd(CAMERA)[0x927C] == b"maker\0\1\2\3"
        assert image.n_frames == 1
        assert image.info["compression"] == "tiff_adobe_deflate"


@pytest.mark.parametrize("shape", [(1, 1, 3), (700, 1000, 3), (3, 400_000, 3), (5000, 3, 3)])
def test_tiff_in_strips(shape: tuple[int, int, int]) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    np.testing.assert_array_equal(written(Picture(rgb), "tiff")[0].rgb, rgb)


@pytest.mark.parametrize(
    "damaged", [b"Exif\0\0junk", b"Exif\0\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0II*\0\x08\0\0\0\xff\xff"]
)
def test_damaged_exif_takes_nothing_from_a_tiff(damaged: bytes) -> None:
    again, notices, _ = written(Picture(RGB, exif=damaged), "tiff")
    np.testing.assert_array_equal(again.rgb, RGB)
    assert notices == (("EXIF is damaged: dropped",) if damaged[6:8] not in (b"MM", b"II") else ())


def test_exif_of_tiff_is_bounded() -> None:
    """Many tags that point to the same bytes must not multiply them."""
    long = bytes(1 << 20)
    tags = b"".join(entry("<", 40_000 + i, 7, len(long), 8) for i in range(5))
    head = b"II*\0" + struct.pack("<I", 8 + len(long)) + long
    with pytest.raises(ValueError, match="too long"):
        exif_bytes.from_tiff(io.BytesIO(head + struct.pack("<H", 5) + tags + bytes(4)))
    with pytest.raises(ValueError, match="too long"):
        exif_bytes.to_tiff(head + struct.pack("<H", 5) + tags + bytes(4))


@pytest.mark.parametrize("camera", [False, True])
def test_exif_of_a_tiff_picture_whose_file_is_closed(camera: bool) -> None:
    """What Pillow holds in memory is kept; directories that it would have to read are not, and it says so."""
    tags = Image.Exif()
    tags[0x010F] = "Maker"
    if camera:
        tags.get_ifd(0x8769)[0x9003] = "2003:12:14 12:01:44"
    stream = io.BytesIO()
    imageio.save(Picture(RGB, exif=tags.tobytes()), stream, "tiff")
    with Image.open(stream) as image:
        image.load()
        image.fp = None
        picture = imageio.from_image(image)
    kept = Image.Exif()
    kept.load(picture.exif or b"")
    assert kept[0x010F] == "Maker"
    assert not kept.get_ifd(0x8769)
    assert len(picture.notices) == camera
    assert all("closed: dropped" in notice for notice in picture.notices)


@pytest.mark.parametrize("format", ["png", "jpeg"])
def test_comment(format: str) -> None:
    picture = Picture(RGB, comment="decoded by a test")
    _, _, data = written(picture, format)
    assert b"decoded by a test" in data
    _, _, data = written(picture, {"png": "webp", "jpeg": "tiff"}[format])
    assert b"decoded by a test" not in data
    assert b"decoded" not in written(Picture(RGB), format)[2]
    assert imageio.to_image(picture).info["comment"] == "decoded by a test"


@pytest.mark.parametrize(("format", "side"), [("jpeg", 65501), ("webp", 16384)])
def test_sides_that_a_format_cannot_hold(format: str, side: int) -> None:
    for shape in ((1, side, 3), (side, 1, 3)):
        with pytest.raises(UsageError, match=f"cannot write as {format}"):
            imageio.save(Picture(np.zeros(shape, np.uint8)), io.BytesIO(), format)


def test_unknown_output_format() -> None:
    with pytest.raises(UsageError, match="choose png"):
        imageio.save(Picture(RGB), io.BytesIO(), "bmp")


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("a.png", "png"),
        ("a.JPG", "jpeg"),
        ("b.c.jpeg", "jpeg"),
        ("a.webp", "webp"),
        ("a.tif", "tiff"),
        ("a.Tiff", "tiff"),
    ],
)
def test_format_for(name: str, format: str) -> None:
    assert decode.format_for(name) == decode.format_for(Path("folder") / name) == format


@pytest.mark.parametrize("name", ["a", "a.gic", "a.bmp", ".png", "a.png.", "folder.png/a"])
def test_suffixes_that_are_not_written(name: str) -> None:
    with pytest.raises(UsageError, match="cannot write"):
        decode.format_for(name)


def test_to_image_carries_metadata() -> None:
    image = imageio.to_image(Picture(RGB, ALPHA, ICC, b"Exif\0\0", XMP))
    assert image.mode == "RGBA"
    assert image.info == {"icc_profile": ICC, "exif": b"Exif\0\0", "xmp": XMP}
    assert imageio.to_image(Picture(RGB)).info == {}


def test_from_image_reads_what_to_image_made() -> None:
    again = imageio.from_image(imageio.to_image(Picture(RGB, ALPHA, ICC, exif().tobytes(), XMP)))
    np.testing.assert_array_equal(again.rgb, RGB)
    np.testing.assert_array_equal(again.alpha, ALPHA)
    assert (again.icc, again.xmp) == (ICC, XMP)
    assert tags_of(again.exif)[MAKE] == "Maker"


def test_png_text_from_elsewhere() -> None:
    text = PngInfo()
    text.add_itxt("XML:com.adobe.xmp", XMP.decode())
    assert load(RGB, pnginfo=text).xmp == XMP


def test_orientations_agree_with_pillow() -> None:
    for orientation in range(1, 9):
        with Image.open(saved(RGB, "PNG", exif=exif(orientation))) as image:
            expected = np.asarray(ImageOps.exif_transpose(image))
        np.testing.assert_array_equal(load(RGB, exif=exif(orientation)).rgb, expected)


def test_transparency_of_16_bits_is_found_and_the_image_left_alone() -> None:
    deep = np.zeros((4, 5, 3), ">u2")
    deep[1, 1] = clear = (0x1234, 0x5678, 0x9ABC)
    rows = b"".join(b"\0" + row.tobytes() for row in deep)
    parts = (b"IHDR", struct.pack(">IIBBBBB", 5, 4, 16, 2, 0, 0, 0)), (b"tRNS", struct.pack(">3H", *clear))
    chunks = (*parts, (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    data = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    for loaded in (False, True):
        with Image.open(io.BytesIO(b"\x89PNG\r\n\x1a\n" + data)) as image:
            if loaded:
                image.load()
            picture = imageio.load(image)
            assert image.info["transparency"] == clear
        assert picture.alpha is not None
        assert (picture.alpha == 0).sum() == 1
        assert picture.alpha[1, 1] == 0


def test_other_threads_keep_their_limit() -> None:
    """A small limit of ours is no limit of Pillow's."""
    seen = []

    class Watched(io.BytesIO):
        def read(self, *given: int) -> bytes:
            seen.append(Image.MAX_IMAGE_PIXELS)
            return super().read(*given)

    before = Image.MAX_IMAGE_PIXELS
    imageio.load(Watched(saved(RGB, "PNG").getvalue()), max_pixels=RGB.shape[0] * RGB.shape[1])
    assert set(seen) == {before}


@pytest.mark.parametrize("mode", ["I;16", "F", "I"])
def test_deep_pictures_are_the_same_in_strips(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.add.outer(np.arange(40) * 700, np.arange(30) * 900)
    image = Image.fromarray(values.astype({"I;16": np.uint16, "F": np.float32, "I": np.int32}[mode]))
    assert image.mode == mode
    whole = imageio.load(image)
    monkeypatch.setattr(colour, "STRIP_PIXELS", 100)
    assert np.array_equal(imageio.load(image).rgb, whole.rgb)
    assert np.ptp(whole.rgb) > 100
