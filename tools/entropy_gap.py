"""How much larger are real files than the entropy of the float model that they were exported from?

`python tools/entropy_gap.py RECIPE CHECKPOINT PICTURE...` codes each picture at several n with the frozen integers of
the recipe's model and adds up, for the same levels, the bits that the float model of the checkpoint estimates: gic1 by
its context network (no rounding of weights, activations, means or scales; logistic density), gic2 by the Gaussians of
its rows. The coded bits include level map, lists and flush, the estimate does not.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gancodec import imageio
from gancodec.codec.api import codec_of
from gancodec.models import tiled
from gancodec.models.gic1.training import Trained, per_site
from gancodec.models.gic2 import training as gic2
from gancodec.models.levels import SUBLEVELS
from gancodec.models.stream import Levels
from gancodec.models.training import Networks
from gancodec.train.recipes import RECIPES
from gancodec.train.state import load_ema
from gancodec.weights import get

NS = (2.0, 1.0, 0.0, -1.0, -2.0)


@torch.no_grad()
def float_bits(net: Networks, analysis: Any, levels: Levels) -> float:
    """Bits that the float model estimates for a picture at the levels that the codec chooses."""
    level = torch.from_numpy((levels.values + levels.shift / SUBLEVELS).astype(np.float32))[None]
    if isinstance(net, gic2.Trained):
        latent, hyper = (torch.from_numpy(a.astype(np.float32).transpose(1, 2, 0))[None] for a in analysis[:2])
        return float(gic2.coded_latents(net.model, latent, hyper, level, quantised=True).rounded_bits)
    assert isinstance(net, Trained)
    log_gain, active = per_site(net.model.gains.log_gain(level)), per_site(net.model.gains.active(level))
    hyper_gain = net.model.hyper_gains.log_gain(level).permute(0, 3, 1, 2)
    hyper, hyper_bits = net.context.code_hyper(torch.from_numpy(analysis.hyper)[None], hyper_gain)
    omega = torch.from_numpy(analysis.omega)[None]
    coded = net.context(omega * log_gain.exp(), log_gain, active, hyper, level)
    return float(coded.bits + hyper_bits)


def main() -> None:
    """Print one line per n and the total."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("pictures", type=Path, nargs="+")
    options = parser.parse_args()
    net, codec = load_ema(options.checkpoint, options.recipe), codec_of(get(RECIPES[options.recipe].model), "cpu")
    if not isinstance(net, Trained | gic2.Trained):
        parser.error("a recipe of gic1 or gic2")
    totals = np.zeros(2)
    for n in NS:
        sums = np.zeros(2)
        for path in options.pictures:
            picture = imageio.load(path)
            analysis = codec.analyse(picture.rgb)
            levels = codec.levels_at(analysis, n)
            streams = tiled.encode(codec, analysis, picture.geometry, levels)
            sums += (8 * sum(map(len, itertools.chain(*streams))), float_bits(net, analysis, levels))
        totals += sums
        report(f"n={n:+.0f}", *sums)
    report("all", *totals)


def report(name: str, coded: float, estimated: float) -> None:
    """One line: both sizes and their difference."""
    gap = 100 * (coded / estimated - 1)
    print(f"{name}: coded {coded:.0f} bits, float model {estimated:.0f} bits, {gap:+.2f} %")


if __name__ == "__main__":
    main()
