"""``gancodec encode``: pictures to .gic files."""

from __future__ import annotations

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
    from gancodec.codec.api import Encoded, EncodeOptions

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
    preserve_times: options.PreserveTimes = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> None:
    """Encode pictures to .gic files (photo.png becomes photo.gic).

    Without --bpp, --size or --n the model's middle setting is used (n = 0). --saliency, --roi, --roi-box and --protect
    move bits between the parts of a picture: the file stays as large as asked for, so the rest gets fewer.
    """
    if sum(value is not None for value in (bpp, size, n)) > 1:
        raise UsageError("--bpp, --size and --n exclude each other")
    saving = files.Saving(overwrite, skip_existing, preserve_times)
    report = options.writing_report(inputs, output, saving, quiet=quiet, verbose=verbose, as_json=as_json)
    dropped = options.parse_strip(strip)
    options.set_threads(threads)
    from gancodec.codec.options import EncodeOptions, check

    chosen = EncodeOptions(
        bpp=bpp,
        size=size,
        n=n,
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
    plan = partial(files.writing_jobs, inputs, files.PICTURE_SUFFIXES, ".gic", output, folder)
    raise typer.Exit(report.run(plan, lambda job: encode_one(job, chosen, saving, report), saving))


def encode_one(job: Job, chosen: EncodeOptions, saving: files.Saving, report: Report) -> None:
    """Load, encode, write and report one picture."""
    from gancodec import imageio

    started = time.perf_counter()
    with files.open_source(job.source) as stream:
        source_bytes = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        picture = imageio.load(stream, chosen.max_pixels)
    from gancodec.codec.api import encode_picture  # the codec: only for what is a picture

    coded = encode_picture(picture, chosen)
    files.write(job, coded.data, saving)
    warnings = [*coded.notices, *_warnings(coded, chosen, source_bytes)]
    for text in warnings:
        report.warn(job.name, text)
    height, width = picture.rgb.shape[:2]
    size = len(coded.data)
    probes = f"{coded.probes} probe{'' if coded.probes == 1 else 's'}"
    setting = "split" if chosen.profile == "split" else f"n={coded.n:.3f}"
    cost = f"{size} bytes, {coded.bpp:.4f} bpp, {setting}, {probes}"
    report.say(f"{job.target_name}: {width}x{height}, {cost}")
    report.detail(f"{job.name}: {source_bytes} bytes before, {time.perf_counter() - started:.2f} s")
    report.record(
        {
            "file": job.source,
            "output": job.target,
            "width": width,
            "height": height,
            "source_bytes": source_bytes,
            "bytes": size,
            "bpp": coded.bpp,
            "profile": chosen.profile,
            "n": None if chosen.profile == "split" else coded.n,
            "probes": coded.probes,
            "hit": coded.hit,
            "seconds": round(time.perf_counter() - started, 3),
            "warnings": warnings,
        }
    )


def _warnings(coded: Encoded, chosen: EncodeOptions, source_bytes: int) -> list[str]:
    from gancodec.codec.api import describe_miss

    warnings = []
    if not coded.hit:
        target = f"{chosen.size} bytes" if chosen.size is not None else f"{chosen.bpp} bpp"
        above = len(coded.data) > chosen.size if chosen.size is not None else coded.bpp > (chosen.bpp or 0)
        warnings.append(describe_miss(target, above, len(coded.data), coded.bpp))
    if len(coded.data) > source_bytes:
        warnings.append(f"the .gic file ({len(coded.data)} bytes) is larger than its source ({source_bytes} bytes)")
    return warnings
