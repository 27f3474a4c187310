"""Megapixels a second of two recipes' steps, in one run. Writes build/bench/training.json.

Crops of random pixels, the whole training loop around them: what a step costs hardly depends on what it sees. The first
step, which compiles and fills caches, is not counted. Seconds of the CPU, of all workers together, tell more than those
of the clock where others share the machine.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from bench_codec import machine
from PIL import Image

from gancodec.errors import UsageError
from gancodec.train.loop import Job, train
from gancodec.train.recipes import RECIPES
from gancodec.train.state import checkpoint_meta

RECIPE_NAMES = ("gic1-small-2-s2", "gic2-s2")
STEPS = 20
SCHEDULE = 1_000_000  # steps of the whole run: what is measured is the beginning of one
PICTURES, SIDE = 8, 512  # pixels
OUTPUT = Path("build/bench/training.json")


class Speed(NamedTuple):
    """Of the steps of a recipe: megapixels in all, seconds by the clock and of all CPUs."""

    megapixels: float
    seconds: float
    cpu_seconds: float


def write_pictures(folder: Path) -> None:
    """Pictures of random pixels."""
    rng = np.random.default_rng(0)
    for number in range(PICTURES):
        pixels = rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png", compress_level=0)


def measure(job: Job, steps: int) -> Speed:
    """Train for a step and then for `steps` more, which count."""
    last = checkpoint_meta(train(job))
    first = json.loads((job.out / "log.jsonl").read_text(encoding="utf-8").splitlines()[0])
    recipe = RECIPES[job.recipe]
    return Speed(
        steps * recipe.batch * job.workers * recipe.crop**2 / 1e6,
        float(last["seconds"]) - first["seconds"],
        float(last["cpu_seconds"]) - 3600 * first["cpu_hours"],
    )


def measure_all(options: argparse.Namespace) -> dict[str, Speed]:
    """Speeds by recipe; a line for one that cannot be run."""
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pictures").mkdir()
        write_pictures(folder / "pictures")
        for recipe in options.recipes:
            job = Job(
                recipe,
                folder / "pictures",
                folder / recipe,
                steps=SCHEDULE,
                stop_at=options.steps + 1,
                backbones=options.backbones,
                workers=options.workers,
                device=options.device,
                compile=options.compile,
                log_every=1,
            )
            try:
                found[recipe] = measure(job, options.steps)
            except UsageError as error:
                print(f"{recipe}: {error}", file=sys.stderr)
    return found


def report(found: dict[str, Speed]) -> None:
    """Print the table; ratios are to the first recipe."""
    first = next(iter(found.values()))
    print(f"{'recipe':20} {'Mpx/s':>8} {'ratio':>6} {'Mpx/CPU-s':>10} {'ratio':>6}")
    for recipe, (megapixels, seconds, cpu_seconds) in found.items():
        speed, cpu_speed = megapixels / seconds, megapixels / cpu_seconds
        ratios = speed * first.seconds / first.megapixels, cpu_speed * first.cpu_seconds / first.megapixels
        print(f"{recipe:20} {speed:8.3f} {ratios[0]:6.2f} {cpu_speed:10.3f} {ratios[1]:6.2f}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; 1 if no recipe could be run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", default=RECIPE_NAMES)
    parser.add_argument("--steps", type=int, default=STEPS, help="that count, of each recipe")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--backbones", type=Path, help="folder of the feature networks of losses")
    options = parser.parse_args(arguments)
    found = measure_all(options)
    if not found:
        return 1
    report(found)
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    how = {"workers": options.workers, "compile": options.compile, "steps": options.steps, "device": options.device}
    record = {"benchmark": "training", **how, "recipes": {k: v._asdict() for k, v in found.items()}, **machine()}
    OUTPUT.write_text(json.dumps(record, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
