"""``gancodec info``: what a .gic file says about itself."""

from __future__ import annotations

from typing import Any

import typer

from gancodec.batch.files import Job, read_gic
from gancodec.cli import files, options
from gancodec.cli.report import Report
from gancodec.codec.info import describe
from gancodec.container import read
from gancodec.messages import printable


def info(
    inputs: options.GicFiles,
    max_pixels: options.MaxPixels = options.MAX_PIXELS,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> None:
    """Show size, model, rate and chunks of .gic files, without decoding them."""
    report = Report(quiet=quiet, verbose=verbose, as_json=as_json)

    def work(job: Job) -> None:
        data, start = read_gic(job.source, max_pixels)
        record = {"file": job.source, **describe(data, read(data, max_pixels, start))}
        report.result(as_text(record), record)

    raise typer.Exit(report.run(lambda: files.reading_jobs(inputs), work))


def as_text(record: dict[str, Any]) -> str:
    """The lines that `info` prints for a record."""
    model, n = "none", ""
    if record["model"]:
        installed = "installed" if record["model_installed"] else "not installed here"
        model = f"{record['model_name'] or 'unknown'} (id {record['model']}, hash {record['model_hash']}), {installed}"
        model += ", experimental" if record["model_experimental"] else ""
        n = f", n={record['n']:.3f}"
    synthetic = "yes: the decoded picture may contain detail that the original did not have"
    lines = [
        f"{printable(record['file'])}: gic {record['format']}, {record['width']}x{record['height']}, "
        f"{record['bytes']} bytes, {record['bpp']:.4f} bpp",
        f"  model      {model}",
        f"  coding     codec {record['codec']}, {record['coder']} coder{n}{', gray' if record['gray'] else ''}",
        f"  synthetic  {synthetic if record['synthetic_detail'] else 'no'}",
        "  chunks     " + ", ".join(f"{chunk['name']} {chunk['bytes']}" for chunk in record["chunks"]),
    ]
    return "\n".join(lines)
