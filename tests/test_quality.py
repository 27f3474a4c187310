"""Metrics of the evaluation against independent implementations, closed forms and published values."""

from __future__ import annotations

import copy
import math
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from gancodec import metrics
from gancodec.errors import GicError, MissingExtra
from gancodec.evaluate.metrics import backbones, quality
from tests.tiny import picture

pytest.importorskip("pytorch_msssim")
pytest.importorskip("torchmetrics")
pytest.importorskip("cv2")

SHARED = Path(__file__).parents[2] / "shared" / "backbones"
Pixels = NDArray[np.uint8]
PERCEPTUAL = {"lpips-squeeze", "lpips-alex", "lpips-vgg", "dists-vgg16"}


def _pair(height: int, width: int, sigma: float, seed: int = 1) -> tuple[Pixels, Pixels]:
    a = picture(height, width, seed)
    noise = np.random.default_rng(seed).normal(0, sigma, a.shape)
    return a, np.clip(a + noise, 0, 255).astype(np.uint8)


@pytest.fixture(autouse=True)
def _no_downloads_of_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What torch.hub has on this machine must not decide a test."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))


# Structural similarity


@pytest.mark.parametrize(("height", "width", "sigma"), [(161, 161, 5), (211, 300, 20), (192, 256, 50)])
def test_ms_ssim_is_that_of_the_package(height: int, width: int, sigma: float) -> None:
    a, b = _pair(height, width, sigma)
    assert quality.ms_ssim(a, b) == pytest.approx(metrics.ms_ssim(a, b), abs=5e-5)


@pytest.mark.parametrize("sigma", [5, 20])
def test_ms_ssim_is_nearly_that_of_torchmetrics(sigma: float) -> None:
    """Theirs reflects the borders of the coarsest scale instead of leaving them out."""
    from torchmetrics.image import MultiScaleStructuralSimilarityIndexMeasure

    reference = MultiScaleStructuralSimilarityIndexMeasure(data_range=1.0, kernel_size=11, sigma=1.5)
    a, b = _pair(176, 192, sigma)
    expected = float(reference(_tensor(a), _tensor(b)))
    assert expected < 0.98
    assert quality.ms_ssim(a, b) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize(("height", "width", "sigma"), [(11, 11, 10), (40, 30, 5), (97, 130, 20), (128, 128, 50)])
def test_ssim_is_that_of_scikit_image(height: int, width: int, sigma: float) -> None:
    similarity = pytest.importorskip("skimage.metrics").structural_similarity
    a, b = _pair(height, width, sigma)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    expected = float(similarity(a, b, channel_axis=2, data_range=255, **options))
    assert expected < 0.999
    assert quality.ssim(a, b) == pytest.approx(expected, abs=1e-4)


def test_too_small_pictures_have_no_figure() -> None:
    a, b = _pair(200, 200, 10)
    assert quality.ms_ssim(a[:160], b[:160]) is None
    assert quality.ms_ssim(a[:, :160], b[:, :160]) is None
    assert quality.ms_ssim(a[:161, :161], b[:161, :161]) is not None
    assert quality.ssim(a[:10], b[:10]) is None
    assert quality.ssim(a[:11, :11], b[:11, :11]) is not None


def test_decibel() -> None:
    assert quality.decibel(0.9) == pytest.approx(10)
    assert quality.decibel(0.999) == pytest.approx(30)
    assert quality.decibel(0.0) == 0
    assert quality.decibel(1.0) == quality.decibel(1.0000001) == math.inf


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_msssim", None)
    with pytest.raises(MissingExtra, match=r"pip install 'gancodec\[eval\]'"):
        quality.ssim(*_pair(20, 20, 5))


# Weighted by saliency


def test_weighted_psnr_counts_the_error_where_the_weight_is() -> None:
    a = np.full((20, 30, 3), 100, np.uint8)
    b = a.copy()
    b[:, :15] += 7
    left = np.zeros((20, 30), np.float32)
    left[:, :15] = 0.3
    right = 0.3 - left
    assert metrics.psnr(a, b, left) == pytest.approx(10 * math.log10(255**2 / 49))
    assert metrics.psnr(a, b, right) == math.inf
    assert metrics.psnr(a, b, left + right / 3) == pytest.approx(10 * math.log10(255**2 / (49 * 3 / 4)))
    for constant in (1.0, 0.2, 1e-6, 0.0):  # all zero: as if there were none
        weight = np.full((20, 30), constant, np.float32)
        assert metrics.psnr(a, b, weight) == pytest.approx(metrics.psnr(a, b))
    assert metrics.psnr(a, b) == pytest.approx(10 * math.log10(255**2 / (49 / 2)))


def test_weighted_psnr_is_the_weighted_mean_of_squares() -> None:
    a, b = _pair(31, 47, 20)
    weight = np.random.default_rng(0).random((31, 47))
    error = np.average(((a.astype(float) - b) ** 2).mean(2), weights=weight)
    assert metrics.psnr(a, b, weight) == pytest.approx(10 * math.log10(255**2 / error))


@pytest.mark.parametrize(("height", "width"), [(211, 300), (163, 171), (40, 30)])
def test_constant_weights_leave_ms_ssim_as_it_is(height: int, width: int) -> None:
    """Zeros that pad an odd side lower the weight there, hence not to the last digit."""
    a, b = _pair(height, width, 40)
    for constant in (1.0, 0.01, 0.0):
        weight = np.full((height, width), constant)
        assert metrics.ms_ssim(a, b, weight) == pytest.approx(metrics.ms_ssim(a, b), abs=2e-3)
    even = slice(None, 160 if height > 160 else 32), slice(None, 128 if height > 160 else 16)
    weight = np.full((height, width), 0.37)[even]
    assert metrics.ms_ssim(a[even], b[even], weight) == pytest.approx(metrics.ms_ssim(a[even], b[even]), abs=1e-12)


@pytest.mark.parametrize(("height", "width"), [(211, 300), (176, 192)])
def test_weighted_ms_ssim_looks_where_the_weight_is(height: int, width: int) -> None:
    """A weight on an undamaged half hardly sees the damage; one on the damaged half sees more than the plain mean."""
    a, b = _pair(height, width, 40)
    half = b.copy()
    half[:, width // 2 :] = a[:, width // 2 :]
    left, right = np.zeros((height, width)), np.zeros((height, width))
    left[:, : width // 3] = 1
    right[:, width - width // 6 :] = 1
    plain = metrics.ms_ssim(a, half)
    assert plain < 0.95
    assert metrics.ms_ssim(a, half, right) > 0.99
    assert metrics.ms_ssim(a, half, left) < plain - 0.02


# Feature networks: the published values, and torchmetrics' own classes on seeded weights


@pytest.mark.skipif(
    not (SHARED / backbones.SQUEEZE_LPIPS).is_file(), reason="no lpips_squeeze.safetensors in ../shared/backbones"
)
def test_lpips_squeeze_gives_the_published_values() -> None:
    """The examples of torchmetrics' documentation, whose pictures are in [-1, 1]: 2 x - 1 of these."""
    network = backbones.Lpips("squeeze", SHARED / backbones.SQUEEZE_LPIPS)
    generator = torch.Generator().manual_seed(42)
    a, b = (torch.rand(2, 3, 100, 100, generator=generator) for _ in range(2))
    with torch.inference_mode():
        assert network(a, b).numpy() == pytest.approx([0.1024, 0.0938], abs=1e-4)
        generator = torch.Generator().manual_seed(42)
        a, b = (torch.rand(10, 3, 100, 100, generator=generator) for _ in range(2))
        assert float(network(a, b).mean()) == pytest.approx(0.1005, abs=1e-4)
        assert float(network(a, a).abs().max()) == 0


class Fire(nn.Module):
    """Squeeze, then 1x1 and 3x3 side by side."""

    def __init__(self, inputs: int, narrow: int, wide: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, narrow, 1)
        self.expand1x1 = nn.Conv2d(narrow, wide, 1)
        self.expand3x3 = nn.Conv2d(narrow, wide, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Activations of both, one after the other."""
        x = self.squeeze(x).relu()
        return torch.cat([self.expand1x1(x).relu(), self.expand3x3(x).relu()], 1)


def _squeezenet() -> nn.Sequential:
    """The features of SqueezeNet 1.1 in torchvision's order."""

    def pool() -> nn.Module:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    layers = [nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(), pool(), Fire(64, 16, 64), Fire(128, 16, 64), pool()]
    layers += [Fire(128, 32, 128), Fire(256, 32, 128), pool(), Fire(256, 48, 192), Fire(384, 48, 192)]
    return nn.Sequential(*layers, Fire(384, 64, 256), Fire(512, 64, 256))


def _alexnet() -> nn.Sequential:
    """The features of AlexNet in torchvision's order."""
    layers = [nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)]
    layers += [nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)]
    for inputs, outputs in ((192, 384), (384, 256), (256, 256)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool2d(3, 2))


def _vgg16() -> nn.Sequential:
    """The features of VGG-16 in torchvision's order."""
    layers: list[nn.Module] = []
    inputs = 3
    for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
            inputs = width
        layers.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(*layers)


BUILD: dict[str, Callable[[], nn.Sequential]] = {
    "squeezenet1_1": _squeezenet,
    "alexnet": _alexnet,
    "vgg16": _vgg16,
}
NETS = {
    "squeeze": ("squeezenet1_1", backbones.SQUEEZE),
    "alex": ("alexnet", backbones.ALEX),
    "vgg": ("vgg16", backbones.VGG),
}


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, nn.Sequential]]]:
    """A folder with files as torchvision has them, and the networks that were saved."""
    folder = tmp_path_factory.mktemp("backbones")
    networks = {}
    torch.manual_seed(3)
    for name, file in NETS.values():
        network = BUILD[name]().eval().requires_grad_(False)
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
                nn.init.normal_(module.bias, 0, 0.1)
        torch.save({f"features.{key}": value for key, value in network.state_dict().items()}, folder / file)
        networks[name] = network
    yield folder, networks
    for _, file in NETS.values():
        (folder / file).unlink()
    quality._network.cache_clear()


@pytest.fixture
def torchvision(monkeypatch: pytest.MonkeyPatch, seeded: tuple[Path, dict[str, nn.Sequential]]) -> None:
    """As much of torchvision as torchmetrics asks for, with the seeded networks."""
    from torchmetrics.functional.image import dists, lpips

    def model(name: str) -> Callable[..., SimpleNamespace]:
        return lambda weights=None: SimpleNamespace(features=seeded[1][name])

    package, models = ModuleType("torchvision"), ModuleType("torchvision.models")
    for name in BUILD:
        setattr(models, name, model(name))
    package.models = models  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", package)
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    for module in (dists, lpips):
        monkeypatch.setattr(module, "_TORCHVISION_AVAILABLE", True)
    monkeypatch.setattr(dists, "vgg16", model("vgg16"), raising=False)
    monkeypatch.setattr(dists, "VGG16_Weights", SimpleNamespace(DEFAULT=None), raising=False)


def _tensor(pixels: Pixels) -> torch.Tensor:
    return torch.from_numpy(np.moveaxis(pixels.astype(np.float32) / 255, 2, 0))[None]


def _batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Noise, pictures of odd size, the smallest pictures."""
    generator = torch.Generator().manual_seed(0)
    yield torch.rand(2, 3, 32, 40, generator=generator), torch.rand(2, 3, 32, 40, generator=generator)
    for height, width, sigma in ((49, 43, 10), (32, 32, 30)):
        a, b = _pair(height, width, sigma)
        yield _tensor(a), _tensor(b)


def _flat() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.full((1, 3, 36, 36), 0.4), torch.full((1, 3, 36, 36), 0.6)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.usefixtures("torchvision")
def test_lpips_is_that_of_torchmetrics(net: str, seeded: tuple[Path, dict[str, nn.Sequential]]) -> None:
    from torchmetrics.functional.image.lpips import _LPIPS

    reference = _LPIPS(pretrained=True, net=net, pnet_rand=True)
    network = backbones.Lpips(net, seeded[0] / NETS[net][1])
    with torch.inference_mode():
        for a, b in (*_batches(), _flat()):
            expected = reference(a, b, normalize=True).flatten()
            assert float(expected.min()) > 0
            assert network(a, b).numpy() == pytest.approx(expected.numpy(), rel=1e-4)


@pytest.mark.usefixtures("torchvision")
def test_dists_is_that_of_torchmetrics(seeded: tuple[Path, dict[str, nn.Sequential]]) -> None:
    from torchmetrics.functional.image.dists import DISTSNetwork

    reference, network = DISTSNetwork(), backbones.Dists(seeded[0] / backbones.VGG)
    with torch.inference_mode():
        for a, b in _batches():
            expected = reference(a, b).flatten()
            assert float(expected.min()) > 0
            assert network(a, b).numpy() == pytest.approx(expected.numpy(), rel=1e-4, abs=1e-6)
            assert network(a, a).numpy() == pytest.approx(0, abs=1e-5)
        # Without any variance float32 is good for a few percent only, here and there.
        exact = copy.deepcopy(reference).double()(*(x.double() for x in _flat()))
        assert float(network(*_flat())) == pytest.approx(float(exact), rel=0.05)


# Columns


def test_files_decide_the_columns(seeded: tuple[Path, dict[str, nn.Sequential]], tmp_path: Path) -> None:
    folder = seeded[0]
    meter = quality.Meter(folder)
    assert PERCEPTUAL <= set(meter.columns)
    assert meter.absent == ()
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / backbones.ALEX).symlink_to(folder / backbones.ALEX)
    some = quality.Meter(tmp_path)
    assert PERCEPTUAL & set(some.columns) == {"lpips-alex"}
    assert list(some.used) == ["lpips-alex"]
    assert some.used["lpips-alex"].startswith("alexnet-owt-7be5be79.pth, sha256 ")
    assert len(some.absent) == 3
    none = quality.Meter(None)
    assert not PERCEPTUAL & set(none.columns)
    assert len({meter.fingerprint(), some.fingerprint(), none.fingerprint()}) == 3
    line = next(line for line in none.absent if line.startswith("lpips-alex"))
    assert line == "lpips-alex: left out, no alexnet-owt-7be5be79.pth in the folder of --backbones"


def test_measure_fills_every_column(seeded: tuple[Path, dict[str, nn.Sequential]], tmp_path: Path) -> None:
    (tmp_path / backbones.ALEX).symlink_to(seeded[0] / backbones.ALEX)
    meter = quality.Meter(tmp_path)
    a, b = _pair(161, 170, 20)
    figures = meter.measure(a, b)
    assert tuple(figures) == meter.columns
    assert all(value is not None and math.isfinite(value) for value in figures.values())
    assert figures["ms-ssim-db"] == pytest.approx(-10 * math.log10(1 - (figures["ms-ssim"] or 0)))
    same = meter.measure(a, a)
    assert same["psnr"] == same["psnr-saliency"] == math.inf
    assert same["lpips-alex"] == pytest.approx(0, abs=1e-6)
    small = meter.measure(a[:31], b[:31])
    assert {name for name, value in small.items() if value is None} == {
        *("ms-ssim", "ms-ssim-db", "ms-ssim-saliency", "lpips-alex")
    }
    tiny = meter.measure(a[:2, :3], b[:2, :3])
    assert {name for name, value in tiny.items() if value is not None} == {"psnr", "psnr-saliency"}
    with pytest.raises(ValueError, match="not the size"):
        meter.measure(a, b[:-1])
    assert {column.name for column in quality.COLUMNS} == {*quality.Meter(None).columns} | PERCEPTUAL


class Bomb:
    """Runs code when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.path,)


def _saved(path: Path, content: object) -> None:
    torch.save(content, path)


def _pickled(path: Path, content: object) -> None:
    path.write_bytes(pickle.dumps(content, protocol=2))


@pytest.mark.parametrize("save", [_saved, _pickled])
def test_a_file_with_code_is_refused(save: Callable[[Path, object], None], tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    save(tmp_path / backbones.ALEX, {"features.0.weight": Bomb(trace)})
    meter = quality.Meter(tmp_path)
    with pytest.raises(GicError, match=r"alexnet-owt-7be5be79\.pth: not a file of tensors"):
        meter.measure(*_pair(40, 40, 5))
    assert not trace.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"hello, this is no model\n", b"<!DOCTYPE html><html></html>", bytes(range(256)), b"PK\x03\x04" + bytes(99)],
    ids=["empty", "text", "html", "bytes", "zip"],
)
@pytest.mark.parametrize(("name", "net"), [(backbones.ALEX, "alex"), (backbones.SQUEEZE_LPIPS, "squeeze")])
def test_junk_is_refused(name: str, net: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(GicError, match=name):
        backbones.Lpips(net, tmp_path / name)


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, {"a": {"b": torch.zeros(1)}}, torch.zeros(2), None])
def test_other_things_than_tensors_by_name_are_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / backbones.ALEX)
    with pytest.raises(GicError, match="not a file of tensors"):
        backbones.Lpips("alex", tmp_path / backbones.ALEX)


def test_weights_of_another_network_are_refused(seeded: tuple[Path, dict[str, nn.Sequential]], tmp_path: Path) -> None:
    (tmp_path / backbones.ALEX).symlink_to(seeded[0] / backbones.SQUEEZE)
    with pytest.raises(GicError, match="alexnet-owt-7be5be79"):
        quality.Meter(tmp_path).measure(*_pair(40, 40, 5))
