"""Perceptual distances for the loss: weights from a folder that the user names.

====================================  ===============================================================================
name                                  distance
====================================  ===============================================================================
vgg19_16x.safetensors                 unit-length features of VGG-19 with a quarter of its channels (Wang et al., 2020)
lpips_squeeze.safetensors             LPIPS v0.1 on SqueezeNet 1.1 (Zhang et al., CVPR 2018)
wasserstein of vgg19_16x.safetensors  Wasserstein distortion (Qiu et al., 2024) on the same VGG-19
====================================  ===============================================================================

A name ends with the file's.

A network of the loss must not judge the result: `gancodec eval` has others.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from gancodec.errors import UsageError
from gancodec.features import lpips_range, small_vgg19, small_vgg19_first, squeeze
from gancodec.models.layers import half_precision


class FeatureNetwork(nn.Module):
    """Frozen convolutions by name, from a safetensors file; they are no part of a checkpoint."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        for name, value in load_file(path).items():
            kept = value.float().contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value.float()
            self.register_buffer(name.replace(".", "_"), kept, persistent=False)

    def convolve(self, x: Tensor, name: str, *, stride: int = 1, padding: int = 0) -> Tensor:
        """Convolution `name` with its bias."""
        name = name.replace(".", "_")
        return F.conv2d(x, getattr(self, f"{name}_weight"), getattr(self, f"{name}_bias"), stride, padding)

    def taps(self, x: Tensor) -> list[tuple[Tensor, Tensor | None]]:
        """Features of x (B, 3, H, W) in [0, 1], each with the weights of its channels (None: all the same)."""
        raise NotImplementedError

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Mean over the sites of squared differences of unit feature vectors, added up over the taps: (B,).

        Gradients flow to `a` alone, which halves the work.
        """
        with torch.no_grad():
            target = [_unit(features) for features, _ in self.taps(b)]
        total: Tensor | float = 0.0
        for (features, weight), wanted in zip(self.taps(a), target, strict=True):
            squared = (_unit(features) - wanted).square()
            weighted = squared if weight is None else squared * weight.to(squared.dtype)
            total = total + weighted.sum(1).mean((1, 2)).float()
        return total  # type: ignore[return-value]


def _unit(features: Tensor) -> Tensor:
    """Unit vectors along the channels; zero stays zero, and its gradient finite."""
    length = features.square().sum(1, keepdim=True, dtype=torch.float32)
    return features * torch.rsqrt(length + 1e-10).to(features.dtype)


class Vgg19(FeatureNetwork):
    """The last convolution of each stage of the 16x smaller VGG-19."""

    def taps(self, x: Tensor) -> list[tuple[Tensor, Tensor | None]]:
        """All channels count the same."""
        return [(tap, None) for tap in small_vgg19(x, self.convolve)]


class Squeeze(FeatureNetwork):
    """The seven taps of LPIPS on SqueezeNet 1.1 with its trained heads."""

    def taps(self, x: Tensor) -> list[tuple[Tensor, Tensor | None]]:
        """Weighted by the heads."""
        taps = squeeze(lpips_range(x), self.convolve)
        return [(tap, getattr(self, f"lin{i}_weight").view(1, -1, 1, 1)) for i, tap in enumerate(taps)]


class Wasserstein(FeatureNetwork):
    """Local means and deviations of four layers, and a quarter of the pointwise distance: texture may move a little.

    Each layer counts in units of its variance on photographs.
    """

    LAYERS = ((8, 51.2), (8, 56.6), (4, 11.5), (4, 2.84))  # side of the windows, variance
    POINTWISE = 0.25

    def taps(self, x: Tensor) -> list[tuple[Tensor, Tensor | None]]:
        """The first activation of each stage."""
        return [(tap, None) for tap in small_vgg19_first(x, self.convolve)]

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Mean over layers and sites: (B,). Gradients flow to `a` alone."""
        with torch.autocast(a.device.type, torch.bfloat16, enabled=half_precision(a.device.type)):
            with torch.no_grad():
                target = self.taps(b)
            found = self.taps(a)
        total: Tensor | float = 0.0
        for (window, unit), (tap, _), (wanted, _) in zip(self.LAYERS, found, target, strict=True):
            tap, wanted = tap.float(), wanted.float()
            moments = zip(_local(tap, window), _local(wanted, window), strict=True)
            moved = sum((ours - theirs).square().mean((1, 2, 3)) for ours, theirs in moments)
            total = total + (moved + self.POINTWISE * (tap - wanted).square().mean((1, 2, 3))) / unit
        return total / len(self.LAYERS)  # type: ignore[return-value]


def _local(x: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """Means and deviations in overlapping windows."""
    mean, square = (F.avg_pool2d(v, window, window // 2) for v in (x, x * x))
    return mean, ((square - mean * mean).clamp(min=0) + 1e-4).sqrt()


NETWORKS: dict[str, type[FeatureNetwork]] = {
    "vgg19_16x.safetensors": Vgg19,
    "lpips_squeeze.safetensors": Squeeze,
    "wasserstein of vgg19_16x.safetensors": Wasserstein,
}


def load(folder: Path | None, name: str) -> FeatureNetwork:
    """Feature network `name` of `folder`, frozen; UsageError where it is not there or is another network."""
    file = name.split()[-1]
    path = None if folder is None else folder / file
    if path is None or not path.is_file():
        raise UsageError(f"this recipe needs {file}: name its folder with --backbones")
    try:
        network = NETWORKS[name](path).eval()
        with torch.no_grad():
            network(*torch.rand(2, 1, 3, 64, 64))
    except (SafetensorError, AttributeError, RuntimeError, OSError, ValueError) as error:
        raise UsageError(f"{path.name}: not the weights of this network: {str(error).splitlines()[0]}") from error
    return network
