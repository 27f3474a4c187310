"""How much larger are real files than the entropy of the float model that they were exported from?

`python tools/entropy_gap.py RECIPE CHECKPOINT PICTURE...` codes each picture at several n with the frozen integers of
the default model and adds up, for the same levels, the bits that the float context network of the checkpoint
estimates (no rounding of weights, activations, means or scales; logistic density). The coded bits include level map
and flush, the estimate does not.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
import torch

from gancodec import imageio
from gancodec.models import tiled
from gancodec.models.gic1.codec import TunableCodec
from gancodec.models.gic1.training import Trained, per_site
from gancodec.models.levels import SUBLEVELS
from gancodec.train.state import load_ema
from gancodec.weights import get

NS = (2.0, 1.0, 0.0, -1.0, -2.0)


@torch.no_grad()
def float_bits(net: Trained, codec: TunableCodec, rgb: np.ndarray, n: float) -> float:
    """Bits that the float model estimates for the picture at the levels that the codec chooses."""
    analysis = codec.analyse(rgb)
    levels = codec.levels_at(analysis, n)
    level = torch.from_numpy((levels.values + levels.shift / SUBLEVELS).astype(np.float32))[None]
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
    net, codec = load_ema(options.checkpoint, options.recipe), TunableCodec(get(None), "cpu")
    if not isinstance(net, Trained):
        parser.error("a recipe of gic1")
    totals = np.zeros(2)
    for n in NS:
        sums = np.zeros(2)
        for path in options.pictures:
            picture = imageio.load(path)
            analysis = codec.analyse(picture.rgb)
            streams = tiled.encode(codec, analysis, picture.geometry, codec.levels_at(analysis, n))
            sums += (8 * sum(map(len, itertools.chain(*streams))), float_bits(net, codec, picture.rgb, n))
        totals += sums
        report(f"n={n:+.0f}", *sums)
    report("all", *totals)


def report(name: str, coded: float, estimated: float) -> None:
    """One line: both sizes and their difference."""
    gap = 100 * (coded / estimated - 1)
    print(f"{name}: coded {coded:.0f} bits, float model {estimated:.0f} bits, {gap:+.2f} %")


if __name__ == "__main__":
    main()
