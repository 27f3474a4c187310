"""What each part of the codec is worth, in the source paper's form (Wu, Huang, Shen, figure 7): MS-SSIM against bits
per pixel without it, and the extra rate at equal MS-SSIM.

    for r in ablation-whole ablation-no-masker ablation-no-entropy-model ablation-neither; do
        gancodec train $r --data train --start S1.safetensors --out runs/$r --minutes 8
    done
    python tools/ablation.py runs --data train --kodak kodak --out docs/results

Every figure is of real files, decoded again. "Without GAN" compares the two ends of realism of the installed model.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gancodec import container, imageio, metrics, weights
from gancodec.codec.api import codec_of, decode_with, encode_with
from gancodec.evaluate.curves import Curve, bd_rate, curve_of
from gancodec.evaluate.metrics.quality import decibel
from gancodec.evaluate.report import plots
from gancodec.models.codec import realism_of
from gancodec.models.gic1.codec import TunableCodec
from gancodec.models.learned import LearnedCodec
from gancodec.models.registry import config_of
from gancodec.options import EncodeOptions
from gancodec.train.data import Crops
from gancodec.train.freeze import freeze
from gancodec.train.recipes import RECIPES
from gancodec.train.state import checkpoint_meta, load_ema
from gancodec.types import Picture

WHOLE = "ablation-whole"
# Recipe, what is taken away, and the paper's extra rate at equal MS-SSIM in percent.
PARTS = (
    ("ablation-no-masker", "masker (uniform levels)", 89.3),
    ("ablation-no-entropy-model", "entropy model (static tables)", 31.6),
    ("ablation-neither", "masker and entropy model", 116.3),
)
WITHOUT_GAN = 15.8
NS = (2.5, 1.75, 1.0, 0.25, -0.5, -1.25, -2.0)
FITTED_ON = 32  # training pictures behind the tables of each run


def measure(
    name: str, codec: LearnedCodec[Any, Any, Any], pictures: Sequence[NDArray[np.uint8]], realism: float = 0.0
) -> Curve:
    """Mean bpp and MS-SSIM over pictures at each n."""
    points = []
    for n in NS:
        rows = []
        for rgb in pictures:
            coded = encode_with(codec, Picture(rgb), EncodeOptions(n=n))
            decoded = decode_with(container.read(coded.data), codec, realism).rgb
            rows.append((coded.bpp, metrics.ms_ssim(decoded, rgb)))
        bpp, similarity = (float(v) for v in np.mean(rows, axis=0))
        points.append((bpp, {"ms-ssim": similarity, "ms-ssim-db": decibel(similarity)}))
    return curve_of(name, "setting", points)


def run_codec(folder: Path, recipe: str, crops: Crops) -> LearnedCodec[Any, Any, Any]:
    """Codec of a finished run, its tables fitted on training pictures."""
    net = load_ema(folder / recipe / "last.safetensors", recipe)
    chosen = crops.pictures[:: max(1, len(crops.pictures) // FITTED_ON)][:FITTED_ON]
    rgb = [np.ascontiguousarray(p.permute(1, 2, 0).numpy()) for p in chosen]
    return codec_of(freeze(net, config_of(RECIPES[recipe].model), rgb), "cpu")


def extra(whole: Curve, without: Curve) -> str:
    """Extra rate of `without` at equal MS-SSIM, in percent."""
    delta = bd_rate(whole, without, "ms-ssim-db")
    return delta.why if delta.percent is None else f"{delta.percent:+.1f} %"


def table(found: dict[str, Curve], ends: tuple[Curve, Curve], runs: Path, command: str) -> str:
    """Markdown of the results."""
    steps = {r: checkpoint_meta(runs / r / "last.safetensors") for r in found}
    lines = [
        "# Ablations",
        "",
        "MS-SSIM against bits per pixel on Kodak (real files, one n for all pictures) without a part of the codec, and",
        "the mean extra rate at equal MS-SSIM (Bjontegaard, MS-SSIM in dB). The runs are short S2 trainings of equal",
        "length from one S1 checkpoint: they rank the parts, and are not what the shipped model reaches. Made by",
        "`tools/ablation.py`:",
        "",
        "```",
        command,
        "```",
        "",
        "| without | steps | seconds | extra rate at equal MS-SSIM | the paper's |",
        "|---|---|---|---|---|",
        f"| nothing | {steps[WHOLE]['step']} | {float(steps[WHOLE]['seconds']):.0f} | – | – |",
    ]
    for recipe, label, papers in PARTS:
        meta = steps[recipe]
        lines.append(
            f"| {label} | {meta['step']} | {float(meta['seconds']):.0f} | "
            f"{extra(found[WHOLE], found[recipe])} | +{papers} % |"
        )
    natural, faithful = ends
    label = f"GAN (realism 0 of {faithful.name} against its realism 1)"
    lines += [
        f"| {label} | – | – | {extra(natural, faithful)} | +{WITHOUT_GAN} % |",
        "",
        "![MS-SSIM in dB against bits per pixel](ablation.svg)",
        "",
        "| curve | " + " | ".join(f"n = {n:g}" for n in sorted(NS, reverse=True)) + " |",
        "|---|" + "---|" * len(NS),
    ]
    for curve in (*found.values(), *ends):
        cells = [f"{b:.3f} bpp: {q:.4f}" for b, q in zip(curve.bpp, curve.figures["ms-ssim"], strict=True)]
        lines.append(f"| {curve.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, tabulate, plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="folder with one folder for each recipe")
    parser.add_argument("--data", type=Path, required=True, help="training pictures, for the tables")
    parser.add_argument("--kodak", type=Path, required=True, help="test pictures")
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args()
    torch.set_num_threads(2)
    pictures = [imageio.load(p).rgb for p in sorted(options.kodak.glob("*.png"))]
    info = weights.find(None)
    realism_of(1.0, info.default_realism, info.name)  # said now, not after the work
    crops = Crops(options.data, RECIPES[WHOLE].crop, torch.device("cpu"))
    found = {}
    for recipe in (WHOLE, *(p[0] for p in PARTS)):
        found[recipe] = measure(recipe, run_codec(options.runs, recipe, crops), pictures)
        print(recipe, [round(b, 4) for b in found[recipe].bpp], flush=True)
    codec = TunableCodec(weights.get(None), "cpu")
    name = codec.weights.info.name
    ends = measure(f"{name} beta=1", codec, pictures, 1.0), measure(name, codec, pictures)
    command = f"python tools/ablation.py runs --data train --kodak kodak  # {len(pictures)} pictures"
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "ablation.md").write_text(table(found, ends, options.runs, command), encoding="utf-8")
    values = {c.name: {"bpp": c.bpp, "ms-ssim": c.figures["ms-ssim"]} for c in (*found.values(), *ends)}
    (options.out / "ablation.json").write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    figure = plots.rate_distortion(list(found.values()), [], "ms-ssim-db", "MS-SSIM (dB)")
    if figure is not None:
        (options.out / "ablation.svg").write_text(plots.svg(figure), encoding="utf-8")


if __name__ == "__main__":
    main()
