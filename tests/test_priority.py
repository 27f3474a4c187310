"""Where the bits go when somebody says so: regions, boxes and saliency, at equal bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from gancodec import weights
from gancodec.codec import Box, EncodeOptions, decode_bytes, encode_picture, parse_box, read_allocation
from gancodec.codec import guidance as priority
from gancodec.errors import UnreadablePicture, UsageError
from gancodec.models.guidance import PROTECT_STRENGTH, REGION_STRENGTH, SALIENCY_STRENGTH, Guidance
from gancodec.options import DecodeOptions
from gancodec.types import BLOCK, Picture
from tests.conftest import needs_weights
from tests.tiny import ODD_PICTURES, picture

KODAK = Path(__file__).parent.parent.parent / "shared" / "data" / "kodak"


@pytest.fixture
def tiny_installed(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(weights.ENVIRONMENT, str(tiny_folder))


def ramp(height: int, width: int) -> NDArray[np.uint8]:
    """Gray picture from black at the left to white at the right."""
    return np.tile(np.linspace(0, 255, width).astype(np.uint8), (height, 1))


def biased(importance: NDArray[np.float32], guidance: Guidance, strength: float = 1.0) -> NDArray[np.float32]:
    return guidance._replace(strength=strength).biased(importance, BLOCK)


def region(values: NDArray[np.float32]) -> Guidance:
    return Guidance(None, values, None)


# --- words to boxes


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("1,2,3,4", Box(1, 2, 3, 4)),
        ("0, 0, 10, 10 : 0.25", Box(0, 0, 10, 10, 0.25)),
        ("0,0,1,1:0", Box(0, 0, 1, 1, 0)),
        ("0,0,1,1:.5", Box(0, 0, 1, 1, 0.5)),
        ("0,0,1,1:1", Box(0, 0, 1, 1)),
    ],
)
def test_boxes(text: str, box: Box) -> None:
    assert parse_box(text) == box
    assert parse_box(str(box)) == box


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "x,y,w,h"),
        ("1,2,3", "x,y,w,h"),
        ("1,2,3,4,5", "x,y,w,h"),
        ("-1,2,3,4", "x,y,w,h"),
        ("1.5,2,3,4", "x,y,w,h"),
        ("1,2,3,4:", "x,y,w,h"),
        ("1,2,3,4:nan", "x,y,w,h"),
        ("1,2,0,4", "at least 1 pixel"),
        ("1,2,3,4:2", "from 0 to 1"),
    ],
)
def test_wrong_boxes(text: str, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        parse_box(text)


# --- maps to a bias of the importance


@given(st.integers(1, 200), st.integers(1, 200), st.integers(0, 255))
def test_even_maps_change_nothing(height: int, width: int, gray: int) -> None:
    blocks = (-(-height // 64), -(-width // 64))
    importance = np.random.default_rng(0).normal(0, 1, blocks).astype(np.float32)
    even = np.full((height, width), gray / 255, np.float32)
    for asked in (
        Guidance(even, None, None),
        Guidance(None, even, None),
        Guidance(None, None, even),
        Guidance(even, even, even),
    ):
        assert np.allclose(biased(importance, asked), importance, atol=1e-6)


def test_the_mean_is_kept_and_white_lies_above_black_by_the_strength() -> None:
    importance = np.random.default_rng(0).normal(0, 0.3, (4, 6)).astype(np.float32)
    values = np.zeros((256, 384), np.float32)
    values[64:128, 128:320] = 1
    for strength in (0.5, 1.0, 2.0):
        change = biased(importance, region(values), strength) - importance
        assert abs(change.mean()) < 1e-6
        assert np.isclose(np.ptp(change), strength * REGION_STRENGTH)
        assert {tuple(i) for i in np.argwhere(change > 0).tolist()} == {(1, 2), (1, 3), (1, 4)}


def test_gray_lies_between() -> None:
    values = np.repeat(np.float32([0, 0.25, 0.5, 1]), 64)[None].repeat(64, 0)
    change = biased(np.zeros((1, 4), np.float32), region(values))[0]
    assert np.allclose((change - change[0]) / np.ptp(change), [0, 0.25, 0.5, 1], atol=1e-6)


def test_a_region_counts_in_full_wherever_it_reaches_into_a_block() -> None:
    values = np.zeros((64, 192), np.float32)
    values[63, 63:65] = 1  # a pixel of the first block and one of the second
    change = biased(np.zeros((1, 3), np.float32), region(values))[0]
    assert np.isclose(change[0] - change[2], REGION_STRENGTH)
    assert np.isclose(change[1] - change[2], REGION_STRENGTH)


def test_protection_counts_in_full_from_a_tenth_of_a_block() -> None:
    values = np.zeros((64, 192), np.float32)
    values[:, 57:64] = 1  # more than a tenth
    values[:32, 64:70] = 1  # about half of a tenth
    change = biased(np.zeros((1, 3), np.float32), Guidance(None, None, values))[0]
    assert np.isclose(change[0] - change[2], PROTECT_STRENGTH)
    assert np.isclose(change[1] - change[2], PROTECT_STRENGTH * 32 * 6 / 409.6)


def test_saliency_is_standardised_over_the_blocks() -> None:
    values = np.zeros((128, 128), np.float32)
    values[:64, :64] = 0.8
    faint = biased(np.zeros((2, 2), np.float32), Guidance(values / 4, None, None))
    strong = biased(np.zeros((2, 2), np.float32), Guidance(values, None, None))
    assert np.allclose(faint, strong, atol=1e-6)
    assert np.isclose(strong.std(), SALIENCY_STRENGTH)
    flat = biased(np.zeros((2, 2), np.float32), Guidance(values / 1000, None, None))
    assert flat.std() < SALIENCY_STRENGTH / 20, "a map that says nearly nothing does nearly nothing"


# --- in files


def levels(rgb: NDArray[np.uint8], **options: object) -> NDArray[np.int64]:
    data = encode_picture(Picture(rgb), EncodeOptions(n=0.0, **options)).data  # type: ignore[arg-type]
    return np.rint(511 * read_allocation(data).maps[0].plane.values).astype(int)


@pytest.mark.usefixtures("tiny_installed")
def test_boxes_masks_and_arrays_agree(tmp_path: Path) -> None:
    rgb = picture(256, 384)
    mask = np.zeros((256, 384), np.uint8)
    mask[64:192, 128:256] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    ways = (
        {"roi_boxes": (Box(128, 64, 128, 128),)},
        {"roi_boxes": ((128, 64, 128, 128),)},
        {"roi_boxes": [tuple(np.array([128, 64, 128, 128], np.uint8))]},
        {"roi": tmp_path / "mask.png"},
        {"roi": str(tmp_path / "mask.png")},
        {"roi": Image.fromarray(mask)},
        {"roi": Image.fromarray(mask).resize((192, 128), Image.Resampling.NEAREST).resize((384, 256), 0)},
    )
    files = {encode_picture(Picture(rgb), EncodeOptions(n=0.0, **way)).data for way in ways}  # type: ignore[arg-type]
    assert len(files) == 1
    change = levels(rgb, roi_boxes=ways[0]["roi_boxes"]) - levels(rgb)
    assert change[1:3, 2:4].min() > 0
    change[1:3, 2:4] = 0
    assert change.max() <= 0
    assert change.min() < 0


@pytest.mark.usefixtures("tiny_installed")
def test_strength_zero_is_none_bit_for_bit() -> None:
    rgb = picture(200, 300)
    plain = encode_picture(Picture(rgb), EncodeOptions(bpp=0.5)).data
    asked = {"saliency": "center", "roi_boxes": (Box(0, 0, 64, 64),)}
    nothing = encode_picture(Picture(rgb), EncodeOptions(bpp=0.5, saliency_strength=0.0, **asked)).data  # type: ignore[arg-type]
    something = encode_picture(Picture(rgb), EncodeOptions(bpp=0.5, **asked)).data  # type: ignore[arg-type]
    assert nothing == plain != something
    assert encode_picture(Picture(rgb), EncodeOptions(bpp=0.5, saliency="none")).data == plain


@pytest.mark.usefixtures("tiny_installed")
@pytest.mark.parametrize("method", ["spectral", "fine", "combined", "center"])
@pytest.mark.parametrize("shape", [(200, 300), (65, 130)])
def test_a_map_from_a_file_is_as_good_as_its_method(method: str, shape: tuple[int, int], tmp_path: Path) -> None:
    if method != "center":
        pytest.importorskip("cv2")
    rgb = picture(*shape)
    asked = EncodeOptions(saliency=method)
    Image.fromarray(priority.to_gray(priority.saliency_of(rgb, asked))).save(tmp_path / "map.png")
    ways = (method, f"file:{tmp_path / 'map.png'}", Image.open(tmp_path / "map.png"))
    files = {encode_picture(Picture(rgb), EncodeOptions(n=0.3, saliency=way)).data for way in ways}
    assert len(files) == 1
    assert files != {encode_picture(Picture(rgb), EncodeOptions(n=0.3)).data}


@pytest.mark.usefixtures("tiny_installed")
@pytest.mark.parametrize("name", ODD_PICTURES)
def test_odd_pictures(name: str) -> None:
    rgb = np.ascontiguousarray(ODD_PICTURES[name])
    height, width = rgb.shape[:2]
    asked = {"saliency": "center", "roi": Image.fromarray(ramp(height, width)), "roi_boxes": (Box(0, 0, 1, 1),)}
    data = encode_picture(Picture(rgb), EncodeOptions(n=0.0, **asked)).data  # type: ignore[arg-type]
    assert decode_bytes(data).rgb.shape == rgb.shape


def test_later_boxes_lie_on_top_and_are_cut() -> None:
    boxes = (Box(0, 0, 8, 8), Box(2, 2, 100, 100, 0.5), Box(9, 9, 1, 1, 0))
    values = priority.painted(np.zeros((10, 10), np.float32), boxes)
    assert values[0, 0] == 1
    assert values[2, 2] == values[9, 8] == 0.5
    assert values[9, 9] == values[9, 0] == 0


def test_a_box_outside_is_refused() -> None:
    with pytest.raises(UsageError, match=r"region 10,0,5,5 lies outside of the picture, which is 10x20"):
        priority.painted(np.zeros((20, 10), np.float32), (Box(10, 0, 5, 5),))


def test_maps_are_scaled_and_their_transparent_parts_black() -> None:
    small = Image.fromarray(ramp(10, 15))
    values = priority.read_map(small, (200, 300), 1 << 20)
    assert values.shape == (200, 300)
    assert np.all(np.diff(values, axis=1) >= 0)
    assert (values[0, 0], values[0, -1]) == (0, 1)
    clear = Image.fromarray(np.full((10, 15, 4), (255, 255, 255, 0), np.uint8))
    assert not priority.read_map(clear, (200, 300), 1 << 20).any()
    deep = Image.fromarray(np.full((20, 30), 0x8000, np.uint16))
    assert np.allclose(priority.read_map(deep, (20, 30), 1 << 20), 128 / 255)


@pytest.mark.parametrize(
    ("size", "fits"),
    [((30, 20), True), ((61, 40), False), ((59, 39), True), ((3, 2), True), ((31, 20), False), ((3, 3), False)]
    + [((40, 20), False), ((20, 30), False), ((1, 1), True)],
)
def test_proportions(size: tuple[int, int], fits: bool, tmp_path: Path) -> None:
    Image.new("L", size, 99).save(tmp_path / "map.png")
    if fits:
        assert priority.read_map(tmp_path / "map.png", (40, 60), 1 << 20).shape == (40, 60)
        return
    with pytest.raises(UsageError, match=f"map.png is {size[0]}x{size[1]}, the picture 60x40: proportions differ"):
        priority.read_map(tmp_path / "map.png", (40, 60), 1 << 20)


def test_unreadable_maps_are_named(tmp_path: Path) -> None:
    (tmp_path / "map.png").write_bytes(b"no picture")
    for path in (tmp_path / "map.png", tmp_path / "absent.png"):
        with pytest.raises(UnreadablePicture, match=f"^map {path}: "):
            priority.read_map(path, (40, 60), 1 << 20)
    Image.new("L", (300, 200)).save(tmp_path / "large.png")
    with pytest.raises(UnreadablePicture, match="large.png: "):
        priority.read_map(tmp_path / "large.png", (40, 60), 1000)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"saliency": "guess"}, "saliency guess: choose spectral"),
        ({"saliency": "map.png"}, "segment, or file:PATH"),
        ({"saliency_model": "x"}, "a saliency model needs"),
        ({"saliency": "spectral", "saliency_model": "x"}, "takes no model"),
        ({"saliency_strength": -1.0}, "must be in"),
        ({"saliency_strength": float("nan")}, "must be a finite number"),
        ({"roi_boxes": ((0, 0, 0, 5),)}, "at least 1 pixel"),
        ({"roi_boxes": ((0, 0, 5, 5, 3),)}, "from 0 to 1"),
        ({"roi_boxes": ((0, 0, 5.0, 5),)}, "whole pixels"),
        ({"roi_boxes": ((-1, 0, 5, 5),)}, "corners at least 0"),
        ({"roi_boxes": (0, 0, 5, 5)}, "a tuple of boxes"),
        ({"roi_boxes": ((0, 0, 5),)}, "a tuple of boxes"),
        ({"roi_boxes": iter([(0, 0, 5, 5)])}, "a tuple of boxes"),
        ({"roi_boxes": None}, "a tuple of boxes"),
        ({"roi_boxes": ((0, 0, 5, 5, None),)}, "from 0 to 1"),
        ({"saliency_strength": None}, "must be a finite number"),
        ({"saliency_strength": "1"}, "must be a finite number"),
        ({"roi": ""}, "empty name"),
        ({"saliency": "file:"}, "empty name"),
        ({"profile": "split", "factor": 4.0}, "must be a whole number"),
        ({"profile": "split", "factor": np.int64(5)}, "factor 5: choose"),
        ({"profile": "split", "inner": ["lossy"]}, "must be a string"),
    ],
)
@pytest.mark.usefixtures("tiny_installed")
def test_wishes_that_no_picture_can_meet(options: dict[str, object], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        encode_picture(Picture(picture(64, 64)), EncodeOptions(**options))  # type: ignore[arg-type]


# --- what it is for


@needs_weights
@pytest.mark.skipif(not KODAK.is_dir(), reason="needs the Kodak pictures of ../shared")
@pytest.mark.parametrize("name", ["03", "15"])
def test_a_region_gains_a_decibel_at_equal_bytes(name: str) -> None:
    rgb = np.asarray(Image.open(KODAK / f"{name}.png").convert("RGB"))
    plain = encode_picture(Picture(rgb), EncodeOptions(bpp=0.1)).data
    asked = EncodeOptions(size=len(plain), roi_boxes=(Box(192, 128, 384, 256),))
    raised = encode_picture(Picture(rgb), asked).data
    assert 0.99 * len(plain) <= len(raised) <= len(plain)
    inside = np.zeros(rgb.shape[:2], bool)
    inside[128:384, 192:576] = True
    errors = [(decode_bytes(d, DecodeOptions(realism=0)).rgb.astype(float) - rgb) ** 2 for d in (plain, raised)]
    gain, loss = (10 * np.log10(errors[0][where].mean() / errors[1][where].mean()) for where in (inside, ~inside))
    assert gain >= 1
    assert -2 < loss < 0
