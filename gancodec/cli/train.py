"""``gancodec train``: hands its words to `gancodec.train.command`, which also runs without typer."""

from __future__ import annotations

import typer

train = typer.Typer(rich_markup_mode=None, add_completion=False)


@train.command(
    "train", add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True}
)
def hand_on(context: typer.Context) -> None:
    """Train a model, pack training data, export weights (`gancodec train --help` lists the recipes)."""
    from gancodec.train.command import main

    main(context.args)
