"""``gancodec sizes``: hold file sizes and qualities to a baseline, in CI or by hand."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gancodec.batch.files import Job, Saving, is_stream, write
from gancodec.cli import files, options
from gancodec.cli.report import Report
from gancodec.errors import GicError, UnreadablePicture, UsageError
from gancodec.messages import FAILED, markdown
from gancodec.options import EncodeOptions
from gancodec.sources import PIPE, read_small, read_source

if TYPE_CHECKING:
    from gancodec.sizes import Baseline, Entry, Finding
    from gancodec.weights import ModelInfo

SUFFIXES = files.PICTURE_SUFFIXES | files.GIC_SUFFIXES
SUMMARY = "GITHUB_STEP_SUMMARY"
COLUMNS = ("file", "bytes before", "now", "change", "PSNR before", "now", "MS-SSIM before", "now", "verdict")
NO_FILE = "the baseline has to be a file, as its names are relative to its folder"
LEFT = (0, len(COLUMNS) - 1)  # columns of text; the others hold numbers

sizes = typer.Typer(
    name="sizes",
    help="Hold file sizes and qualities to a baseline, in CI or by hand.",
    rich_markup_mode=None,
    add_completion=False,
)


def _tolerance(text: str | float) -> float:
    """A number from 0, with or without a percent sign; defaults, numbers already, come here too."""
    value = options.parse_number(str(text).strip().removesuffix("%"))
    if value < 0:
        raise typer.BadParameter(f"{text!r} is below 0")
    return value


BaselineFile = Annotated[str, typer.Argument(metavar="BASELINE", help="JSON file that `update` writes.")]
Measured = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FILE]...",
        help="Pictures, .gic files, or folders of them; without any, all files of the baseline.",
        show_default=False,
    ),
]
EntropyOption = Annotated[
    options.Entropy | None, typer.Option("--entropy", help=f"Entropy coder; else {EncodeOptions.entropy}.")
]
DeviceOption = Annotated[
    options.Device | None, typer.Option("--device", help="Where the networks run; else the CPU, for stable sizes.")
]
SizeTolerance = Annotated[
    float, typer.Option("--size-tolerance", parser=_tolerance, metavar="PERCENT", help="Change of size to let pass.")
]
PsnrTolerance = Annotated[
    float, typer.Option("--psnr-tolerance", parser=_tolerance, metavar="DB", help="Change of PSNR to let pass.")
]
MsSsimTolerance = Annotated[
    float, typer.Option("--ms-ssim-tolerance", parser=_tolerance, metavar="X", help="Change of MS-SSIM to let pass.")
]
Exact = Annotated[bool, typer.Option("--exact", help="Fail for improvements beyond the tolerances too.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object per file on standard output.")]


@sizes.command()
def check(
    baseline: BaselineFile,
    inputs: Measured = None,
    size_tolerance: SizeTolerance = 1.0,
    psnr_tolerance: PsnrTolerance = 0.05,
    ms_ssim_tolerance: MsSsimTolerance = 0.001,
    exact: Exact = False,
    threads: options.Threads = None,
    max_pixels: options.MaxPixels = options.MAX_PIXELS,
    as_json: Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> None:
    """Measure files again, at the baseline's settings, and fail (exit 1) where they grew or look worse."""
    report = Report(quiet=quiet, verbose=verbose, as_json=as_json)
    options.set_threads(threads)
    from gancodec import weights
    from gancodec.sizes import Tolerances, examine

    old = _read(baseline)
    known = _paths(old, baseline)
    paths, faults = _walk(inputs, baseline, known) if inputs else (known, [])
    info = weights.get(old.model).info
    tolerances = Tolerances(size_tolerance, psnr_tolerance, ms_ssim_tolerance)
    findings: list[Finding] = []

    def work(job: Job) -> None:
        name = job.source
        read = partial(read_source, paths[name], max_pixels) if os.path.exists(paths[name]) else None
        found = examine(name, old.files.get(name), read, old.model, tolerances, max_pixels)
        findings.append(found)
        report.record(found.record)

    code = report.run(lambda: [*(Job(name) for name in sorted(paths)), *faults], work)
    failed = _tell(findings, exact, report, baseline)
    if (here := info.entropy_hash.hex()) != old.entropy_hash:
        code = report.fail(baseline, GicError(f"its {old.model} has hash {old.entropy_hash}, the one here {here}"))
    raise typer.Exit(FAILED if failed else code)


def _tell(findings: Sequence[Finding], exact: bool, report: Report, baseline: str) -> bool:
    """Table, one line for every file that moved, and the summary; true where the check fails."""
    from gancodec.sizes import BETTER, summary

    text, failed = summary(findings, exact)
    if not report.as_json and not report.quiet:
        style = {"ok": "", BETTER: "green"}
        report.table(COLUMNS, [_row(finding) for finding in findings], LEFT, lambda cell: style.get(cell, "bold red"))
    for finding in findings:
        if finding.failed or (exact and finding.verdict == BETTER):
            report.tell(f"gancodec: {finding.name}: {finding.verdict}: {finding.why}")
        elif finding.verdict == BETTER:
            report.say(f"{finding.name}: {finding.verdict}: {finding.why}")
    report.say(text)
    if any(finding.verdict == BETTER for finding in findings):
        report.say(f"to keep what got better: gancodec sizes update {baseline}")
    _write_summary(text, findings, report)
    return failed


@sizes.command()
def update(
    context: typer.Context,
    baseline: BaselineFile,
    inputs: Measured = None,
    bpp: options.Bpp = None,
    size: options.Size = None,
    n: options.Parameter = None,
    model: options.Model = None,
    entropy: EntropyOption = None,
    device: DeviceOption = None,
    threads: options.Threads = None,
    max_pixels: options.MaxPixels = options.MAX_PIXELS,
    as_json: Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> None:
    """Measure files and write the baseline, which then holds exactly these files.

    What is not given stays as an existing baseline has it; a new one has n = 0 and the default model.
    """
    options.encode_options(context.params)  # refuses what no file could be encoded with
    names = ("bpp", "size", "n", "entropy", "device")
    given = {name: context.params[name] for name in names if context.params[name] is not None}
    report = Report(quiet=quiet, verbose=verbose, as_json=as_json)
    options.set_threads(threads)
    from gancodec import weights
    from gancodec.sizes import Settings, measure

    if is_stream(baseline):
        raise UsageError(NO_FILE)
    old = _read(baseline) if os.path.lexists(baseline) else None
    faults: list[Job] = []
    if inputs:
        paths, faults = _walk(inputs, baseline, {})
    elif old is None:
        raise UsageError(f"{baseline} does not exist yet: name the files that it is to hold")
    else:
        paths = _paths(old, baseline)
    chosen = weights.get(model or (old.model if old is not None else None)).info
    entries: dict[str, Entry] = {}

    def work(job: Job) -> None:
        content = read_source(paths[job.source], max_pixels)
        settings = (Settings() if old is None else old.settings_of(job.source)).changed(given)
        entry = entries[job.source] = measure(job.source, content, settings, chosen.name, max_pixels)
        report.say(f"{job.source}: {_figures(entry)}")
        if entry.bytes > (settings.size or entry.bytes) or (entry.bpp or 0) > (settings.bpp or math.inf):
            report.warn(job.source, "above the size asked for; this is the nearest")
        report.record({"file": job.source, **entry.record})

    code = report.run(lambda: [*(Job(name) for name in sorted(paths)), *faults], work)
    if code == 0:  # one failure, and the baseline stays as it is
        _write(baseline, chosen, entries, old, report)
    raise typer.Exit(code)


def _write(baseline: str, model: ModelInfo, entries: dict[str, Entry], old: Baseline | None, report: Report) -> None:
    """Write the baseline, whole or not at all, and tell what has left it."""
    from gancodec.sizes import dump

    write(Job("", baseline), dump(model, entries), Saving(overwrite=True))
    for name in sorted(set(old.files if old is not None else ()) - set(entries)):
        report.say(f"{name}: no longer in the baseline")
    report.say(f"{baseline}: {len(entries)} file{'' if len(entries) == 1 else 's'}, model {model.name}")


def _figures(entry: Entry) -> str:
    if entry.psnr is None:
        return f"{entry.bytes} bytes"
    return f"{entry.bytes} bytes, {entry.bpp:.4f} bpp, {entry.psnr:.2f} dB, MS-SSIM {entry.ms_ssim:.4f}"


# --- names: relative to the baseline's folder, whatever the working folder is


def _place(path: str) -> str:
    """Absolute path; links among its folders are followed, so that two ways to one folder give one name."""
    folder, name = os.path.split(os.path.abspath(path))
    return os.path.join(os.path.realpath(folder), name)


def _paths(old: Baseline, baseline: str) -> dict[str, str]:
    """Path of every file of a baseline by its name."""
    root = os.path.dirname(_place(baseline))
    return {name: os.path.normpath(os.path.join(root, name)) for name in old.files}


def _walk(names: Iterable[str], baseline: str, known: dict[str, str]) -> tuple[dict[str, str], list[Job]]:
    """Files, by name, of the arguments, of a folder also those that are in the baseline and not there any more; and the
    folders that cannot be read."""
    root = os.path.dirname(_place(baseline))
    found: dict[str, str] = {}
    faults: list[Job] = []
    for argument in names:
        if argument in ("", PIPE):
            raise UsageError("standard input and empty names cannot be in a baseline: name a file")
        inside: dict[str, str] = {}
        if os.path.isdir(argument):
            folder = os.path.realpath(argument)
            inside = {name: path for name, path in known.items() if Path(path).is_relative_to(folder)}
            found.update(inside)
        try:
            for source, _, fault in files.inputs([argument], SUFFIXES):
                if fault:
                    faults.append(Job(source, fault=fault))
                else:
                    found[_relative(source, root)] = source
        except UnreadablePicture:  # a folder without pictures; where the baseline knows some, they are missing
            if not inside:
                raise
    return found, faults


def _relative(path: str, root: str) -> str:
    try:
        return os.path.relpath(_place(path), root).replace(os.sep, "/")
    except ValueError as error:  # another drive
        raise UsageError(f"{path}: no relative path leads there from the baseline; keep both on one drive") from error


def _read(baseline: str) -> Baseline:
    """Read a baseline; an error of exit code 3, with its name, where that cannot be done."""
    from gancodec.sizes import parse

    if baseline in ("", PIPE):
        raise UsageError(NO_FILE)
    try:
        return parse(read_small(baseline))
    except GicError as error:
        raise type(error)(f"{baseline}: {error}") from error


# --- tables


def _row(finding: Finding) -> tuple[str, ...]:
    sides = (finding.before, finding.now)

    def pair(key: str, style: str) -> list[str]:
        values = [None if entry is None else getattr(entry, key) for entry in sides]
        return ["" if value is None else format(value, style) for value in values]

    change = "" if finding.change is None else f"{finding.change:+.2f} %"
    quality = [*pair("psnr", ".2f"), *pair("ms_ssim", ".4f")]
    return (finding.name, *pair("bytes", "d"), change, *quality, finding.verdict)


def _verdict(finding: Finding) -> str:
    """With its reason, as Markdown."""
    return markdown(f"{finding.verdict}: {finding.why}" if finding.why else finding.verdict)


def _write_summary(text: str, findings: Sequence[Finding], report: Report) -> None:
    """Append a Markdown table to the job summary of GitHub Actions, where there is one."""
    target = os.environ.get(SUMMARY)
    if not target:
        return
    rule = ["---" if i in LEFT else "---:" for i in range(len(COLUMNS))]
    rows = [COLUMNS, rule, *([*map(markdown, _row(f)[:-1]), _verdict(f)] for f in findings)]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    try:
        with open(target, "a", encoding="utf-8") as handle:
            handle.write("\n".join([f"### File sizes: {text}", "", *lines, "", ""]))
    except OSError as error:
        report.warn(target, f"no summary: {error.strerror}")
