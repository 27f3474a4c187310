"""What picture files say of themselves: samples, transparency, crops, profiles in parts, what lies behind the end, and
the true names of what is not read; beside ImageMagick, libtiff and libheif where they are installed."""

from __future__ import annotations

import contextlib
import io
import itertools
import shutil
import struct
import subprocess
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gancodec import imageio
from gancodec.errors import UnreadablePicture
from gancodec.formats import avif, jpeg, look, xmp
from gancodec.formats import png as png_format
from gancodec.formats.facts import Facts
from gancodec.types import Picture
from tests import formats
from tests.formats import HEIGHT, RAMP, SRGB, WIDTH, XMP, chunk, photograph, png, saved, tiff

LEVELS = RAMP * 255


def load(data: bytes) -> Picture:
    return imageio.load(io.BytesIO(data))


def gray_of(data: bytes) -> np.ndarray:
    picture = load(data)
    assert (picture.rgb == picture.rgb[..., :1]).all()
    return picture.rgb[..., 0].astype(float)


def stored(bits: int, kind: int) -> np.ndarray:
    """The ramp in samples of the whole range; real ones as they are."""
    if kind == 3:
        return RAMP
    return np.rint(RAMP * ((1 << bits) - 1)) - (1 << (bits - 1)) * (kind == 2)


# TIFF

GRAYS = [(1, 1), (2, 1), (4, 1), (8, 1), (12, 1), (16, 1), (32, 1), (16, 2), (32, 2), (32, 3)]


@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("packed", [1, 8])
@pytest.mark.parametrize(("bits", "kind"), GRAYS)
def test_gray_samples_are_read_right_or_refused(
    bits: int, kind: int, packed: int, order: str, photometric: int
) -> None:
    """Either order, compressed or not, 0 black or white: the ramp, or the true name of what it is."""
    data = tiff(stored(bits, kind), photometric, bits, kind, order, packed=packed)
    try:
        found = gray_of(data)
    except UnreadablePicture as error:
        assert str(error).startswith(f"a TIFF of 1 sample of {bits} bit")  # noqa: PT017
        assert (bits, order) in ((12, ">"), (32, ">"))
        assert kind == 1
        return
    wanted = np.rint(RAMP * ((1 << min(bits, 8)) - 1)) / ((1 << min(bits, 8)) - 1) * 255
    assert np.abs(found - (wanted if photometric else 255 - wanted)).max() <= 1


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("packed", "apart"), [(1, False), (8, False), (1, True), (8, True)])
@pytest.mark.parametrize("bits", [8, 16])
def test_colour_samples_are_read_right(bits: int, packed: int, apart: bool, order: str) -> None:
    """16 bits in planes of their own came out as noise."""
    values = np.asarray(photograph()).astype(int) * (257 if bits == 16 else 1)
    data = tiff(values, 2, bits, 1, order, packed=packed, apart=apart)
    np.testing.assert_array_equal(load(data).rgb, np.asarray(photograph()))


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (tiff(np.dstack([LEVELS * 257] * 2), 1, 16), "a TIFF of 2 samples of 16 bits (gray)"),
        (tiff(np.dstack([LEVELS] * 2), 0, 8), "a TIFF of 2 samples of 8 bits (gray with 0 for white)"),
        (tiff(np.dstack([RAMP] * 3), 2, 32, kind=3), "a TIFF of 3 float samples of 32 bits (RGB)"),
        (tiff(np.dstack([RAMP] * 3), 2, 64, kind=3), "a TIFF of 3 float samples of 64 bits (RGB)"),
        (tiff(RAMP, 1, 16, kind=3), "a TIFF of 1 float sample of 16 bits (gray)"),
        (tiff(np.dstack([LEVELS] * 5), 5, 8, tags={338: (3, 2)}), "a TIFF of 5 samples of 8 bits (CMYK)"),
        (tiff(np.dstack([LEVELS] * 4), 5, 8, tags={332: (3, 2)}), "a TIFF of 4 samples of 8 bits (CMYK) of other inks"),
        (tiff(np.dstack([LEVELS] * 3), 9, 8), "a TIFF of 3 samples of 8 bits (ICCLab)"),
        (tiff(np.dstack([LEVELS * 257] * 3), 8, 16), "a TIFF of 3 samples of 16 bits (CIELab)"),
        (tiff(LEVELS, 32803, 8), "a TIFF of 1 sample of 8 bits (colour filter array)"),
        (tiff(LEVELS, 1, 8, tags={339: (3, 6)}), "a TIFF of 1 complex float sample of 8 bits (gray)"),
        (tiff(LEVELS, 1, 8, tags={259: (3, 50001)}), "a TIFF of 1 sample of 8 bits (gray, WebP)"),
        (tiff(LEVELS, 1, 8, order=">", big=True), "a TIFF of 1 sample of 8 bits (gray) in a big-endian BigTIFF"),
        (tiff(np.rint(RAMP * 1023), 1, 10), "a TIFF of 1 sample of 10 bits (gray)"),
    ],
)
def test_a_tiff_that_is_not_read_has_its_true_name(data: bytes, name: str) -> None:
    with pytest.raises(UnreadablePicture) as refused:
        load(data)
    assert name in str(refused.value)
    assert "not a picture" not in str(refused.value)


def test_numbers_beyond_the_usual_range_are_told() -> None:
    told = {
        (32, 2): ("-2.14748e+09 is black and 2.14748e+09 white", stored(32, 2)),
        (32, 1): ("0 is black and 4.29497e+09 white", stored(32, 1)),
        (16, 2): ("-32768 is black and 32767 white", stored(16, 2)),
        (32, 3): ("-5 is black and 20 white", RAMP * 25 - 5),
    }
    for (bits, kind), (words, values) in told.items():
        picture = load(tiff(values, 1, bits, kind))
        assert picture.notices == (f"more than 8 bits per sample: reduced to 8, {words}",)
        assert np.abs(picture.rgb[..., 0] - LEVELS).max() <= 1
    inverted = load(tiff(RAMP * 25 - 5, 0, 32, 3))
    assert inverted.notices[0].endswith("20 is black and -5 white")


def test_signed_bytes_are_read_as_others_do_and_said() -> None:
    picture = load(tiff(np.rint(LEVELS) - 128, 1, 8, kind=2))
    assert picture.notices == ("signed samples are read as unsigned, as other readers do",)


def test_a_colour_map_of_8_bits() -> None:
    """Of 16, by the standard; some writers put 8 there, and all was black."""
    table = [*range(0, 256), *range(255, -1, -1), *([7] * 256)]
    for scale in (1, 257):
        data = tiff(np.rint(LEVELS), 3, 8, tags={320: (3, [value * scale for value in table])})
        found = load(data).rgb
        assert np.abs(found[..., 0] - LEVELS).max() <= 1
        assert np.abs(found[..., 1] - (255 - LEVELS)).max() <= 1


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({254: (4, 1)}, "its first picture, the only one that is kept, is a reduced one"),
        ({50706: (1, [1, 4, 0, 0])}, "only the preview of a raw photograph (DNG) is kept"),
        ({330: (4, 8)}, "not kept: pictures in sub-directories"),
        ({318: (5, struct.pack("<4I", 3, 10, 3, 10)), 319: (5, bytes(48))}, "not kept: colour space by tags (not ICC)"),
    ],
)
def test_what_of_a_tiff_is_dropped_is_said(tags: dict[int, tuple[int, object]], words: str) -> None:
    assert words in load(tiff(np.asarray(photograph()), 2, 8, tags=tags)).notices


def test_samples_of_no_meaning_are_dropped_with_a_word() -> None:
    values = np.dstack([np.asarray(photograph()), np.zeros((HEIGHT, WIDTH), int)])
    picture = load(tiff(values, 2, 8, tags={338: (3, 0)}))
    assert picture.alpha is None
    assert picture.notices == ("not kept: samples of no stated meaning",)


@pytest.mark.parametrize("packed", [1, 8])
def test_subsampled_ycbcr_is_read_right(packed: int) -> None:
    """Without compression Pillow takes it for something else."""
    half = np.full((HEIGHT // 2, WIDTH // 2, 6), 128)
    levels = np.rint(LEVELS).astype(int)
    for i, (y, x) in enumerate(itertools.product(range(2), range(2))):
        half[..., i] = levels[y::2, x::2]
    tags: dict[int, tuple[int, object]] = {256: (3, WIDTH), 257: (3, HEIGHT), 258: (3, [8, 8, 8]), 277: (3, 3)}
    tags |= {278: (3, HEIGHT), 339: (3, [1, 1, 1]), 530: (3, [2, 2])}
    found = load(tiff(half, 6, 8, packed=packed, tags=tags)).rgb
    assert np.abs(found - LEVELS[..., None]).max() <= 2


# PNG


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_a_transparent_level_is_compared_as_it_is_stored(depth: int) -> None:
    values = np.rint(RAMP * ((1 << depth) - 1)).astype(int)
    for level in np.unique(values):
        picture = load(png(values, 0, depth, [chunk(b"tRNS", struct.pack(">H", level))]))
        np.testing.assert_array_equal(picture.alpha == 0, values == level)


@pytest.mark.parametrize("clear", [(0x00FF,) * 3, (0xFFFF,) * 3, (0x1234, 0x1234, 0x1234), (5, 5, 5)])
def test_a_transparent_colour_of_16_bits_is_compared_in_full(clear: tuple[int, int, int]) -> None:
    values = np.zeros((2, 6, 3), int)
    values[0] = np.array([[0x00FF], [0xFFFF], [0x1234], [0x1200], [5], [0xFF00]])
    picture = load(png(values, 2, 16, [chunk(b"tRNS", struct.pack(">3H", *clear))]))
    np.testing.assert_array_equal(picture.alpha == 0, (values == clear).all(2))
    image = Image.open(io.BytesIO(png(values, 2, 16, [chunk(b"tRNS", struct.pack(">3H", *clear))])))
    np.testing.assert_array_equal(imageio.load(image).alpha, picture.alpha)


@pytest.mark.parametrize(
    "bad",
    [
        chunk(b"tEXt", b"a\0b", wrong=True),
        chunk(b"zTXt", b"a\0\5b"),
        chunk(b"gAMA", b"\0"),
        chunk(b"cHRM", bytes(9)),
        chunk(b"sRGB", b""),
        chunk(b"pHYs", b"\0"),
        chunk(b"tIME", bytes(7), wrong=True),
        chunk(b"eXIf", b"MM\0*", wrong=True),
        chunk(b"iCCP", b"name\0\7"),
        chunk(b"tRNS", b"\0"),
        chunk(b"acTL", b"\0"),
    ],
    ids=lambda data: data[4:8].decode(),
)
def test_a_damaged_ancillary_chunk_is_passed_over(bad: bytes) -> None:
    picture = load(formats.png_with(saved(photograph(), "PNG"), bad))
    np.testing.assert_array_equal(picture.rgb, np.asarray(photograph()))
    assert picture.notices == (f"not kept: damaged chunk {bad[4:8].decode()!r}",)
    assert picture.alpha is None


def test_a_damaged_animation_leaves_its_first_picture() -> None:
    animated = saved(photograph(), "PNG", save_all=True, append_images=[photograph().rotate(180)])
    place = animated.index(b"fcTL")
    body = bytearray(animated[place + 4 : place + 30])
    body[3] = 9  # number of its sequence
    damaged = animated[: place - 4] + chunk(b"fcTL", bytes(body)) + animated[place + 34 :]
    picture = load(damaged)
    np.testing.assert_array_equal(picture.rgb, np.asarray(photograph()))
    assert "its animation is damaged: one picture is kept" in picture.notices


# JPEG


def _parts(*numbers: int, count: int = 3) -> bytes:
    parts = formats.icc_segments(SRGB, 3)
    chosen = [(marker, body[:13] + bytes((count,)) + body[14:]) for marker, body in (parts[n - 1] for n in numbers)]
    return formats.jpeg_with(saved(photograph(), "JPEG"), *chosen)


@pytest.mark.parametrize("numbers", [(1, 2, 3), (3, 1, 2), (1, 1, 2, 3), (1, 2, 3, 1, 2, 3)])
def test_a_profile_in_parts_is_put_together(numbers: tuple[int, ...]) -> None:
    picture = load(_parts(*numbers))
    assert (picture.icc, picture.notices) == (SRGB, ())


@pytest.mark.parametrize("numbers", [(1, 2), (2, 3), (1, 1, 2), (1,)])
def test_a_profile_that_lacks_a_part_is_dropped_with_a_word(numbers: tuple[int, ...]) -> None:
    picture = load(_parts(*numbers))
    assert (picture.icc, picture.notices) == (
        None,
        (f"ICC profile: {len(set(numbers))} of 3 parts are there: dropped",),
    )


@pytest.mark.parametrize(
    ("segments", "words"),
    [
        ([b"\1\2" + SRGB[:9], b"\1\2" + SRGB[:8], b"\2\2" + SRGB[9:]], "two parts are number 1"),
        ([b"\1\1"], "is empty"),
        ([b""], "0 parts"),
        ([b"\1"], "0 parts"),
    ],
)
def test_segments_that_make_no_profile(segments: list[bytes], words: str) -> None:
    data = formats.jpeg_with(saved(photograph(), "JPEG"), *((0xE2, b"ICC_PROFILE\0" + part) for part in segments))
    picture = load(data)
    assert picture.icc is None
    assert len(picture.notices) == 1
    assert words in picture.notices[0]


VIDEO = struct.pack(">I", 24) + b"ftypmp42" + bytes(200)


@pytest.mark.parametrize(
    ("behind", "words"),
    [
        (VIDEO, "not kept: a video of 212 bytes behind the picture"),
        (bytes(24) + VIDEO, "not kept: a video of 236 bytes behind the picture"),
        (b"any other", "not kept: 9 bytes behind the picture"),
        (b"x", "not kept: 1 byte behind the picture"),
        (bytes(100), None),
        (b"\r\n", None),
    ],
)
def test_what_lies_behind_a_jpeg_is_told(behind: bytes, words: str | None) -> None:
    picture = load(saved(photograph(), "JPEG") + behind)
    assert picture.notices == ((words,) if words else ())


def test_a_second_jpeg_behind_the_first_is_told() -> None:
    one, progressive = saved(photograph(), "JPEG"), saved(photograph(), "JPEG", progressive=True)
    for first, second in itertools.product((one, progressive), repeat=2):
        words = f"not kept: a further picture of {len(second)} bytes behind the picture"
        assert load(first + second).notices == (words,)
        assert load(first + second + VIDEO).notices == ("not kept: a video of 212 bytes behind the picture",)


def test_the_end_of_a_jpeg_is_not_that_of_its_thumbnail() -> None:
    thumbnail = saved(photograph().resize((8, 8)), "JPEG")
    inside = formats.jpeg_with(saved(photograph(), "JPEG"), (0xE1, b"Exif\0\0" + b"II*\0\x08\0\0\0\0\0" + thumbnail))
    assert jpeg.walk(inside)[0] == len(inside)
    assert jpeg.walk(inside[:-2])[0] == 0


@pytest.mark.parametrize("restarts", [0, 1, 3])
def test_restarts_do_not_end_a_jpeg(restarts: int) -> None:
    noise = Image.effect_noise((64, 64), 90).convert("RGB")
    data = saved(noise, "JPEG", quality=95, restart_marker_blocks=restarts)
    assert jpeg.walk(data + b"more")[0] == len(data)


# XMP

GOOGLE = b"http://ns.google.com/photos/1.0/"


@pytest.mark.parametrize(
    ("claim", "left"),
    [
        (
            b'<a xmlns:GCamera="%scamera/" GCamera:MotionPhoto="1" b="2"/>' % GOOGLE,
            b'<a xmlns:GCamera="%scamera/" b="2"/>' % GOOGLE,
        ),
        (
            b"<a xmlns:c='%scamera/' c:MicroVideoOffset='12' c:Other='1'/>" % GOOGLE,
            b"<a xmlns:c='%scamera/' c:Other='1'/>" % GOOGLE,
        ),
        (
            b'<a xmlns:c="%scamera/"><c:MotionPhoto>1</c:MotionPhoto>t</a>' % GOOGLE,
            b'<a xmlns:c="%scamera/">t</a>' % GOOGLE,
        ),
        (
            b'<a xmlns:C="%scontainer/"><C:Directory><rdf:Seq>\n</rdf:Seq></C:Directory></a>' % GOOGLE,
            b'<a xmlns:C="%scontainer/"></a>' % GOOGLE,
        ),
        (
            b'<a xmlns:h="http://ns.adobe.com/hdr-gain-map/1.0/" h:Version="1.0" dc:a="1"/>',
            b'<a xmlns:h="http://ns.adobe.com/hdr-gain-map/1.0/" dc:a="1"/>',
        ),
        (
            b'<a xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmpNote:HasExtendedXMP="0123"/>',
            b'<a xmlns:xmpNote="http://ns.adobe.com/xmp/note/"/>',
        ),
        (b'<a MotionPhoto="1" GCamera:MotionPhoto="1"/>', None),  # no such name space
        (XMP, None),
    ],
)
def test_claims_are_taken_back(claim: bytes, left: bytes | None) -> None:
    assert xmp.without_claims(claim) == (claim if left is None else left)


# AVIF


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirror", [None, 0, 1])
def test_properties_of_an_avif_turn_it(turns: int, mirror: int | None) -> None:
    """Quarter turns to the left, then top to bottom or left to right; the crop comes before."""
    plain = saved(photograph(), "AVIF", quality=100, subsampling="4:4:4")
    more = [formats.clap(12, 8, 4, 6), formats.box(b"irot", bytes((turns,)))]
    more += [] if mirror is None else [formats.box(b"imir", bytes((mirror,)))]
    wanted = np.rot90(np.asarray(photograph())[6:14, 4:16].astype(int), turns)
    wanted = wanted if mirror is None else wanted[::-1] if mirror == 0 else wanted[:, ::-1]
    found = load(formats.avif_with(plain, *more)).rgb
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).mean() < 3


def test_a_crop_beyond_the_picture_is_passed_over_with_a_word() -> None:
    data = formats.avif_with(saved(photograph(), "AVIF"), formats.clap(WIDTH, HEIGHT, 4, 0))
    picture = load(data)
    assert picture.rgb.shape == (HEIGHT, WIDTH, 3)
    assert picture.notices == ("its crop (clean aperture) lies outside of the picture: passed over",)


def test_pixels_that_are_not_square_are_told() -> None:
    data = formats.avif_with(saved(photograph(), "AVIF"), formats.box(b"pasp", struct.pack(">II", 2, 1)))
    assert load(data).notices == ("its pixels are not square, but shown so",)


@pytest.mark.parametrize("cut", range(0, 300, 7))
def test_boxes_that_are_cut_or_damaged_are_no_exception(cut: int) -> None:
    data = saved(photograph(), "AVIF", exif=b"Exif\0\0" + formats.exif())
    for damaged in (data[:cut], data[:cut] + b"\xff" + data[cut + 1 :], data[:cut] + b"\0" + data[cut + 1 :]):
        assert isinstance(look.look(io.BytesIO(damaged)), Facts)


def test_a_video_in_an_avif_is_told() -> None:
    data = saved(photograph(), "AVIF") + formats.box(b"mpvd", VIDEO)
    assert avif.look(io.BytesIO(data)).notices == ("not kept: a video",)


# GIF


def test_a_gif_is_transparent_around_its_first_frame() -> None:
    data = bytearray(saved(photograph().convert("P"), "GIF"))
    data[6:10] = struct.pack("<HH", WIDTH + 10, HEIGHT + 5)
    frame = data.index(b"\x2c", 13 + (3 << (data[10] & 7) + 1))
    data[frame + 1 : frame + 5] = struct.pack("<HH", 3, 2)
    picture = load(bytes(data))
    assert picture.rgb.shape == (HEIGHT + 5, WIDTH + 10, 3)
    inside = np.zeros((HEIGHT + 5, WIDTH + 10), bool)
    inside[2 : 2 + HEIGHT, 3 : 3 + WIDTH] = True
    np.testing.assert_array_equal(picture.alpha == 255, inside)


# Names


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"", "an empty file"),
        (b"\x89GIC\r\n\x1a\n", "a .gic file, which is coded already"),
        (b"\xff\x0a\x00", "a JPEG XL picture"),
        (struct.pack(">I4s4s", 24, b"ftyp", b"heic") + bytes(12), "a HEIF picture (HEIC)"),
        (struct.pack(">I4s4s", 24, b"ftyp", b"isom") + bytes(12), "a video or another file of boxes"),
        (b"%PDF-1.7", "a PDF"),
        (b"8BPS\0\1", "a Photoshop file"),
        (b"P6\n1 1\n255\n", "a PNM picture"),
        (b"<svg xmlns", "an SVG drawing"),
        (b"any text", ""),
    ],
)
def test_other_files_have_their_names(head: bytes, name: str) -> None:
    with pytest.raises(UnreadablePicture) as refused:
        load(head)
    known = "not a picture in a format that is read here (JPEG PNG WebP AVIF TIFF BMP GIF)"
    assert str(refused.value) == known + (f": {name}" if name else "")


# Peers

IDENTIFY, TIFF2RGBA, HEIF = (shutil.which(name) for name in ("identify", "tiff2rgba", "heif-convert"))
# The program beside it: other systems have others of that name.
MAGICK = str(Path(IDENTIFY).with_name("convert")) if IDENTIFY else None


def seen_by_magick(path: Path) -> np.ndarray:
    """(H, W, 4) as ImageMagick sees a file."""
    assert MAGICK is not None
    size = subprocess.run([MAGICK, path, "-format", "%w %h", "info:"], capture_output=True, check=True).stdout.split()
    raw = subprocess.run([MAGICK, path, "-depth", "8", "rgba:-"], capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(int(size[1]), int(size[0]), 4)


PEERS = {
    **{f"gray{bits}.tif": tiff(stored(bits, 1), 1, bits) for bits in (1, 2, 4, 8, 12, 16)},
    "gray16-inverted.tif": tiff(stored(16, 1), 0, 16),
    "gray16-inverted-big.tif": tiff(stored(16, 1), 0, 16, order=">"),
    "gray16-signed.tif": tiff(stored(16, 2), 1, 16, 2),
    "rgb16-apart.tif": tiff(np.asarray(photograph()).astype(int) * 257, 2, 16, apart=True),
    **{
        f"clear{depth}.png": png(stored(depth, 1), 0, depth, [chunk(b"tRNS", struct.pack(">H", (1 << depth) - 1))])
        for depth in (2, 4, 8, 16)
    },
    "clear16.png": png(np.full((4, 4, 3), 255), 2, 16, [chunk(b"tRNS", struct.pack(">3H", 255, 255, 255))]),
    "damaged.png": formats.png_with(saved(photograph(), "PNG"), chunk(b"tEXt", b"a\0b", wrong=True)),
}


@pytest.mark.skipif(MAGICK is None, reason="ImageMagick is not installed")
@pytest.mark.parametrize("name", PEERS)
def test_imagemagick_sees_the_same(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(PEERS[name])
    seen, picture = seen_by_magick(tmp_path / name), load(PEERS[name])
    assert np.abs(seen[..., :3].astype(int) - picture.rgb).max() <= 1
    alpha = np.full(seen.shape[:2], 255) if picture.alpha is None else picture.alpha
    np.testing.assert_array_equal(seen[..., 3], alpha)


@pytest.mark.skipif(TIFF2RGBA is None, reason="libtiff's tools are not installed")
@pytest.mark.parametrize(
    "name", [name for name in PEERS if name.endswith(".tif") and "12" not in name and "signed" not in name]
)
def test_libtiff_sees_the_same(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(PEERS[name])
    subprocess.run([str(TIFF2RGBA), tmp_path / name, tmp_path / "seen.tif"], check=True, capture_output=True)
    with Image.open(tmp_path / "seen.tif") as seen:
        assert np.abs(np.asarray(seen.convert("RGB")).astype(int) - load(PEERS[name]).rgb).max() <= 1


@pytest.mark.skipif(HEIF is None, reason="libheif's tools are not installed")
@pytest.mark.parametrize("turns", range(4))
def test_libheif_sees_the_same(turns: int, tmp_path: Path) -> None:
    plain = saved(photograph().resize((64, 48)), "AVIF", quality=100, subsampling="4:4:4")
    turn = formats.box(b"irot", bytes((turns,)))
    data = formats.avif_with(plain, formats.clap(32, 24, 8, 4, (64, 48)), turn)
    (tmp_path / "in.avif").write_bytes(data)
    subprocess.run([str(HEIF), tmp_path / "in.avif", tmp_path / "seen.png"], check=True, capture_output=True)
    with Image.open(tmp_path / "seen.png") as seen:
        found = load(data).rgb
        assert np.asarray(seen).shape == found.shape
        assert np.abs(np.asarray(seen).astype(int) - found).mean() < 3


# Pixels that are not there


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "I;16"])
def test_a_png_whose_pixels_end_early_is_refused(mode: str, interlaced: bool) -> None:
    """Its data is sound: Pillow shows black for what is missing."""
    image = Image.new(mode, (19, 13))
    data = saved(image, "PNG")
    if interlaced:
        data = _interlaced(image.size, data[24] * {"RGB": 3, "RGBA": 4}.get(mode, 1), data)
    assert load(data).rgb.shape == (13, 19, 3)
    taller = data[:20] + struct.pack(">I", 14) + data[24:29]
    taller = data[:8] + chunk(b"IHDR", taller[16:]) + data[33:]
    with pytest.raises(UnreadablePicture, match="not all of its 19x14 pixels are there"):
        load(taller)


def _interlaced(size: tuple[int, int], bits: int, data: bytes) -> bytes:
    """A black PNG of that size, interlaced, with the header and palette of another."""
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    raw = b""
    for x, y, across, down in passes:
        columns, rows = -(-(size[0] - x) // across), -(-(size[1] - y) // down)
        raw += bytes(rows * (1 + -(-columns * bits // 8)))
    before = data[33 : data.index(b"IDAT") - 4]
    header = chunk(b"IHDR", data[16:28] + b"\1")
    return data[:8] + header + before + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF"])
def test_pixels_without_data_are_refused_at_once(format: str) -> None:
    data = bytearray(saved(Image.new("L", (64, 64)), format))
    if format == "PNG":
        data[8:33] = chunk(b"IHDR", struct.pack(">II", 10000, 10000) + bytes(data[24:29]))
    elif format == "JPEG":
        place = data.index(b"\xff\xc0")
        data[place + 5 : place + 9] = struct.pack(">HH", 10000, 10000)
    else:
        data[6:10] = struct.pack("<HH", 16000, 16000)
    tracemalloc.start()
    try:
        with pytest.raises(UnreadablePicture, match="not all of its 1[06]000x1[06]000 pixels are there"):
            load(bytes(data))
        assert tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()


def test_a_flat_picture_is_not_taken_for_a_bomb() -> None:
    for format, options in (("PNG", {}), ("JPEG", {"progressive": True}), ("GIF", {}), ("JPEG", {"quality": 1})):
        assert load(saved(Image.new("L", (2000, 2000), 9), format, **options)).rgb.shape == (2000, 2000, 3)


@pytest.mark.parametrize("kind", [1, 3, 4, 16])
@pytest.mark.parametrize("order", ["<", ">"])
def test_white_is_zero_in_any_type_of_number(kind: int, order: str) -> None:
    data = tiff(stored(16, 1), 0, 16, order=order, tags={262: (kind, 0)})
    try:
        assert np.abs(gray_of(data) - (255 - LEVELS)).max() <= 1
    except UnreadablePicture as error:
        assert kind in (1, 16)  # noqa: PT017, of which Pillow makes no number
        assert "a TIFF of 1 sample of 16 bits" in str(error)  # noqa: PT017


HOSTILE = {
    "spaces": b' xmlns:c="%scamera/"' % GOOGLE + b" " * (1 << 21) + b"c:MotionPhoto",
    "prefixes": b"".join(b' xmlns:p%d="%scamera/"' % (i, GOOGLE) for i in range(30000)),
    "openings": b' xmlns:c="%scamera/"' % GOOGLE + b"<c:MotionPhoto>" * 100000,
    "attributes": b' xmlns:c="%scamera/"' % GOOGLE + b" c:MotionPhoto=" * 100000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_xmp_of_strangers_takes_no_time(name: str) -> None:
    started = time.process_time()
    xmp.upright(xmp.without_claims(HOSTILE[name]))
    assert time.process_time() - started < 3


@pytest.mark.parametrize(
    "more",
    [
        b"\xff" * (1 << 22),
        b"\xff\xd8" * (1 << 21),
        saved(Image.new("L", (8, 8)), "JPEG") * 4000,
        b"\xff\x00\xff\xd0" * (1 << 20),
    ],
    ids=["fill", "starts", "pictures", "stuffed"],
)
def test_what_is_behind_a_jpeg_takes_no_time(more: bytes) -> None:
    started = time.process_time()
    assert load(saved(photograph(), "JPEG") + more).notices
    assert time.process_time() - started < 3


@pytest.mark.parametrize("state", ["opened", "loaded"])
def test_an_image_that_pillow_loads_wrongly_is_read_anew_or_refused(state: str) -> None:
    values = np.asarray(photograph()).astype(int) * 257
    image = Image.open(io.BytesIO(tiff(values, 2, 16, apart=True)))
    if state == "opened":
        np.testing.assert_array_equal(imageio.load(image).rgb, np.asarray(photograph()))
        return
    image.load()
    with pytest.raises(UnreadablePicture, match="is loaded wrongly by Pillow: hand over the file instead"):
        imageio.load(image)


# Strangers' files, once more


def _seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    with contextlib.suppress(UnreadablePicture):
        work()
    return time.process_time() - started


def test_names_of_claims_take_no_time() -> None:
    space = b"http://ns.xiaomi.com/photos/1.0/camera/"
    for name in (b"Video" * 100000, b"a" * 500000):
        packet = b'<a xmlns:c="%b" c:%b="1"/><c:%b>1</c:%b>' % (space, name, name, name)
        assert _seconds(lambda packet=packet: xmp.without_claims(packet)) < 1


def test_many_damaged_chunks_take_no_time() -> None:
    data = formats.png_with(saved(photograph(), "PNG"), chunk(b"tEXt", b"a\0b", wrong=True) * 50000)
    assert _seconds(lambda: load(data)) < 3


def test_pixels_in_one_large_chunk_take_no_time() -> None:
    data = saved(Image.new("L", (8000, 5000)), "PNG", compress_level=0)
    pixels = zlib.decompress(b"".join(data[c.start + 8 : c.end - 4] for c in _chunks(data) if c.kind == b"IDAT"))
    one = data[:33] + chunk(b"IDAT", zlib.compress(pixels, 0)) + chunk(b"IEND", b"")
    assert _seconds(lambda: png_format.pixels_are_missing(io.BytesIO(one))) < 1


def _chunks(data: bytes) -> list[png_format.Chunk]:
    return list(png_format.chunks(io.BytesIO(data)))


def test_places_that_cost_no_bytes_take_no_time() -> None:
    """65,535 extents of no width an item, and one range a thousand times."""
    items = b"".join(struct.pack(">HHH", n, 0, 0xFFFF) for n in range(1, 60))
    nothing = struct.pack(">IBBH", 0, 0, 0, 59) + items
    many = struct.pack(">IBBH", 0, 0x44, 0, 1) + struct.pack(">HHH", 1, 0, 5000) + struct.pack(">II", 0, 1 << 20) * 5000
    references = formats.box(b"iref", bytes(4) + formats.box(b"cdsc", struct.pack(">HHH", 1, 1, 1)))
    entry = formats.box(b"infe", b"\2\0\0\0" + struct.pack(">HH", 1, 0) + b"Exif\0")
    for places in (nothing, many):
        inside = formats.box(b"pitm", bytes(4) + b"\0\1") + formats.box(b"iinf", bytes(4) + b"\0\1" + entry)
        meta = formats.box(b"meta", bytes(4) + inside + formats.box(b"iloc", places) + references)
        data = formats.box(b"ftyp", b"avif\0\0\0\0avif") + meta + formats.box(b"mdat", bytes(1 << 20))
        tracemalloc.start()
        assert _seconds(lambda data=data: load(data)) < 1
        assert tracemalloc.get_traced_memory()[1] < 1 << 26
        tracemalloc.stop()


@pytest.mark.parametrize("packed", [1, 8])
@pytest.mark.parametrize("source", ["memory", "file"])
def test_a_loaded_tiff_is_not_turned_again(packed: int, source: str, tmp_path: Path) -> None:
    data = tiff(np.asarray(photograph()), 2, 8, packed=packed, tags={0x0112: (3, 6)})
    (tmp_path / "a.tif").write_bytes(data)
    image = Image.open(io.BytesIO(data) if source == "memory" else tmp_path / "a.tif")
    image.load()
    for _ in range(2):
        np.testing.assert_array_equal(imageio.load(image).rgb, np.rot90(np.asarray(photograph()), -1))


@pytest.mark.parametrize("format", ["AVIF", "JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("loaded", [False, True])
def test_what_is_taken_out_of_an_image_stays_out(format: str, loaded: bool) -> None:
    data = saved(photograph(), format, exif=b"Exif\0\0" + formats.exif(), icc_profile=SRGB)
    image = Image.open(io.BytesIO(data))
    if loaded:
        image.load()
    assert imageio.load(image).icc == SRGB
    for key in ("exif", "icc_profile"):
        image.info.pop(key, None)
    left = imageio.load(image)
    assert (left.exif, left.icc) == (None, None)


def test_another_transparent_level_counts() -> None:
    values = np.rint(RAMP * 15).astype(int)
    image = Image.open(io.BytesIO(png(values, 0, 4, [chunk(b"tRNS", struct.pack(">H", 15))])))
    image.info["transparency"] = 5 * 17
    np.testing.assert_array_equal(imageio.load(image).alpha == 0, values == 5)


def test_big_endian_real_numbers_that_pillow_has_loaded_are_refused() -> None:
    image = Image.open(io.BytesIO(tiff(RAMP, 1, 32, 3, ">", packed=8)))
    assert np.abs(imageio.load(image).rgb[..., 0] - LEVELS).max() <= 1
    again = Image.open(io.BytesIO(tiff(RAMP, 1, 32, 3, ">", packed=8)))
    again.load()
    with pytest.raises(UnreadablePicture, match="loaded wrongly by Pillow"):
        imageio.load(again)


@pytest.mark.parametrize("damage", ["cut", "header", "zeros"])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
def test_a_profile_that_no_program_could_use_is_dropped(format: str, damage: str) -> None:
    icc = {"cut": SRGB[:300], "header": SRGB[:128], "zeros": SRGB[:128] + bytes(len(SRGB) - 128)}[damage]
    picture = load(saved(photograph(), format, icc_profile=icc))
    assert (picture.icc, picture.notices) == (None, ("ICC profile is damaged: dropped",))


@pytest.mark.parametrize(
    "more",
    [
        chunk(b"gAMA", struct.pack(">I", 100000)),
        chunk(b"cICP", bytes((12, 13, 0, 1))),
        chunk(b"cICP", bytes((9, 8, 0, 1))),
    ],
)
def test_gray_in_a_stated_space_stays_gray(more: bytes) -> None:
    picture = load(png(np.rint(LEVELS).astype(int), 0, 8, [more]))
    assert picture.icc is None
    assert (picture.rgb == picture.rgb[..., :1]).all()
    if more[4:8] == b"gAMA":
        light = np.where(RAMP <= 0.0031308, RAMP * 12.92, 1.055 * np.maximum(RAMP, 1e-9) ** (1 / 2.4) - 0.055)
        assert np.abs(picture.rgb[..., 0] - 255 * light).max() < 8


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (saved(photograph(), "AVIF") + formats.box(b"ftyp", b"mp42") + formats.box(b"mdat", bytes(99)), "a video"),
        (saved(photograph(), "AVIF") + formats.box(b"sefd", bytes(9)), "17 bytes of other data"),
        (saved(photograph(), "AVIF") + formats.box(b"uuid", bytes(24)), "content credentials or other data"),
        (formats.png_with(saved(photograph(), "PNG"), chunk(b"caBX", b"1")), "content credentials (C2PA)"),
        (formats.png_with(saved(photograph(), "PNG"), chunk(b"gAMA", bytes(3)) * 2), "damaged chunk 'gAMA'"),
        (formats.riff_with(saved(photograph(), "WEBP"), b"C2PA", b"data"), "content credentials (C2PA)"),
    ],
)
def test_other_things_that_are_not_kept(data: bytes, words: str) -> None:
    assert load(data).notices == (f"not kept: {words}",)


def test_of_two_profiles_the_first_counts() -> None:
    broken, sound = chunk(b"iCCP", b"a\0\0broken"), chunk(b"iCCP", b"a\0\0" + zlib.compress(SRGB))
    picture = load(formats.png_with(saved(photograph(), "PNG"), sound, broken))
    assert (picture.icc, picture.notices) == (SRGB, ("not kept: damaged chunk 'iCCP'",))


TIFF_SPACE = b"http://ns.adobe.com/tiff/1.0/"


@pytest.mark.parametrize(
    ("packet", "states"),
    [
        (b'<a xmlns:t="%b" t:Orientation="6"/>' % TIFF_SPACE, 6),
        (b"<a xmlns:t='%b' t:Orientation = ' 6 '/>" % TIFF_SPACE, 6),
        (b'<a xmlns:tiff="%b"><tiff:Orientation rdf:datatype="x">6</tiff:Orientation></a>' % TIFF_SPACE, 6),
        (b'<a tiff:Orientation="3"/>', 3),
        (b'<a xmlns:tiff="%b" tiff:Orientation="60"/>' % TIFF_SPACE, None),
        (b'<a xmlns:tiff="http://example.org/" tiff:Orientation="6"/>', None),
    ],
)
def test_orientation_in_xmp_by_its_name_space(packet: bytes, states: int | None) -> None:
    assert xmp.orientation(packet) == states
    assert xmp.orientation(xmp.upright(packet)) == (None if states is None else 1)


def test_xmp_of_a_tiff_is_kept_in_any_type() -> None:
    packet = XMP.replace(b'"x"', '"Zürich"'.encode())
    for kind in (1, 2, 7):
        assert load(tiff(np.asarray(photograph()), 2, 8, tags={700: (kind, packet)})).xmp == packet


def test_a_clap_without_a_denominator_is_passed_over() -> None:
    bad = formats.box(b"clap", struct.pack(">IIIIiIiI", 10, 0, 8, 1, 0, 1, 0, 1))
    assert "clean aperture" in load(formats.avif_with(saved(photograph(), "AVIF"), bad)).notices[0]


def test_primaries_of_srgb_in_a_tiff_need_no_word() -> None:
    primaries = struct.pack("<12I", *(n for v in (64, 33, 30, 60, 15, 6) for n in (v, 100)))
    assert load(tiff(np.asarray(photograph()), 2, 8, tags={319: (5, primaries)})).notices == ()


def test_a_big_tiff_without_exif_needs_no_word() -> None:
    assert load(tiff(np.asarray(photograph()), 2, 8, big=True)).notices == ()
    told = load(tiff(np.asarray(photograph()), 2, 8, big=True, tags={271: (2, b"Maker\0")})).notices
    assert told == ("EXIF in a BigTIFF: dropped",)


def test_an_apple_png_has_its_name() -> None:
    data = saved(photograph(), "PNG")
    with pytest.raises(UnreadablePicture, match="a PNG of Apple's own kind"):
        load(data[:8] + chunk(b"CgBI", bytes(4)) + data[8:])
