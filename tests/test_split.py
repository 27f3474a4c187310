"""The split codec: salient pixels kept, the rest shrunk, both as WebP streams, put together without seams."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, features

import gancodec
from gancodec import container, imageio
from gancodec.codec import (
    Box,
    DecodeOptions,
    EncodeOptions,
    decode_bytes,
    encode_picture,
    read_allocation,
    read_symbols,
    verify_bytes,
)
from gancodec.container import spec
from gancodec.container.header import varint
from gancodec.errors import CorruptFile, GicError, TargetMissed, UnsupportedFile, UsageError
from gancodec.models.guidance import Guidance
from gancodec.models.split import codec as split
from gancodec.models.split import config as split_config
from gancodec.models.split import image as split_image
from gancodec.models.split import layers as split_layers
from gancodec.saliency import adaptive_mask, saliency_map
from gancodec.types import Geometry, Picture
from tests.conftest import Run
from tests.test_container import head
from tests.tiny import ODD_PICTURES, picture

ROOT = Path(__file__).resolve().parent.parent
BOX = Box(40, 20, 60, 50)
EVERYTHING = (Box(0, 0, 1 << 20, 1 << 20),)
LOSSLESS = EncodeOptions(profile="split", inner="lossless", roi_boxes=(BOX,))
LOSSY = replace(LOSSLESS, inner="lossy")


def coded(rgb: NDArray[np.uint8], options: EncodeOptions = LOSSY, **changes: Any) -> bytes:
    return encode_picture(Picture(rgb), replace(options, **changes)).data


def image_of(data: bytes) -> bytes:
    return container.read(data).image


def cells_of(data: bytes) -> NDArray[np.bool_]:
    """Mask (h, w) of a file, by the words of docs/format.md."""
    parsed = container.read(data)
    height, width = -(-parsed.header.height // 16), -(-parsed.header.width // 16)
    raw = zlib.decompress(parts_of(parsed.image)[1])
    return np.unpackbits(np.frombuffer(raw, np.uint8))[: height * width].reshape(height, width) == 1


def parts_of(image: bytes) -> tuple[int, bytes, bytes, bytes]:
    """Logarithm of the factor, mask, salient stream, other stream."""
    position, found = 1, []
    for _ in range(3):
        length = shift = 0
        while True:
            byte = image[position]
            position += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        found.append(image[position : position + length])
        position += length
    assert position == len(image)
    return image[0], found[0], found[1], found[2]


def joined(shift: int, *parts: bytes) -> bytes:
    return bytes((shift,)) + b"".join(varint(len(part)) + part for part in parts)


def grown(cells: NDArray[Any]) -> NDArray[Any]:
    return cells.repeat(16, 0).repeat(16, 1)


def enlarging(count: int, factor: int) -> NDArray[np.float64]:
    """Bicubic weights (factor * count, count) by the words of docs/format.md."""
    distance = np.abs((np.arange(factor * count)[:, None] + 0.5) / factor - (np.arange(count) + 0.5))
    near, far = 1.5 * distance**3 - 2.5 * distance**2 + 1, -0.5 * (distance**3 - 5 * distance**2 + 8 * distance - 4)
    weights = np.where(distance < 1, near, np.where(distance < 2, far, 0))
    return weights / weights.sum(1, keepdims=True)


def to_bytes(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(np.floor(values + 0.5), 0, 255)


def shrunk(rgb: NDArray[np.uint8], factor: int) -> NDArray[np.float64]:
    """Means of factor x factor pixels of the picture, its edges repeated up to whole cells."""
    height, width = rgb.shape[:2]
    padded = np.pad(rgb, ((0, -height % 16), (0, -width % 16), (0, 0)), mode="edge")
    means = padded.reshape(padded.shape[0] // factor, factor, -1, factor, 3).mean((1, 3))
    return np.floor(means + 0.5)


def enlarged(small: NDArray[np.float64], factor: int) -> NDArray[np.float64]:
    rows = to_bytes(enlarging(small.shape[1], factor) @ small)
    columns = enlarging(small.shape[0], factor) @ rows.reshape(len(rows), -1)
    return to_bytes(columns.reshape(-1, *rows.shape[1:]))


# --- what comes back


@pytest.mark.parametrize("factor", [2, 4, 8, 16])
def test_salient_pixels_are_exact_and_others_enlarged_means(factor: int) -> None:
    """With the lossless inner coder, against another implementation of docs/format.md."""
    for name, rgb in ODD_PICTURES.items():
        data = coded(rgb, EncodeOptions(profile="split", inner="lossless", factor=factor, saliency="combined"))
        got, (height, width) = decode_bytes(data).rgb, rgb.shape[:2]
        salient = grown(cells_of(data))[:height, :width]
        assert got.dtype == np.uint8
        assert got.shape == rgb.shape, name
        np.testing.assert_array_equal(got[salient], rgb[salient], name)
        expected = enlarged(shrunk(rgb, factor), factor)[:height, :width]
        wrong = np.abs(got - expected)[~salient]
        assert wrong.size == 0 or wrong.max() <= 1, name
        assert (wrong > 0).mean() < 0.01 if wrong.size else True, "Pillow's fixed point, at halves only"


@pytest.mark.parametrize("factor", [2, 16])
def test_lossy_files_come_back_near(factor: int) -> None:
    for name, rgb in ODD_PICTURES.items():
        exact = coded(rgb, EncodeOptions(profile="split", inner="lossless", factor=factor))
        data = coded(rgb, EncodeOptions(profile="split", factor=factor))
        assert container.read(data).header.coder == spec.CODER_WEBP
        np.testing.assert_array_equal(cells_of(data), cells_of(exact))
        wrong = np.abs(decode_bytes(data).rgb.astype(float) - decode_bytes(exact).rgb)
        assert wrong.mean() < (50 if name == "noise" else 7.5), name


def test_large_pictures() -> None:
    rgb = np.tile(picture(300, 250), (5, 8, 1))[:1490, :1990]
    data = coded(rgb, factor=8)
    assert np.abs(decode_bytes(data).rgb[20:70, 40:100].astype(float) - rgb[20:70, 40:100]).mean() < 9
    assert len(data) < 5_000, "a small region costs little, however large the picture"


def test_pictures_of_16_bit(tmp_path: Path) -> None:
    Image.fromarray(np.linspace(0, 65535, 60 * 90).reshape(60, 90).astype(np.uint16)).save(tmp_path / "deep.png")
    deep = imageio.load(tmp_path / "deep.png")
    made = encode_picture(deep, replace(LOSSLESS, roi_boxes=EVERYTHING))
    np.testing.assert_array_equal(decode_bytes(made.data).rgb, deep.rgb)
    assert "reduced to 8" in made.notices[0]


@pytest.mark.parametrize("inner", ["lossy", "lossless"])
def test_nothing_and_everything_salient(inner: str) -> None:
    rgb = picture(70, 90)
    nothing = coded(rgb, EncodeOptions(profile="split", inner=inner, saliency="none"))
    everything = coded(rgb, LOSSY, inner=inner, roi_boxes=EVERYTHING)
    assert not split.read_cells(nothing)[0].any()
    assert split.read_cells(everything)[0].all()
    assert (parts_of(image_of(nothing))[2], parts_of(image_of(everything))[3]) == (b"", b"")
    if inner == "lossless":
        np.testing.assert_array_equal(decode_bytes(everything).rgb, rgb)
        expected = enlarged(shrunk(rgb, 4), 4)[:70, :90]
        assert np.abs(decode_bytes(nothing).rgb - expected).max() <= 1
    assert len(nothing) < len(everything)


def test_longest_sides() -> None:
    long = np.zeros((2, split_config.MOST_SIDE, 3), np.uint8)
    long[:, ::7] = 200
    data = coded(long, LOSSLESS, roi_boxes=EVERYTHING)
    np.testing.assert_array_equal(decode_bytes(data).rgb, long)
    with pytest.raises(UsageError, match="16368"):
        coded(np.zeros((2, split_config.MOST_SIDE + 1, 3), np.uint8))


def test_alpha_and_metadata_come_back() -> None:
    alpha = np.random.default_rng(0).integers(0, 256, (70, 90)).astype(np.uint8)
    full = Picture(picture(70, 90), alpha, b"profile" * 50, b"Exif\0\0" + b"MM\0*" * 9, b"<x:xmpmeta/>", ("told",))
    made = encode_picture(full, LOSSY)
    back = decode_bytes(made.data)
    np.testing.assert_array_equal(back.alpha, alpha)
    assert (back.icc, back.exif, back.xmp, made.notices) == (full.icc, full.exif, full.xmp, ("told",))
    assert back.comment is None
    stripped = decode_bytes(encode_picture(full, replace(LOSSY, strip=("all",))).data)
    assert (stripped.icc, stripped.exif, stripped.xmp) == (full.icc, None, None)


def test_header_and_cost_of_the_container() -> None:
    data = coded(picture(300, 400), factor=8)
    header = container.read(data).header
    assert header == container.Header(400, 300, 0, bytes(8), spec.CODEC_SPLIT, spec.CODER_WEBP, 0, 0, 0)
    shift, mask, salient, rest = parts_of(image_of(data))
    assert shift == 3
    assert len(data) - len(mask) - len(salient) - len(rest) <= 54
    assert salient[3:6] == rest[3:6] == b"\x9d\x01\x2a", "bare streams: no RIFF around them"


@pytest.mark.parametrize("inner", ["lossy", "lossless"])
def test_files_are_deterministic(inner: str) -> None:
    rgb, asked = picture(200, 300), EncodeOptions(profile="split", inner=inner)
    assert coded(rgb, asked) == coded(rgb.copy(), asked)
    assert gancodec.encode(Image.fromarray(rgb), options=asked) == coded(rgb, asked)


# --- what is salient


def test_cells_of_maps() -> None:
    """A cell is salient where any pixel is; maps of all kinds are united."""
    geometry = Geometry(width=70, height=50)
    region, protection = np.zeros((50, 70), np.float32), np.zeros((50, 70), np.float32)
    region[15, 31] = 0.5
    region[20, 20] = 0.49
    protection[49, 69] = 1
    cells = split.salient_cells(Guidance(None, region, protection), geometry)
    assert cells.shape == (4, 5)
    assert [tuple(at) for at in np.argwhere(cells)] == [(0, 1), (3, 4)]
    saliency = saliency_map(picture(50, 70))
    united = split.salient_cells(Guidance(saliency, region, protection), geometry)
    alone = split.salient_cells(Guidance(saliency, None, None), geometry)
    np.testing.assert_array_equal(united, cells | alone)
    padded = np.pad(adaptive_mask(saliency) >= 0.5, ((0, 14), (0, 10)))
    np.testing.assert_array_equal(alone, padded.reshape(4, 16, 5, 16).any((1, 3)))
    assert not split.salient_cells(Guidance(None, None, None), geometry).any()


def test_the_papers_saliency_is_the_default() -> None:
    rgb = picture(200, 300)
    default = coded(rgb, EncodeOptions(profile="split"))
    assert default == coded(rgb, EncodeOptions(profile="split", saliency="combined"))
    assert 0 < split.read_cells(default)[0].mean() < 1
    assert default != coded(rgb), "where a region is given, it is that alone"
    both = cells_of(coded(rgb, EncodeOptions(profile="split", saliency="combined", roi_boxes=(BOX,))))
    np.testing.assert_array_equal(both, cells_of(default) | cells_of(coded(rgb)))


def test_only_the_map_counts_not_where_it_is_from(tmp_path: Path) -> None:
    rgb = picture(200, 300)
    gray = Image.fromarray(np.rint(saliency_map(rgb, "spectral") * 255).astype(np.uint8))
    gray.save(tmp_path / "map.png")
    expected = coded(rgb, EncodeOptions(profile="split", saliency="spectral"))
    assert coded(rgb, EncodeOptions(profile="split", saliency=f"file:{tmp_path / 'map.png'}")) == expected
    assert coded(rgb, EncodeOptions(profile="split", saliency=gray)) == expected
    region = np.zeros((200, 300), np.uint8)
    region[BOX.top : BOX.top + BOX.height, BOX.left : BOX.left + BOX.width] = 255
    assert coded(rgb, EncodeOptions(profile="split", roi=Image.fromarray(region))) == coded(rgb)


def test_layers_are_cut_to_their_cells() -> None:
    geometry = Picture(picture(200, 300)).geometry
    region = np.zeros((200, 300), np.float32)
    region[40:60, 100:120] = 1
    layers = split_layers.take_apart(picture(200, 300), split.salient_cells(Guidance(None, region, None), geometry), 4)
    assert layers.salient is not None
    assert layers.rest is not None
    assert layers.salient.shape == (32, 32, 3)
    assert layers.rest.shape == (13 * 4, 19 * 4, 3)


# --- seams


def steps(values: NDArray[Any], cells: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Differences between the pixels on both sides of every border between salient and other cells."""
    mask = grown(cells)[: values.shape[0], : values.shape[1]]
    values = values.astype(np.float64)
    beside, below = mask[:, 1:] != mask[:, :-1], mask[1:] != mask[:-1]
    return np.concatenate([np.diff(values, axis=1)[beside].ravel(), np.diff(values, axis=0)[below].ravel()])


@pytest.mark.parametrize("factor", [2, 4, 8, 16])
def test_no_seams(factor: int) -> None:
    """Steps over borders are nearly the original's; not so where the small rest is enlarged alone and pasted, black
    where it is not (the paper's split) or filled as ours is."""
    y, x = np.mgrid[0:160, 0:240] / 40.0
    rgb = np.stack([128 + 60 * np.sin(x + c) + 50 * np.cos(1.3 * y - c) for c in range(3)], -1).round().astype(np.uint8)
    data = coded(rgb, LOSSLESS, factor=factor)
    cells = cells_of(data)
    filled = split_layers.take_apart(rgb, cells, factor).rest
    assert filled is not None
    side = 16 // factor
    black = filled * ~cells.repeat(side, 0).repeat(side, 1)[..., None]
    naive = [np.where(grown(cells)[..., None], rgb, enlarged(small.astype(float), factor)) for small in (black, filled)]
    own = steps(rgb, cells)
    added, pasted_black, pasted = (np.abs(steps(got, cells) - own).mean() for got in (decode_bytes(data).rgb, *naive))
    assert added < np.abs(own).mean()
    assert added < 0.02 * pasted_black
    assert added < 0.5 * pasted


def test_fills_keep_the_borders_of_a_lossy_layer() -> None:
    """WebP mixes colours across cells: the cells beside those that are kept have colours like theirs."""
    rgb = np.zeros((48, 160, 3), np.uint8) + np.array([220, 20, 30], np.uint8)
    rgb[:, 80:] = (10, 20, 220)
    data = coded(rgb, roi_boxes=(Box(16, 16, 16, 16), Box(128, 16, 16, 16)))
    salient = grown(cells_of(data))
    assert salient.sum() == 2 * 16 * 16
    assert np.abs(decode_bytes(data).rgb[salient].astype(int) - rgb[salient]).max() <= 8


# --- rate


@pytest.mark.parametrize("share", [0.5, 0.8, 1.0, 1.5])
def test_sizes_are_met_from_below(share: float) -> None:
    rgb = np.clip(picture(256, 384) + np.random.default_rng(1).normal(0, 12, (256, 384, 3)), 0, 255).astype(np.uint8)
    alpha = np.random.default_rng(0).integers(0, 3, (256, 384)).astype(np.uint8)
    full = Picture(rgb, alpha, icc=b"profile" * 5)
    plain = encode_picture(full, LOSSY)
    assert (plain.probes, plain.n, plain.hit) == (1, None, True)
    fixed = len(plain.data) - len(image_of(plain.data))
    target = fixed + int(share * len(image_of(plain.data)))
    made = encode_picture(full, replace(LOSSY, size=target))
    assert 0.97 * target <= len(made.data) <= target
    assert made.hit == (len(made.data) >= 0.99 * target)
    assert made.probes <= 8
    assert made.bpp == 8 * len(made.data) / (256 * 384)
    by_rate = encode_picture(full, replace(LOSSY, bpp=8 * target / (256 * 384)))
    assert by_rate.data == made.data


def test_sizes_out_of_reach() -> None:
    rgb = Picture(picture(128, 128))
    least, most = (encode_picture(rgb, replace(LOSSY, **target)) for target in ({"size": 60}, {"bpp": 60.0}))
    assert (least.hit, most.hit) == (False, False)
    assert len(least.data) < len(encode_picture(rgb, LOSSY).data) < len(most.data)
    with pytest.raises(TargetMissed, match="60 bytes: out of reach"):
        encode_picture(rgb, replace(LOSSY, size=60, strict=True))


def test_qualities_of_steps() -> None:
    """From 100 to 0, and the middle of libwebp's own curve where it has it."""
    qualities = [split_image.quality_at(step) for step in np.linspace(*split_image.STEPS, 200)]
    assert (qualities[0], qualities[-1]) == (100, 0)
    assert (np.diff(qualities) < 0).all()
    assert split_image.quality_at(split.FIRST_STEP) == pytest.approx(split_image.QUALITY, abs=1)


# --- options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"profile": "dual"}, "profile dual: choose tunable or split"),
        ({"profile": "tunable"}, "--inner and --factor are for --profile split"),
        ({"profile": "tunable", "inner": "lossy", "factor": 8}, "--inner and --factor are for --profile split"),
        ({"inner": "jpeg"}, "inner coder jpeg: choose lossy or lossless"),
        ({"factor": 3}, "factor 3: choose 2, 4, 8, 16"),
        ({"n": 1.0}, "--profile split has no use for n"),
        ({"model": "gic1-tiny"}, "--profile split has no use for a model"),
        ({"entropy": "huffman"}, "--profile split has no use for an entropy coder"),
        ({"saliency_strength": 2.0}, "--profile split has no use for a saliency strength"),
        ({"bpp": 1.0}, "the lossless inner coder has no rate: leave out --bpp and --size"),
        ({"size": 1000}, "the lossless inner coder has no rate: leave out --bpp and --size"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        coded(picture(40, 50), LOSSLESS, **options)
    assert str(caught.value) == message


def test_decoding_options() -> None:
    data = coded(picture(40, 50), roi_boxes=EVERYTHING)
    assert decode_bytes(data, DecodeOptions(realism=0.0)).comment is None
    for options in (DecodeOptions(realism=0.5), DecodeOptions(realism=2.0), DecodeOptions(model="gic1-tiny")):
        with pytest.raises(UsageError):
            decode_bytes(data, options)
    with pytest.raises(UnsupportedFile, match="pixels"):
        decode_bytes(data, DecodeOptions(max_pixels=1999))


@pytest.mark.parametrize("read", [read_symbols, read_allocation])
def test_there_are_no_symbols(read: Any) -> None:
    data = coded(picture(40, 50), roi_boxes=EVERYTHING)
    if read is read_allocation:  # which says what is known: the cells that are kept, and no bits
        found = read(data)
        assert found.bits is None
        assert found.facts == {"kept_share": 1, "factor": 4}
        assert found.maps[0].plane.values.all()
    else:
        with pytest.raises(UnsupportedFile, match="split codec have no coded symbols"):
            read(data)
    tunable = container.Header(40, 30, 1, bytes(8), 0, 0, 0, 0, 0)
    with pytest.raises(UnsupportedFile, match="not a file of the split codec"):
        split.read_cells(container.write(container.Container(tunable, b"coded")))


def test_it_is_faithful_only() -> None:
    with pytest.raises(UsageError, match="^realism 1: the split codec has 0 "):
        decode_bytes(coded(picture(40, 50)), DecodeOptions(realism=1.0))


def test_pillow_without_webp(monkeypatch: pytest.MonkeyPatch) -> None:
    data = coded(picture(40, 50), roi_boxes=EVERYTHING)
    monkeypatch.setattr(features, "check", lambda name: False)
    for work in (lambda: decode_bytes(data), lambda: coded(picture(40, 50), roi_boxes=EVERYTHING)):
        with pytest.raises(GicError, match="without WebP"):
            work()


# --- files that nobody should trust


@pytest.fixture(scope="module")
def sound() -> bytes:
    """A lossless file of 5 x 7 cells, 12 of them salient: 5 bits of its mask are unused."""
    return coded(picture(75, 100), LOSSLESS, roi_boxes=(Box(20, 20, 40, 50),))


def forged(data: bytes, image: bytes, **header: int) -> bytes:
    """`data` with another IMAGE chunk and other header fields, under checksums that fit."""
    parsed = container.read(data)
    plain = container.write(replace(parsed, image=image))
    old, new = head(parsed.header), head(replace(parsed.header, **header))
    assert plain.startswith(old)
    return new + plain[len(old) :]


def refused(data: bytes, why: str) -> None:
    for work in (decode_bytes, verify_bytes):
        with pytest.raises(CorruptFile, match=why) as caught:
            work(data)
        assert "\n" not in str(caught.value)


def webp_file(rgb: NDArray[np.uint8], **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "WEBP", **options)
    return file.getvalue()


def test_wrong_factors_and_lengths(sound: bytes) -> None:
    image = image_of(sound)
    parts = parts_of(image)[1:]
    for shift in (0, 5, 7, 8, 64, 255):
        refused(forged(sound, joined(shift, *parts)), "shrunk by")
    refused(forged(sound, image + b"\0"), "1 bytes after its streams")
    refused(forged(sound, joined(2, *parts, b"")), "after its streams")
    for length in (0, 1, 2, len(parts[0]), len(image) // 2, len(image) - 1):
        refused(forged(sound, image[:length]), "cut short")
    refused(forged(sound, image[:1] + varint(1 << 31) + image[2:]), "cut short")
    refused(forged(sound, image[:1] + bytes((image[1] | 0x80, 0)) + image[2:]), "shortest")
    verify_bytes(forged(sound, image))


def test_wrong_masks(sound: bytes) -> None:
    shift, mask, *streams = parts_of(image_of(sound))
    raw = zlib.decompress(mask)
    assert len(raw) == 5
    deflated = zlib.compress(raw)
    for wrong in (raw, b"", zlib.compress(raw[:-1]), zlib.compress(raw + b"\0"), deflated[:-1], deflated + b"\0"):
        refused(forged(sound, joined(shift, wrong, *streams)), "IMAGE mask")
    for bit in range(5):
        padded = zlib.compress(raw[:-1] + bytes((raw[-1] | 1 << bit,)))
        refused(forged(sound, joined(shift, padded, *streams)), "bits set behind its last cell")
    other = zlib.compress(bytes((raw[0] ^ 0x80,)) + raw[1:])
    refused(forged(sound, joined(shift, other, *streams)), "not a picture of")


def test_streams_and_mask_disagree(sound: bytes) -> None:
    shift, mask, salient, rest = parts_of(image_of(sound))
    none, every = zlib.compress(bytes(5)), zlib.compress(b"\xff" * 4 + b"\xe0")
    for given in ((none, salient, b""), (none, b"x", rest), (every, rest, salient)):
        refused(forged(sound, joined(shift, *given)), "IMAGE: a stream")
    for given in ((mask, b"", rest), (mask, salient, b""), (none, b"", b""), (every, b"", b"")):
        refused(forged(sound, joined(shift, *given)), "not a picture of")


def test_streams_of_other_sizes_and_kinds(sound: bytes) -> None:
    shift, mask, salient, rest = parts_of(image_of(sound))
    refused(forged(sound, joined(shift, mask, rest, salient)), "not a picture of 48x64")
    refused(forged(sound, joined(shift + 1, mask, salient, rest)), "not a picture of 14x10")
    refused(forged(sound, image_of(sound), width=113), "IMAGE")
    refused(forged(sound, image_of(sound), coder=spec.CODER_WEBP), "not a picture")
    lossy = coded(picture(75, 100), LOSSY, roi_boxes=(Box(20, 20, 40, 50),))
    refused(forged(lossy, image_of(lossy), coder=spec.CODER_WEBP_LOSSLESS), "not a picture")
    layer = np.zeros((64, 48, 3), np.uint8)
    frames = webp_file(layer, save_all=True, append_images=[Image.fromarray(layer + 9)], lossless=True)
    assert b"ANIM" in frames
    whole = webp_file(layer, lossless=True)
    for wrong in (frames, whole, whole[12:], frames[frames.index(b"VP8L") :]):
        refused(forged(sound, joined(shift, mask, wrong, rest)), "not a picture of")
    verify_bytes(forged(sound, joined(shift, mask, whole[20:], rest)))
    clear = np.random.default_rng(0).integers(0, 256, (64, 48, 4), dtype=np.uint8)
    file = webp_file(clear, lossless=True, exact=True)
    stream = file[file.index(b"VP8L") + 8 :]
    refused(forged(sound, joined(shift, mask, stream, rest)), "IMAGE")


@pytest.mark.parametrize("inner", ["lossy", "lossless"])
def test_cut_and_changed_streams(inner: str) -> None:
    """Refused, or a picture where a decoder of WebP cannot tell; never another error, never a warning."""
    data = coded(picture(75, 100), LOSSY, inner=inner)
    shift, mask, salient, rest = parts_of(image_of(data))
    for length in range(1, len(salient) - 8, max(1, len(salient) // 40)):
        refused(forged(data, joined(shift, mask, salient[:length], rest)), "IMAGE")
    rng, refusals = np.random.default_rng(0), 0
    for _ in range(150):
        wrong = bytearray(rest)
        wrong[rng.integers(len(wrong) // 2)] ^= int(rng.integers(1, 256))
        try:
            got = decode_bytes(forged(data, joined(shift, mask, salient, bytes(wrong)))).rgb
        except CorruptFile:
            refusals += 1
        else:
            assert got.shape == (75, 100, 3)
    assert refusals > 10


def test_header_combinations(sound: bytes) -> None:
    image = image_of(sound)
    for change in (
        {"model": 1},
        {"coder": 0},
        {"coder": 1},
        {"n": 5},
        {"flags": 1},
        {"level_shift": 1},
        {"codec": 0},
        {"codec": 2},
    ):
        refused(forged(sound, image, **change), "header")
    for change in ({"coder": 4}, {"codec": 3}):
        for work in (decode_bytes, verify_bytes):
            with pytest.raises(UnsupportedFile, match="not known to this build"):
                work(forged(sound, image, **change))


def test_cells_and_factor_are_read(sound: bytes) -> None:
    cells, factor = split.read_cells(sound)
    np.testing.assert_array_equal(cells, cells_of(sound))
    assert (cells.dtype, factor) == (np.bool_, 1 << parts_of(image_of(sound))[0])
    with pytest.raises(UnsupportedFile, match="pixels"):
        split.read_cells(sound, 75 * 100 - 1)
    with pytest.raises(UnsupportedFile, match="not known to this build"):
        split.read_cells(forged(sound, image_of(sound), coder=4))
    with pytest.raises(CorruptFile, match="cut short"):
        split.read_cells(forged(sound, image_of(sound)[:-1]))


def peak_of_refusal(data: bytes) -> int:
    """Bytes allocated while `data` is refused."""
    tracemalloc.start()
    try:
        refused(data, "IMAGE")
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_bombs_are_refused_before_they_go_off(sound: bytes) -> None:
    """A mask that inflates to much; streams that state much, alone and as the header does."""
    shift, mask, _, rest = parts_of(image_of(sound))
    bomb = zlib.compress(bytes(60_000_000), 9)
    assert peak_of_refusal(forged(sound, joined(shift, bomb, b"x", rest))) < 1_000_000
    side = 16_000
    bits = (side - 1) | (side - 1) << 14
    stream = b"\x2f" + bits.to_bytes(4, "little") + np.random.default_rng(0).bytes(200)
    assert peak_of_refusal(forged(sound, joined(shift, mask, stream, rest))) < 1_000_000
    every = zlib.compress(b"\xff" * (1000 * 1000 // 8), 9)
    whole = joined(shift, every, stream, b"")
    assert peak_of_refusal(forged(sound, whole, width=side, height=side)) < 8_000_000


def test_pillows_own_limit_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    data = coded(picture(75, 100))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert decode_bytes(data).rgb.shape == (75, 100, 3)


# --- around the codec


def test_decoding_needs_no_torch_no_opencv_no_saliency(tmp_path: Path) -> None:
    rgb = picture(75, 100)
    for inner in ("lossy", "lossless"):
        data = coded(rgb, LOSSY, inner=inner)
        (tmp_path / "a.gic").write_bytes(data)
        code = (
            "import sys\nfor name in ('torch', 'cv2', 'gancodec.saliency'):\n    sys.modules[name] = None\n"
            "from pathlib import Path\nfrom gancodec.codec import decode_bytes, verify_bytes\n"
            "data = Path(sys.argv[1]).read_bytes()\nverify_bytes(data)\n"
            "sys.stdout.buffer.write(decode_bytes(data).rgb.tobytes())"
        )
        command = [sys.executable, "-W", "error", "-c", code, tmp_path / "a.gic"]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60)
        assert ran.returncode == 0, ran.stderr.decode()
        assert ran.stdout == decode_bytes(data).rgb.tobytes()


@pytest.mark.parametrize(("inner", "coder"), [("lossy", "webp"), ("lossless", "webp-lossless")])
def test_info_verify_and_decode(tmp_path: Path, run: Run, inner: str, coder: str) -> None:
    file = tmp_path / "a.gic"
    file.write_bytes(coded(picture(75, 100), LOSSY, inner=inner))
    text = run("info", file).out.decode()
    assert "  model      none\n" in text
    assert f"  coding     codec split, {coder} coder\n" in text
    assert "installed" not in text
    record = json.loads(run("info", file, "--json").out)
    assert (record["codec"], record["coder"], record["n"], record["level_shift"]) == ("split", coder, 0, 0)
    assert (record["model"], record["model_name"], record["model_installed"]) == (0, None, False)
    assert run("verify", file).out.decode() == f"{file}: ok\n"
    assert run("decode", file, "-o", tmp_path / "a.png").code == 0
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), decode_bytes(file.read_bytes()).rgb)
    image = image_of(file.read_bytes())
    file.write_bytes(forged(file.read_bytes(), image[:-1]))
    for command in (("verify", file), ("decode", file, "-o", tmp_path / "b.png")):
        ran = run(*command)
        assert (ran.code, ran.out, ran.err.count("\n")) == (3, b"", 1)
    assert not (tmp_path / "b.png").exists()
