"""FID and KID against closed forms and direct code, the patches that they are of, and the feature network."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gancodec.errors import GicError, MissingExtra
from gancodec.evaluate.metrics import backbones
from gancodec.evaluate.metrics.distribution import Extractor, cut, distances, extractor
from tests.tiny import picture

pytest.importorskip("torchmetrics")

SHARED = Path(__file__).parents[2] / "shared" / "backbones"
Array = NDArray[np.float64]
needs_weights = pytest.mark.skipif(
    not (SHARED / backbones.MOBILENET).is_file(), reason="no mobilenet_v2.safetensors in ../shared/backbones"
)


@pytest.fixture(autouse=True)
def _no_downloads_of_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What torch.hub has on this machine must not decide a test."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))


def _gaussian(seed: int, features: int) -> tuple[Array, Array]:
    """A mean and a covariance."""
    rng = np.random.default_rng(seed)
    root = rng.normal(0, 1, (features, features)) / features**0.5
    return rng.normal(0, 0.5, features), root @ root.T + 0.1 * np.eye(features)


def _frechet(mean_a: Array, cov_a: Array, mean_b: Array, cov_b: Array) -> float:
    """|mu1 - mu2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), by the symmetric root of S1^(1/2) S2 S1^(1/2)."""
    values, vectors = np.linalg.eigh(cov_a)
    root = vectors * np.sqrt(np.clip(values, 0, None)) @ vectors.T
    middle = np.sqrt(np.clip(np.linalg.eigvalsh(root @ cov_b @ root), 0, None)).sum()
    return float(((mean_a - mean_b) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * middle)


def _mmd(a: Array, b: Array) -> float:
    """Unbiased squared maximum mean discrepancy under (x.y / F + 1)^3: means over pairs of different samples."""
    aa, bb, ab = ((np.einsum("if,jf->ij", x, y) / x.shape[1] + 1) ** 3 for x, y in ((a, a), (b, b), (a, b)))
    within = sum(k[~np.eye(len(k), dtype=bool)].mean() for k in (aa, bb))
    return float(within - 2 * ab.mean())


def _distances(a: Array, b: Array, parts: int = 3) -> dict[str, float]:
    return distances(*([torch.from_numpy(p) for p in np.array_split(v, parts)] for v in (a, b)))


@pytest.mark.parametrize(("count", "features"), [(500, 12), (40, 5), (20, 30)])
def test_fid_of_sample_statistics(count: int, features: int) -> None:
    """Also with fewer samples than features, where the covariances are singular."""
    rng = np.random.default_rng(1)
    a, b = (rng.multivariate_normal(*_gaussian(seed, features), count) for seed in (1, 2))
    expected = _frechet(a.mean(0), np.cov(a.T), b.mean(0), np.cov(b.T))
    assert expected > 0.5
    found = _distances(a, b)["fid"]
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert _distances(b, a)["fid"] == pytest.approx(found, rel=1e-5, abs=1e-5)
    assert _distances(a, b, parts=1)["fid"] == pytest.approx(found, rel=1e-9)


def test_fid_agrees_with_the_matrix_root_of_scipy() -> None:
    linalg = pytest.importorskip("scipy.linalg")
    rng = np.random.default_rng(2)
    a, b = (rng.multivariate_normal(*_gaussian(seed, 8), 200) for seed in (3, 4))
    root = np.trace(linalg.sqrtm(np.cov(a.T) @ np.cov(b.T))).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T)) + np.trace(np.cov(b.T)) - 2 * root
    assert _distances(a, b)["fid"] == pytest.approx(expected, rel=1e-6)


def test_fid_of_many_samples_is_that_of_the_distributions() -> None:
    rng = np.random.default_rng(3)
    first, second = _gaussian(5, 6), _gaussian(6, 6)
    a, b = (rng.multivariate_normal(*gaussian, 2500) for gaussian in (first, second))
    assert _distances(a, b)["fid"] == pytest.approx(_frechet(*first, *second), rel=0.03)


@pytest.mark.parametrize(("count", "features"), [(60, 7), (25, 40), (2, 3)])
def test_kid_is_the_unbiased_discrepancy(count: int, features: int) -> None:
    rng = np.random.default_rng(4)
    a, b = rng.normal(0, 1, (count, features)), rng.normal(0.3, 1.2, (count, features))
    torch.manual_seed(0)
    found = _distances(a, b, parts=1)["kid"]
    assert found == pytest.approx(_mmd(a, b), rel=1e-9, abs=1e-12)
    torch.manual_seed(1)
    assert _distances(a, b, parts=1)["kid"] == pytest.approx(found, rel=1e-9, abs=1e-12), "deterministic"


def test_identical_and_shifted_sets() -> None:
    a = np.random.default_rng(5).normal(0, 1, (200, 10))
    same = _distances(a, a.copy())
    assert same["fid"] == pytest.approx(0, abs=1e-6)
    assert same["kid"] == pytest.approx(_mmd(a, a), rel=1e-9)
    assert same["kid"] < 0, "unbiased: the same set twice lies below 0"
    shift = np.full(10, 0.7)
    assert _distances(a, a + shift)["fid"] == pytest.approx(10 * 0.49, rel=1e-6)
    further = [_distances(a, a + s)["kid"] for s in (0.0, 0.5, 1.0)]
    assert further == sorted(further)
    assert further[1] > 0


def test_features_are_taken_as_they_are() -> None:
    """Large values with a small spread, as of real networks, keep their digits."""
    rng = np.random.default_rng(6)
    a, b = rng.normal(0, 0.01, (300, 4)), rng.normal(0.02, 0.015, (300, 4))
    expected = _frechet(a.mean(0), np.cov(a.T), b.mean(0), np.cov(b.T))
    assert _distances(a + 20, b + 20)["fid"] == pytest.approx(expected, rel=1e-4)


def test_missing_torchmetrics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchmetrics.image.fid", None)
    with pytest.raises(MissingExtra, match=r"pip install 'gancodec\[eval\]'"):
        _distances(np.ones((3, 2)), np.ones((3, 2)))


# Patches


@pytest.mark.parametrize(
    ("height", "width", "side", "count"),
    [
        (512, 768, 256, 6 + 2),
        (768, 512, 256, 6 + 2),
        (512, 768, 64, 96 + 77),
        (256, 256, 256, 1),
        (383, 383, 256, 1),
        (384, 384, 256, 1 + 1),
        (64, 65, 64, 1),
        (255, 1000, 256, 0),
        (1000, 63, 64, 0),
        (1, 1, 64, 0),
    ],
)
def test_number_of_patches(height: int, width: int, side: int, count: int) -> None:
    patches = list(cut(np.zeros((height, width, 3), np.uint8), side))
    assert len(patches) == count
    assert all(patch.shape == (side, side, 3) for patch in patches)


def test_where_patches_lie() -> None:
    y, x = np.mgrid[0:130, 0:200]
    corners = [tuple(patch[0, 0, :2]) for patch in cut(np.stack([y, x, x], -1).astype(np.uint8), 64)]
    grid = [(top, left) for top in (0, 64) for left in (0, 64, 128)]
    shifted = [(32, 32), (32, 96)]
    assert corners == [*grid, *shifted]


# The network


@pytest.fixture(scope="module")
def published() -> Any:
    """MobileNetV2 as the weights' own repository has it."""
    path = SHARED / "models.py"
    if not path.is_file():
        pytest.skip("no models.py in ../shared/backbones")
    spec = importlib.util.spec_from_file_location("backbone_models", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.MobileNetV2(SHARED / backbones.MOBILENET).eval()


@needs_weights
@pytest.mark.parametrize("side", [64, 97])
def test_features_are_those_of_the_published_network(side: int, published: Any) -> None:
    network = backbones.MobileNetV2(SHARED / backbones.MOBILENET)
    pixels = torch.from_numpy(np.stack([picture(side, side, seed) for seed in range(3)])).permute(0, 3, 1, 2)
    with torch.inference_mode():
        expected = published.embed(pixels.float() / 255)
        assert expected.std() > 0.1
        for batch in (pixels, pixels.float() / 255):
            found = network(batch)
            assert found.shape == (3, backbones.MobileNetV2.num_features)
            assert (found - expected).abs().max() < 1e-4


@needs_weights
def test_features_of_a_picture() -> None:
    found = Extractor("mobilenetv2", SHARED / backbones.MOBILENET)
    pixels = picture(130, 200)
    features = found.features(pixels, 64)
    assert features.shape == (8, 1280)
    assert features.dtype == torch.float64
    with torch.inference_mode():
        last = found.network(torch.from_numpy(pixels[32:96, 96:160].copy()).permute(2, 0, 1)[None])
    assert (features[-1] - last[0]).abs().max() < 1e-4
    decoded = np.clip(pixels + np.random.default_rng(0).normal(0, 20, pixels.shape), 0, 255).astype(np.uint8)
    # With fewer features: the root of a large matrix takes seconds.
    near, far = (distances([features[:, :40]], [found.features(p, 64)[:, :40]]) for p in (pixels, decoded))
    assert near["fid"] == pytest.approx(0, abs=1e-3)
    assert far["fid"] > near["fid"] + 1
    assert far["kid"] > near["kid"]


def test_which_network(tmp_path: Path) -> None:
    """Inception, the network of published figures, where its file is; never a download."""
    assert extractor(None) is None
    assert extractor(tmp_path) is None
    (tmp_path / backbones.MOBILENET).write_bytes(b"mobile")
    found = extractor(tmp_path)
    assert found is not None
    assert (found.name, found.path.name) == ("mobilenetv2", backbones.MOBILENET)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / backbones.INCEPTION).write_bytes(b"inception")
    found = extractor(tmp_path)
    assert found is not None
    assert (found.name, found.path.name) == ("inceptionv3", backbones.INCEPTION)
    assert extractor(None) is None


def test_inception_needs_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    fid = pytest.importorskip("torchmetrics.image.fid")
    monkeypatch.setattr(fid, "_TORCH_FIDELITY_AVAILABLE", False)
    with pytest.raises(GicError, match="torch-fidelity"):
        backbones.inception(tmp_path / backbones.INCEPTION)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save_file = pytest.importorskip("safetensors.torch").save_file
    save_file({"features.0.weight": torch.zeros(1)}, tmp_path / backbones.MOBILENET)
    with pytest.raises(GicError, match="not the weights of a MobileNetV2"):
        backbones.MobileNetV2(tmp_path / backbones.MOBILENET)
    (tmp_path / "junk.safetensors").write_bytes(b"hello, this is no model\n")
    with pytest.raises(GicError, match="junk"):
        backbones.MobileNetV2(tmp_path / "junk.safetensors")
