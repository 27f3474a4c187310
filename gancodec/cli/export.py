"""``gancodec export``: the networks of a model as ONNX files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gancodec.batch.files import Job, Saving, write
from gancodec.cli import options
from gancodec.cli.report import Report
from gancodec.errors import OutputExists, UsageError

Out = Annotated[Path, typer.Option("-o", "--out", metavar="FOLDER", help="Where the files go.")]


def export(
    model: options.Model = None,
    realism: options.Realism = None,
    out: Out = Path("."),
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> None:
    """Write a model's networks as ONNX files, MODEL-encoder.onnx and MODEL-generator.onnx.

    They are float32 and take any batch, height and width. The entropy coder is not a network and is not in them. This
    needs an optional package: pip install 'gancodec[onnx]'.
    """
    from gancodec import weights
    from gancodec.codec.onnx_export import PARTS, export_onnx, file_name

    report = Report(quiet=quiet, verbose=verbose, as_json=as_json)
    info = weights.find(model)
    targets = {part: out / file_name(info.name, part) for part in PARTS}
    for target in targets.values():  # both before any work: an old one beside a new one would not fit together
        if target.is_dir():
            raise UsageError(f"{target} is a folder")
        if target.exists() and not overwrite:
            raise OutputExists(f"{target} exists (-f overwrites)")
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is not a folder")
    for part, data in export_onnx(weights.get(info.name), realism).items():
        write(Job(info.name, str(targets[part])), data, Saving(overwrite))
        report.say(f"{targets[part]}: {info.name}, {len(data)} bytes")
        report.record({"model": info.name, "part": part, "output": str(targets[part]), "bytes": len(data)})
