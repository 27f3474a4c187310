"""``gancodec encode``: pictures to .gic files."""

from __future__ import annotations

from functools import partial
from typing import Annotated, TypedDict

import typer

from gancodec.batch.files import Job, Saving
from gancodec.batch.job import Record, Task
from gancodec.cli import convert, files, options
from gancodec.cli.report import Report
from gancodec.errors import UsageError

Bpp = Annotated[
    float | None,
    typer.Option("--bpp", parser=options.parse_rate, metavar="X", help="Bits per pixel of the whole file, at most."),
]
Size = Annotated[
    int | None,
    typer.Option("--size", parser=options.parse_size, metavar="N[kB]", help="Whole file, at most (B kB MB KiB MiB)."),
]
Parameter = Annotated[
    float | None,
    typer.Option("--n", parser=options.parse_number, metavar="X", help="The model's own rate knob; larger is smaller."),
]
Strict = Annotated[bool, typer.Option("--strict", help="Fail (exit 5) where the size asked for is missed.")]
EntropyOption = Annotated[options.Entropy, typer.Option("--entropy", help="Entropy coder.")]
Strip = Annotated[
    str, typer.Option("--strip", metavar="all|exif,xmp", help="Metadata to leave out.", show_default=False)
]
ProfileOption = Annotated[
    options.Profile,
    typer.Option("--profile", help="tunable: the learned codec; split: salient pixels kept, the rest shrunk."),
]
InnerOption = Annotated[
    options.Inner, typer.Option("--inner", help="Of --profile split: how what it keeps is coded (WebP).")
]
Factor = Annotated[
    int, typer.Option("--factor", metavar="2|4|8|16", help="Of --profile split: what the rest is shrunk by.")
]


def encode(
    inputs: options.Pictures,
    output: options.Output = None,
    folder: options.Folder = None,
    bpp: Bpp = None,
    size: Size = None,
    n: Parameter = None,
    strict: Strict = False,
    model: options.Model = None,
    entropy: EntropyOption = "range",
    device: options.DeviceOption = "auto",
    threads: options.Threads = None,
    strip: Strip = "",
    saliency: options.Saliency = None,
    saliency_model: options.SaliencyModel = None,
    saliency_strength: options.SaliencyStrength = None,
    roi: options.Roi = None,
    roi_box: options.RoiBox = None,
    protect: options.Protect = "",
    profile: ProfileOption = "tunable",
    inner: InnerOption = "lossy",
    factor: Factor = 4,
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
    """Encode pictures to .gic files (photo.png becomes photo.gic).

    Without --bpp, --size or --n the model's middle setting is used (n = 0). --saliency, --roi, --roi-box and --protect
    move bits between the parts of a picture: the file stays as large as asked for, so the rest gets fewer.
    """
    rate = rate_of(bpp, size, n)
    saving = Saving(overwrite, skip_existing, preserve_times)
    report = options.writing_report(inputs, output, saving, quiet=quiet, verbose=verbose, as_json=as_json)
    convert.check_jobs(inputs, jobs, manifest)
    dropped = options.parse_strip(strip)
    options.set_threads(threads)
    from gancodec.codec.options import EncodeOptions, check

    chosen = EncodeOptions(
        **rate,
        model=model,
        entropy=entropy,
        device=device,
        strict=strict,
        strip=dropped,
        max_pixels=max_pixels,
        profile=profile,
        inner=inner,
        factor=factor,
        **options.emphasis(saliency, saliency_model, saliency_strength, roi, roi_box or [], protect),
    )
    check(chosen)
    task = Task(chosen, saving)
    run = convert.Run(report, task, show, manifest)
    plan = partial(files.writing_jobs, inputs, files.PICTURE_SUFFIXES, ".gic", output, folder)
    engine = partial(convert.local_engine, report=report, jobs=jobs, threads=threads)
    raise typer.Exit(run(plan, engine))


class Rate(TypedDict):
    """The fields of EncodeOptions that say how large a file may be."""

    bpp: float | None
    size: int | None
    n: float | None


def rate_of(bpp: float | None, size: int | None, n: float | None) -> Rate:
    """The one that was given; UsageError for more."""
    if sum(value is not None for value in (bpp, size, n)) > 1:
        raise UsageError("--bpp, --size and --n exclude each other")
    return {"bpp": bpp, "size": size, "n": n}


def show(record: Record, report: Report) -> None:
    """Tell of one picture."""
    setting = "split" if record["n"] is None else f"n={record['n']:.3f}"
    probes = f"{record['probes']} probe{'' if record['probes'] == 1 else 's'}"
    cost = f"{record['bytes']} bytes, {record['bpp']:.4f} bpp, {setting}, {probes}"
    target = Job("", record["output"]).target_name
    report.say(f"{target}: {record['width']}x{record['height']}, {cost}")
    report.detail(f"{Job(record['file']).name}: {record['source_bytes']} bytes before, {record['seconds']:.2f} s")
