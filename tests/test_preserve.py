"""What a picture brings along survives the whole way, through a .gic file into each output format, by exiftool's word;
files of cameras in tests/pictures."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gancodec import exif, imageio
from gancodec.cli.decode import format_for
from tests.conftest import FakeCodec, Run

PICTURES = Path(__file__).parent / "pictures"
CAMERAS = ["flower.jpg", "frame_size.mpo", "empty_gps_ifd.jpg", "iptc.jpg"]
EXTRA = "full.jpg"  # the Canon's with place, XMP and titles, see `full`
OUTPUTS = ["png", "jpg", "webp", "tif"]

needs_exiftool = pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")

KEPT_GROUPS = re.compile(r"IFD0|IFD1|ExifIFD|GPS|InteropIFD|Canon|CanonCustom|Apple|XMP-.*|ICC.*")
MUST_CHANGE = {
    "IFD1:ThumbnailOffset": "counted from the start of the file",
}
TURNED = {  # of a picture that was turned
    "IFD0:Orientation": "applied",
    "IFD0:ImageWidth": "exchanged",
    "IFD0:ImageHeight": "exchanged",
    "ExifIFD:ExifImageWidth": "exchanged",
    "ExifIFD:ExifImageHeight": "exchanged",
}
NOT_IN_TIFF = {  # whose first directory describes the pixels of the file itself
    "IFD0:YCbCrPositioning": "of JPEG's chroma",
    "IFD0:TileWidth": "of the tiles of a HEIC file, which the phone wrote about itself",
    "IFD0:TileLength": "likewise",
    "IFD0:ImageWidth": "that of this file",
    "IFD0:ImageHeight": "likewise",
}


def exiftool(*arguments: str | Path) -> bytes:
    done = subprocess.run(["exiftool", "-q", "-m", *map(str, arguments)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def tags(*paths: Path) -> list[dict[str, list[str]]]:
    """Of each file every tag of the groups that are to be kept: group:name to all its values (bytes as base64)."""
    found = []
    for record in json.loads(exiftool("-j", "-G1:4", "-n", "-a", "-b", "-U", *paths)):
        values = defaultdict(list)
        for key, value in record.items():
            name = re.sub(r"Copy\d+:", "", key)
            if KEPT_GROUPS.fullmatch(name.partition(":")[0]):
                values[name].append(str(value))
        found.append({name: sorted(entries) for name, entries in values.items()})
    return found


def without(found: dict[str, list[str]], free: set[str]) -> dict[str, list[str]]:
    return {tag: values for tag, values in found.items() if tag not in free}


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tiny_folder: Path) -> None:
    """The command line encodes with the tiny model."""
    monkeypatch.setenv("GANCODEC_WEIGHTS", str(tiny_folder))


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Canon's file with all that exiftool can add to it."""
    path = tmp_path_factory.mktemp("full") / EXTRA
    shutil.copy(PICTURES / "flower.jpg", path)
    exiftool(
        "-overwrite_original", "-GPSLatitude=47.5", "-GPSLatitudeRef=N", "-GPSLongitude=8.75", "-GPSLongitudeRef=E",
        "-GPSAltitude=408.2", "-XMP-dc:Title=Blüte", "-XMP-dc:Subject=one", "-XMP-dc:Subject=two", "-XMP-xmp:Rating=4",
        "-EXIF:Artist=Žofie", "-EXIF:Copyright=(c) 2024", "-EXIF:ImageDescription=a flower", "-EXIF:UserComment=ünique",
        "-EXIF:XPTitle=Blüte", "-EXIF:LensModel=7-21mm", "-IPTC:Keywords=flower", "-Comment=a comment", path,
    )  # fmt: skip
    return path


def there_and_back(run: Run, source: Path, folder: Path, *options: str, outputs: list[str]) -> tuple[list[Path], str]:
    """Encode and decode; the decoded files and what was said."""
    coded = folder / "coded.gic"
    decoded = [folder / f"decoded.{output}" for output in outputs]
    ran = [run("encode", source, "-o", coded, "--n", "0", "-f", *options)]
    ran += [run("decode", coded, "-o", target, "-f") for target in decoded]
    said = "".join(done.err for done in ran)
    assert {done.code for done in ran} == {0}, said
    return decoded, said


@needs_exiftool
@pytest.mark.parametrize("name", [*CAMERAS, EXTRA])
def test_every_tag_survives(run: Run, tiny: None, tmp_path: Path, full: Path, name: str) -> None:
    source = full if name == EXTRA else PICTURES / name
    decoded, _ = there_and_back(run, source, tmp_path, outputs=OUTPUTS)
    before, *results = tags(source, *decoded)
    turned = before["IFD0:Orientation"] != ["1"]
    for output, after in zip(OUTPUTS, results, strict=True):
        free = {*MUST_CHANGE, *(TURNED if turned else {})}
        if output == "tif":  # where a second directory would be a second page
            free |= {*NOT_IN_TIFF, *(tag for tag in before if tag.startswith("IFD1:"))}
        assert without(after, set(after) - set(before) | free) == without(before, free), output
        assert len(without(before, free)) > 25
        assert after["IFD0:Orientation"] == ["1"]
    groups = {tag.split(":")[0] for tag in before}
    assert groups & {"Canon", "Apple", "InteropIFD", "IFD1"}


@needs_exiftool
def test_exif_is_the_same_to_the_byte(tmp_path: Path, full: Path) -> None:
    for source in (full, PICTURES / "frame_size.mpo"):
        stored = exiftool("-b", "-Exif", source)
        assert len(stored) > 2000
        for output in ("png", "jpg", "webp"):
            decoded = tmp_path / f"decoded.{output}"
            with decoded.open("wb") as file:
                imageio.save(imageio.load(source), file, format_for(decoded))
            assert exiftool("-b", "-Exif", decoded) == stored


@needs_exiftool
def test_tiff_back_to_other_formats(run: Run, tiny: None, tmp_path: Path, full: Path) -> None:
    """From a TIFF file values come as stored, non-ASCII text and odd types included; maker notes move as a block."""
    (first,), _ = there_and_back(run, full, tmp_path, outputs=["tif"])
    middle = first.rename(tmp_path / "middle.tif")
    (last,), _ = there_and_back(run, middle, tmp_path, outputs=["jpg"])
    before, after = tags(middle, last)
    kept = {tag for tag in before if re.match(r"ExifIFD|GPS|InteropIFD|XMP|IFD0:(Artist|XPTitle|Copyright|Make)", tag)}
    assert without(after, set(after) - kept) == without(before, set(before) - kept)
    assert len(kept) > 40
    notes = [_maker_note(imageio.load(path).exif) for path in (full, middle)]
    assert len(notes[0]) > 400
    assert notes[0] == notes[1]


def _maker_note(block: bytes | None) -> bytes:
    read = Image.Exif()
    read.load(block or b"")
    value = read.get_ifd(exif.CAMERA)[0x927C]
    assert isinstance(value, bytes)
    return value


def with_orientations(source: Path, folder: Path, *commands: str) -> list[Path]:
    """Eight copies, each after every command with its orientation in place of N."""
    copies = [folder / f"{n}{source.suffix}" for n in range(1, 9)]
    arguments: list[str | Path] = []
    for n, copy in enumerate(copies, 1):
        shutil.copy(source, copy)
        for command in commands:
            arguments += ["-overwrite_original", "-n", *command.replace("N", str(n)).split(), copy, "-execute"]
    exiftool(*arguments)
    return copies


@needs_exiftool
def test_turned_pictures(tmp_path: Path) -> None:
    """Upright in pixels and in EXIF; the thumbnail, which would lie on its side, is gone; all else as it was."""
    sources = with_orientations(PICTURES / "flower.jpg", tmp_path, "-Orientation=N")
    results = [path.with_name(f"back{path.name}") for path in sources]
    for n, (source, decoded) in enumerate(zip(sources, results, strict=True), 1):
        picture = imageio.load(source)
        assert picture.rgb.shape[:2] == ((360, 480) if n < 5 else (480, 360))
        with decoded.open("wb") as file:
            assert imageio.save(picture, file, "jpeg") == ()
    thumbnail = exiftool("-b", "-ThumbnailImage", sources[0])
    found = tags(*sources, *results)
    for n, (before, after) in enumerate(zip(found[:8], found[8:], strict=True), 1):
        assert (before["IFD0:Orientation"], after["IFD0:Orientation"]) == ([str(n)], ["1"])
        size, stored = ([of[f"ExifIFD:ExifImage{side}"] for side in ("Width", "Height")] for of in (after, before))
        assert size == (stored if n < 5 else stored[::-1])
        assert (thumbnail in results[n - 1].read_bytes()) == (n == 1)
        free = {*MUST_CHANGE, *TURNED, *(tag for tag in before if tag.startswith("IFD1:") and n > 1)}
        assert without(after, free) == without(before, free)


@needs_exiftool
@pytest.mark.parametrize("form", ["<tiff:Orientation>", "tiff:Orientation='"])
def test_orientation_by_xmp(tmp_path: Path, form: str) -> None:
    """As element, and as attribute in either kind of quotes."""
    rgb = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3) * 3
    Image.fromarray(rgb).save(tmp_path / "plain.png")
    compact = "-api Compact=Shorthand " if "=" in form else ""
    sources = with_orientations(
        tmp_path / "plain.png", tmp_path, f"{compact}-XMP-tiff:Orientation=N -XMP-dc:Title=kept"
    )
    results = [path.with_name(f"back{path.name}") for path in sources]
    for n, (source, decoded) in enumerate(zip(sources, results, strict=True), 1):
        assert form.encode() in source.read_bytes()
        expected = Image.fromarray(rgb) if n == 1 else Image.fromarray(rgb).transpose(imageio.TURNS[n])
        picture = imageio.load(source)
        np.testing.assert_array_equal(picture.rgb, np.asarray(expected))
        with decoded.open("wb") as file:
            imageio.save(picture, file, "png")
    for after in tags(*results):
        assert (after["XMP-tiff:Orientation"], after["XMP-dc:Title"]) == (["1"], ["kept"])


@needs_exiftool
def test_strip(run: Run, tiny: None, tmp_path: Path, full: Path) -> None:
    """EXIF and XMP go, with place and maker notes; the profile, which is part of the picture, stays."""
    source, profile = tmp_path / "source.jpg", tmp_path / "p3.icc"
    shutil.copy(full, source)
    profile.write_bytes(exiftool("-b", "-ICC_Profile", PICTURES / "frame_size.mpo"))
    exiftool("-overwrite_original", f"-ICC_Profile<={profile}", source)
    (icc,) = (without(found, {t for t in found if not t.startswith("ICC")}) for found in tags(source))
    assert len(icc) > 20
    for strip in ("exif", "xmp", "all", "exif,xmp"):
        decoded, _ = there_and_back(run, source, tmp_path, "--strip", strip, outputs=OUTPUTS)
        for path, found in zip(decoded, tags(*decoded), strict=True):
            groups = {tag.split(":")[0] for tag in found}
            assert bool(groups & {"ExifIFD", "GPS", "Canon", "InteropIFD", "IFD1"}) == (strip == "xmp")
            assert any(group.startswith("XMP") for group in groups) == (strip == "exif")
            assert {tag: found.get(tag) for tag in icc} == icc
            assert (b"Canon PowerShot" in path.read_bytes()) == (strip == "xmp")


@needs_exiftool
def test_what_is_left_behind_is_told(run: Run, tiny: None, tmp_path: Path, full: Path) -> None:
    said = {
        full: "not kept: IPTC, comment",
        PICTURES / "frame_size.mpo": "only the first of 2 pictures is kept",
        PICTURES / "pil_sample_cmyk.jpg": "not kept: Photoshop resources",
        PICTURES / "lab.tif": "not kept: Photoshop resources",
    }
    for source, line in said.items():
        assert line in there_and_back(run, source, tmp_path, outputs=[])[1]
    assert "not kept" not in there_and_back(run, PICTURES / "flower.jpg", tmp_path, outputs=[])[1]


def test_segments_of_jpeg_that_are_left_behind() -> None:
    """Told once each, by name where it is known; what Pillow needs to read the file is not of them."""
    buffer = io.BytesIO()
    tags = Image.Exif()
    tags[271] = "Maker"
    Image.new("RGB", (8, 8)).save(buffer, "JPEG", dpi=(72, 72), exif=tags, xmp=b"<x/>")
    plain = buffer.getvalue()

    def told(*segments: tuple[int, bytes]) -> tuple[str, ...]:
        extra = b"".join(bytes([0xFF, kind]) + (len(data) + 2).to_bytes(2, "big") + data for kind, data in segments)
        return imageio.load(io.BytesIO(plain[:2] + extra + plain[2:])).notices

    assert told() == ()
    assert told((0xE1, b"http://ns.adobe.com/xmp/extension/\0" + bytes(40))) == ("not kept: extended XMP",)
    assert told((0xEB, b"JP\0\1"), (0xE5, b"x"), (0xE5, b"y")) == ("not kept: content credentials (JUMBF), APP5",)
    assert told((0xED, b"Photoshop 3.0\0" + b"8BIM\x03\xe9" + bytes(8))) == ("not kept: Photoshop resources",)
    assert told((0xE2, b"FPXR\0"), (0xFE, b"hello")) == ("not kept: FlashPix, comment",)


def test_text_of_png_and_comment_of_gif() -> None:
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    text.add_text("Title", "x")
    for format, options, told in (
        ("PNG", {"pnginfo": text}, "not kept: text"),
        ("GIF", {"comment": b"x"}, "not kept: comment"),
    ):
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8)).save(buffer, format, **options)
        assert imageio.load(buffer).notices == (told,)


def test_metadata_as_imagemagick_writes_it_into_png() -> None:
    """EXIF and XMP as hexadecimal text, from before PNG had a place for them."""
    from PIL.PngImagePlugin import PngInfo

    tags = Image.Exif()
    tags[exif.ORIENTATION], tags[271] = 6, "Maker"
    text = PngInfo()
    for name, block in (("exif", tags.tobytes()), ("xmp", b"<x:xmpmeta/>")):
        text.add_text(f"Raw profile type {name}", f"\n{name}\n{len(block):8}\n{block.hex()}\n", zip=True)
    buffer = io.BytesIO()
    Image.new("RGB", (8, 4)).save(buffer, "PNG", pnginfo=text)
    picture = imageio.load(buffer)
    read = Image.Exif()
    read.load(picture.exif or b"")
    assert picture.rgb.shape == (8, 4, 3)
    assert (read[exif.ORIENTATION], read[271]) == (1, "Maker")
    assert (picture.xmp, picture.notices) == (b"<x:xmpmeta/>", ())


# Times


def set_times(path: Path, place: int) -> tuple[int, int]:
    """Odd nanoseconds, the access in the future, so that reading the file does not move it."""
    times = (4_000_000_000_123_456_789 + place, 1_000_000_000_987_654_321 + place)
    os.utime(path, ns=times)
    return times


def times(path: Path) -> tuple[int, int]:
    return path.stat().st_atime_ns, path.stat().st_mtime_ns


def test_times_of_a_folder(run: Run, tmp_path: Path, photo: Path, fake_codec: FakeCodec) -> None:
    """To the nanosecond, there and back."""
    deep = tmp_path / "in" / "a"
    deep.mkdir(parents=True)
    wanted = {}
    for place, name in enumerate(("x.png", "a/y.png")):
        shutil.copy(photo, tmp_path / "in" / name)
        wanted[name[:-4]] = set_times(tmp_path / "in" / name, place)
    assert run("encode", tmp_path / "in", "-d", tmp_path / "gic", "--preserve-times").code == 0
    assert {name: times(tmp_path / "gic" / f"{name}.gic") for name in wanted} == wanted
    assert run("decode", tmp_path / "gic", "-d", tmp_path / "out", "--preserve-times").code == 0
    assert {name: times(tmp_path / "out" / f"{name}.png") for name in wanted} == wanted
    assert run("decode", tmp_path / "gic", "-d", tmp_path / "new").code == 0
    assert times(tmp_path / "new" / "x.png")[1] > wanted["x"][1] + 10**15


def test_times_with_a_pipe(run: Run, tmp_path: Path, photo: Path, fake_codec: FakeCodec) -> None:
    """Standard input has none to keep."""
    target = tmp_path / "piped.gic"
    assert run("encode", "-", "-o", target, "--preserve-times", stdin=photo.read_bytes()).code == 0
    assert abs(target.stat().st_mtime - photo.stat().st_mtime) < 3600


@needs_exiftool
def test_times_by_exiftool(run: Run, tmp_path: Path, fake_codec: FakeCodec) -> None:
    source = tmp_path / "source.jpg"
    shutil.copy(PICTURES / "flower.jpg", source)
    exiftool("-FileModifyDate<DateTimeOriginal", source)
    coded, decoded = tmp_path / "source.gic", tmp_path / "back.png"
    assert run("encode", source, "--preserve-times").code == 0
    assert run("decode", coded, "-o", decoded, "--preserve-times").code == 0
    date = b"2003:12:14 12:01:44"
    for path in (source, coded, decoded):  # of which exiftool does not know .gic, but its date
        shown = subprocess.run(["exiftool", "-s3", "-FileModifyDate", path], capture_output=True, check=False)
        assert shown.stdout.startswith(date)
