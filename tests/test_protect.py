"""Text and faces that get more of the bits: what the detectors find, and what becomes of it in a file."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import gancodec
from gancodec import weights
from gancodec.codec import EncodeOptions, decode_bytes, encode_picture, read_allocation
from gancodec.errors import MissingExtra, UsageError
from gancodec.models.guidance import PROTECT_STRENGTH, Guidance
from gancodec.saliency import DETECTORS, protection_map
from gancodec.types import BLOCK, Picture
from tests.conftest import FakeCodec, Run, needs_weights
from tests.tiny import ODD_PICTURES, picture

cv2 = pytest.importorskip("cv2")
data = pytest.importorskip("skimage.data", reason="scikit-image ships the cascade that finds faces")

Pixels = NDArray[np.uint8]
KODAK = Path(__file__).parent.parent.parent / "shared" / "data" / "kodak"


@pytest.fixture(autouse=True)
def tiny_installed(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(weights.ENVIRONMENT, str(tiny_folder))


def written(height: int = 384, width: int = 512, *, size: float = 0.7, dark: bool = True) -> Pixels:
    """A line of text near the top left corner, within (8, 20) to (300, 60), dark on light or the other way round."""
    ink, paper = ((20,) * 3, (240,) * 3) if dark else ((240,) * 3, (30,) * 3)
    rgb = np.full((height, width, 3), paper, np.uint8)
    rgb[height // 2 :] = picture(height - height // 2, width)
    return np.asarray(cv2.putText(rgb, "Opening hours 9-17", (8, 48), cv2.FONT_HERSHEY_SIMPLEX, size, ink, 2))


@pytest.mark.parametrize("name", ODD_PICTURES)
@pytest.mark.parametrize("detector", DETECTORS)
def test_range_and_shape(detector: str, name: str) -> None:
    rgb = ODD_PICTURES[name]
    before = rgb.copy()
    values = protection_map(rgb, (detector,))
    assert values.dtype == np.float32
    assert values.shape == rgb.shape[:2]
    assert set(np.unique(values)) <= {0, 1}
    assert np.array_equal(values, protection_map(rgb, (detector,))), "deterministic"
    assert np.array_equal(rgb, before)


@pytest.mark.parametrize("name", ["1x1", "black", "constant", "noise"])
def test_nothing_to_find(name: str) -> None:
    assert not protection_map(ODD_PICTURES[name], DETECTORS).any()


@pytest.mark.parametrize("dark", [True, False])
@pytest.mark.parametrize("size", [0.45, 0.7, 1.2])
def test_text_is_found(size: float, dark: bool) -> None:
    rgb = written(size=size, dark=dark)
    found = protection_map(rgb, ("text",))
    ink = (rgb[:192] < 128 if dark else rgb[:192] > 128).all(2)
    assert found[:192][ink].mean() > 0.9
    assert found.mean() < 2 * np.ptp(np.argwhere(ink), axis=0).prod() / found.size, "not much else"


def test_text_is_found_in_large_pictures() -> None:
    large = cv2.resize(written(), None, fx=6, fy=6)
    assert protection_map(large, ("text",))[200:260, 100:1200].mean() > 0.9


@pytest.mark.skipif(not KODAK.is_dir(), reason="needs the Kodak pictures of ../shared")
@pytest.mark.parametrize("name", ["02", "07", "13", "23"])
def test_no_text_in_photographs(name: str) -> None:
    assert protection_map(np.asarray(Image.open(KODAK / f"{name}.png").convert("RGB")), ("text",)).mean() < 0.01


def test_a_face_is_found() -> None:
    found = protection_map(data.astronaut(), ("faces",))
    assert found[90:170, 190:250].all(), "hers"
    assert found.mean() < 0.15


def test_both_together() -> None:
    rgb = data.astronaut().copy()
    rgb[300:400] = 240
    cv2.putText(rgb, "Eileen Collins", (40, 360), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (20, 20, 20), 2)
    both = protection_map(rgb, ("text", "faces"))
    assert np.array_equal(both, np.maximum(*(protection_map(rgb, (name,)) for name in DETECTORS)))
    assert both[130, 220] == both[345, 60] == 1
    assert not protection_map(rgb, ()).any()


def test_protected_blocks_get_higher_levels() -> None:
    rgb = Picture(written())
    plain, raised = (
        read_allocation(encode_picture(rgb, EncodeOptions(n=0.0, protect=p)).data) for p in ((), ("text",))
    )
    change = 511 * (raised.maps[0].plane.values - plain.maps[0].plane.values)  # in sixteenths of a level
    assert change[0, :4].min() > 0
    assert change[3:].max() <= 0
    assert np.ptp(change) > 16 * 4  # 1.5 logits are 5.5 levels


def test_what_is_found_is_raised_and_the_mean_kept() -> None:
    importance = np.random.default_rng(0).normal(0, 0.3, (6, 8)).astype(np.float32)
    raised = Guidance(protection=protection_map(written(), ("text",))).biased(importance, BLOCK)
    change = raised - importance
    assert raised.dtype == np.float32
    assert abs(change.mean()) < 1e-6
    assert np.isclose(np.ptp(change), PROTECT_STRENGTH)
    assert set(np.argwhere(change > 0)[:, 0]) == {0}, "the row of blocks that holds the line"


def test_without_it_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    rgb = Picture(written())
    plain = encode_picture(rgb, EncodeOptions(n=0.5)).data
    monkeypatch.setitem(sys.modules, "cv2", None)  # not even looked for
    assert encode_picture(rgb, EncodeOptions(n=0.5, protect=())).data == plain


@pytest.mark.parametrize("shape", [(1, 1), (40, 50), (200, 300)])
def test_nothing_found_is_the_same_file(shape: tuple[int, int]) -> None:
    rgb = Picture(np.full((*shape, 3), 90, np.uint8))
    files = [encode_picture(rgb, EncodeOptions(n=0.0, protect=p)).data for p in ((), ("text", "faces"))]
    assert files[0] == files[1]


@needs_weights
@pytest.mark.parametrize("bpp", [0.1, 0.2])
def test_sizes_are_met(bpp: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(weights.ENVIRONMENT)  # an untrained model has no smooth sizes
    rgb = Picture(written())
    coded = encode_picture(rgb, EncodeOptions(bpp=bpp, protect=("text",)))
    assert coded.hit
    assert 0.99 * bpp <= coded.bpp <= bpp
    assert decode_bytes(coded.data).rgb.shape == rgb.rgb.shape


def test_unknown_names() -> None:
    with pytest.raises(UsageError, match="^protect cats: choose text or faces$"):
        encode_picture(Picture(picture(20, 20)), EncodeOptions(protect=("text", "cats")))
    with pytest.raises(UsageError, match="a tuple of names"):
        encode_picture(Picture(picture(20, 20)), EncodeOptions(protect="text"))  # type: ignore[arg-type]


@pytest.mark.parametrize("module", [None, ModuleType("cv2")], ids=["no OpenCV", "OpenCV without contributed modules"])
@pytest.mark.parametrize("name", DETECTORS)
def test_missing_opencv(name: str, module: ModuleType | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", module)
    with pytest.raises(MissingExtra) as raised:
        protection_map(picture(20, 20), (name,))
    assert str(raised.value) == f"protecting {name} needs an optional package: pip install 'gancodec[protect]'"


def test_missing_cascade(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage.data", None)
    protection_map(picture(20, 20), ("text",))
    with pytest.raises(
        MissingExtra, match="^protecting faces needs an optional package: pip install 'gancodec.protect.'$"
    ):
        protection_map(picture(20, 20), ("faces",))


@pytest.mark.parametrize("error", [ModuleNotFoundError("requires pooch"), OSError("not there")])
def test_a_cascade_that_would_have_to_be_fetched(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch() -> str:
        raise error

    monkeypatch.setattr(data, "lbp_frontal_face_cascade_filename", fetch)
    with pytest.raises(MissingExtra, match="protecting faces"):
        protection_map(picture(20, 20), ("faces",))


@pytest.mark.parametrize(
    ("words", "names"),
    [("text", ("text",)), ("faces,text", ("faces", "text")), ("Text, faces,text", ("faces", "text"))],
)
def test_the_command_line(run: Run, photo: Path, fake_codec: FakeCodec, words: str, names: tuple[str, ...]) -> None:
    assert run("encode", photo, "--protect", words).code == 0
    assert fake_codec.encoded == [gancodec.EncodeOptions(protect=names)]
    assert set(names) <= set(DETECTORS)


@pytest.mark.parametrize("words", ["cats", "text,", "text faces"])
def test_the_command_line_refuses_other_words(run: Run, photo: Path, words: str) -> None:
    result = run("encode", photo, "--protect", words)
    assert result.code == 2
    assert (
        result.err
        == f"gancodec: Invalid value: --protect {words!r}: text, faces, or text,faces (--help lists the options)\n"
    )
