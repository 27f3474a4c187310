"""``gancodec encode``: pictures to .gic files."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import typer

from gancodec.batch.files import Job, Saving
from gancodec.cli import files, options

if TYPE_CHECKING:
    from gancodec.batch.job import Record
    from gancodec.cli.report import Report


@options.encoding
def encode(
    inputs: options.Pictures,
    output: options.Output = None,
    folder: options.Folder = None,
    *,
    threads: options.Threads = None,
    overwrite: options.Overwrite = False,
    skip_existing: options.SkipExisting = False,
    jobs: options.Jobs = 1,
    manifest: options.ManifestFile = None,
    preserve_times: options.PreserveTimes = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    **asked: Any,
) -> None:
    """Encode pictures to .gic files (photo.png becomes photo.gic).

    Without --bpp, --size or --n the model's middle setting is used (n = 0). --saliency, --roi, --roi-box and --protect
    move bits between the parts of a picture: the file stays as large as asked for, so the rest gets fewer.
    """
    saving = Saving(overwrite, skip_existing, preserve_times)
    report = options.writing_report(inputs, output, saving, quiet=quiet, verbose=verbose, as_json=as_json)
    from gancodec.batch.job import Task
    from gancodec.cli import convert

    convert.check_jobs(inputs, jobs, manifest)
    options.set_threads(threads)
    task = Task(options.encode_options(asked), saving)
    run = convert.Run(report, task, show, manifest)
    plan = partial(files.writing_jobs, inputs, files.PICTURE_SUFFIXES, ".gic", output, folder, report.say)
    raise typer.Exit(run(plan, partial(convert.local_engine, report=report, jobs=jobs, threads=threads)))


def show(record: Record, report: Report) -> None:
    """Tell of one picture."""
    setting = record["profile"] if record["n"] is None else f"n={record['n']:.3f}"
    probes = f"{record['probes']} probe{'' if record['probes'] == 1 else 's'}"
    cost = f"{record['bytes']} bytes, {record['bpp']:.4f} bpp, {setting}, {probes}"
    target = Job("", record["output"]).target_name
    report.say(f"{target}: {record['width']}x{record['height']}, {cost}")
    report.detail(f"{Job(record['file']).name}: {record['source_bytes']} bytes before, {record['seconds']:.2f} s")
