"""Who should say where the bits go? Levels of the masker, uniform levels, and levels driven by saliency, at equal
bytes.

    python tools/allocation.py kodak/*.png --backbones backbones --bpp 0.1 --also weights-before-s4

Every file is brought to the same size (within 1 % below), decoded at both ends of realism, and measured. `--also` takes
another folder of weights, whose masker is measured as well.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from gancodec import container, imageio, weights
from gancodec.codec.api import decode_with, encode_with
from gancodec.evaluate.metrics.distribution import distances, extractor
from gancodec.evaluate.metrics.quality import Meter
from gancodec.models.gic1.codec import Analysis, TunableCodec
from gancodec.models.guidance import UNGUIDED, Guidance
from gancodec.options import EncodeOptions
from gancodec.saliency import saliency_map
from gancodec.tiling import Progress
from gancodec.types import BLOCK, FloatArray, Picture

Pixels = NDArray[np.uint8]
Rule = Callable[[FloatArray, Pixels], FloatArray]
SALIENCY_STRENGTH = 0.5  # logit units for one standard deviation of saliency
METRICS = ("ms-ssim", "lpips-squeeze", "psnr-saliency")


class Steered(TunableCodec):
    """The codec with another rule for the importance of blocks."""

    rule: Rule

    def analyse(self, rgb: Pixels, guidance: Guidance = UNGUIDED, progress: Progress | None = None) -> Analysis:
        """As the model does, but for the importance."""
        analysis = super().analyse(rgb, guidance, progress)
        return analysis._replace(importance=self.rule(analysis.importance, rgb).astype(np.float32))


def by_saliency(importance: FloatArray, rgb: Pixels) -> FloatArray:
    """Standardised block means of the combined saliency map."""
    saliency = saliency_map(rgb)
    rows, columns = (c * BLOCK - s for c, s in zip(importance.shape, saliency.shape, strict=True))
    padded = np.pad(saliency, ((0, rows), (0, columns)), mode="edge")
    means = padded.reshape(importance.shape[0], BLOCK, importance.shape[1], BLOCK).mean((1, 3))
    standard: FloatArray = SALIENCY_STRENGTH * (means - means.mean()) / max(float(means.std()), 1e-6)
    return standard


RULES: dict[str, Rule] = {
    "masker": lambda importance, rgb: importance,
    "uniform levels": lambda importance, rgb: np.zeros_like(importance),
    f"saliency, {SALIENCY_STRENGTH:g} per deviation": by_saliency,
    "masker + saliency": lambda importance, rgb: importance + by_saliency(importance, rgb),
}


def measure(codec: TunableCodec, pictures: Sequence[Pixels], bpp: float, meter: Meter, folder: Path) -> list[str]:
    """Cells of one row: bpp, then each metric at realism 0 and 1, then KID at both."""
    ends = (0.0, 1.0)
    figures: dict[float, list[list[float]]] = {b: [] for b in ends}
    features: dict[float, list[torch.Tensor]] = {b: [] for b in ends}
    network, real, rates = extractor(folder), [], []
    assert network is not None
    for rgb in pictures:
        coded = encode_with(codec, Picture(rgb), EncodeOptions(bpp=bpp))
        rates.append(coded.bpp)
        real.append(network.features(rgb, 256))
        for realism in ends:
            decoded = decode_with(container.read(coded.data), codec, realism).rgb
            measured = meter.measure(rgb, decoded)
            figures[realism].append([float(measured[m] or 0) for m in METRICS])
            features[realism].append(network.features(decoded, 256))
    cells = [f"{np.mean(rates):.4f}"]
    for column in range(len(METRICS)):
        cells += [f"{np.mean(figures[b], axis=0)[column]:.4f}" for b in ends]
    return cells + [f"{distances(real, features[b])['kid']:.4f}" for b in ends]


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--backbones", type=Path, required=True)
    parser.add_argument("--bpp", type=float, default=0.1)
    parser.add_argument("--also", type=Path, help="another folder of weights")
    options = parser.parse_args()
    pictures = [imageio.load(p).rgb for p in options.pictures]
    meter = Meter(options.backbones)
    heads = [f"{m}, realism {b}" for m in (*METRICS, "KID-256 MobileNetV2") for b in (0, 1)]
    print("| levels by | bpp | " + " | ".join(heads) + " |\n|---|" + "---|" * (len(heads) + 1))
    for name, rule in RULES.items():
        codec = Steered(weights.get(None), "cpu")
        codec.rule = rule
        print(
            f"| {name} | " + " | ".join(measure(codec, pictures, options.bpp, meter, options.backbones)) + " |",
            flush=True,
        )
    if options.also:
        os.environ[weights.ENVIRONMENT] = str(options.also)
        other = TunableCodec(weights.get(None), "cpu")
        cells = measure(other, pictures, options.bpp, meter, options.backbones)
        print(f"| masker of {options.also.name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
