"""Figures of whole sets of decoded pictures: FID and KID between patches, on a named feature network."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from gancodec import imageio
from gancodec.evaluate.metrics import backbones
from gancodec.types import Pixels

SIDES = (256, 64)  # pixels
BATCH = 64
LEAST_PATCHES = 2  # a covariance needs two


class Extractor:
    """The best feature network at hand: Inception v3 (as published figures use), else MobileNetV2.

    `name` is part of every column; figures of different networks must never be compared.
    """

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, path

    @property
    def network(self) -> nn.Module:
        """The network, loaded once."""
        return _network(self.name, self.path)

    def features(self, pixels: Pixels, side: int) -> Tensor:
        """(N, F) float64 features of the patches of a picture."""
        patches = torch.from_numpy(np.stack(list(cut(pixels, side)))).permute(0, 3, 1, 2)
        with torch.inference_mode():
            parts = [self.network(patches[i : i + BATCH]) for i in range(0, len(patches), BATCH)]
        return torch.cat([p.reshape(len(p), -1) for p in parts]).double()


@lru_cache(maxsize=2)
def _network(name: str, path: Path) -> nn.Module:
    return backbones.inception(path) if name == "inceptionv3" else backbones.MobileNetV2(path)


def extractor(folder: Path | None) -> Extractor | None:
    """What the folder of --backbones allows."""
    for name, file in (("inceptionv3", backbones.INCEPTION), ("mobilenetv2", backbones.MOBILENET)):
        path = backbones.find(folder, file)
        if path is not None:
            return Extractor(name, path)
    return None


def cut(pixels: Pixels, side: int) -> Iterator[Pixels]:
    """Patches of a picture as HiFiC cuts them: the grid, and the grid shifted by half a patch (its appendix A.7).

    A side of the picture shorter than the patch yields nothing.
    """
    height, width = pixels.shape[:2]
    for start in (0, side // 2):
        for top in range(start, height - side + 1, side):
            for left in range(start, width - side + 1, side):
                yield pixels[top : top + side, left : left + side]


def distances(real: Iterable[Tensor], decoded: Iterable[Tensor]) -> dict[str, float]:
    """FID and KID of two sets of features, of equal size.

    KID is the unbiased estimate over the whole sets (one subset), so it is deterministic and may be below 0.
    FID is biased upwards for sets that are not much larger than the number of features.

    References
    ----------
    .. [1] Heusel et al., NeurIPS 2017 (FID); Binkowski et al., ICLR 2018 (KID: cubic polynomial kernel).
    """
    fid_class = backbones.require("torchmetrics.image.fid", "FID").FrechetInceptionDistance
    kid_class = backbones.require("torchmetrics.image.kid", "KID").KernelInceptionDistance
    a, b = torch.cat(list(real)), torch.cat(list(decoded))
    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} patches: the sets must be of equal size")
    through = nn.Identity()  # stands where torchmetrics expects a network: the features are there already
    through.num_features = a.shape[1]  # type: ignore[assignment]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that KID keeps all features, which are here already
        fid = fid_class(feature=through, normalize=True).set_dtype(torch.float64)
        kid = kid_class(feature=through, subsets=1, subset_size=min(len(a), len(b)), normalize=True)
    for features, is_real in ((a, True), (b, False)):
        fid.update(features, real=is_real)
        kid.update(features, real=is_real)
    return {"fid": float(fid.compute()), "kid": float(kid.compute()[0])}


def fingerprint(folder: Path | None) -> str:
    """Network and hash behind the columns; empty where there is none."""
    found = extractor(folder)
    return f"{found.name}, {found.path.name}, sha256 {backbones.digest(found.path)}" if found else ""


def load(folder: Path | None) -> None:
    """Load the network now; GicError where its file is not what its name says."""
    found = extractor(folder)
    if found is not None:
        _ = found.network


def measure(
    folder: Path | None, pairs: Sequence[tuple[str, str]], decode: Callable[[bytes], Pixels], max_pixels: int
) -> dict[str, float]:
    """FID and KID between originals and decoded files, given as (original, coded file) paths.

    A set with fewer than two patches of a size has no figure for it.
    """
    found = extractor(folder)
    if found is None:
        return {}
    real: dict[int, list[Tensor]] = {side: [] for side in SIDES}
    made: dict[int, list[Tensor]] = {side: [] for side in SIDES}
    for path, file in pairs:
        decoded = decode(Path(file).read_bytes())
        for side in SIDES:
            if min(decoded.shape[:2]) >= side:
                real[side].append(_original(found.name, found.path, path, side, max_pixels))
                made[side].append(found.features(decoded, side))
    figures: dict[str, float] = {}
    for side in SIDES:
        if sum(map(len, real[side])) >= LEAST_PATCHES:
            result = distances(real[side], made[side])
            figures |= {f"{kind}{side}-{found.name}": value for kind, value in result.items()}
    return figures


@lru_cache(maxsize=256)
def _original(name: str, weights: Path, path: str, side: int, max_pixels: int) -> Tensor:
    """Features of an original, kept for the next codec."""
    return Extractor(name, weights).features(imageio.load(path, max_pixels).rgb, side)
