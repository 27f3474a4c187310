"""Saliency by networks: tiny ones of the real classes everywhere, pretrained ones where ../shared has them."""

from __future__ import annotations

import json
import shutil
import socket
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from gancodec.errors import MissingExtra, MissingWeights, UsageError
from gancodec.saliency import gradcam, networks, saliency_map, sam2
from tests import pretrained
from tests.pretrained import PICTURES, SHARED, SIDE, check_map, large_picture
from tests.tiny import ODD_PICTURES, picture
from tools import shared_networks, split_table
from tools.shared_networks import shared_models, write_classifier, write_segmenter

pytest.importorskip("transformers")
pytest.importorskip("captum")

Pixels = NDArray[np.uint8]
METHODS = ("gradcam", "sam2", "segment")
WRITERS = {"gradcam": pretrained.tiny_classifier, "sam2": pretrained.tiny_sam2, "segment": pretrained.tiny_segmenter}
KINDS = {
    "gradcam": "AutoModelForImageClassification",
    "sam2": "Sam2Model",
    "segment": "AutoModelForSemanticSegmentation",
}
BACKBONES = SHARED / "backbones"
needs_shared = pytest.mark.skipif(not BACKBONES.is_dir(), reason="../shared/backbones is absent")


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A tiny network for each method."""
    root = tmp_path_factory.mktemp("networks")
    return {method: str(write(root / method)) for method, write in WRITERS.items()}


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The pretrained MobileNetV2."""
    return str(write_classifier(tmp_path_factory.mktemp("classifier"), BACKBONES))


@pytest.fixture(scope="session")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The pretrained DeepLabV3."""
    return str(write_segmenter(tmp_path_factory.mktemp("segmenter"), BACKBONES))


# Any network, any picture


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("method", METHODS)
def test_range_and_shape(method: str, name: str, folders: dict[str, str]) -> None:
    rgb = PICTURES[name]
    before = rgb.copy()
    values = saliency_map(rgb, method, folders[method])
    check_map(values, rgb)
    assert np.array_equal(values, saliency_map(rgb, method, folders[method])), "deterministic"
    assert np.array_equal(rgb, before)


@pytest.mark.parametrize("method", METHODS)
def test_large_picture(method: str, folders: dict[str, str]) -> None:
    rgb = large_picture()
    check_map(saliency_map(rgb, method, folders[method]), rgb)


@pytest.mark.parametrize("name", ["1x1", "3x5", "1x300", "7x100", "black", "constant"])
@pytest.mark.parametrize("method", METHODS)
def test_flat_and_tiny_pictures_need_no_network(method: str, name: str) -> None:
    assert not saliency_map(ODD_PICTURES[name], method, "no/such").any()


@pytest.mark.parametrize("method", METHODS)
def test_the_map_depends_on_the_picture(method: str, folders: dict[str, str]) -> None:
    one, other = (saliency_map(picture(90, 120, seed), method, folders[method]) for seed in (2, 3))
    assert one.std() > 0.01
    assert np.abs(one - other).max() > 0.1


@pytest.mark.parametrize("method", METHODS)
def test_the_map_belongs_to_the_picture_seen(method: str, folders: dict[str, str]) -> None:
    """Every second pixel of an enlarged picture: the same map, enlarged."""
    small = picture(64, 96, 3)
    large = np.repeat(np.repeat(small, 2, axis=0), 2, axis=1)
    one, two = (saliency_map(rgb, method, folders[method]) for rgb in (small, large))
    assert np.abs(one - two[::2, ::2]).mean() < 0.1


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
@pytest.mark.parametrize("method", METHODS)
def test_the_callers_mode_does_not_matter(method: str, mode: Callable[[], Any], folders: dict[str, str]) -> None:
    rgb = picture(40, 60)
    expected = saliency_map(rgb, method, folders[method])
    networks.load.cache_clear()
    with mode():
        before = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        assert np.array_equal(saliency_map(rgb, method, folders[method]), expected)
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == before
    assert np.array_equal(saliency_map(rgb, method, folders[method]), expected)
    model = networks.load(method, KINDS[method], folders[method]).model
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_asked_of_the_network(
    method: str, folders: dict[str, str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    networks.load.cache_clear()
    capfd.readouterr()
    saliency_map(picture(40, 60), method, folders[method])
    with pytest.raises(MissingWeights):
        saliency_map(picture(40, 60), method, "nobody/nothing")
    assert capfd.readouterr() == ("", ""), "and nothing is printed"


def test_loading_leaves_the_settings_of_transformers_alone(folders: dict[str, str]) -> None:
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_info()
    try:
        networks.load.cache_clear()
        networks.load("segment", KINDS["segment"], folders["segment"])
        assert logging.get_verbosity() == logging.INFO
        assert logging.is_progress_bar_enabled()
    finally:
        logging.set_verbosity(level)


@given(st.integers(1, 30_000), st.integers(1, 30_000), st.sampled_from([64, 224, 513]))
def test_networks_see_bounded_pictures(height: int, width: int, side: int) -> None:
    rows, columns = networks.fitting((height, width), side)
    assert rows * columns == pytest.approx(side**2, rel=0.05)
    assert min(rows, columns) >= side // 4
    if 1 / networks.MOST_ASPECT < height / width < networks.MOST_ASPECT:
        assert rows / columns == pytest.approx(height / width, rel=0.1)


def test_what_is_not_finite_becomes_zero() -> None:
    values = networks.enlarged(np.array([[np.nan, 1], [np.inf, -np.inf]]), (8, 8))
    assert values[0, -1] == 1
    assert values[0, 0] == values[-1, 0] == values[-1, -1] == 0


# Folders, files and names


def test_a_file_in_a_folder_is_the_folder(folders: dict[str, str]) -> None:
    rgb = picture(40, 60)
    weights = str(Path(folders["segment"]) / "model.safetensors")
    assert np.array_equal(saliency_map(rgb, "segment", weights), saliency_map(rgb, "segment", folders["segment"]))


def test_a_name_in_the_cache(folders: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = "0" * 40
    entry = tmp_path / "models--somebody--something"
    (entry / "refs").mkdir(parents=True)
    (entry / "refs" / "main").write_text(commit)
    shutil.copytree(folders["segment"], entry / "snapshots" / commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    rgb = picture(40, 60)
    expected = saliency_map(rgb, "segment", folders["segment"])
    assert np.array_equal(saliency_map(rgb, "segment", "somebody/something"), expected)


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("gradcam", "google/mobilenet_v2_1.0_224"),
        ("sam2", "facebook/sam2.1-hiera-tiny"),
        ("segment", "google/deeplabv3_mobilenet_v2_1.0_513"),
    ],
)
def test_the_default_is_not_in_the_cache(
    method: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(MissingWeights) as raised:
        saliency_map(picture(40, 60), method)
    assert str(raised.value) == (
        f"saliency {method}: {name} is neither a folder nor in the Hugging Face cache; "
        f"download it with: hf download {name}"
    )


def test_what_cannot_be_a_name_cannot_be_downloaded() -> None:
    with pytest.raises(MissingWeights) as raised:
        saliency_map(picture(40, 60), "sam2", "/no/such/folder")
    assert str(raised.value) == "saliency sam2: /no/such/folder is neither a folder nor in the Hugging Face cache"


def _cut(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def _set(file: str, **values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        said = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps(said | values))

    return change


BREAKS: dict[str, Callable[[Path], object]] = {
    "cut weights": _cut,
    "junk weights": lambda folder: (folder / "model.safetensors").write_bytes(b"junk" * 100),
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "no config": lambda folder: (folder / "config.json").unlink(),
    "config is no JSON": lambda folder: (folder / "config.json").write_text("{"),
    "config is a list": lambda folder: (folder / "config.json").write_text("[]"),
    "other sizes": _set("config.json", depth_multiplier=1.0, vision_config=None),
    "colours are no JSON": lambda folder: (folder / "preprocessor_config.json").write_text("{"),
    "colours are a list": lambda folder: (folder / "preprocessor_config.json").write_text("[]"),
    "two colours": _set("preprocessor_config.json", image_mean=[0.5, 0.5]),
    "no spread of colours": _set("preprocessor_config.json", image_std=[0.5, 0, 0.5]),
    "colours are words": _set("preprocessor_config.json", image_std="wide"),
}


@pytest.mark.parametrize("damage", BREAKS)
@pytest.mark.parametrize("method", METHODS)
def test_broken_folders(method: str, damage: str, folders: dict[str, str], tmp_path: Path) -> None:
    broken = shutil.copytree(folders[method], tmp_path / "broken")
    BREAKS[damage](broken)
    with pytest.raises(MissingWeights, match=f"^saliency {method}: {broken} cannot be read: .") as raised:
        saliency_map(picture(40, 60), method, str(broken))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("method", ["gradcam", "segment"])
def test_code_in_a_folder_is_not_run(method: str, folders: dict[str, str], tmp_path: Path) -> None:
    folder = shutil.copytree(folders[method], tmp_path / "novel")
    code = {"AutoConfig": "novel.Config", KINDS[method]: "novel.Model"}
    _set("config.json", model_type="novel", auto_map=code)(folder)
    (folder / "novel.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    with pytest.raises(MissingWeights, match="cannot be read: ."):
        saliency_map(picture(40, 60), method, str(folder))
    assert not (tmp_path / "ran").exists()


class _Bomb:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.file), "w"))


def test_older_weights_are_read_as_tensors_only(folders: dict[str, str], tmp_path: Path) -> None:
    """The default of segment is published as pytorch_model.bin, a pickle."""
    older = shutil.copytree(folders["segment"], tmp_path / "older")
    (older / "model.safetensors").unlink()
    model = networks.load("segment", KINDS["segment"], folders["segment"]).model
    torch.save(model.state_dict(), older / "pytorch_model.bin")
    rgb = picture(40, 60)
    one, other = (saliency_map(rgb, "segment", folder) for folder in (str(older), folders["segment"]))
    assert np.allclose(one, other, atol=1e-5)
    networks.load.cache_clear()
    torch.save(model.state_dict() | {"bomb": _Bomb(tmp_path / "ran")}, older / "pytorch_model.bin")
    with pytest.raises(MissingWeights, match="cannot be read: ."):
        saliency_map(rgb, "segment", str(older))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("method", "other"), [("gradcam", "segment"), ("segment", "gradcam")])
def test_networks_of_another_kind(method: str, other: str, folders: dict[str, str]) -> None:
    """Their heads would be random."""
    with pytest.raises(MissingWeights, match=f"^saliency {method}: .* lacks the weights "):
        saliency_map(picture(40, 60), method, folders[other])


def test_a_network_that_fails(folders: dict[str, str], tmp_path: Path) -> None:
    broken = shutil.copytree(folders["sam2"], tmp_path / "broken")
    said = json.loads((broken / "config.json").read_text())
    said["prompt_encoder_config"]["image_size"] = 2 * SIDE
    (broken / "config.json").write_text(json.dumps(said))
    with pytest.raises(UsageError, match=f"^saliency sam2: {broken} failed: ."):
        saliency_map(picture(40, 60), "sam2", str(broken))


@pytest.mark.parametrize(("method", "package"), [(m, "transformers") for m in METHODS] + [("gradcam", "captum.attr")])
def test_missing_packages(method: str, package: str, folders: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    networks.load.cache_clear()
    with pytest.raises(MissingExtra) as raised:
        saliency_map(picture(40, 60), method, folders[method])
    assert str(raised.value) == f"saliency {method} needs an optional package: pip install 'gancodec[{method}]'"


def test_transformers_without_sam2(folders: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", SimpleNamespace())
    networks.load.cache_clear()
    with pytest.raises(MissingExtra, match=r"pip install 'gancodec\[sam2\]'"):
        saliency_map(picture(40, 60), "sam2", folders["sam2"])


def test_transformers_with_a_dummy(folders: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is what stands for a class that needs one more package."""

    class Dummy:
        def __getattr__(self, name: str) -> None:
            raise ImportError("it needs more")

    monkeypatch.setitem(sys.modules, "transformers", SimpleNamespace(AutoModelForImageClassification=Dummy()))
    networks.load.cache_clear()
    with pytest.raises(MissingExtra, match=r"pip install 'gancodec\[gradcam\]'"):
        saliency_map(picture(40, 60), "gradcam", folders["gradcam"])


# Colours


def test_colours_are_those_of_the_folder(folders: dict[str, str], tmp_path: Path) -> None:
    rgb = np.full((4, 6, 3), (0, 128, 255), np.uint8)
    given = networks.load("segment", KINDS["segment"], folders["segment"]).tensor(rgb, 2, 3)
    expected = (torch.tensor([0, 128, 255]) / 255 - torch.tensor([0.4, 0.5, 0.6])) / torch.tensor([0.2, 0.3, 0.4])
    assert torch.allclose(given, expected.view(1, 3, 1, 1).expand(1, 3, 2, 3), atol=1e-6)
    silent = shutil.copytree(folders["segment"], tmp_path / "silent")
    (silent / "preprocessor_config.json").unlink()
    network = networks.load("segment", KINDS["segment"], str(silent))
    assert np.allclose((network.mean, network.std), networks.IMAGENET)
    timm = shutil.copytree(silent, tmp_path / "timm")
    _set("config.json", pretrained_cfg={"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7]})(timm)
    network = networks.load("segment", KINDS["segment"], str(timm))
    assert np.allclose((network.mean, network.std), ((0.1, 0.2, 0.3), (0.5, 0.6, 0.7)))


def test_a_classifier_of_timm(tmp_path: Path) -> None:
    pytest.importorskip("timm", reason="timm is not installed (it needs a torchvision that fits torch)")
    from transformers import TimmWrapperConfig, TimmWrapperForImageClassification

    torch.manual_seed(0)
    config = TimmWrapperConfig(architecture="mobilenetv2_050", num_labels=10)
    TimmWrapperForImageClassification(config).save_pretrained(tmp_path)
    rgb = picture(96, 140)
    check_map(saliency_map(rgb, "gradcam", str(tmp_path)), rgb)


def test_blue_first_is_refused(folders: dict[str, str], tmp_path: Path) -> None:
    folder = shutil.copytree(folders["segment"], tmp_path / "blue")
    _set("preprocessor_config.json", do_flip_channel_order=True)(folder)
    with pytest.raises(UsageError, match="wants blue before red"):
        saliency_map(picture(40, 60), "segment", str(folder))


def test_weights_of_half_precision(folders: dict[str, str], tmp_path: Path) -> None:
    from transformers import MobileNetV2ForSemanticSegmentation

    model = MobileNetV2ForSemanticSegmentation.from_pretrained(folders["segment"])
    model.to(torch.bfloat16).save_pretrained(tmp_path)
    shutil.copy(Path(folders["segment"]) / "preprocessor_config.json", tmp_path)
    half, full = (saliency_map(picture(40, 60), "segment", str(f)) for f in (tmp_path, folders["segment"]))
    assert 0 < np.abs(half - full).max() < 0.1


# Grad-CAM


def test_gradcam_by_hand(folders: dict[str, str]) -> None:
    """Mean gradients weight the channels of MobileNetV2's last feature map."""
    rgb = picture(60, 90)
    network = networks.load("gradcam", KINDS["gradcam"], folders["gradcam"])
    x = network.tensor(rgb, *networks.fitting((60, 90), SIDE))
    features = network.model.mobilenet_v2(x).last_hidden_state
    assert features.shape[2:] == (2, 3)
    best = network.model.classifier(features.mean((2, 3))).max()
    slopes = torch.autograd.grad(best, features)[0].mean((2, 3), keepdim=True)
    small = (slopes * features).sum(1)[0].relu().detach().numpy()
    large = np.asarray(Image.fromarray(small).resize((90, 60), Image.Resampling.BILINEAR))
    expected = (large - large.min()) / (large.max() - large.min())
    assert np.allclose(saliency_map(rgb, "gradcam", folders["gradcam"]), expected, atol=1e-4)


def test_gradcam_in_threads(folders: dict[str, str]) -> None:
    pictures = [picture(60, 90, seed) for seed in range(12)]
    alone = [saliency_map(rgb, "gradcam", folders["gradcam"]) for rgb in pictures]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda rgb: saliency_map(rgb, "gradcam", folders["gradcam"]), pictures))
    assert all(np.array_equal(*both) for both in zip(alone, together, strict=True))


@pytest.mark.parametrize("shape", [(SIDE, SIDE), (40, 60)])
def test_gradcam_needs_a_feature_map(shape: tuple[int, int], tmp_path: Path) -> None:
    folder = str(pretrained.tiny_vit(tmp_path))
    reason = "does not end in a feature map; choose a convolutional network" if shape == (SIDE, SIDE) else "failed: ."
    with pytest.raises(UsageError, match=f"^saliency gradcam: {folder} {reason}"):
        saliency_map(picture(*shape), "gradcam", folder)


class _ChannelsLast(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(0, 2, 3, 1)


@pytest.mark.parametrize(
    ("tail", "found"),
    [
        ([nn.AdaptiveAvgPool2d(1), nn.Flatten()], 1),
        ([nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten()], 2),
        ([nn.Flatten(2)], None),
        ([_ChannelsLast()], None),
    ],
    ids=["pooled", "halved", "tokens", "channels last"],
)
def test_the_last_feature_map(tail: list[nn.Module], found: int | None) -> None:
    model = nn.Sequential(nn.Conv2d(3, 40, 3), nn.ReLU(), *tail)
    layer, _ = gradcam._last_map(model, lambda x: model(x).flatten(1), torch.rand(1, 3, 20, 30))
    assert layer is (None if found is None else model[found])


@needs_shared
@pytest.mark.parametrize("name", ["train/u2net_0016", "train/raccoon_0040", "saliency/images/1375"])
def test_gradcam_sees_the_animal(name: str, classifier: str) -> None:
    """A horse, a raccoon and an elephant; boxes around them as shares of the height and width."""
    top, bottom, left, right = {"16": (0.2, 0.9, 0.1, 0.9), "40": (0.0, 0.9, 0.2, 0.6), "75": (0.2, 0.8, 0.1, 0.6)}[
        name[-2:]
    ]
    values = saliency_map(_photo(name), "gradcam", classifier)
    y, x = (place / n for place, n in zip(np.unravel_index(values.argmax(), values.shape), values.shape, strict=True))
    assert top < y < bottom
    assert left < x < right


# Segments


def test_segment_by_hand(folders: dict[str, str]) -> None:
    rgb = picture(SIDE, SIDE)
    network = networks.load("segment", KINDS["segment"], folders["segment"])
    with torch.no_grad():
        odds = network.model(network.tensor(rgb, SIDE, SIDE)).logits[0].exp()
    expected = ((odds[1] + odds[2]) / odds.sum(0)).numpy()
    large = np.asarray(Image.fromarray(expected).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    assert np.allclose(saliency_map(rgb, "segment", folders["segment"]), large, atol=1e-5)
    assert large.max() < 1, "probabilities are not stretched"


def test_segment_needs_a_background(tmp_path: Path) -> None:
    folder = pretrained.tiny_segmenter(tmp_path, "wall")
    with pytest.raises(UsageError, match="class 0 is wall, not the background"):
        saliency_map(picture(40, 60), "segment", str(folder))


@needs_shared
@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("train/u2net_0016", (0.5, 0.5), (0.9, 0.1)),  # a horse on grass
        ("train/u2net_0002", (0.6, 0.5), (0.1, 0.1)),  # five women before trees
        ("train/coral_0001", (0.4, 0.4), (0.1, 0.8)),  # a crow before the sky
    ],
)
def test_segment_marks_people_and_animals(
    name: str, inside: tuple[float, float], outside: tuple[float, float], segmenter: str
) -> None:
    values = saliency_map(_photo(name), "segment", segmenter)
    at = [
        values[tuple(int(share * n) for share, n in zip(place, values.shape, strict=True))]
        for place in (inside, outside)
    ]
    assert at[0] > 0.9
    assert at[1] < 0.1


def _photo(name: str) -> Pixels:
    with Image.open(SHARED / "data" / f"{name}.avif") as image:
        return np.asarray(image.convert("RGB"))


@needs_shared
@pytest.mark.parametrize("shape", [(224, 224), (100, 301)])
def test_converted_classifier(shape: tuple[int, int], classifier: str) -> None:
    ours, theirs = _both(shape, "gradcam", classifier, "MobileNetV2", "mobilenet_v2")
    assert torch.allclose(ours, theirs, atol=1e-3)


@needs_shared
@pytest.mark.parametrize("shape", [(513, 513), (100, 301)])
def test_converted_segmenter(shape: tuple[int, int], segmenter: str) -> None:
    ours, theirs = _both(shape, "segment", segmenter, "DeepLabV3", "deeplabv3_mnv2_voc")
    assert torch.allclose(
        nn.functional.interpolate(ours, shape, mode="bilinear", align_corners=True), theirs, atol=1e-3
    )


def _both(shape: tuple[int, int], method: str, folder: str, kind: str, file: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores of a converted network, and of its source."""
    rgb = picture(*shape)
    network = networks.load(method, KINDS[method], folder)
    source = getattr(shared_models(BACKBONES), kind)(BACKBONES / f"{file}.safetensors")
    with torch.no_grad():
        ours = network.model(network.tensor(rgb, *shape)).logits
        return ours, source(torch.from_numpy(rgb).permute(2, 0, 1)[None] / 255)


# SAM 2


class _Segmenter:
    """Stands in for SAM 2: for every point, a square around it, half of the picture, and all of it."""

    config = SimpleNamespace(prompt_encoder_config=SimpleNamespace(image_size=SIDE))

    def __init__(self) -> None:
        self.pictures = 0
        self.points: list[torch.Tensor] = []
        self.most = 0

    def get_image_embeddings(self, x: torch.Tensor) -> torch.Tensor:
        assert x.shape == (1, 3, SIDE, SIDE)
        self.pictures += 1
        return x

    def __call__(self, input_points: torch.Tensor, image_embeddings: torch.Tensor) -> SimpleNamespace:
        assert input_points.shape[0] == input_points.shape[2] == 1
        points = input_points[0, :, 0]
        self.points.append(points)
        self.most = max(self.most, len(points))
        y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
        near = ((x - points[:, 0, None, None] / 4).abs() < 2) & ((y - points[:, 1, None, None] / 4).abs() < 2)
        covers = torch.stack([near, (x < 8).expand_as(near), torch.ones_like(near)], 1)
        scores = torch.stack([points[:, 0] / SIDE, torch.full((len(points),), 0.7), torch.full((len(points),), 0.1)], 1)
        return SimpleNamespace(iou_scores=scores[None], pred_masks=(covers * 2.0 - 1)[None])


@pytest.fixture
def segmenter_stub(monkeypatch: pytest.MonkeyPatch) -> _Segmenter:
    stub = _Segmenter()
    network = networks.Network(stub, np.zeros(3, np.float32), np.ones(3, np.float32))
    monkeypatch.setattr(sam2, "load", lambda *names: network)
    return stub


def test_sam2_takes_the_most_confident_mask(segmenter_stub: _Segmenter) -> None:
    values = saliency_map(picture(32, 32), "sam2")
    rows = values.mean(0)
    assert np.allclose(values, rows, atol=1e-6), "in this stand-in, confidence depends on the column alone"
    assert rows[:8].std() < 1e-6, "0.7 by the mask of the left half, whatever the points there say"
    assert rows[-3:].min() == rows.max() == 1, "15/16 by the squares around the rightmost points"
    assert rows[18:21].max() < rows[0], "9/16 by the squares right of the middle"


def test_the_prompts_of_sam2_cover_the_picture(segmenter_stub: _Segmenter) -> None:
    saliency_map(picture(30, 90), "sam2")
    points = torch.cat(segmenter_stub.points)
    steps = [SIDE * (2 * i + 1) / 16 for i in range(8)]
    assert sorted(map(tuple, points.tolist())) == [(x, y) for x in steps for y in steps]
    assert segmenter_stub.pictures == 1
    assert segmenter_stub.most == sam2.AT_ONCE


def test_sam2_of_videos(tmp_path: Path) -> None:
    """What its makers publish."""
    folder = str(pretrained.tiny_sam2_video(tmp_path))
    rgb = picture(40, 60, 2)
    values = saliency_map(rgb, "sam2", folder)
    check_map(values, rgb)
    assert values.any()


def test_errors_of_ours_pass_through() -> None:
    with pytest.raises(UsageError), networks.told(MissingWeights, "outer"):
        raise UsageError("inner")


@pytest.mark.parametrize("method", METHODS)
def test_maps_do_not_depend_on_the_number_of_threads(method: str, folders: dict[str, str]) -> None:
    before = torch.get_num_threads()
    maps = set()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            maps.add(saliency_map(picture(200, 300), method, folders[method]).tobytes())
            assert torch.get_num_threads() == threads, "left as it was"
    finally:
        torch.set_num_threads(before)
    assert len(maps) == 1


def test_forward_passes_run_on_one_thread() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        with networks.running("segment", "x"):
            assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_no_picture_is_made_too_large_for_a_network() -> None:
    huge = networks.Network(SimpleNamespace(config=SimpleNamespace(image_size=100_000)), np.zeros(3), np.ones(3))
    assert huge.side(224) == networks.MOST_SIDE


def test_out_of_memory_is_not_the_networks_fault() -> None:
    with pytest.raises(MemoryError), networks.running("segment", "x"):
        raise MemoryError


@pytest.mark.skipif(not BACKBONES.is_dir(), reason="../shared/backbones is absent")
def test_the_tool_names_its_folders_by_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["shared_networks.py", str(BACKBONES), str(tmp_path)])
    shared_networks.main()
    found = split_table.ways(tmp_path)
    assert {name: model for name, model in found.items() if model} == {
        name: str(tmp_path / name) for name in ("gradcam", "segment")
    }
    assert {p.name for p in tmp_path.iterdir()} == {"gradcam", "segment"}
    with pytest.raises(SystemExit, match="has no folder gradcam"):
        split_table.ways(tmp_path / "elsewhere")
