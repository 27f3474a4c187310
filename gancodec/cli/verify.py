"""``gancodec verify``: is a .gic file whole?"""

from __future__ import annotations

import typer

from gancodec.batch.files import Job, read_gic
from gancodec.cli import files, options
from gancodec.cli.report import Report
from gancodec.container import read
from gancodec.errors import MissingWeights


def verify(
    inputs: options.GicFiles,
    max_pixels: options.MaxPixels = options.MAX_PIXELS,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> None:
    """Check .gic files: structure, every checksum, and every coded symbol (no picture is made)."""
    report = Report(quiet=quiet, verbose=verbose, as_json=as_json)

    def work(job: Job) -> None:
        data, start = read_gic(job.source, max_pixels)
        parsed = read(data, max_pixels, start)
        from gancodec.codec.api import verify_parsed

        try:
            verify_parsed(parsed)
        except MissingWeights as error:
            what = "structure and checksums are fine, but its symbols cannot be checked"
            raise MissingWeights(f"{what}: {error}") from error
        report.result(f"{job.name}: ok", {"file": job.source, "ok": True})

    raise typer.Exit(report.run(lambda: files.reading_jobs(inputs), work))
