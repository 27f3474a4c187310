"""The Pillow plugin, tested as Pillow's own formats are: opening, loading, saving, metadata, hostile files."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile, ImageOps, TiffImagePlugin, UnidentifiedImageError

from gancodec import DecodeOptions, EncodeOptions, container, imageio, pillow_plugin, weights
from gancodec.codec import api
from gancodec.container import Container, Header, spec
from gancodec.container.header import pack, varint
from gancodec.errors import GicError
from tests.conftest import FakeCodec, make_gic
from tests.tiny import picture

WIDTH, HEIGHT = 70, 50
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><note>kept</note></x:xmpmeta>'
MAKER, ORIENTATION, RESOLUTIONS = 271, 0x0112, (0x011A, 0x011B, 0x0128)


@pytest.fixture(autouse=True)
def _registered(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(weights.ENVIRONMENT, str(tiny_folder))
    pillow_plugin.register()


def photograph(mode: str = "RGB") -> Image.Image:
    image = Image.fromarray(picture(HEIGHT, WIDTH, 2))
    if "a" in mode.lower():
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image.convert(mode)


def saved(image: Image.Image, **options: Any) -> bytes:
    """What `image` is saved as; n = 2 where nothing is asked for, which is quick."""
    file = io.BytesIO()
    rate = {} if {"bpp", "size", "n", "profile"} & set(options) else {"n": 2.0}
    image.save(file, "GIC", **rate, **options)
    return file.getvalue()


def reopened(image: Image.Image, **options: Any) -> ImageFile.ImageFile:
    return Image.open(io.BytesIO(saved(image, **options)))


@pytest.fixture(scope="module")
def full(tiny_folder: Path) -> Iterator[bytes]:
    """A file with alpha, ICC, EXIF and XMP."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(weights.ENVIRONMENT, str(tiny_folder))
        pillow_plugin.register()
        exif = Image.Exif()
        exif[MAKER] = "Maker"
        yield saved(photograph("RGBA"), icc_profile=SRGB, exif=exif, xmp=XMP, dpi=(300, 150))


def test_nothing_happens_on_import_and_nothing_heavy_on_opening(full: bytes, tmp_path: Path) -> None:
    path = tmp_path / "full.gic"
    path.write_bytes(full)
    code = f"""
import sys
from PIL import Image
from gancodec import pillow_plugin
Image.init()
assert "GIC" not in Image.OPEN and ".gic" not in Image.EXTENSION
pillow_plugin.register()
image = Image.open({str(path)!r})
assert image.size == ({WIDTH}, {HEIGHT}) and image.getexif()[{MAKER}] == "Maker"
image.close()
print([name for name in ("torch", "numpy", "gancodec.codec") if name in sys.modules])
"""
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (result.stdout.strip(), result.stderr) == ("[]", "")


def test_registering_twice_changes_nothing() -> None:
    before = [copy.copy(v) for v in (Image.ID, Image.OPEN, Image.SAVE, Image.SAVE_ALL, Image.EXTENSION, Image.MIME)]
    pillow_plugin.register()
    assert before == [Image.ID, Image.OPEN, Image.SAVE, Image.SAVE_ALL, Image.EXTENSION, Image.MIME]
    assert Image.ID.count("GIC") == 1
    assert Image.registered_extensions()[".gic"] == "GIC"
    assert Image.MIME["GIC"] == spec.MIME


def test_pixels_wait_until_they_are_asked_for(full: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    decode, calls = api.decode_bytes, []
    monkeypatch.setattr(api, "decode_bytes", lambda *a: calls.append(a) or decode(*a))
    image = Image.open(io.BytesIO(full))
    assert (image.format, image.mode, image.size) == ("GIC", "RGBA", (WIDTH, HEIGHT))
    assert image.get_format_mimetype() == spec.MIME
    assert image.info["gancodec"] == {"model": api.find(None).id, "n": 2.0, "synthetic_detail": False}
    image.seek(0)
    assert calls == []
    pixels = np.asarray(image)
    image.load()
    assert len(calls) == 1
    decoded = decode(full)
    assert (pixels == np.dstack((decoded.rgb, decoded.alpha))).all()


def test_opening_reads_no_more_than_it_needs() -> None:
    class Counting(io.BytesIO):
        count = 0

        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            self.count += len(data)
            return data

    file = Counting(make_gic(1000, 800, bytes(100_000)))
    assert Image.open(file, formats=["GIC"]).size == (1000, 800)  # others, where tests registered them, read more
    assert file.count < 200


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "HSV", "YCbCr", "LAB"]
)
def test_modes(mode: str) -> None:
    if mode in ("LAB", "PA", "La"):
        image = Image.new(mode, (WIDTH, HEIGHT))
    else:
        image = photograph(mode)
    with pytest.warns(UserWarning, match="converted") if mode in ("HSV", "YCbCr", "LAB") else _quiet():
        opened = reopened(image)
    gray = mode in ("1", "L", "LA", "La", "PA")  # of which two are black here
    assert opened.mode == ("L" if gray else "RGB") + "A" * (mode in ("LA", "La", "PA", "RGBA", "RGBa"))
    if opened.mode.endswith("A"):
        expected = image.convert("LA" if mode == "La" else mode).convert("RGBA").getchannel("A")
        assert opened.getchannel("A").tobytes() == expected.tobytes()
    opened.load()


class _quiet:  # warnings are errors
    def __enter__(self) -> None: ...
    def __exit__(self, *error: object) -> None: ...


@pytest.mark.parametrize("mode", ["I;16", "I", "F", "CMYK"])
def test_modes_that_lose_something_say_so(mode: str) -> None:
    image = photograph("CMYK") if mode == "CMYK" else Image.fromarray(np.zeros((9, 9), np.float32)).convert(mode)
    with pytest.warns(UserWarning, match="CMYK" if mode == "CMYK" else "reduced to 8") as told:
        opened = reopened(image)
    assert told[0].filename == __file__
    assert opened.mode == ("RGB" if mode == "CMYK" else "L")


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (300, 1), (64, 64), (65, 129)])
def test_sizes(size: tuple[int, int]) -> None:
    opened = reopened(photograph().resize(size))
    assert opened.size == size
    assert np.asarray(opened).shape == (size[1], size[0], 3)


def test_pictures_without_pixels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no pixels"):
        Image.new("RGB", (0, 5)).save(tmp_path / "empty.gic")
    assert list(tmp_path.iterdir()) == []


def test_metadata_comes_back(full: bytes) -> None:
    image = Image.open(io.BytesIO(full))
    assert image.info["icc_profile"] == SRGB
    assert image.info["xmp"] == XMP
    assert image.info["dpi"] == (300, 150)
    exif = image.getexif()
    assert exif[MAKER] == "Maker"
    assert [float(exif[tag]) for tag in RESOLUTIONS] == [300, 150, 2]


def test_getxmp(full: bytes) -> None:
    pytest.importorskip("defusedxml", reason="Pillow reads XMP with defusedxml")
    assert Image.open(io.BytesIO(full)).getxmp() == {"xmpmeta": {"note": "kept"}}


def test_metadata_is_kept_from_info_replaced_and_dropped(full: bytes) -> None:
    image = Image.open(io.BytesIO(full))
    kept = reopened(image)
    assert {k: v for k, v in kept.info.items() if k != "gancodec"} == {
        k: v for k, v in image.info.items() if k != "gancodec"
    }
    replaced = reopened(image, icc_profile=SRGB + b"x", exif=b"MM\0*\0\0\0\x08" + bytes(6), xmp=XMP.decode() + " ")
    assert replaced.info["icc_profile"] == SRGB + b"x"
    assert replaced.info["xmp"] == XMP + b" "
    assert len(replaced.getexif()) == 0
    assert "dpi" not in replaced.info
    for nothing in (None, b""):
        dropped = reopened(image, icc_profile=nothing, exif=nothing, xmp=nothing)
        assert dropped.info.keys() == {"gancodec"}
    assert "exif" not in reopened(image, strip=("all",)).info


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_stored_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    turned = photograph()
    turned.info["exif"] = exif.tobytes()
    upright = ImageOps.exif_transpose(turned)
    stored = np.asarray(reopened(upright, exif=None))
    for options in ({}, {"exif": exif}, {"exif": None}):
        opened = reopened(turned, **options)
        assert (np.asarray(opened) == stored).all()
        assert opened.getexif().get(ORIENTATION, 1) == 1
    exif[ORIENTATION] = 1  # EXIF that is given is what counts
    assert reopened(turned, exif=exif).size == turned.size


def test_orientation_by_xmp_goes_with_it() -> None:
    image = photograph()
    image.info["XML:com.adobe.xmp"] = '<rdf tiff:Orientation="6"/>'  # as Pillow has it from PNG files
    assert reopened(image).size == (HEIGHT, WIDTH)
    assert reopened(image, xmp=None).size == (HEIGHT, WIDTH)
    assert reopened(image, xmp=XMP).size == (WIDTH, HEIGHT)


@pytest.mark.parametrize("given", [(300, 300), (72, 72), (299.72, 96.5), (1, 1), (0.5, 65535.5)])
def test_dpi_by_parameter(given: tuple[float, float]) -> None:
    assert reopened(photograph(), dpi=given).info["dpi"] == pytest.approx(given, rel=1e-4)


@pytest.mark.parametrize("given", [300, (0, 1), (-1, 5), (float("nan"), 1), (1 << 16, 1), ("a", "b"), (1, 2, 3)])
def test_dpi_that_makes_no_sense(given: Any) -> None:
    with pytest.raises(ValueError, match="dpi"):
        saved(photograph(), dpi=given)
    image = photograph()
    image.info["dpi"] = given
    assert "dpi" not in reopened(image).info


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "bmp"])
def test_dpi_of_other_formats_is_kept(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"photo.{suffix}"
    photograph().save(path, dpi=(240, 240))
    image = Image.open(path)
    assert reopened(image).info["dpi"] == pytest.approx((240, 240), rel=1e-3)
    assert "dpi" not in reopened(image, exif=None).info


def test_dpi_leaves_the_rest_of_exif_where_it_was() -> None:
    exif = Image.Exif()
    exif[MAKER], exif[0x011A], exif[0x011B], exif[0x0128] = "Maker", 72.0, 72.0, 2
    exif.get_ifd(0x8769)[0x927C] = bytes(range(200))  # a maker note
    raw = exif.tobytes()
    assert reopened(photograph(), exif=raw, dpi=(72, 72)).info["exif"] == raw
    image = photograph()
    image.info.update(exif=raw, dpi=(300, 300))
    assert reopened(image, exif=raw).info["dpi"] == (72, 72)  # EXIF that is given is what counts
    opened = reopened(image)
    assert opened.info["dpi"] == (300, 300)
    assert opened.info["exif"][14 : len(raw)] == raw[14:]
    for odd in (raw, raw + b"x"):
        start = int.from_bytes(reopened(photograph(), exif=odd, dpi=(300, 300)).info["exif"][10:14], "big")
        assert start >= len(odd) - 6
        assert start % 2 == 0
    assert opened.getexif()[MAKER] == "Maker"
    assert opened.getexif().get_ifd(0x8769)[0x927C] == bytes(range(200))


def test_dpi_in_centimetres_and_damaged_exif() -> None:
    exif = Image.Exif()
    exif[0x011A], exif[0x011B], exif[0x0128] = 100.0, 200.0, 3
    assert reopened(photograph(), exif=exif).info["dpi"] == (254, 508)
    raw = exif.tobytes()
    for damaged in (raw[:20], raw[:14] + b"\xff" * 40, b"MM\0*" + b"\xff" * 8, b"II*\0\x08\0\0\0\xff\xff"):
        with pytest.warns(UserWarning, match="EXIF"):
            assert "dpi" not in reopened(photograph(), exif=damaged).info
        with pytest.warns(UserWarning, match="EXIF"):
            assert reopened(photograph(), exif=damaged, dpi=(300, 300)).info["dpi"] == (300, 300)


def test_exif_of_tiff_files(tmp_path: Path) -> None:
    path = tmp_path / "photo.tif"
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[MAKER] = "Maker"
    photograph().save(path, tiffinfo=tags, dpi=(200, 200))
    image = Image.open(path)
    opened = reopened(image)
    assert opened.getexif()[MAKER] == "Maker"
    assert opened.info["dpi"] == (200, 200)
    assert 0x0111 not in opened.getexif()  # where the strips of the TIFF file were
    photograph().save(path)
    assert "dpi" not in reopened(Image.open(path)).info  # Pillow says (1, 1)


@pytest.mark.parametrize("rate", [{"bpp": 0.5}, {"size": 218}])
def test_rates_are_met(rate: dict[str, Any], full: bytes) -> None:
    target = int(rate.get("size", rate.get("bpp", 0) * WIDTH * HEIGHT / 8))
    size = len(saved(photograph(), **rate))
    assert 0.9 * target < size <= target
    assert len(saved(photograph(), n=4.0)) < size


def test_a_missed_target_warns_or_fails(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="10 bytes: out of reach, the nearest is"):
        assert len(saved(photograph(), size=10)) > 10
    with pytest.raises(OSError, match="out of reach"):
        photograph().save(tmp_path / "photo.gic", size=10, strict=True)
    assert list(tmp_path.iterdir()) == []


def test_every_encode_option_is_a_keyword(fake_codec: FakeCodec) -> None:
    options = EncodeOptions(
        bpp=0.5, model="m", entropy="huffman", device="cpu", strict=True, strip=("xmp",), max_pixels=4000,
        protect=("text",), saliency="fine", saliency_model="s", saliency_strength=2.0, roi="mask.png",
        roi_boxes=((0, 0, 9, 9),), profile="split", inner="lossless", factor=8,
    )  # fmt: skip
    saved(photograph(), **vars(options), quality=80, optimize=True)  # those of other formats mean nothing here
    assert fake_codec.encoded == [options]
    with pytest.raises(OSError, match="more than 3499 pixels"):
        saved(photograph(), max_pixels=WIDTH * HEIGHT - 1)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"bpp": 0.1, "size": 100}, ValueError, "exclude each other"),
        ({"bpp": -1.0}, ValueError, "above 0"),
        ({"entropy": "arithmetic"}, ValueError, "choose"),
        ({"model": "missing"}, OSError, "unknown"),
        ({"roi": "missing.png"}, OSError, "missing.png"),
    ],
)
def test_failed_saves_leave_nothing(options: dict[str, Any], error: type, words: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=words) as raised:
        photograph().save(tmp_path / "photo.gic", **options)
    assert isinstance(raised.value.__cause__, GicError)
    assert list(tmp_path.iterdir()) == []
    file = io.BytesIO(b"before")
    with pytest.raises(error, match=words):
        photograph().save(file, "GIC", **options)
    assert file.getvalue() == b"before"


def test_split_files() -> None:
    opened = reopened(photograph("RGBA"), profile="split", roi_boxes=((0, 0, 20, 20),))
    assert opened.info["gancodec"] == {"model": 0, "n": 0.0, "synthetic_detail": False}
    assert np.asarray(opened).shape == (HEIGHT, WIDTH, 4)


def test_sequences_are_refused(tmp_path: Path) -> None:
    for options in ({"save_all": True, "append_images": [photograph()]}, {"append_images": [photograph()]}):
        with pytest.raises(ValueError, match="one picture, not 2"):
            photograph().save(tmp_path / "two.gic", **options)
    assert list(tmp_path.iterdir()) == []
    assert saved(photograph(), save_all=True) == saved(photograph())


def test_the_frame_that_is_shown_is_saved(tmp_path: Path) -> None:
    path = tmp_path / "two.gif"
    Image.new("L", (20, 20), 0).save(path, save_all=True, append_images=[Image.new("L", (20, 20), 255)])
    with Image.open(path) as image:
        image.seek(1)
        assert saved(image) == saved(Image.new("L", (20, 20), 255))
        assert image.tell() == 1
        with pytest.raises(ValueError, match="one picture, not 2"):
            saved(image, save_all=True)


def test_realism_is_chosen_by_picture(full: bytes, fake_codec: FakeCodec) -> None:
    image = Image.open(io.BytesIO(make_gic()))
    assert image.decode_options is None
    image.decode_options = DecodeOptions(realism=0.0)
    image.load()
    Image.open(io.BytesIO(make_gic())).load()
    assert [options and options.realism for options in fake_codec.decoded] == [0.0, None]
    with pytest.raises(ValueError, match="decoded already"):
        image.decode_options = DecodeOptions()


def test_decode_options_that_cannot_be_met(full: bytes) -> None:
    image = Image.open(io.BytesIO(full))
    for options, error, words in (
        (DecodeOptions(realism=2.0), ValueError, "realism 2"),
        (DecodeOptions(model="missing"), OSError, "unknown"),
        (DecodeOptions(max_pixels=100), OSError, "more than 100 pixels"),
    ):
        image.decode_options = options
        with pytest.raises(error, match=words):
            image.load()
    image.decode_options = None  # it can be tried again
    assert image.getpixel((0, 0))


def test_files_streams_and_offsets(full: bytes, tmp_path: Path) -> None:
    path = tmp_path / "full.GIC"
    path.write_bytes(full)
    expected = api.decode(full).tobytes()
    image = Image.open(path)
    held = image.fp
    assert image.tobytes() == expected
    assert held.closed
    stream = io.BytesIO(full)
    stream.seek(20)  # Pillow starts at 0 all the same
    assert Image.open(stream, formats=["GIC"]).tobytes() == expected
    assert not stream.closed
    inside = io.BytesIO(b"something else " + full)
    inside.seek(15)
    assert pillow_plugin.GicImageFile(inside).tobytes() == expected


def test_formats_restrict(full: bytes) -> None:
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(full), formats=["PNG", "JPEG"])
    png = io.BytesIO()
    photograph().save(png, "PNG")
    with pytest.raises(UnidentifiedImageError):
        Image.open(png, formats=["GIC"])
    with pytest.raises(SyntaxError, match=r"not a \.gic file"):
        pillow_plugin.GicImageFile(png)


def test_parser(full: bytes) -> None:
    parser = ImageFile.Parser()
    for start in range(0, len(full), 100):
        parser.feed(full[start : start + 100])
    assert parser.close().tobytes() == api.decode(full).tobytes()


def test_closed_files(full: bytes, tmp_path: Path) -> None:
    path = tmp_path / "full.gic"
    path.write_bytes(full)
    with Image.open(path) as image:
        assert image.size == (WIDTH, HEIGHT)
    for closed in (image, Image.open(path)):
        closed.close()
        with pytest.raises(ValueError, match="closed image"):
            closed.load()
        with pytest.raises(ValueError, match="closed image"):
            closed.verify()


def test_verify(full: bytes, tmp_path: Path) -> None:
    path = tmp_path / "full.gic"
    path.write_bytes(full)
    image = Image.open(path)
    held = image.fp
    image.verify()
    assert held.closed
    path.write_bytes(make_gic())  # a sound container: verify decodes nothing
    Image.open(path).verify()
    damaged = bytearray(full)
    damaged[60] ^= 1
    with Image.open(io.BytesIO(damaged)) as image, pytest.raises(OSError, match="IMAGE: checksum differs"):
        image.verify()


def test_pickling_copying_and_editing(full: bytes) -> None:
    expected = api.decode(full).tobytes()
    for made in (pickle.loads(pickle.dumps(Image.open(io.BytesIO(full)))), Image.open(io.BytesIO(full)).copy()):
        assert made.tobytes() == expected
        assert made.info["dpi"] == (300, 150)
    image = Image.open(io.BytesIO(full))
    image.load()
    assert image.readonly == api.decode(full).readonly  # editing copies the pixels first
    image.putpixel((0, 0), (1, 2, 3, 4))
    assert image.getpixel((0, 0)) == (1, 2, 3, 4)
    image.thumbnail((20, 20))
    assert image.size == (20, 14)
    assert image.resize((5, 5)).mode == "RGBA"


@pytest.mark.parametrize(("asked", "step"), [((16, 10), 2), ((40, 30), 1), ((3, 3), 8)])  # it asks for twice the size
def test_thumbnails_decode_no_more_than_they_need(
    full: bytes, asked: tuple[int, int], step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    decode = api.decode_bytes
    monkeypatch.setattr(api, "decode_bytes", lambda data, options: seen.append(options.reduce) or decode(data, options))
    image = Image.open(io.BytesIO(full))
    expected = image.size
    image.thumbnail(asked)
    assert seen == [step]
    assert max(image.size) <= max(asked)
    assert image.size[0] / image.size[1] == pytest.approx(expected[0] / expected[1], rel=0.35)


def test_drafts(full: bytes) -> None:
    image = Image.open(io.BytesIO(full))
    width, height = image.size
    assert image.draft(None, (width, height)) is None
    assert image.draft("L", (width // 2, height // 2)) == ("RGBA", (0, 0, width / 2, height / 2))
    assert image.size == (-(-width // 2), -(-height // 2))
    assert image.draft(None, (1, 1)) is None, "once is enough"
    assert image.tobytes() == imageio.to_image(api.decode_bytes(full, api.DecodeOptions(reduce=2))).tobytes()
    assert image.draft(None, (1, 1)) is None


def test_regions(full: bytes) -> None:
    image = Image.open(io.BytesIO(full))
    image.decode_options = api.DecodeOptions(region=(5, 3, 20, 11), reduce=2)
    assert image.size == (11, 6)
    assert image.draft(None, (1, 1)) is None
    with pytest.raises(ValueError, match="lies outside"):
        image.decode_options = api.DecodeOptions(region=(5000, 3, 20, 11))
    image.load()
    assert image.tobytes() == imageio.to_image(api.decode_bytes(full, image.decode_options)).tobytes()


def test_a_split_file_is_a_picture_to_encode_too(full: bytes) -> None:
    """Its layers are read while it is read: in a process of its own, for what would wait for itself waits for ever."""
    code = (
        "import io, gancodec\nfrom PIL import Image\nfrom gancodec import pillow_plugin\npillow_plugin.register()\n"
        "image = Image.effect_mandelbrot((64, 48), (-2, -1, 1, 1), 20).convert('RGB')\nfile = io.BytesIO()\n"
        "asked = dict(profile='split', roi_boxes=((3, 3, 20, 20),))\nimage.save(file, 'GIC', **asked)\n"
        "image = Image.open(file)\n"
        "gancodec.encode(image, options=gancodec.EncodeOptions(roi=Image.open(file), profile='split'))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_any_number_of_chunks_is_not_walked(full: bytes) -> None:
    parsed = container.read(full)
    end = parsed.chunks[-1].offset
    empty = b"\xfe\x00" + zlib.crc32(b"\xfe\x00").to_bytes(4, "little")
    Image.open(io.BytesIO(full[:end] + 60 * empty + full[end:])).close()
    with pytest.raises(OSError, match="too many chunks"):
        Image.open(io.BytesIO(full[:end] + 100 * empty + full[end:]))


def test_threads(full: bytes) -> None:
    def work(number: int) -> tuple[bytes, bytes]:
        image = Image.open(io.BytesIO(full))
        return image.tobytes(), saved(photograph().rotate(90 * (number % 4)))

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(work, range(12)))
    assert {pixels for pixels, _ in results} == {api.decode(full).tobytes()}
    assert [data for _, data in results] == [saved(photograph().rotate(90 * (i % 4))) for i in range(4)] * 3


def test_every_truncation_is_found(full: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)  # a cut file has no picture all the same
    for length in (*range(len(spec.MAGIC)), *range(len(spec.MAGIC), len(full), 7), len(full) - 1):
        with pytest.raises(OSError, match=r"cut short|cannot identify"), Image.open(io.BytesIO(full[:length])) as image:
            image.load()


@pytest.mark.parametrize(
    ("change", "words"),
    [("flipped", "IMAGE: checksum differs"), ("appended", "after the end"), ("replaced", "changed since")],
)
def test_damage_that_opening_cannot_see(change: str, words: str, full: bytes) -> None:
    file = io.BytesIO(full)
    image = Image.open(file)
    if change == "flipped":
        file.getbuffer()[60] ^= 1
    elif change == "appended":
        file.seek(0, io.SEEK_END)
        file.write(b"\0")
    else:
        file.seek(0)
        file.write(saved(photograph().crop((0, 0, 30, 30))))
        file.truncate()
    with pytest.raises(OSError, match=words):
        image.load()


def test_what_is_wrong_is_told_on_opening(full: bytes) -> None:
    header = bytearray(full)
    header[12] ^= 1
    newer = bytearray(full)
    newer[8] = 9
    icc = bytearray(full)
    icc[full.index(zlib.compress(SRGB, 9)) + 5] ^= 1
    for data, words in ((header, "header checksum"), (newer, "format version 9"), (icc, "ICC: checksum differs")):
        with pytest.raises(UnidentifiedImageError, match=words) as raised:
            Image.open(io.BytesIO(data))
        assert isinstance(raised.value.__cause__, GicError)


def chunk(kind: int, body: bytes) -> bytes:
    checked = bytes((kind,)) + varint(len(body)) + body
    return checked + zlib.crc32(checked).to_bytes(4, "little")


def test_bombs_are_refused_before_anything_is_inflated(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = varint(4 << 20) + zlib.compress(bytes(4 << 20), 9)
    header = Header(1 << 15, 1 << 14, 1, bytes(8), 0, 0, 0, 0, 0)
    data = pack(header) + chunk(spec.IMAGE, b"") + chunk(spec.XMP, bomb) + chunk(spec.END, b"")
    tracemalloc.start()
    with pytest.raises(Image.DecompressionBombError, match="536870912 pixels"):
        Image.open(io.BytesIO(data))
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", (1 << 29) - 1)
    with pytest.warns(Image.DecompressionBombWarning) as told:
        image = Image.open(io.BytesIO(data))
    assert len(told) == 1
    assert image.size == (1 << 15, 1 << 14)
    assert len(image.info["xmp"]) == 4 << 20
    with pytest.raises(OSError, match="more than 268435456 pixels"):  # our own limit, and nothing is decoded
        image.load()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert Image.open(io.BytesIO(data)).size == (1 << 15, 1 << 14)


@pytest.mark.parametrize(
    ("chunks", "words"),
    [
        (chunk(spec.ICC, varint(5 << 20) + zlib.compress(bytes(5 << 20))), "ICC: inflates to 5242880 bytes"),
        (chunk(spec.XMP, varint(9) + zlib.compress(bytes(1 << 20))), "does not inflate to the 9 bytes"),
        (bytes((spec.EXIF,)) + varint((1 << 32) - 1) + bytes(9), "EXIF: 4294967295 bytes, cap"),
        (chunk(spec.XMP, varint(1) + zlib.compress(b"x")) * 2, "XMP: second one"),
        (chunk(spec.XMP, b""), "cut short"),
        (chunk(0xC0, b"unknown")[:-9], "cut short"),
        (bytes((0xC0, 0x80, 0x80, 0x80, 0x80, 0x80)), "number too long"),
    ],
    ids=["over the cap", "more than stated", "length", "twice", "empty", "cut", "endless number"],
)
def test_metadata_that_lies_is_refused_on_opening(chunks: bytes, words: str) -> None:
    header = Header(40, 30, 1, bytes(8), 0, 0, 0, 0, 0)
    with pytest.raises(UnidentifiedImageError, match=words):
        Image.open(io.BytesIO(pack(header) + chunk(spec.IMAGE, b"coded") + chunks + chunk(spec.END, b"")))


def test_unknown_chunks_are_passed_over(full: bytes) -> None:
    extended = full[:-6] + chunk(0xC0, b"unknown") + full[-6:]
    image = Image.open(io.BytesIO(extended))
    assert image.info["xmp"] == XMP
    assert image.tobytes() == api.decode(full).tobytes()
    critical = Image.open(io.BytesIO(full[:-6] + chunk(0x40, b"unknown") + full[-6:]))
    with pytest.raises(OSError, match="0x40 is critical and unknown"):
        critical.load()


def test_damaged_bytes_end_in_documented_errors(full: bytes) -> None:
    """Random bytes behind a sound signature or header, random changes, and EXIF of random bytes."""
    rng = np.random.default_rng(7)
    header = container.read(full).header
    files = [spec.MAGIC + b"\1\0" + rng.bytes(rng.integers(0, 80)) for _ in range(200)]
    files += [pack(header) + rng.bytes(rng.integers(0, 80)) for _ in range(200)]
    for _ in range(300):
        changed = bytearray(full)
        for place in rng.integers(8, len(full), rng.integers(1, 4)):
            changed[place] ^= rng.integers(1, 256)
        files.append(bytes(changed))
    for data in files:
        with pytest.raises((OSError, SyntaxError, Image.DecompressionBombError)):
            Image.open(io.BytesIO(data)).load()
    for order in (b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"):
        for _ in range(150):
            tags = b"".join(bytes((1, rng.choice([0x1A, 0x1B]))) + rng.bytes(10) for _ in range(4))
            exif = order + bytes(rng.integers(0, 6, 2).astype(np.uint8)) + tags + rng.bytes(rng.integers(0, 60))
            file = container.write(Container(header, b"coded", None, None, exif, None))
            assert Image.open(io.BytesIO(file)).info["exif"] == exif


def test_imageio(tmp_path: Path) -> None:
    iio = pytest.importorskip("imageio.v3", reason="imageio is not installed")
    path = tmp_path / "photo.gic"
    pixels = np.asarray(photograph())
    iio.imwrite(path, pixels, bpp=0.5, dpi=(300, 300))
    data = path.read_bytes()
    assert data == saved(photograph(), bpp=0.5, dpi=(300, 300))
    assert (iio.imread(path) == np.asarray(api.decode(data))).all()
    assert (iio.imread(data) == iio.imread(path)).all()
    assert iio.improps(path).shape == pixels.shape
    assert iio.immeta(path)["dpi"] == (300, 300)
    assert iio.imwrite("<bytes>", pixels, plugin="pillow", extension=".gic", bpp=0.5, dpi=(300, 300)) == data
    with pytest.raises(ValueError, match="one picture, not 2"):
        iio.imwrite(tmp_path / "two.gic", np.stack([pixels] * 2))


@pytest.mark.parametrize("pages", [1, 2])
@pytest.mark.parametrize("format", ["TIFF", "PNG", "JPEG", "WEBP", "AVIF"])
def test_a_turned_picture_is_turned_once(format: str, pages: int) -> None:
    """Whether Pillow has turned it, as it does TIFF, or not."""
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:10] = 200
    pixels[:, :20] = (255, 0, 0)
    image, tags, file = Image.fromarray(pixels), Image.Exif(), io.BytesIO()
    tags[0x0112] = 6
    more: dict[str, Any] = {"save_all": True, "append_images": [image]} if pages == 2 and format == "TIFF" else {}
    image.save(file, format, exif=tags, **more)
    picture = pillow_plugin._picture(Image.open(file), {}, 1 << 20)
    assert picture.rgb.shape == (60, 40, 3)
    np.testing.assert_array_equal(picture.rgb, imageio.load(file).rgb)


@pytest.mark.parametrize("format", ["JPEG", "AVIF", "PNG", "TIFF"])
def test_metadata_that_is_given_comes_before_that_of_the_file(format: str) -> None:
    tags, file = Image.Exif(), io.BytesIO()
    tags[MAKER] = "Old"
    photograph().save(file, format, exif=tags, icc_profile=SRGB)
    tags[MAKER] = "New"
    opened = Image.open(file)
    given = pillow_plugin._picture(opened, {"exif": tags, "icc_profile": SRGB + b"more", "xmp": XMP}, 1 << 20)
    assert b"New" in (given.exif or b"")
    assert b"Old" not in (given.exif or b"")
    assert (given.icc, given.xmp) == (SRGB + b"more", XMP)
    dropped = pillow_plugin._picture(Image.open(file), {"exif": None, "icc_profile": None}, 1 << 20)
    assert (dropped.exif, dropped.icc) == (None, None)
