"""``gancodec decode``: .gic files to pictures."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gancodec.batch.files import Job, Saving, is_stream
from gancodec.cli import files, options
from gancodec.errors import UsageError
from gancodec.options import DecodeOptions

if TYPE_CHECKING:
    from gancodec.batch.job import Record
    from gancodec.cli.report import Report

SUFFIXES = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "tiff": ".tiff"}
SUFFIX_FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".tif": "tiff", ".tiff": "tiff"}

FormatOption = Annotated[
    options.Format | None,
    typer.Option("--format", help="Picture format; else by the name of the output, else PNG."),
]
Region = Annotated[
    str | None,
    typer.Option("--region", metavar="X,Y,W,H", help="Decode this part only, in pixels; cut to the picture."),
]
Scale = Annotated[
    int,
    typer.Option(
        "--scale", parser=options.parse_scale, metavar="1/2|1/4|1/8", help="A smaller picture.", show_default=False
    ),
]
Partial = Annotated[bool, typer.Option("--partial", help="Of a file that is cut, decode the slices that are whole.")]


def decode(
    inputs: options.GicInputs,
    output: options.Output = None,
    folder: options.Folder = None,
    picture_format: FormatOption = None,
    realism: options.Realism = None,
    region: Region = None,
    scale: Scale = 1,
    partial: Partial = False,
    model: options.Model = None,
    device: options.DeviceOption = "auto",
    threads: options.Threads = None,
    max_pixels: options.MaxPixels = options.MAX_PIXELS,
    overwrite: options.Overwrite = False,
    skip_existing: options.SkipExisting = False,
    jobs: options.Jobs = 1,
    manifest: options.ManifestFile = None,
    preserve_times: options.PreserveTimes = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> None:
    """Decode .gic files to pictures (photo.gic becomes photo.png).

    A decoded picture may contain detail that the model synthesised and the original did not have: --realism 0 keeps
    that least, --realism 1 looks most natural. The same file, realism and machine give the same pixels.

    --region and --scale decode a part of it or a thumbnail, in less time and memory than the whole. --partial takes
    files that are cut, of a codec whose files have slices: the picture is rougher then, and that is told.
    """
    saving = Saving(overwrite, skip_existing, preserve_times)
    report = options.writing_report(inputs, output, saving, quiet=quiet, verbose=verbose, as_json=as_json)
    from gancodec.batch.job import Task
    from gancodec.cli import convert

    convert.check_jobs(inputs, jobs, manifest)
    kind = format_of(output, picture_format)
    options.set_threads(threads)
    box = None if region is None else options.parse_region(region)
    task = Task(DecodeOptions(model, device, realism, max_pixels, box, scale, partial), saving, kind)
    run = convert.Run(report, task, show, manifest)
    plan = functools.partial(files.writing_jobs, inputs, files.GIC_SUFFIXES, SUFFIXES[kind], output, folder, report.say)
    engine = functools.partial(convert.local_engine, report=report, jobs=jobs, threads=threads)
    raise typer.Exit(run(plan, engine))


def format_of(output: str | None, asked: options.Format | None) -> str:
    """The format to write: the one asked for, else the output name's, else PNG."""
    if output is None or is_stream(output):
        return asked or "png"
    suffix = os.path.splitext(output)[1].lower()
    if asked is None:
        return format_for(output)
    if suffix in files.PICTURE_SUFFIXES and format_for(output) != asked:
        raise UsageError(f"--format {asked} does not fit the name {output}")
    return asked


def format_for(path: str | Path) -> str:
    """Output format by suffix; UsageError for one that is not written here."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIX_FORMATS:
        raise UsageError(f"{path}: cannot write {suffix or 'a file without suffix'}; use .png, .jpg, .webp or .tif")
    return SUFFIX_FORMATS[suffix]


def show(record: Record, report: Report) -> None:
    """Tell of one picture."""
    target = Job("", record["output"]).target_name
    report.say(f"{target}: {record['width']}x{record['height']}, {record['bytes']} bytes, {record['format']}")
    report.detail(f"{Job(record['file']).name}: {record['source_bytes']} bytes, {record['seconds']:.2f} s")
