"""docs/metadata.md, "Encoding, by format": every cell of the table is what a file of that format shows."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from gancodec import colour, imageio
from gancodec import exif as exif_bytes
from gancodec.errors import UnreadablePicture
from gancodec.types import Picture, is_gray
from tests import formats
from tests.formats import HEIGHT, RAMP, WIDTH, XMP, exif, photograph, saved

PAGE = Path(__file__).parent.parent / "docs" / "metadata.md"
KINDS = ("kept", "converted", "dropped", "refused", "–")
LOSSLESS = {"WebP": {"lossless": True}, "AVIF": {"quality": 100, "subsampling": "4:4:4"}, "JPEG": {"quality": 100}}
LOSSLESS["JPEG"]["subsampling"] = 0
P3 = colour.matrix_profile(colour.PRIMARIES[12], None)
GRAY_ICC = bytearray(colour.matrix_profile(colour.SRGB_PRIMARIES, 1.0))
TURNED_XMP = XMP.replace(b"dc:format", b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6" dc:format')
MOTION = b'xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" GCamera:MotionPhoto="1" dc:format'
CLAIMING_XMP = XMP.replace(b"dc:format", MOTION)
GRADIENT = Image.linear_gradient("L").resize((WIDTH, HEIGHT))
Check = Callable[[Picture], bool]
Case = tuple[bytes, Check]  # a file, and whether what was asked for is there, or done


def table() -> dict[tuple[str, str], str]:
    """Kind by property and format."""
    section = PAGE.read_text(encoding="utf-8").split("## Encoding, by format")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in section.splitlines() if line[:1] == "|"]
    head, _, *body = rows
    return {(row[0], name): kind for row in body for name, kind in zip(head[1:], row[1:], strict=True)}


def gray_profile() -> bytes:
    """Of gray with a gamma of 1: a small ICC 2.1 file."""
    curve = b"curv" + struct.pack(">II", 0, 0)
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    text = b"desc" + struct.pack(">II", 0, 5) + b"gray\0" + bytes(78)
    tags, data = b"", b""
    for name, value in ((b"desc", text), (b"wtpt", white), (b"kTRC", curve)):
        tags += struct.pack(">4sII", name, 128 + 4 + 36 + len(data), len(value))
        data += value + bytes(-len(value) % 4)
    body = struct.pack(">I", 3) + tags + data
    head = struct.pack(">I4sI4s4s4s", 128 + len(body), bytes(4), 0x02100000, b"mntr", b"GRAY", b"XYZ ")
    head += struct.pack(">6H4s", 2024, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + body


def plain(format: str, image: Image.Image | None = None, **options: object) -> bytes:
    """A file of a picture as near to it as its format allows."""
    image = photograph() if image is None else image
    return saved(image, format, **LOSSLESS.get(format, {}), **options)


def with_icc(format: str, icc: bytes, image: Image.Image | None = None) -> bytes:
    if format == "BMP":
        return formats.bmp_with_profile(icc, image)
    if format == "GIF":
        return formats.gif_with(plain(format, image), b"ICCRGBG1012", icc)
    return plain(format, image, icc_profile=icc)


def with_xmp(format: str, packet: bytes) -> bytes:
    if format == "GIF":
        return formats.gif_with(plain(format), b"XMP DataXMP", packet, plain=True)
    if format == "PNG":
        body = b"XML:com.adobe.xmp\0\0\0\0\0" + packet
        return formats.png_with(plain(format), formats.chunk(b"iTXt", body))
    if format == "TIFF":
        return formats.tiff(np.asarray(photograph()), 2, 8, tags={700: (1, packet)})
    return plain(format, xmp=packet)


def with_exif(format: str, block: bytes) -> bytes:
    if format == "PNG":
        return formats.png_with(plain(format), formats.chunk(b"eXIf", block))
    if format == "JPEG":
        return formats.jpeg_with(plain(format), (0xE1, b"Exif\0\0" + block))
    if format == "TIFF":
        return formats.tiff(np.asarray(photograph()), 2, 8, tags={0x010F: (2, b"Maker\0")})
    return plain(format, exif=b"Exif\0\0" + block)


def turned(picture: Picture) -> bool:
    """By orientation 6, and said so nowhere any more."""
    right = np.abs(picture.rgb.astype(int) - np.rot90(np.asarray(photograph()), -1)).mean() < 6
    states = (picture.exif and exif_bytes.orientation(picture.exif)) or 1
    return (
        picture.rgb.shape == (WIDTH, HEIGHT, 3)
        and right
        and states == 1
        and b'Orientation="6"' not in (picture.xmp or b"")
    )


def keeps(name: str, value: bytes) -> Check:
    return lambda picture: getattr(picture, name) == value


def shows(levels: np.ndarray, within: float = 1.0) -> Check:
    """The levels 0..255 of gray, or RGB."""
    wanted = np.asarray(levels, float) if levels.ndim == 3 else np.dstack([np.asarray(levels, float)] * 3)
    return lambda picture: bool(np.abs(picture.rgb - wanted).max() <= within)


def frames(format: str) -> bytes:
    if format == "JPEG":
        return saved(photograph(), "MPO", save_all=True, append_images=[photograph()])
    other = photograph().transpose(Image.Transpose.ROTATE_180)
    return plain(format, save_all=True, append_images=[other])


def case(row: str, format: str) -> Case:
    """A file with a property, and the check for what the table says of it."""
    gray, ramp = Image.fromarray((RAMP * 255).astype(np.uint8)), np.rint(RAMP * 255)
    has = {
        "ICC profile of RGB": lambda: (with_icc(format, P3), keeps("icc", P3)),
        "ICC profile of gray, of a gray picture": lambda: (
            with_icc(format, gray_profile(), gray),
            lambda p: p.icc is None and bool(np.abs(p.rgb[0, :, 0] - 255 * _encoded(RAMP[0])).max() < 6),
        ),
        "ICC profile that is damaged": lambda: (_damaged_icc(format), lambda p: p.icc is None),
        "ICC profile in parts, in any order, some of them twice": lambda: (
            formats.jpeg_with(plain("JPEG"), *reversed(formats.icc_segments(P3, 3)), *formats.icc_segments(P3, 3)[1:]),
            keeps("icc", P3),
        ),
        "ICC profile in parts, one of which is missing": lambda: (
            formats.jpeg_with(plain("JPEG"), *formats.icc_segments(P3, 3)[1:]),
            lambda p: p.icc is None,
        ),
        "code points and no profile": lambda: (_with_code_points(format), keeps("icc", P3)),
        "EXIF": lambda: (with_exif(format, exif()), lambda p: b"Maker" in (p.exif or b"")),
        "orientation in EXIF, in any type of number": lambda: (_turned_file(format, 1), _set_right(format)),
        "orientation in XMP and not in EXIF": lambda: (with_xmp(format, TURNED_XMP), _set_right(format)),
        "orientation as a property of the picture": lambda: (
            formats.avif_with(plain("AVIF"), formats.box(b"irot", b"\3")),
            turned,
        ),
        "crop as a property of the picture": lambda: (
            formats.avif_with(plain("AVIF"), formats.clap(10, 8, 4, 6)),
            shows(np.asarray(photograph())[6:14, 4:14], 30),
        ),
        "XMP": lambda: (with_xmp(format, XMP), keeps("xmp", XMP)),
        "claims in XMP of a video or picture that is not kept": lambda: (
            with_xmp(format, CLAIMING_XMP),
            keeps("xmp", CLAIMING_XMP.replace(b' GCamera:MotionPhoto="1"', b"")),
        ),
        "comment, text": lambda: _with_comment(format),
        "alpha": lambda: (_with_alpha(format), lambda p: np.array_equal(p.alpha, np.asarray(GRADIENT))),
        "one colour that is transparent": lambda: _with_clear_colour(format),
        "gray (R = G = B)": lambda: (plain(format, gray), lambda p: is_gray(p.rgb)),
        "more than 8 bits a sample": lambda: _deep(format),
        "0 for white": lambda: (formats.tiff(np.rint(RAMP * 65535), 0, 16, order=">"), shows(255 - ramp)),
        "signed samples of 16 bits, floating point": lambda: (
            formats.tiff(np.rint(RAMP * 65535) - 32768, 1, 16, kind=2),
            shows(ramp),
        ),
        "CMYK": lambda: (
            plain(format, photograph().convert("CMYK")),
            shows(np.asarray(photograph()), 12),
        ),
        "Lab of 8 bits": lambda: (_lab(), shows(np.asarray(photograph()), 60)),
        "samples of a kind that Pillow does not know": lambda: (_unknown(format), lambda p: False),
        "further frames, pages, pictures": lambda: (frames(format), lambda p: p.rgb.shape == (HEIGHT, WIDTH, 3)),
        "damage that leaves the picture whole": lambda: (
            formats.png_with(plain("PNG"), formats.chunk(b"tEXt", b"a\0b", wrong=True)),
            shows(np.asarray(photograph())),
        ),
        "anything behind the end": lambda: (
            plain(format) + b"trailing bytes",
            lambda p: p.rgb.shape == (HEIGHT, WIDTH, 3),
        ),
    }
    return has[row]()


def _set_right(format: str) -> Check:
    """Turned, but for an AVIF, which has a property for that; and said nowhere any more."""
    return _upright if format == "AVIF" else turned


def _upright(picture: Picture) -> bool:
    states = (picture.exif and exif_bytes.orientation(picture.exif)) or 1
    return picture.rgb.shape == (HEIGHT, WIDTH, 3) and states == 1 and b'Orientation="6"' not in (picture.xmp or b"")


def _encoded(light: np.ndarray) -> np.ndarray:
    """sRGB of linear light."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)


def _damaged_icc(format: str) -> bytes:
    if format == "PNG":
        return formats.png_with(plain(format), formats.chunk(b"iCCP", b"p\0\0" + b"no deflated data"))
    if format == "JPEG":
        return formats.jpeg_with(plain(format), (0xE2, b"ICC_PROFILE\0\1\2" + P3))
    if format == "BMP":
        return formats.bmp_with_profile(P3)[:-1]
    return with_icc(format, b"this is no profile, but bytes " * 5)


def _with_code_points(format: str) -> bytes:
    if format == "PNG":
        return formats.png_with(plain(format), formats.chunk(b"cICP", bytes((12, 13, 0, 1))))
    return plain(format).replace(b"colrnclx\0\1\0\x0d", b"colrnclx\0\x0c\0\x0d")


def _turned_file(format: str, kind: int) -> bytes:
    if format == "TIFF":
        return formats.tiff(np.asarray(photograph()), 2, 8, tags={0x0112: (kind, 6)})
    if format == "AVIF":  # Pillow would make a property of it
        entry, other = (struct.pack("<HHIB", tag, kind, 1, 6) for tag in (0x0112, 0x0113))
        return with_exif(format, exif(6, kind).replace(entry, other)).replace(other, entry)
    return with_exif(format, exif(6, kind))


def _with_comment(format: str) -> Case:
    if format == "TIFF":
        data = formats.tiff(np.asarray(photograph()), 2, 8, tags={270: (2, b"a title\0")})
        return data, lambda p: b"a title" in (p.exif or b"")
    if format == "PNG":
        return formats.png_with(plain(format), formats.chunk(b"tEXt", b"Title\0a title")), lambda p: True
    return plain(format, comment=b"a title"), lambda p: True


def _with_alpha(format: str) -> bytes:
    image = photograph()
    image.putalpha(GRADIENT)
    if format == "BMP":
        data = bytearray(image.transpose(Image.Transpose.FLIP_TOP_BOTTOM).tobytes("raw", "BGRA"))
        header = struct.pack("<IiiHHIIiiII", 108, WIDTH, HEIGHT, 1, 32, 3, len(data), 0, 0, 0, 0)
        header += struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + bytes(52)
        return b"BM" + struct.pack("<IHHI", 122 + len(data), 0, 0, 122) + header + bytes(data)
    return plain(format, image, **({"exact": True} if format == "WebP" else {}))


def _with_clear_colour(format: str) -> Case:
    if format == "GIF":
        image = Image.fromarray((RAMP * 15).astype(np.uint8)).convert("P")
        return saved(image, "GIF", transparency=3), lambda p: bool((p.alpha == 0).any() and (p.alpha == 255).any())
    values = np.rint(RAMP * 15).astype(int)
    data = formats.png(values, 0, 4, [formats.chunk(b"tRNS", struct.pack(">H", 15))])
    return data, lambda p: np.array_equal(p.alpha == 0, values == 15)


def _deep(format: str) -> Case:
    if format == "JPEG":
        data = plain(format)
        place = data.index(b"\xff\xc0")
        return data[: place + 4] + b"\x0c" + data[place + 5 :], lambda p: False
    if format == "AVIF":
        return formats.TEN_BITS.read_bytes(), lambda p: p.rgb.shape == (HEIGHT, WIDTH, 3)
    if format == "TIFF":
        return formats.tiff(np.rint(RAMP * 4095), 1, 12), shows(np.rint(RAMP * 255))
    return formats.png(np.rint(RAMP * 65535), 0, 16), shows(np.rint(RAMP * 255))


def _lab() -> bytes:
    profiles = [ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")]
    lab = ImageCms.profileToProfile(photograph(), *profiles, outputMode="LAB")
    assert lab is not None
    return saved(lab, "TIFF")


def _unknown(format: str) -> bytes:
    if format == "JPEG":
        data = plain(format)
        place = data.index(b"\xff\xc0")
        frame = struct.pack(">H", 14) + data[place + 4 : place + 9] + b"\2" + data[place + 10 : place + 16]
        return data[: place + 2] + frame + data[place + 19 :]
    if format == "BMP":
        data = bytearray(_with_alpha("BMP"))
        data[54:58] = struct.pack("<I", 0x3FF)
        return bytes(data)
    return formats.tiff(np.dstack([RAMP * 65535] * 2).round(), 1, 16)


CASES = [(row, format) for (row, format), kind in table().items() if kind != "–"]


def test_the_table_is_whole() -> None:
    found = table()
    assert set(found.values()) <= set(KINDS)
    assert {format for _, format in found} == {"JPEG", "PNG", "WebP", "AVIF", "TIFF", "BMP", "GIF"}
    assert len(CASES) > 90


@pytest.mark.parametrize(("row", "format"), CASES, ids=lambda value: re.sub(r"\W+", "-", value))
def test_a_cell(row: str, format: str) -> None:
    data, check = case(row, format)
    kind = table()[row, format]
    if kind == "refused":
        with pytest.raises(UnreadablePicture, match=f"^a {format} of .*: not read here|bits a pixel"):
            imageio.load(io.BytesIO(data))
        return
    picture = imageio.load(io.BytesIO(data))
    assert check(picture)
    words = [text for text in picture.notices if "reduced to 8" not in text or "bits" in row]
    if kind == "dropped":
        assert words
    elif kind == "kept":
        assert words == []


TYPES = (1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12)  # of TIFF, text and ratios among them


@pytest.mark.parametrize(
    ("format", "kind"),
    [
        *((name, kind) for name in ("JPEG", "PNG", "WebP") for kind in TYPES),
        *(("TIFF", kind) for kind in (1, 3, 4, 8, 9)),
    ],
)
def test_orientation_in_any_type(format: str, kind: int) -> None:
    assert turned(imageio.load(io.BytesIO(_turned_file(format, kind))))
    if format != "TIFF":
        assert turned(imageio.load(io.BytesIO(with_exif(format, exif(6, kind, ">")))))
