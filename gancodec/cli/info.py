"""``gancodec info``: what a .gic file says about itself."""

from __future__ import annotations

from typing import Any

import typer

from gancodec.batch.files import Job, read_gic
from gancodec.cli import files, options
from gancodec.cli.models import known
from gancodec.cli.report import Report
from gancodec.container import Container, read, spec
from gancodec.messages import printable
from gancodec.models.registry import CODECS

CODER_NAMES = {number: name for name, number in spec.CODERS.items()}


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
        record = describe(job.source, data, read(data, max_pixels, start))
        report.result(as_text(record), record)

    raise typer.Exit(report.run(lambda: files.reading_jobs(inputs), work))


def describe(name: str, data: bytes, container: Container) -> dict[str, Any]:
    """Everything that `info` tells about a file, as JSON values."""
    header = container.header
    pixels = header.width * header.height
    model = next((model for model in known() if model.id == header.model), None)
    return {
        "file": name,
        "format": ".".join(map(str, data[len(spec.MAGIC) :][:2])),
        "width": header.width,
        "height": header.height,
        "bytes": len(data),
        "bpp": 8 * len(data) / pixels,
        "codec": CODECS[header.codec].name if header.codec in CODECS else str(header.codec),
        "coder": CODER_NAMES.get(header.coder, str(header.coder)),
        "model": header.model,
        "model_name": None if model is None else model.name,
        "model_hash": header.model_hash.hex(),
        "model_installed": model is not None and model.installed and model.entropy_hash == header.model_hash,
        "n": header.n / 1000,
        "level_shift": header.level_shift,
        "synthetic_detail": bool(header.flags & spec.FLAG_SYNTHETIC),
        "gray": bool(header.flags & spec.FLAG_GRAY),
        "chunks": [
            {"name": chunk.name, "type": chunk.type, "offset": chunk.offset, "bytes": chunk.length}
            for chunk in container.chunks
        ],
    }


def as_text(record: dict[str, Any]) -> str:
    """The lines that `info` prints for a record."""
    model, n = "none", ""
    if record["model"]:
        installed = "installed" if record["model_installed"] else "not installed here"
        model = f"{record['model_name'] or 'unknown'} (id {record['model']}, hash {record['model_hash']}), {installed}"
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
