"""``gancodec train``: hands its words to `gancodec.train.command`, which also runs without typer."""

from __future__ import annotations

import typer


def train(context: typer.Context) -> None:
    """Train a model, pack training data, export weights (`gancodec train --help` lists the recipes)."""
    from gancodec.train.command import main

    main(context.args)
