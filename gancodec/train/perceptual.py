"""Perceptual distances for the loss: weights from a folder that the user names.

===========================  =====================================================
file                         distance
===========================  =====================================================
vgg19_16x.safetensors        unit-length features of VGG-19 with a quarter of its channels (Wang et al., CVPR 2020)
lpips_squeeze.safetensors    LPIPS v0.1 on SqueezeNet 1.1 (Zhang et al., CVPR 2018)
===========================  =====================================================

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
from gancodec.features import lpips_range, small_vgg19, squeeze


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


NETWORKS: dict[str, type[FeatureNetwork]] = {
    "vgg19_16x.safetensors": Vgg19,
    "lpips_squeeze.safetensors": Squeeze,
}


def load(folder: Path | None, name: str) -> FeatureNetwork:
    """Feature network `name` of `folder`, frozen; UsageError where it is not there or is another network."""
    path = None if folder is None else folder / name
    if path is None or not path.is_file():
        raise UsageError(f"this recipe needs {name}: name its folder with --backbones")
    try:
        network = NETWORKS[name](path).eval()
        with torch.no_grad():
            network(*torch.rand(2, 1, 3, 64, 64))
    except (SafetensorError, AttributeError, RuntimeError, OSError, ValueError) as error:
        raise UsageError(f"{path.name}: not the weights of this network: {str(error).splitlines()[0]}") from error
    return network
