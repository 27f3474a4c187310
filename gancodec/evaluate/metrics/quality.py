"""Metrics of one decoded picture, by column name. A column that needs a network always names it."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

import torch

from gancodec import metrics
from gancodec.errors import optional
from gancodec.evaluate.metrics import backbones
from gancodec.evaluate.table import Column
from gancodec.saliency import saliency_map
from gancodec.types import Pixels

SSIM_SIDE, MS_SSIM_SIDE = 11, 161  # pixels: the least that the window, and five scales of it, need
LPIPS_SIDE = 32
PERCEPTUAL = {  # networks by column, and the files that they may come from
    "lpips-squeeze": ("squeeze", (backbones.SQUEEZE_LPIPS, backbones.SQUEEZE)),
    "lpips-alex": ("alex", (backbones.ALEX,)),
    "lpips-vgg": ("vgg", (backbones.VGG,)),
    "dists-vgg16": ("", (backbones.VGG,)),
}


COLUMNS = (
    Column("psnr", "PSNR dB", "peak signal-to-noise ratio over RGB", 2, "higher"),
    Column("ms-ssim", "MS-SSIM", "multi-scale SSIM, mean over R, G and B (pytorch-msssim)", 4, "higher"),
    Column("ms-ssim-db", "MS-SSIM dB", "-10 log10(1 - MS-SSIM)", 2, "higher"),
    Column("ssim", "SSIM", "single-scale SSIM, mean over R, G and B (pytorch-msssim)", 4, "higher"),
    Column("psnr-saliency", "PSNR sal. dB", "PSNR with the squared error weighted by saliency", 2, "higher"),
    Column("ms-ssim-saliency", "MS-SSIM sal.", "MS-SSIM with its maps weighted by saliency", 4, "higher"),
    Column("lpips-squeeze", "LPIPS squeeze", "LPIPS v0.1, SqueezeNet 1.1", 4, "lower"),
    Column("lpips-alex", "LPIPS alex", "LPIPS v0.1, AlexNet", 4, "lower"),
    Column("lpips-vgg", "LPIPS vgg", "LPIPS v0.1, VGG-16", 4, "lower"),
    Column("dists-vgg16", "DISTS", "DISTS, VGG-16", 4, "lower"),
)
FACTS = (
    Column("ratio", "ratio", "compression ratio: bytes of the raw 24-bit pixels over bytes of the file", 1, "higher"),
    Column("hq-ratio", "HQ area", "share of the picture's blocks that get more bits than the average block", 3),
)


class Meter:
    """Every metric that can be had here.

    Parameters
    ----------
    folder : Path or None
        With the weights of feature networks.
    saliency : str
        Method behind the weighted metrics.

    Attributes
    ----------
    columns : tuple of str
        Names of what `measure` returns.
    absent : tuple of str
        What is left out and why, one line each.
    used : dict of str to str
        Column to its backbone's file and hash.
    """

    def __init__(self, folder: Path | None, saliency: str = "combined") -> None:
        self.saliency = saliency
        self.used: dict[str, str] = {}
        self.absent: tuple[str, ...] = ()
        self._networks: dict[str, tuple[Path, str]] = {}
        for column, (net, files) in PERCEPTUAL.items():
            path = next((p for p in (backbones.find(folder, file) for file in files) if p is not None), None)
            if path is None:
                self.absent += (f"{column}: left out, no {' or '.join(files)} in the folder of --backbones",)
            else:
                self.used[column] = f"{path.name}, sha256 {backbones.digest(path)}"
                self._networks[column] = path, net
        self.columns = (*(c.name for c in COLUMNS if c.name not in PERCEPTUAL), *self._networks)

    def load(self) -> None:
        """Load every network now; GicError where a file is not what its name says."""
        for path, net in self._networks.values():
            _network(path, net)

    def fingerprint(self) -> str:
        """Whatever changes when the figures may change."""
        return f"{self.columns} {sorted(self.used.items())} {self.saliency}"

    def measure(self, original: Pixels, decoded: Pixels) -> dict[str, float | None]:
        """All columns for a pair of (H, W, 3) uint8 pictures; None where a picture is too small for a metric."""
        if original.shape != decoded.shape:
            raise ValueError(f"decoded {decoded.shape} is not the size of the original {original.shape}")
        similarity = ms_ssim(original, decoded)
        weight = saliency_map(original, self.saliency)
        figures = {
            "psnr": metrics.psnr(original, decoded),
            "ms-ssim": similarity,
            "ms-ssim-db": None if similarity is None else decibel(similarity),
            "ssim": ssim(original, decoded),
            "psnr-saliency": metrics.psnr(original, decoded, weight),
            "ms-ssim-saliency": None if similarity is None else metrics.ms_ssim(original, decoded, weight),
        }
        return figures | {name: _distance(*found, original, decoded) for name, found in self._networks.items()}


def _distance(path: Path, net: str, original: Pixels, decoded: Pixels) -> float | None:
    """A perceptual distance, whose network is loaded at the first use; None for pictures too small for it."""
    if min(original.shape[:2]) < LPIPS_SIDE:
        return None
    with torch.inference_mode():
        return float(_network(path, net)(_unit(decoded), _unit(original)))


@lru_cache(maxsize=8)
def _network(path: Path, net: str) -> torch.nn.Module:
    return backbones.Lpips(net, path) if net else backbones.Dists(path)


def _unit(pixels: Pixels) -> torch.Tensor:
    """(H, W, 3) uint8 to (1, 3, H, W) float in [0, 1]."""
    return torch.tensor(pixels).permute(2, 0, 1)[None].float() / 255


def ms_ssim(a: Pixels, b: Pixels) -> float | None:
    """MS-SSIM by pytorch-msssim; None for pictures with a side under 161 pixels, which have no five scales."""
    return _similarity("ms_ssim", MS_SSIM_SIDE, a, b)


def ssim(a: Pixels, b: Pixels) -> float | None:
    """SSIM by pytorch-msssim; None for pictures with a side under 11 pixels."""
    return _similarity("ssim", SSIM_SIDE, a, b)


def _similarity(name: str, least: int, a: Pixels, b: Pixels) -> float | None:
    if min(a.shape[:2]) < least:
        return None
    return float(optional("pytorch_msssim", "MS-SSIM", "eval", name)(_unit(a), _unit(b), data_range=1.0))


def decibel(similarity: float) -> float:
    """A similarity in [0, 1] as dB; infinite at 1."""
    return math.inf if similarity >= 1 else -10 * math.log10(1 - similarity)
