"""Train and freeze the tiny gic2 model that the vectors of codec 6 are made with, and read with: a minute or two.

``python tools/make_gic2_tiny.py tests/vectors/v1-gic2-tiny``. Its decoder and its integers are released with the
vectors: where a manifest is, nothing is written. Another machine would train other weights: what is there counts, and
this is how it came to be.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gancodec.models.gic2.training import Trained
from gancodec.models.registry import MODELS
from gancodec.train.freeze import freeze, install
from gancodec.train.recipes import RECIPES
from gancodec.train.state import networks

MODEL = "gic2-tiny"
STEPS = {"gic2-tiny-s1": 1200, "gic2-tiny-s2": 800}
RATE, LAST_RATE = 1e-2, 5e-4
CROP, BATCH = 128, 2
FIRST = (0, 0, 0, 2, 4, 6, 9, 14)  # levels from which on channels are on


def photographs() -> list[NDArray[np.uint8]]:
    """Crops of scikit-image's sample photographs, half as large."""
    from skimage import data

    names = ("astronaut", "coffee", "chelsea", "rocket")
    halves = [getattr(data, name)()[::2, ::2, :3] for name in names]
    return [np.ascontiguousarray(half[:192, :256]) for half in halves]


def batch(pictures: list[NDArray[np.uint8]], rng: np.random.Generator) -> Tensor:
    """Random crops (B, 3, CROP, CROP) in [0, 1]."""
    crops = []
    for index in rng.integers(0, len(pictures), BATCH):
        rgb = pictures[index]
        top, left = (int(rng.integers(0, side - CROP + 1)) for side in rgb.shape[:2])
        crops.append(torch.from_numpy(rgb[top : top + CROP, left : left + CROP].copy()).permute(2, 0, 1))
    return torch.stack(crops).float() / 255


def begin() -> Trained:
    """A seeded network in which everything that decides bits has a say."""
    torch.manual_seed(3)
    net = networks(RECIPES["gic2-tiny-s2"])
    assert isinstance(net, Trained)
    model = net.model
    with torch.no_grad():
        model.first.copy_(torch.tensor(FIRST))
        model.masker.out.weight.normal_(0, 2)
        model.projection.weight.normal_(0, 0.3)
        for layer in model.hyper_rows.near:
            layer.weight.normal_(0, 0.05)  # type: ignore[operator]
            layer.bias.normal_(0, 0.3)  # type: ignore[operator]
    return net


def train(net: Trained, pictures: list[NDArray[np.uint8]]) -> None:
    """Rate and distortion, first at one level a picture, then with maps of levels and integer rows."""
    rng = np.random.default_rng(3)
    for recipe, steps in STEPS.items():
        objective = RECIPES[recipe].objective
        optimiser = torch.optim.Adam(net.parameters(), RATE, betas=(0.9, 0.95))
        for step in range(steps):
            for group in optimiser.param_groups:
                group["lr"] = LAST_RATE + (RATE - LAST_RATE) * (1 + np.cos(np.pi * step / steps)) / 2
            losses = objective.losses(net, None, batch(pictures, rng), step / steps)
            optimiser.zero_grad()
            losses["loss"].backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            if step % 100 == 99:
                told = {name: round(float(value.detach()), 3) for name, value in losses.items()}
                print(recipe, step + 1, told, flush=True)


def main() -> int:
    """Train, freeze, write; 1 with one line on stderr where there is a model already."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    if (folder / "manifest.json").exists():
        print("make_gic2_tiny: released weights are never made again", file=sys.stderr)
        return 1
    pictures = photographs()
    net = begin()
    train(net, pictures)
    weights = freeze(net.eval(), MODELS[MODEL], pictures)
    install(weights, MODELS[MODEL], folder, {"description": "of tests/vectors: tiny, a minute of training"})
    return 0


if __name__ == "__main__":
    sys.exit(main())
