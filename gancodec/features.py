"""Feature networks of perceptual distances in plain torch: what they compute, wherever their weights are kept.

Each function takes pictures x (N, 3, H, W) and the convolutions by name, and returns the activations that distances
compare.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of the range [-1, 1]
SQUEEZE_TAPS = (1, 4, 7, 9, 10, 11, 12)
VGG16 = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))  # places in torchvision's list
SMALL_VGG19 = (("conv11", "conv12"), ("conv21", "conv22"), ("conv31", "conv32", "conv33", "conv34"),
               ("conv41", "conv42", "conv43", "conv44"), ("conv51",))  # fmt: skip


class Convolve(Protocol):
    """Convolution `name` of x (N, C, H, W), with its bias."""

    def __call__(self, x: Tensor, name: str, *, stride: int = 1, padding: int = 0) -> Tensor: ...


def lpips_range(x: Tensor) -> Tensor:
    """Pictures x (N, 3, H, W) in [0, 1] as the networks of LPIPS v0.1 take them."""
    shift, scale = (torch.tensor(v, device=x.device).view(1, 3, 1, 1) for v in (SHIFT, SCALE))
    return (2 * x - 1 - shift) / scale


def squeeze(x: Tensor, convolve: Convolve) -> list[Tensor]:
    """Seven taps of SqueezeNet 1.1: after the first convolution and after the last fire module before each pool, and
    later ones; x is normalised RGB."""
    found = []
    for place in range(13):
        if place == 0:
            x = convolve(x, "features.0", stride=2).relu()
        elif place in (2, 5, 8):
            x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        elif place > 2:
            narrow = convolve(x, f"features.{place}.squeeze").relu()
            parts = [convolve(narrow, f"features.{place}.expand{k}x{k}", padding=k // 2) for k in (1, 3)]
            x = torch.cat(parts, 1).relu()
        if place in SQUEEZE_TAPS:
            found.append(x)
    return found


def alex(x: Tensor, convolve: Convolve) -> list[Tensor]:
    """AlexNet's five taps (after each ReLU); x is normalised RGB."""
    found: list[Tensor] = []
    for place, stride, padding in ((0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1)):
        x = F.max_pool2d(x, 3, 2) if place in (3, 6) else x
        x = convolve(x, f"features.{place}", stride=stride, padding=padding).relu()
        found.append(x)
    return found


def _halve(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 2)


def vgg16(x: Tensor, convolve: Convolve, pool: Callable[[Tensor], Tensor] = _halve) -> list[Tensor]:
    """VGG-16's five taps (relu1_2, 2_2, 3_3, 4_3, 5_3); x is normalised RGB."""
    stages = [[f"features.{place}" for place in stage] for stage in VGG16]
    return _vgg(x, stages, lambda x, name: convolve(x, name, padding=1), pool)


def small_vgg19(x: Tensor, convolve: Convolve) -> list[Tensor]:
    """relu1_2, 2_2, 3_4, 4_4 and 5_1 of the 16x smaller VGG-19; its first layer takes RGB in [0, 1]."""
    mirrored = (1, 1, 1, 1)
    x = convolve(x, "conv0")
    return _vgg(x, SMALL_VGG19, lambda x, name: convolve(F.pad(x, mirrored, mode="reflect"), name), _halve)


def small_vgg19_first(x: Tensor, convolve: Convolve) -> list[Tensor]:
    """relu1_1, 2_1, 3_1 and 4_1 of the network of `small_vgg19`."""
    mirrored = (1, 1, 1, 1)
    x = convolve(x, "conv0")
    stages = (*SMALL_VGG19[:3], SMALL_VGG19[3][:1])
    return _vgg(x, stages, lambda x, name: convolve(F.pad(x, mirrored, mode="reflect"), name), _halve, first=True)


def _vgg(
    x: Tensor,
    stages: Sequence[Sequence[str]],
    convolve: Callable[[Tensor, str], Tensor],
    pool: Callable[[Tensor], Tensor],
    first: bool = False,
) -> list[Tensor]:
    """The last activation of each stage, or the first."""
    found: list[Tensor] = []
    for stage in stages:
        x = pool(x) if found else x
        tap = None
        for name in stage:
            x = convolve(x, name).relu()
            tap = x if tap is None or not first else tap
        assert tap is not None
        found.append(tap)
    return found
