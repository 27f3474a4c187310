"""Feature networks for perceptual metrics, from an explicit folder; nothing is ever downloaded.

Files are looked for in the folder given with ``--backbones`` (and its `checkpoints/`), then among what torch.hub has
downloaded earlier for other programs:

==============================  ===========================================  =========================
file                            network                                      columns
==============================  ===========================================  =========================
lpips_squeeze.safetensors       SqueezeNet 1.1 features and LPIPS heads      lpips-squeeze
squeezenet1_1-b8a52dc0.pth      SqueezeNet 1.1 as torchvision has it         lpips-squeeze
alexnet-owt-7be5be79.pth        AlexNet as torchvision has it                lpips-alex
vgg16-397923af.pth              VGG-16 as torchvision has it                 lpips-vgg, dists-vgg16
mobilenet_v2.safetensors        MobileNetV2 1.0, batch norm folded           fid*-, kid*-mobilenetv2
pt_inception-2015-12-05-...pth  torch-fidelity's Inception v3                fid*-, kid*-inceptionv3
==============================  ===========================================  =========================
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from gancodec.errors import GicError, optional
from gancodec.features import Convolve, alex, lpips_range, squeeze, vgg16

SQUEEZE_LPIPS = "lpips_squeeze.safetensors"
SQUEEZE, ALEX, VGG = "squeezenet1_1-b8a52dc0.pth", "alexnet-owt-7be5be79.pth", "vgg16-397923af.pth"
MOBILENET = "mobilenet_v2.safetensors"
INCEPTION = "pt_inception-2015-12-05-6726825d.pth"
Arrays = dict[str, Tensor]


def find(folder: Path | None, name: str) -> Path | None:
    """A weights file by its name, or None."""
    places = [folder, folder / "checkpoints"] if folder else []
    for place in (*places, Path(torch.hub.get_dir(), "checkpoints")):
        if (place / name).is_file():
            return place / name
    return None


@lru_cache(maxsize=16)
def digest(path: Path) -> str:
    """First 16 hex digits of a file's SHA-256, for reports."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


# With the last parameter that each needs: a file of another network lacks it.
NETS: dict[str, tuple[Callable[[Tensor, Convolve], list[Tensor]], str]] = {
    "squeeze": (squeeze, "features.12.expand3x3.weight"),
    "alex": (alex, "features.10.weight"),
    "vgg": (vgg16, "features.28.weight"),
}


def _load(path: Path, needed: str = "") -> Arrays:
    """State of a network by parameter name. GicError where the file holds something else, or lacks `needed`."""
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
        arrays = {k: v if v.dtype in (torch.int8, torch.uint8) else v.float() for k, v in state.items()}
    except Exception as error:  # both readers raise nearly anything for junk
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise GicError(f"{path.name}: not a file of tensors: {why}") from error
    if needed and needed not in arrays:
        raise GicError(f"{path.name}: not the weights that its name says: no {needed}")
    return arrays


def _convolve(arrays: Arrays, x: Tensor, name: str, **options: Any) -> Tensor:
    return F.conv2d(x, arrays[f"{name}.weight"], arrays[f"{name}.bias"], **options)


def _packaged(folder: str, name: str) -> Arrays:
    """Small trained heads that torchmetrics ships: the linear layers of LPIPS v0.1, alpha and beta of DISTS."""
    place = require("torchmetrics.functional.image", "LPIPS and DISTS").__path__[0]
    return _load(Path(place, folder, name))


def require(module: str, what: str) -> Any:
    """Import a module of torchmetrics. MissingExtra where it is not installed, GicError where it cannot start (as
    with a torchvision built for another torch)."""
    try:
        return optional(module, what, "eval")
    except RuntimeError as error:
        raise GicError(f"{what}: {module} cannot be imported: {str(error).splitlines()[0]}") from error


class Lpips(nn.Module):
    """LPIPS v0.1 of two pictures (N, 3, H, W) in [0, 1]: (N,) distances.

    References
    ----------
    .. [1] Zhang et al.: The Unreasonable Effectiveness of Deep Features as a Perceptual Metric, CVPR 2018.
    """

    def __init__(self, net: str, path: Path) -> None:
        super().__init__()
        self.net, last = NETS[net]
        self.convolve = partial(_convolve, _load(path, last))
        heads = _packaged("lpips_models", f"{net}.pth")
        self.heads = [heads[f"lin{i}.model.1.weight"] for i in range(len(heads))]

    def _taps(self, x: Tensor) -> list[Tensor]:
        taps = self.net(lpips_range(x), self.convolve)
        return [tap / torch.sqrt(1e-8 + tap.square().sum(1, keepdim=True)) for tap in taps]

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Weighted squared differences of unit feature vectors, averaged over the sites, added up over the taps."""
        pairs = zip(self._taps(a), self._taps(b), self.heads, strict=True)
        return torch.stack([F.conv2d((p - q).square(), head).mean((1, 2, 3)) for p, q, head in pairs]).sum(0)


class Dists(nn.Module):
    """DISTS of two pictures (N, 3, H, W) in [0, 1]: (N,) distances.

    References
    ----------
    .. [1] Ding et al.: Image Quality Assessment: Unifying Structure and Texture Similarity, TPAMI 2020.
    """

    MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.convolve = partial(_convolve, _load(path, NETS["vgg"][1]))
        weights = _packaged("dists_models", "weights.pt")
        total = weights["alpha"].sum() + weights["beta"].sum()
        self.alpha, self.beta = weights["alpha"] / total, weights["beta"] / total

    def _taps(self, x: Tensor) -> list[Tensor]:
        mean, deviation = (torch.tensor(v, device=x.device).view(1, 3, 1, 1) for v in (self.MEAN, self.DEVIATION))
        return [x, *vgg16((x - mean) / deviation, self.convolve, _l2_pool)]

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """1 - sum of texture (means) and structure (covariances) similarities over the channels of all taps."""
        texture, structure = [], []
        for p, q in zip(self._taps(a), self._taps(b), strict=True):
            mean_p, mean_q = p.mean((2, 3)), q.mean((2, 3))
            rest_p, rest_q = p - mean_p[..., None, None], q - mean_q[..., None, None]
            variance_p, variance_q = rest_p.square().mean((2, 3)), rest_q.square().mean((2, 3))
            covariance = (rest_p * rest_q).mean((2, 3))
            texture.append((2 * mean_p * mean_q + 1e-6) / (mean_p.square() + mean_q.square() + 1e-6))
            structure.append((2 * covariance + 1e-6) / (variance_p + variance_q + 1e-6))
        similarity = torch.cat(texture, 1) * self.alpha[:, :, 0, 0] + torch.cat(structure, 1) * self.beta[:, :, 0, 0]
        return 1 - similarity.sum(1)


def _l2_pool(x: Tensor) -> Tensor:
    """Root of the Hann-weighted mean of squares, stride 2."""
    taps = torch.hann_window(5, periodic=False)[1:-1]
    kernel = torch.outer(taps, taps)
    kernel = (kernel / kernel.sum()).to(x).expand(x.shape[1], 1, 3, 3)
    return torch.sqrt(F.conv2d(x.square(), kernel, stride=2, padding=1, groups=x.shape[1]) + 1e-12)


class MobileNetV2(nn.Module):
    """Pooled features of MobileNetV2 1.0 with batch norm folded and TensorFlow's padding.

    (N, 3, H, W) float in [0, 1], or uint8, to (N, 1280). Weights may be 8 bit: ``name.q``, ``.scale``, ``.zero``.

    References
    ----------
    .. [1] Sandler et al.: MobileNetV2, CVPR 2018.
    """

    num_features = 1280  # torchmetrics asks for it
    BLOCKS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))

    def __init__(self, path: Path) -> None:
        super().__init__()
        stored = _load(path)
        self.arrays = {
            name.removesuffix(".q"): _dequantised(stored, name)
            for name in stored
            if not name.endswith((".scale", ".zero"))
        }
        if "features.18.0.weight" not in self.arrays:
            raise GicError(f"{path.name}: not the weights of a MobileNetV2")

    def forward(self, x: Tensor) -> Tensor:
        """Features of a batch."""
        x = (x.float() / 255 if x.dtype == torch.uint8 else x) * 2 - 1
        x = F.relu6(_convolve(self.arrays, _same(x, 2), "features.0.0", stride=2))
        number = 0
        for expansion, width, repeats, first_stride in self.BLOCKS:
            for repeat in range(repeats):
                number += 1
                x = self._block(x, f"features.{number}.conv", expansion > 1, width, first_stride if repeat == 0 else 1)
        return F.relu6(_convolve(self.arrays, x, "features.18.0")).mean((2, 3))

    def _block(self, x: Tensor, name: str, expands: bool, width: int, stride: int) -> Tensor:
        y, place = x, 0
        if expands:
            y, place = F.relu6(_convolve(self.arrays, y, f"{name}.0.0")), 1
        y = _same(y, stride)
        y = F.relu6(_convolve(self.arrays, y, f"{name}.{place}.0", stride=stride, groups=y.shape[1]))
        y = _convolve(self.arrays, y, f"{name}.{place + 1}")
        return x + y if stride == 1 and x.shape[1] == width else y


def _dequantised(stored: dict[str, Tensor], name: str) -> Tensor:
    value = stored[name].float()
    if not name.endswith(".q"):
        return value
    base = name.removesuffix(".q")
    zero = stored.get(f"{base}.zero", torch.zeros(1)).float()
    return (value - zero) * stored[f"{base}.scale"].float().view(-1, 1, 1, 1)


def _same(x: Tensor, stride: int) -> Tensor:
    """TensorFlow's padding of a 3x3 window: the odd pixel goes to the bottom and to the right."""
    high, wide = (max((-(-n // stride) - 1) * stride + 3 - n, 0) for n in x.shape[-2:])
    return F.pad(x, (wide // 2, wide - wide // 2, high // 2, high - high // 2))


def inception(path: Path) -> nn.Module:
    """Inception v3 as torch-fidelity has it, 2048 features, through torchmetrics."""
    module = require("torchmetrics.image.fid", "FID")
    try:
        network: nn.Module = module.NoTrainInceptionV3("inception-v3-compat", ["2048"], str(path)).eval()
    except ImportError as error:
        raise GicError("features of Inception v3 need another package: pip install torch-fidelity") from error
    return network
