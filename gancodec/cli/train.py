"""``gancodec train``: one sub-command per recipe, ``pack`` for the data, ``export`` for the weights. Needs no GPU."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from gancodec.train.recipes import RECIPES

app = typer.Typer(name="train", help="Train a model, pack training data, export weights.", rich_markup_mode=None)

DataFolder = Annotated[Path, typer.Option("--data", help="Folder of pictures, or of shards made by `train pack`.")]
OutFolder = Annotated[Path, typer.Option("--out", help="Folder of the checkpoint and the log.")]
Start = Annotated[Path | None, typer.Option("--start", help="Checkpoint whose averaged weights the run starts from.")]


def _add(recipe: str) -> None:
    @app.command(recipe, help=f"Run the recipe {recipe} (see docs/training.md).")
    def run(
        data: DataFolder,
        out: OutFolder,
        start: Start = None,
        resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")] = False,
        minutes: Annotated[float, typer.Option("--minutes", help="Stop after this long.")] = math.inf,
        steps: Annotated[int | None, typer.Option("--steps", min=1, help="Stop after this many steps.")] = None,
        workers: Annotated[int, typer.Option("--workers", min=1, help="CPU worker processes, one thread each.")] = 1,
        device: Annotated[str, typer.Option("--device", help="cpu or cuda.")] = "cpu",
        seed: Annotated[int, typer.Option("--seed", help="Of everything random.")] = 0,
        validate_every: Annotated[
            int | None, typer.Option("--validate-every", min=1, help="Steps between validations on real files.")
        ] = None,
    ) -> None:
        from gancodec.errors import UsageError
        from gancodec.train.loop import Job, train

        if steps is None and not math.isfinite(minutes):
            raise UsageError("say when to stop: --minutes or --steps")
        train(
            Job(
                recipe,
                data,
                out,
                start,
                resume,
                minutes,
                steps,
                workers=workers,
                device=device,
                seed=seed,
                validate_every=validate_every,
            )
        )


for _recipe in RECIPES:
    _add(_recipe)


@app.command()
def pack(
    source: Annotated[Path, typer.Argument(help="Folder of pictures.")],
    target: Annotated[Path, typer.Argument(help="Folder for the shards.")],
    shard_mib: Annotated[int, typer.Option("--shard-mib", min=1, help="Largest shard in MiB.")] = 56,
) -> None:
    """Pack pictures into shards that travel well."""
    from gancodec.train.data import pack as pack_pictures

    for shard in pack_pictures(source, target, shard_mib):
        print(f"{shard} {shard.stat().st_size}")


@app.command()
def export(
    recipe: Annotated[str, typer.Argument(help="Recipe that made the checkpoint (an S2 recipe).")],
    checkpoint: Annotated[Path, typer.Argument(help="The run's last.safetensors.")],
    data: DataFolder,
    folder: Annotated[Path, typer.Option("--weights", help="Folder of weights and manifest.json.")],
    description: Annotated[str, typer.Option("--description", help="How it was trained, one line.")],
    pictures: Annotated[int, typer.Option("--pictures", min=1, help="Training pictures that fit tables and n.")] = 96,
) -> None:
    """Freeze a checkpoint into integer tables and weights, and list it in the manifest."""
    from gancodec.train.freeze import export_checkpoint

    path = export_checkpoint(recipe, checkpoint, data, folder, description, pictures)
    print(path)
