"""The codec through its Python interface, on the tiny model: sizes, alpha, metadata, options, devices."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import gancodec
from gancodec import container, weights
from gancodec.codec import (
    DecodeOptions,
    EncodeOptions,
    decode_bytes,
    encode_picture,
    read_allocation,
    read_symbols,
    verify_bytes,
)
from gancodec.codec.options import settled
from gancodec.errors import (
    CorruptFile,
    GicError,
    MissingWeights,
    TargetMissed,
    UnreadablePicture,
    UnsupportedFile,
    UsageError,
)
from gancodec.models import inference as network
from gancodec.models.gic1.codec import TunableCodec
from gancodec.models.levels import LEVELS, SUBLEVELS, logit_to_level
from gancodec.models.registry import MODELS
from gancodec.train.freeze import install
from gancodec.types import Picture
from tests.tiny import coded, picture, tiny_weights, wanted_at


@pytest.fixture(scope="module", autouse=True)
def tiny_installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("weights")
    install(tiny_weights(), MODELS["gic1-tiny"], folder, {"description": "seeded, for tests"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(weights.ENVIRONMENT, str(folder))
        yield folder


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 200), (63, 65), (64, 64), (97, 131), (257, 129)])
@pytest.mark.parametrize("entropy", ["range", "huffman"])
def test_every_size_comes_back(height: int, width: int, entropy: str) -> None:
    coded = encode_picture(
        Picture(picture(max(height, 8), max(width, 8))[:height, :width]), EncodeOptions(entropy=entropy)
    )
    assert decode_bytes(coded.data).rgb.shape == (height, width, 3)
    assert coded.bpp == 8 * len(coded.data) / (height * width)


def test_both_coders_carry_the_same_symbols() -> None:
    rgb = Picture(picture(120, 200, 3))
    streams = [encode_picture(rgb, EncodeOptions(n=-1.0, entropy=e)).data for e in ("range", "huffman")]
    for a, b in zip(*(read_symbols(s) for s in streams), strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.array_equal(*(decode_bytes(s).rgb for s in streams))


def test_alpha_is_lossless_and_metadata_comes_back() -> None:
    rgb = picture(70, 90)
    alpha = np.random.default_rng(0).integers(0, 256, (70, 90)).astype(np.uint8)
    full = Picture(rgb, alpha, icc=b"profile" * 50, exif=b"Exif\0\0" + b"MM\0*" * 9, xmp=b"<x:xmpmeta/>")
    back = decode_bytes(encode_picture(full).data)
    assert back.alpha is not None
    np.testing.assert_array_equal(back.alpha, alpha)
    assert (back.icc, back.exif, back.xmp) == (full.icc, full.exif, full.xmp)
    stripped = decode_bytes(encode_picture(full, EncodeOptions(strip=("all",))).data)
    assert (stripped.icc, stripped.exif, stripped.xmp) == (full.icc, None, None)


@pytest.mark.parametrize("share", [1.3, 1.0, 0.8])
def test_size_is_hit_from_below_and_the_encoder_runs_once(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    rgb = Picture(picture(512, 768, 8))
    target = int(share * len(encode_picture(rgb).data))
    runs = []
    analyse = TunableCodec.analyse
    monkeypatch.setattr(TunableCodec, "analyse", lambda self, *given: runs.append(1) or analyse(self, *given))
    coded = encode_picture(rgb, EncodeOptions(size=target))
    assert 0.985 * target <= len(coded.data) <= target
    assert coded.probes <= 8
    assert len(runs) == 1
    bpp = 8 * target / (512 * 768)
    assert len(encode_picture(rgb, EncodeOptions(bpp=bpp)).data) <= target


def test_metadata_is_deflated_once_whatever_the_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    from gancodec.container import chunks

    calls = []
    deflate = chunks._deflate
    monkeypatch.setattr(chunks, "_deflate", lambda raw: calls.append(1) or deflate(raw))
    alpha = np.random.default_rng(0).integers(0, 256, (256, 384)).astype(np.uint8)
    full = Picture(picture(256, 384), alpha, icc=b"profile" * 500)
    at_0 = len(encode_picture(full, EncodeOptions(n=0.0)).data)
    calls.clear()
    coded = encode_picture(full, EncodeOptions(size=at_0 - 300))
    assert coded.probes > 1
    assert len(coded.data) <= at_0 - 300
    assert len(calls) == 4, "alpha and profile, for the fixed size and for the file"


def test_out_of_reach_is_nearest_or_refused() -> None:
    rgb = Picture(picture(128, 128))
    assert not encode_picture(rgb, EncodeOptions(bpp=1e308)).hit
    nearest = encode_picture(rgb, EncodeOptions(size=60))
    assert not nearest.hit
    with pytest.raises(TargetMissed, match="60 bytes"):
        encode_picture(rgb, EncodeOptions(size=60, strict=True))


@pytest.mark.parametrize(
    "options",
    [
        {"bpp": 0.1, "n": 1.0},
        {"bpp": 0.0},
        {"bpp": math.nan},
        {"bpp": math.inf},
        {"size": 0},
        {"n": 9.0},
        {"entropy": "zip"},
        {"strip": ("icc",)},
        {"device": "tpu"},
        {"max_pixels": 10},
    ],
)
def test_bad_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        encode_picture(Picture(picture(32, 32)), EncodeOptions(**options))  # type: ignore[arg-type]


def test_realism_is_refused_until_it_is_trained() -> None:
    data = encode_picture(Picture(picture(32, 32))).data
    with pytest.raises(UsageError, match="realism"):
        decode_bytes(data, DecodeOptions(realism=0.5))


def test_missing_and_mismatched_models_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    rgb = Picture(picture(32, 32))
    with pytest.raises(MissingWeights, match="no-such"):
        encode_picture(rgb, EncodeOptions(model="no-such"))
    parsed = container.read(encode_picture(rgb).data)
    for change, error in (
        ({"model": 77}, MissingWeights),
        ({"model_hash": bytes(8)}, MissingWeights),
        ({"codec": 9}, UnsupportedFile),
        ({"coder": 9}, UnsupportedFile),
    ):
        header = container.Header(**{**vars(parsed.header), **change})
        with pytest.raises(error):
            decode_bytes(container.write(container.Container(header, parsed.image)))


def test_damaged_weights_are_refused(tmp_path: Path, tiny_installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in tiny_installed.iterdir():
        data = bytearray(file.read_bytes())
        if file.suffix == ".safetensors":
            data[-1] ^= 1
        (tmp_path / file.name).write_bytes(data)
    monkeypatch.setenv(weights.ENVIRONMENT, str(tmp_path))
    with pytest.raises(MissingWeights, match="SHA-256"):
        encode_picture(Picture(picture(32, 32)))


def test_stream_of_another_picture_is_corrupt() -> None:
    small, large = (container.read(encode_picture(Picture(picture(s, s))).data) for s in (64, 256))
    with pytest.raises(CorruptFile):
        decode_bytes(container.write(container.Container(small.header, large.image)))
    with pytest.raises(CorruptFile):
        decode_bytes(container.write(container.Container(large.header, small.image)))


def test_pillow_in_pillow_out(tmp_path: Path) -> None:
    image = Image.fromarray(picture(50, 80))
    image.save(tmp_path / "a.png")
    from_image, from_path = gancodec.encode(image, n=0.5), gancodec.encode(tmp_path / "a.png", n=0.5)
    assert from_image == from_path
    decoded = gancodec.decode(from_image)
    assert (decoded.size, decoded.mode) == ((80, 50), "RGB")
    decoded.save(io.BytesIO(), "PNG")


def test_python_errors_are_ours_too(tmp_path: Path) -> None:
    Image.fromarray(picture(50, 80)).save(tmp_path / "a.png")
    cut = (tmp_path / "a.png").read_bytes()[:900]
    with pytest.raises(UnreadablePicture):
        gancodec.encode(Image.open(io.BytesIO(cut)))
    data = gancodec.encode(tmp_path / "a.png")
    assert gancodec.decode(bytearray(data)).size == gancodec.decode(memoryview(data)).size == (80, 50)
    with pytest.raises(UsageError, match="tuple"):
        gancodec.encode(tmp_path / "a.png", options=EncodeOptions(strip="all"))  # type: ignore[arg-type]


class Stream(io.RawIOBase):
    """A file object that is not seekable and reads a few bytes at a time, as pipes do."""

    def __init__(self, data: bytes) -> None:
        self.left = data

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        some = min(size, 7) if size >= 0 else len(self.left)
        part, self.left = self.left[:some], self.left[some:]
        return part


def opened_behind(data: bytes) -> io.BytesIO:
    stream = io.BytesIO(b"before" + data)
    stream.seek(6)
    return stream


def test_a_picture_is_taken_in_any_form(tmp_path: Path) -> None:
    pixels = picture(50, 80)
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    data, expected = path.read_bytes(), gancodec.encode(Image.fromarray(pixels))
    with path.open("rb") as handle:
        assert gancodec.encode(handle) == expected
    read_only = pixels.copy()
    read_only.flags.writeable = False
    for source in (
        *(
            path,
            str(path),
            data,
            bytearray(data),
            memoryview(data),
            io.BytesIO(data),
            opened_behind(data),
            Stream(data),
        ),
        *(pixels, read_only, np.asfortranarray(pixels), pixels[::-1, ::-1].copy()[::-1, ::-1], pixels.view(np.ndarray)),
        np.repeat(pixels, 2, axis=1)[:, ::2],
    ):
        assert gancodec.encode(source) == expected


@pytest.mark.parametrize(("shape", "mode"), [((), "L"), ((1,), "L"), ((2,), "LA"), ((3,), "RGB"), ((4,), "RGBA")])
def test_arrays_are_the_images_that_they_look_like(shape: tuple[int, ...], mode: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, *shape)).astype(np.uint8)
    image = Image.fromarray(pixels[..., 0] if shape == (1,) else pixels)
    assert image.mode == mode
    assert gancodec.encode(pixels) == gancodec.encode(image)


class Broken:
    """A file object of others, with errors of its own."""

    def read(self, size: int = -1, /) -> bytes:
        raise LookupError("the line is dead")


@pytest.mark.parametrize(
    "source",
    [
        *(None, 7, 3.5, True, object(), [[1, 2]], {}, "", "no such\nname.png", "a\0b", "x" * 5000, "\ud800", Path("/")),
        *(b"", b"junk", io.BytesIO(), io.StringIO("text"), Broken(), io.BytesIO, Stream(b"junk"), memoryview(b"a")[:0]),
        *(np.zeros((8, 8, 3), kind) for kind in (bool, np.float32, np.uint16, np.int8, object)),
        *(np.zeros(s, np.uint8) for s in ((), (8,), (0, 8), (8, 0, 3), (8, 8, 0), (8, 8, 5), (2, 8, 8, 3), (3, 8, 8))),
    ],
    ids=lambda source: type(source).__name__,
)
def test_anything_else_is_no_picture_and_no_file(source: Any) -> None:
    for work in (gancodec.encode, gancodec.decode, gancodec.info):
        with pytest.raises(GicError) as told:
            work(source)
        assert 5 < len(" ".join(str(told.value).split())) < 5100


def test_what_is_wrong_with_a_source_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.gic"
    path.write_bytes(gancodec.encode(Image.new("RGB", (8, 8))))
    at_end = io.BytesIO(path.read_bytes())
    at_end.seek(0, io.SEEK_END)
    closed = path.open("rb")
    closed.close()
    with path.open(encoding="latin-1") as text:
        for work in (gancodec.encode, gancodec.decode):
            for source, error, words in (
                (tmp_path / "b.gic", UnreadablePicture, "b.gic: cannot be read: no such file"),
                (tmp_path, UnreadablePicture, "cannot be read: Is a directory"),
                (text, UsageError, "binary file object.* reads str"),
                (at_end, UnreadablePicture, "at its end"),
                (closed, UnreadablePicture, "closed file"),
                (Broken(), UnreadablePicture, "the line is dead"),
                (None, UsageError, "taken as .* not None"),
            ):
                with pytest.raises(error, match=words):
                    work(source)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"uint8 .* not float64 of shape \(8, 8\)"):
        gancodec.encode(np.zeros((8, 8)))


def test_a_file_is_decoded_in_any_form(tmp_path: Path) -> None:
    data = gancodec.encode(picture(20, 30))
    path = tmp_path / "a.gic"
    path.write_bytes(data)
    with path.open("rb") as handle:
        for source in (
            data,
            bytearray(data),
            memoryview(data),
            path,
            str(path),
            handle,
            opened_behind(data),
            Stream(data),
        ):
            assert gancodec.decode(source).size == (30, 20)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("bpp", ["0.1", 10**400, math.nan, math.inf, True, [0.1], Decimal("0.1"), 0, -1]),
        ("size", ["30kB", math.nan, -(10**400), True, b"9", 0, -1, 0.5]),
        ("n", ["x", math.nan, True, 9, 1j]),
        ("model", [3.5, True, ["gic1-tiny"], b"gic1-tiny"]),
        ("entropy", [5, None, ["range"], "rage"]),
        ("device", [None, "tpu", 0, np.zeros(2)]),
        ("strict", ["yes", 1, None]),
        ("strip", ["exif", None, 3, ("gps",), (1,)]),
        ("max_pixels", ["x", 0, -1, 1e6, None, True]),
        ("protect", ["text", 5, ("hands",), (None,)]),
        ("saliency", [0.5, True, b"center", "nothing", ["center"]]),
        ("saliency_model", [1, b"x"]),
        ("saliency_strength", ["1", None, math.nan, -1, 9]),
        ("roi", [1, True, b"x.png", np.zeros((8, 8))]),
        ("roi_boxes", [1, (1,), ((0, 0, 1.5, 4),), ((0, 0, True, 4),), ((0, 0, 4, 4, True),), ((0, 0, 4, 4, "x"),)]),
        ("profile", [1, None, ["split"], "joined"]),
        ("inner", [1, None, "lossy "]),
        ("factor", ["4", 4.0, None, True]),
    ],
)
def test_options_of_other_types_are_told_by_name(name: str, values: list[object]) -> None:
    words = {
        "saliency_strength": "saliency.strength",
        "roi_boxes": "roi_boxes|region",
        "inner": "inner",
        "factor": "factor",
    }
    for value in values:
        with pytest.raises(UsageError, match=words.get(name, name)) as told:
            gancodec.encode(Image.new("RGB", (8, 8)), options=EncodeOptions(**{name: value}))  # type: ignore[arg-type]
        assert len(str(told.value)) < 200


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("model", [3.5, True]),
        ("device", [None, "tpu"]),
        ("realism", ["high", math.nan, True, 2, 10**400]),
        ("max_pixels", ["x", 0, -1, 1e6, None]),
        ("region", [(0, 0, 1.5, 4), (0, 0, True, 4), "0,0,4,4", [0, 0, 4, 4], (0, 0, 4), 7]),
        ("reduce", [True, 2.0, 3, "2", None]),
    ],
)
def test_options_of_decoding_are_told_by_name(name: str, values: list[object]) -> None:
    data = gancodec.encode(Image.new("RGB", (8, 8)))
    for value in values:
        with pytest.raises(UsageError, match="reduce" if name == "reduce" else name):
            gancodec.decode(data, DecodeOptions(**{name: value}))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="must be DecodeOptions"):
        gancodec.decode(data, EncodeOptions())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ({"bpp": np.float32(0.5)}, {"bpp": 0.5}),
        ({"bpp": Fraction(1, 2)}, {"bpp": 0.5}),
        ({"bpp": 1}, {"bpp": 1.0}),
        ({"size": np.int64(300)}, {"size": 300}),
        ({"size": 300.9}, {"size": 300}),
        ({"size": 10**400}, {"size": 1 << 62}),
        ({"n": np.int8(1), "strict": np.bool_(True)}, {"n": 1.0, "strict": True}),
        ({"strip": ["all"], "max_pixels": np.int64(9)}, {"strip": ("all",), "max_pixels": 9}),
        ({"model": np.int64(3), "factor": np.uint8(8)}, {"model": 3, "factor": 8}),
    ],
)
def test_numbers_of_numpy_and_others_are_numbers(given: dict[str, Any], plain: dict[str, Any]) -> None:
    found = settled(EncodeOptions(**given), EncodeOptions)
    assert found == EncodeOptions(**plain)
    assert [type(getattr(found, name)) for name in plain] == [type(value) for value in plain.values()]


def test_rectangles_and_scales_of_numpy_are_taken() -> None:
    data = gancodec.encode(picture(20, 30), options=EncodeOptions(roi_boxes=(tuple(np.arange(1, 5)),)))  # type: ignore[arg-type]
    assert data == gancodec.encode(picture(20, 30), options=EncodeOptions(roi_boxes=((1, 2, 3, 4),)))
    part = DecodeOptions(region=tuple(np.arange(2, 6)), reduce=np.int64(2), realism=np.float32(0))  # type: ignore[arg-type]
    assert gancodec.decode(data, part).size == (2, 3)


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (1, 130)])
@pytest.mark.parametrize("profile", ["tunable", "split"])
def test_no_picture_is_too_small_for_a_target(size: tuple[int, int], profile: str) -> None:
    image = Image.effect_noise(size, 60).convert("RGB")
    boxes = ((0, 0, 1, 1),)
    for rate in ({"bpp": 5e-324}, {"bpp": 0.1}, {"bpp": 1e300}, {"size": 10**400}, {}):
        coded = gancodec.encode(image, options=EncodeOptions(**rate, profile=profile, roi_boxes=boxes))
        assert gancodec.decode(coded).size == size
    assert gancodec.decode(coded, DecodeOptions(region=(0, 0, 1, 1), reduce=8)).size == (1, 1)


def test_models_are_loaded_once() -> None:
    assert weights.get(None) is weights.get("gic1-tiny")
    network.load_network.cache_clear()
    for _ in range(3):
        decode_bytes(encode_picture(Picture(picture(32, 32))).data)
    assert network.load_network.cache_info().misses == 1


@pytest.mark.parametrize("height", [32, 100])
def test_files_do_not_grow_again_beyond_the_lowest_level(height: int) -> None:
    flat = Picture(np.full((height, 96, 3), 90, np.uint8))
    sizes = [len(encode_picture(flat, EncodeOptions(n=n)).data) for n in (5.0, 5.5, 6.1, 6.6, 7.3, 8.0)]
    assert max(sizes[1:]) <= sizes[0] + 4
    assert sizes[-1] == sizes[-2]


MAPS = ["flat", "two values", "four far values", "nearly two values", "around a whole level", "small", "spread"]


def importance_map(kind: str) -> NDArray[np.float32]:
    """Importance of blocks in logit units."""
    rng = np.random.default_rng(0)
    parts = rng.permutation(96).reshape(8, 12)
    around = np.where(parts < 34, rng.normal(0, 0.003, (8, 12)), rng.uniform(-0.8, 0.8, (8, 12)))
    maps = {
        "flat": np.zeros((8, 12)),
        "two values": np.where(parts < 20, 1.2, -0.3),
        "four far values": rng.choice([-0.8, 0.0, 0.82, 1.5], (8, 12), p=[0.1, 0.6, 0.2, 0.1]),
        "nearly two values": np.where(parts < 40, 1.0, 0.0) + rng.normal(0, 0.01, (8, 12)),
        "around a whole level": around,
        "small": rng.normal(0, 0.3, (5, 6)),
        "spread": rng.normal(0, 0.3, (8, 12)),
    }
    return maps[kind].astype(np.float32)


def positions_of(kind: str, levels: NDArray[np.float64]) -> NDArray[np.int64]:
    """Sixteenths of levels of all blocks where n makes block of importance 0 have each of `levels`."""
    importance = importance_map(kind)
    codec = TunableCodec(weights.get("gic1-tiny"))
    rgb = picture(64 * importance.shape[0], 64 * importance.shape[1])
    analysis = codec.analyse(rgb)._replace(importance=importance)
    calibration = codec.weights.info.calibration
    a_logit = logit_to_level(1.0) - logit_to_level(0.0)
    positions = []
    for level in levels:
        n = (calibration["logit_offset"] - (level - logit_to_level(0.0)) / a_logit) / calibration["logit_slope"]
        target, shift = wanted_at(codec, analysis, float(n))
        assert 0 <= target.levels.min() <= target.levels.max() < LEVELS
        positions.append(SUBLEVELS * target.levels.astype(np.int64) + shift)
    return np.stack(positions)


@pytest.mark.parametrize("kind", MAPS)
def test_n_moves_the_levels_finely_whatever_the_map(kind: str) -> None:
    """By at most a sixteenth of a level on average where n moves by a quarter of that, and never up."""
    falls = -np.diff(positions_of(kind, np.arange(17, 14.5, -1 / 64)), axis=0)
    assert falls.min() >= 0
    assert falls.mean((1, 2)).max() <= 1
    assert 32 <= falls.sum(0).min() <= falls.sum(0).max() <= 48, "2.5 levels in all, give or take the rounding"


@pytest.mark.parametrize("kind", MAPS)
def test_nothing_moves_beyond_the_ends(kind: str) -> None:
    """All blocks reach both ends and stay there; only those beyond an end are ever lifted."""
    positions = positions_of(kind, np.arange(LEVELS + 15, -15, -1 / 8))
    falls = -np.diff(positions, axis=0)
    between = (positions[1:] >= SUBLEVELS) & (positions[1:] < SUBLEVELS * (LEVELS - 1))
    assert falls[between].min() >= 0
    top = SUBLEVELS * (LEVELS - 1) + (0 if kind == "spread" else SUBLEVELS - 1)
    assert (positions[:16] == top).all()
    assert (positions[-16:] == 0).all()


def test_out_of_gpu_memory_goes_on_with_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network.build(tiny_weights(), torch.device("cpu"))
    expected = net.analyse(picture(64, 64))
    work, failed = net._analyse, []

    def fail_once(*given: object) -> object:
        if not failed:
            failed.append(1)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return work(*given)

    monkeypatch.setattr(net, "_analyse", fail_once)
    with pytest.warns(RuntimeWarning, match="going on with the CPU"):
        got = net.analyse(picture(64, 64))
    assert net.device == torch.device("cpu")
    for a, b in zip(expected, got, strict=True):
        np.testing.assert_array_equal(a, b)


def test_reading_symbols_needs_no_torch(tmp_path: Path, tiny_installed: Path) -> None:
    import subprocess
    import sys

    file = tmp_path / "a.gic"
    file.write_bytes(encode_picture(Picture(picture(64, 64))).data)
    code = (
        "import sys; from gancodec.codec import verify_bytes;"
        f"verify_bytes(open({str(file)!r}, 'rb').read()); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("entropy", ["range", "huffman"])
def test_a_dead_zone_makes_smaller_files_that_decode(entropy: str) -> None:
    codec = TunableCodec(tiny_weights(31, 4), "cpu")
    rgb = picture(192, 256)
    geometry = Picture(rgb).geometry
    analysis = codec.analyse(rgb)
    plain = coded(codec, analysis, geometry, 0.0, entropy)
    assert coded(codec, analysis, geometry, 0.0, entropy, 0).data == plain.data
    sizes = []
    for deadzone in (16, 160, 640):
        trimmed = coded(codec, analysis, geometry, 0.0, entropy, deadzone)
        sizes.append(len(trimmed.data))
        read = codec.read((trimmed.data,), trimmed.frame)
        assert all(np.array_equal(a, b) for a, b in zip(read, trimmed.symbols, strict=True))
        assert np.abs(trimmed.symbols.latents).sum() < np.abs(plain.symbols.latents).sum()
    assert len(plain.data) > sizes[0] > sizes[1] > sizes[2]


def test_a_model_of_an_architecture_that_is_not_known_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its weights are here: nothing is guessed about its files."""
    data = encode_picture(Picture(picture(64, 64))).data
    verify_bytes(data)
    monkeypatch.delitem(MODELS, weights.find(None).name)
    for read in (verify_bytes, read_symbols, read_allocation, decode_bytes):
        with pytest.raises(MissingWeights, match="does not know the architecture"):
            read(data)


def test_less_than_a_byte_is_out_of_reach() -> None:
    coded = encode_picture(Picture(picture(1, 1)), EncodeOptions(bpp=0.6))
    assert not coded.hit
    assert decode_bytes(coded.data).rgb.shape == (1, 1, 3)


def test_rates_exclude_each_other_by_name() -> None:
    with pytest.raises(UsageError, match="^bpp and n exclude each other$"):
        encode_picture(Picture(picture(64, 64)), EncodeOptions(bpp=1.0, n=2.0))
