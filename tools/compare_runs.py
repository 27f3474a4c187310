"""Runs of gic2 beside one another, on the held-out pictures: one factor at a time against the first.

    python tools/compare_runs.py DATA NAME=RECIPE:CHECKPOINT ... [--pictures 48]

Averaged weights, flat levels at ten n, rates as the float model estimates them with 600 bits a picture for what a file
has besides. Prints a Markdown table: MS-SSIM and PSNR at five rates, and the change of the rate at equal quality
(Bjontegaard), averaged over both.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from gancodec.evaluate.curves import Curve, bd_rate, curve_of
from gancodec.metrics import ms_ssim, psnr
from gancodec.models.gic2.training import Trained, coded_latents
from gancodec.models.levels import LEVELS, logit_to_level
from gancodec.train.data import Crops
from gancodec.train.recipes import RECIPES
from gancodec.train.state import checkpoint_meta, load_ema
from gancodec.types import BLOCK

NS = (4.2, 3.4, 2.6, 1.8, 1.0, 0.2, -0.6, -1.4, -2.2, -3.0)
RATES = (0.05, 0.1, 0.2, 0.4, 0.8)
FILE_BITS = 600


@torch.no_grad()
def points(net: Trained, quantised: bool, pictures: list[NDArray[np.uint8]]) -> list[tuple[float, dict[str, float]]]:
    """Mean rate, PSNR and MS-SSIM (in dB too) at each n."""
    model, found = net.model, []
    for n in NS:
        rows = []
        for rgb in pictures:
            height, width = (side // BLOCK * BLOCK for side in rgb.shape[:2])
            top, left = (rgb.shape[0] - height) // 2, (rgb.shape[1] - width) // 2
            part = np.ascontiguousarray(rgb[top : top + height, left : left + width])
            latent = model.sender(torch.from_numpy(part).permute(2, 0, 1)[None].float() / 255)
            level = torch.full((1, height // BLOCK, width // BLOCK), logit_to_level(-n)).clamp(0, LEVELS - 1)
            coded = coded_latents(model, latent, model.hyper_encoder(latent), level, quantised)
            decoded = model.receiver(coded.latents, level / (LEVELS - 1))[0].clamp(0, 1).mul(255).round()
            shown = decoded.to(torch.uint8).numpy()
            bpp = (float(coded.rounded_bits) + FILE_BITS) / (height * width)
            rows.append((bpp, psnr(shown, part), ms_ssim(shown, part)))
        bpp, quality, similar = np.mean(rows, 0)
        found.append((bpp, {"psnr": quality, "ms_ssim": similar, "ms_ssim_db": -10 * math.log10(1 - similar)}))
    return found


def line(curve: Curve, base: Curve, name: str, hours: float) -> str:
    """A row of the table."""
    at = [[np.interp(np.log(rate), np.log(curve.bpp), curve.figures[k]) for rate in RATES] for k in ("ms_ssim", "psnr")]
    deltas = [bd_rate(base, curve, metric).percent for metric in ("ms_ssim_db", "psnr")]
    shown = "base" if curve is base else f"{np.mean([d for d in deltas if d is not None]):+.2f} %"
    each = " / ".join("–" if d is None else f"{d:+.2f}" for d in deltas)
    quality, noise = (" / ".join(f"{v:{form}}" for v in row) for row, form in zip(at, (".4f", ".2f"), strict=True))
    return f"| {name} | {hours:.2f} | {quality} | {noise} | {each} | {shown} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", nargs="+", metavar="NAME=RECIPE:CHECKPOINT")
    parser.add_argument("--pictures", type=int, default=48)
    options = parser.parse_args()
    pictures = Crops(options.data, 256, torch.device("cpu")).held_out
    pictures = pictures[:: max(1, len(pictures) // options.pictures)][: options.pictures]
    rates = ", ".join(map(str, RATES))
    print(
        f"| run | CPU hours | MS-SSIM at {rates} | PSNR | MS-SSIM / PSNR, BD-rate | mean |\n|---|---|---|---|---|---|"
    )
    base = None
    for told in options.runs:
        name, place = told.split("=", 1)
        recipe, checkpoint = place.split(":", 1)
        net = load_ema(Path(checkpoint), recipe)
        assert isinstance(net, Trained)
        quantised = bool(getattr(RECIPES[recipe].objective, "quantised", False))
        curve = curve_of(name, "rate", points(net, quantised, pictures))
        base = base or curve
        hours = float(checkpoint_meta(Path(checkpoint)).get("cpu_seconds", 0)) / 3600
        print(line(curve, base, name, hours), flush=True)


if __name__ == "__main__":
    main()
