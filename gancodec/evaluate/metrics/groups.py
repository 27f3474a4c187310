"""Figures of whole sets of decoded pictures: FID and KID on patches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

from torch import Tensor

from gancodec import imageio
from gancodec.evaluate.metrics import backbones
from gancodec.evaluate.metrics.distribution import SIDES, Extractor, Pixels, distances, extractor

LEAST_PATCHES = 2  # a covariance needs two


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
