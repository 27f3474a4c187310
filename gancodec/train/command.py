"""``gancodec train`` and ``python -m gancodec.train``: a sub-command per recipe, ``pack`` for data, ``export`` for
weights.

Argparse, because training has to run where nothing but torch, numpy, Pillow and safetensors is installed.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from gancodec.errors import UsageError
from gancodec.train.recipes import RECIPES


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line for the caller to print, instead of argparse's usage block."""
        raise UsageError(f"{message} (--help lists the options)")


def parser() -> argparse.ArgumentParser:
    """Return the command-line parser; its namespace has `run`, a function that takes the namespace."""
    top = _Parser(prog="gancodec train", description="Train a model, pack training data, export weights.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    for name in RECIPES:
        _recipe_options(commands.add_parser(name, help=f"run the recipe {name} (see docs/training.md)"))
    pack = commands.add_parser("pack", help="pack pictures into shards that travel well")
    pack.add_argument("source", type=Path, help="folder of pictures")
    pack.add_argument("target", type=Path, help="folder for the shards")
    pack.add_argument("--shard-mib", type=int, default=56, help="largest shard in MiB")
    pack.set_defaults(run=_pack)
    ema = commands.add_parser("ema", help="write a checkpoint's averaged weights as small files")
    ema.add_argument("checkpoint", type=Path, help="the run's last.safetensors")
    ema.add_argument("folder", type=Path, help="folder for the files, which --start and export take as a checkpoint")
    ema.add_argument("--file-mib", type=int, default=15, help="largest file in MiB")
    ema.add_argument("--int8", action="store_true", help="matrices as bytes with a scale for each row")
    ema.set_defaults(run=_ema)
    export = commands.add_parser("export", help="freeze a checkpoint into integer tables and weights")
    export.add_argument("recipe", help="recipe that made the checkpoint")
    export.add_argument("checkpoint", type=Path, help="the run's last.safetensors")
    export.add_argument("--data", type=Path, required=True, help="pictures that fit the tables and n")
    export.add_argument("--weights", type=Path, required=True, help="folder of weights and manifest.json")
    export.add_argument("--description", required=True, help="how it was trained, one line")
    export.add_argument("--realism", type=float, default=1.0, help="default of a model that has a natural end")
    export.add_argument("--experimental", action="store_true", help="say that later weights may refuse its files")
    export.add_argument("--pictures", type=int, default=96, help="how many training pictures to fit on")
    export.set_defaults(run=_export)
    return top


def _recipe_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data", type=Path, required=True, help="folder of pictures, or of shards made by `pack`")
    command.add_argument("--out", type=Path, required=True, help="folder of the checkpoint and the log")
    command.add_argument("--start", type=Path, help="averaged weights to begin with, or to go on from")
    command.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    command.add_argument("--minutes", type=float, default=math.inf, help="stop after this long")
    command.add_argument("--steps", type=int, help="stop after this many steps")
    command.add_argument("--backbones", type=Path, help="folder of the feature networks of losses")
    command.add_argument("--workers", type=int, default=1, help="CPU worker processes, one thread each")
    command.add_argument("--distributed", action="store_true", help="run by torchrun: one process for each GPU")
    command.add_argument("--device", default="cpu", help="cpu or cuda")
    command.add_argument("--compile", action="store_true", help="compile the losses, which takes minutes")
    command.add_argument("--seed", type=int, default=0, help="of everything random")
    command.add_argument("--validate-every", type=int, help="steps between validations on real files")
    command.set_defaults(run=_train)


def _train(options: argparse.Namespace) -> None:
    from gancodec.train.loop import Job, train

    if options.steps is None and not math.isfinite(options.minutes):
        raise UsageError("say when to stop: --minutes or --steps")
    fields = vars(options).keys() & {field.name for field in dataclasses.fields(Job)}
    print(train(Job(options.command, **{name: getattr(options, name) for name in fields})))


def _pack(options: argparse.Namespace) -> None:
    from gancodec.train.data import pack

    for shard in pack(options.source, options.target, options.shard_mib):
        print(f"{shard} {shard.stat().st_size}")


def _ema(options: argparse.Namespace) -> None:
    from gancodec.train.state import write_ema

    for path in write_ema(options.checkpoint, options.folder, options.file_mib, options.int8):
        print(f"{path} {path.stat().st_size}")


def _export(options: argparse.Namespace) -> None:
    from gancodec.train.freeze import export_checkpoint

    fields = ("recipe", "checkpoint", "data", "description", "pictures", "realism", "experimental")
    print(export_checkpoint(folder=options.weights, **{name: getattr(options, name) for name in fields}))


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse and run; raises GicError (UsageError for bad options)."""
    options = parser().parse_args(arguments)
    options.run(options)
