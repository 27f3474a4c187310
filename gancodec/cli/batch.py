"""``gancodec batch``: folders of pictures, with a manifest that a later run goes on from; here or on a Ray cluster."""

from __future__ import annotations

import functools
import os
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gancodec.batch.files import Saving
from gancodec.cli import decode, encode, files, options
from gancodec.errors import UsageError
from gancodec.options import DecodeOptions

if TYPE_CHECKING:
    from gancodec.cli.convert import Engine
    from gancodec.cli.report import Report

MANIFEST = "manifest.jsonl"

Folder = Annotated[
    str, typer.Option("-d", "--dir", metavar="DIR", help="Output folder; the tree of input folders is kept.")
]
Backwards = Annotated[bool, typer.Option("--decode", help="Decode .gic files instead.")]
ManifestFile = Annotated[
    str | None, typer.Option("--manifest", metavar="FILE", help=f"The manifest; else {MANIFEST} in the output folder.")
]
EngineOption = Annotated[
    Literal["local", "ray"], typer.Option("--engine", help="Processes on this machine, or Ray (gancodec[ray]).")
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="HOST:PORT",
        help="Of --engine ray: a running cluster; else one is started on this machine.",
    ),
]
Gpus = Annotated[
    float, typer.Option("--gpus", min=0, metavar="X", help="Of --engine ray: GPUs of each worker; 0.5 shares one.")
]
Retries = Annotated[
    int, typer.Option("--retries", min=0, max=100, metavar="N", help="Tries more when a worker dies with an input.")
]
Overwrite = Annotated[bool, typer.Option("-f", "--overwrite", help="Do all again, and replace outputs that exist.")]


@options.encoding
def batch(
    context: typer.Context,
    inputs: Annotated[list[str], typer.Argument(metavar="IN", help="Files or folders.", show_default=False)],
    folder: Folder,
    *,
    backwards: Backwards = False,
    picture_format: decode.FormatOption = None,
    realism: options.Realism = None,
    partial: decode.Partial = False,
    engine: EngineOption = "local",
    address: Address = None,
    jobs: options.Jobs = 0,
    threads: options.Threads = None,
    gpus: Gpus = 0.0,
    retries: Retries = 2,
    manifest: ManifestFile = None,
    overwrite: Overwrite = False,
    preserve_times: options.PreserveTimes = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    **asked: Any,
) -> None:
    """Encode (or --decode) many pictures, and go on where an earlier run stopped.

    An input is done when the manifest has it with the same SHA-256 and the same settings, and its output is there.
    An output that exists and is not in the manifest stays: made again with the same bytes it counts as done, with
    others the input fails. Run the same command again until it exits with 0.
    """
    saving = Saving(overwrite, preserve_times=preserve_times, repeat=True)
    report = options.writing_report(inputs, None, saving, quiet=quiet, verbose=verbose, as_json=as_json)
    from gancodec.batch.job import Task
    from gancodec.cli import convert

    log = os.path.join(folder, MANIFEST) if manifest is None else manifest
    convert.check_jobs(inputs, jobs, log)
    _refuse(context, backwards)
    chosen = _engine(engine, address, jobs, threads, gpus, retries, report)
    options.set_threads(threads)
    if backwards:
        how = DecodeOptions(asked["model"], asked["device"], realism, asked["max_pixels"], partial=partial)
        task = Task(how, saving, picture_format or "png")
        suffixes, suffix, show = files.GIC_SUFFIXES, decode.SUFFIXES[task.kind], decode.show
    else:
        task = Task(options.encode_options(asked), saving)
        suffixes, suffix, show = files.PICTURE_SUFFIXES, ".gic", encode.show
    run = convert.Run(report, task, show, log, resume=True)
    plan = functools.partial(files.writing_jobs, inputs, suffixes, suffix, None, folder, report.say)
    raise typer.Exit(run(plan, chosen))


def _refuse(context: typer.Context, backwards: bool) -> None:
    """UsageError for options of the other direction."""
    decoding = {"picture_format", *(field.name for field in fields(DecodeOptions))}
    others = options.ENCODING - decoding if backwards else decoding - options.ENCODING
    for option in context.command.params:
        value = context.params[str(option.name)] if option.name in others else None
        if value not in (option.default, *options.NOT_GIVEN):
            raise UsageError(f"{option.opts[0]} is for {'encoding' if backwards else '--decode'}")


def _engine(
    name: str, address: str | None, jobs: int, threads: int | None, gpus: float, retries: int, report: Report
) -> Engine:
    """The engine of a name; UsageError for options that do not go with it."""
    from gancodec.cli import convert

    if name == "local":
        if address is not None or gpus:
            raise UsageError("--address and --gpus are for --engine ray")
        return functools.partial(convert.local_engine, report=report, jobs=jobs, threads=threads, retries=retries)
    if address is not None and not jobs:
        raise UsageError("--address: say with --jobs how many workers the cluster is to run")
    from gancodec import workers
    from gancodec.batch import ray

    count = jobs or workers.cores()
    each = threads or (workers.share(count) if address is None else 1)
    cluster = ray.Cluster(address or "local", count, each, gpus, retries)
    ray.load()
    return lambda todo, task, _: ray.run(todo, task, cluster)
