"""``gancodec saliency``: what stands out of a picture, as a picture."""

from __future__ import annotations

import io
import time
from dataclasses import replace
from typing import Annotated

import typer

from gancodec.batch.files import Job, Saving, check_target, is_stream, write
from gancodec.cli import files, options
from gancodec.cli.report import Report
from gancodec.codec.options import check
from gancodec.errors import UsageError
from gancodec.options import EncodeOptions
from gancodec.sources import open_source

WRITTEN = (".saliency.png", ".mask.png", ".overlay.png")

Method = Annotated[str, typer.Option("--method", metavar="METHOD", help=f"{options.METHODS}, or file:MAP.png.")]
Mask = Annotated[
    bool,
    typer.Option(
        "--mask", help=f"The adaptive mask instead: what `encode --profile {options.OWN['inner'].profile}` keeps."
    ),
]
Overlay = Annotated[bool, typer.Option("--overlay", help="Laid over the picture in colours.")]


def saliency(
    inputs: options.Pictures,
    method: Method = "combined",
    model: options.SaliencyModel = None,
    mask: Mask = False,
    overlay: Overlay = False,
    output: options.Output = None,
    folder: options.Folder = None,
    max_pixels: options.MaxPixels = options.MAX_PIXELS,
    overwrite: options.Overwrite = False,
    skip_existing: options.SkipExisting = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> None:
    """Write what stands out of pictures as gray PNG files (photo.png becomes photo.saliency.png; white for the most).

    `encode` takes such a file as --saliency file:photo.saliency.png, or as --roi.
    """
    saving = Saving(overwrite, skip_existing)
    report = options.writing_report(inputs, output, saving, quiet=quiet, verbose=verbose, as_json=as_json)
    if output is not None and not is_stream(output) and not output.lower().endswith(".png"):
        raise UsageError(f"{output}: maps are written as PNG; name it .png")
    asked = EncodeOptions(saliency=method, saliency_model=model, max_pixels=max_pixels)
    check(asked)
    kind = "overlay" if overlay else "mask" if mask else "saliency"

    def plan() -> list[Job]:
        jobs = files.writing_jobs(inputs, files.PICTURE_SUFFIXES, f".{kind}.png", output, folder, report.say)
        # Of a folder, not what an earlier run wrote there.
        return [job for job in jobs if job.source in inputs or not job.source.endswith(WRITTEN)]

    def work(job: Job) -> None:
        if saving.skips(job):
            report.detail(f"{job.name}: skipped, {job.target} exists")
            report.record({"file": job.source, "output": job.target, "skipped": True})
            return
        check_target(job, saving.overwrite)
        _write_one(job, asked, mask, overlay, saving, report)

    raise typer.Exit(report.run(plan, work))


def _write_one(job: Job, asked: EncodeOptions, mask: bool, overlay: bool, saving: Saving, report: Report) -> None:
    """Load a picture, compute its map, write and report it."""
    from PIL import Image

    from gancodec import imageio
    from gancodec.codec import guidance as priority
    from gancodec.saliency import adaptive_mask
    from gancodec.saliency.overlay import laid_over

    with open_source(job.source, asked.max_pixels) as stream:
        picture = imageio.load(stream, asked.max_pixels)
    started = time.perf_counter()
    values = priority.saliency_of(picture.rgb, asked)
    seconds = time.perf_counter() - started
    values = adaptive_mask(values) if mask else values
    target = io.BytesIO()
    if overlay:
        imageio.save(replace(picture, rgb=laid_over(picture.rgb, values), exif=None, xmp=None), target, "png")
    else:
        Image.fromarray(priority.to_gray(values)).save(target, "PNG")
    write(job, target.getvalue(), saving)
    for text in picture.notices:
        report.warn(job.name, text)
    height, width = values.shape
    share = float((values >= 0.5).mean())
    report.say(
        f"{job.target_name}: {width}x{height}, {asked.saliency}, {100 * share:.0f} % above half, {seconds:.2f} s"
    )
    report.record(
        {
            "file": job.source,
            "output": job.target,
            "width": width,
            "height": height,
            "method": asked.saliency,
            "above_half": share,
            "mean": float(values.mean()),
            "seconds": round(seconds, 3),
            "warnings": picture.notices,
        }
    )
