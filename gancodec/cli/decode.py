"""``gancodec decode``: .gic files to pictures."""

from __future__ import annotations

import io
import os
import time
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from gancodec.cli import files, options
from gancodec.cli.files import Job
from gancodec.cli.report import Report
from gancodec.errors import UsageError

if TYPE_CHECKING:
    from gancodec.codec.options import DecodeOptions

SUFFIXES = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "tiff": ".tiff"}
FORMATS = {suffix: name for name, suffix in SUFFIXES.items()}  # those that need not be asked from imageio, and numpy

FormatOption = Annotated[
    options.Format | None,
    typer.Option("--format", help="Picture format; else by the name of the output, else PNG."),
]


def decode(
    inputs: options.GicInputs,
    output: options.Output = None,
    folder: options.Folder = None,
    picture_format: FormatOption = None,
    realism: options.Realism = None,
    model: options.Model = None,
    device: options.DeviceOption = "auto",
    threads: options.Threads = None,
    max_pixels: options.MaxPixels = options.MAX_PIXELS,
    overwrite: options.Overwrite = False,
    skip_existing: options.SkipExisting = False,
    preserve_times: options.PreserveTimes = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> None:
    """Decode .gic files to pictures (photo.gic becomes photo.png).

    A decoded picture may contain detail that the model synthesised and the original did not have: --realism 0 keeps
    that least, --realism 1 looks most natural. The same file, realism and machine give the same pixels.
    """
    saving = files.Saving(overwrite, skip_existing, preserve_times)
    report = options.writing_report(inputs, output, saving, quiet=quiet, verbose=verbose, as_json=as_json)
    kind = _format(output, picture_format)
    options.set_threads(threads)
    from gancodec.codec.options import DecodeOptions

    chosen = DecodeOptions(model, device, realism, max_pixels)
    plan = partial(files.writing_jobs, inputs, files.GIC_SUFFIXES, SUFFIXES[kind], output, folder)
    raise typer.Exit(report.run(plan, lambda job: decode_one(job, kind, chosen, saving, report), saving))


def _format(output: str | None, asked: options.Format | None) -> str:
    """The format to write: the one asked for, else the output name's, else PNG."""
    if output is None or output == files.PIPE:
        return asked or "png"
    suffix = os.path.splitext(output)[1].lower()
    if asked is None:
        return _format_for(output, suffix)
    if suffix in files.PICTURE_SUFFIXES and _format_for(output, suffix) != asked:
        raise UsageError(f"--format {asked} does not fit the name {output}")
    return asked


def _format_for(output: str, suffix: str) -> str:
    if suffix in FORMATS:
        return FORMATS[suffix]
    from gancodec import imageio

    return imageio.format_for(output)


def decode_one(job: Job, kind: str, chosen: DecodeOptions, saving: files.Saving, report: Report) -> None:
    """Read, decode, write and report one file."""
    started = time.perf_counter()
    data = files.read_gic(job.source, chosen.max_pixels)
    from gancodec import imageio  # numpy and the codec: only for files whose header is worth it
    from gancodec.codec.api import decode_bytes

    picture = decode_bytes(data, chosen)
    stream = io.BytesIO()
    notices = imageio.save(picture, stream, kind)
    files.write(job, stream.getvalue(), saving)
    warnings = list(dict.fromkeys([*picture.notices, *notices]))
    for text in warnings:
        report.warn(job.name, text)
    height, width = picture.rgb.shape[:2]
    report.say(f"{job.target_name}: {width}x{height}, {stream.tell()} bytes, {kind}")
    report.detail(f"{job.name}: {len(data)} bytes, {time.perf_counter() - started:.2f} s")
    report.record(
        {
            "file": job.source,
            "output": job.target,
            "format": kind,
            "width": width,
            "height": height,
            "source_bytes": len(data),
            "bytes": stream.tell(),
            "seconds": round(time.perf_counter() - started, 3),
            "comment": picture.comment,
            "warnings": warnings,
        }
    )
