"""``gancodec eval``: our models beside other codecs, on real files."""

from __future__ import annotations

import fnmatch
import math
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gancodec.cli import files, options
from gancodec.cli.report import Report
from gancodec.errors import GicError, UsageError
from gancodec.messages import FAILED, printable

if TYPE_CHECKING:
    from gancodec.evaluate.job import Plan
    from gancodec.evaluate.report.context import Context
    from gancodec.evaluate.run import Outcome
    from gancodec.tiling import Progress

MOST_BPP = 100.0
LINE_EVERY = 30  # seconds between lines of progress where standard error is no terminal
TERMINAL = ("codec", "point", "reached", "bpp", "psnr", "ms-ssim", "ssim", "lpips-squeeze", "lpips-alex", "dists-vgg16")


def numbers(text: str) -> list[float]:
    """Numbers of a comma-separated list."""
    return [options.parse_number(part) for part in text.split(",") if part.strip()]


Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of results; a run that was stopped goes on.")]
Codecs = Annotated[
    str | None,
    typer.Option("--codecs", metavar="A,B", help="Models and peers: gic, jpeg, webp, jp2, avif, jxl, heic, bpg, vvc."),
]
Rates = Annotated[str, typer.Option("--bpp", metavar="X,Y", help="Rates that every picture is brought to.")]
Sweep = Annotated[bool, typer.Option("--sweep", help="Also each codec's own settings, the same for all pictures.")]
Beta = Annotated[
    str, typer.Option("--beta", metavar="X,Y", help="Realism of our decoder, 0 .. 1; several make columns.")
]
Jobs = Annotated[int, typer.Option("--jobs", min=1, metavar="N", help="Worker processes.")]
Backbones = Annotated[
    Path | None,
    typer.Option("--backbones", metavar="DIR", help="Weights of feature networks (LPIPS, DISTS, FID, KID)."),
]
Anchors = Annotated[
    list[Path] | None, typer.Option("--anchors", metavar="FILE", help="Published curves: CSV or CompressAI's JSON.")
]
Overlay = Annotated[
    list[str] | None, typer.Option("--overlay", metavar="NAME", help="Anchors to draw; * and ? are wild.")
]
Against = Annotated[
    list[str] | None,
    typer.Option("--against", metavar="[CODEC=]NAME", help="Codec or anchor for BD-rates; * and ? are wild."),
]
Speed = Annotated[bool, typer.Option("--speed/--no-speed", help="Time each codec alone, in fresh processes.")]
Show = Annotated[int, typer.Option("--show", min=0, metavar="N", help="Pictures in the HTML report.")]
Title = Annotated[str | None, typer.Option("--title", metavar="TEXT", help="Heading of the reports.")]
Method = Annotated[
    str, typer.Option("--saliency", metavar="METHOD", help="Weights of psnr-saliency, ms-ssim-saliency.")
]


def evaluate(
    inputs: options.Pictures,
    out: Out,
    codecs: Codecs = None,
    bpp: Rates = "0.05,0.1,0.2,0.4",
    sweep: Sweep = False,
    beta: Beta = "0",
    device: options.DeviceOption = "auto",
    jobs: Jobs = 1,
    backbones: Backbones = None,
    saliency: Method = "combined",
    anchors: Anchors = None,
    overlay: Overlay = None,
    against: Against = None,
    speed: Speed = True,
    show: Show = 3,
    title: Title = None,
    max_pixels: options.MaxPixels = options.MAX_PIXELS,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> None:
    """Measure codecs on pictures: real files, decoded again, at matched rates.

    Writes a CSV file, JSON, CompressAI's JSON, plots, Markdown and one HTML page into --out.
    """
    report = Report(quiet=quiet, verbose=verbose, as_json=as_json)
    measures = {"sweep": sweep, "folder": out, "backbones": backbones, "saliency": saliency, "speed": speed}
    plan = _plan(codecs, bpp, beta, **measures, device=device, max_pixels=max_pixels)
    from gancodec.evaluate.report import outputs
    from gancodec.evaluate.report.anchors import read_anchors
    from gancodec.evaluate.report.context import check_packages, derive
    from gancodec.evaluate.run import evaluate as run

    # All that can be refused is refused before the work begins.
    published = [curve for path in anchors or [] for curve in read_anchors(path)]
    check_packages(bool(against))
    measured = [codec.name for codec in plan.under_test.values()]
    known = [*measured, *(curve.name for curve in published)]
    drawn, pairs = _matching(known, overlay, "--overlay"), _pairs(measured, known, against)
    paths = list(files.inputs(inputs, files.PICTURE_SUFFIXES))
    with writing(out), Bar(report) as bar:
        outcome = run(plan, paths, jobs, bar)
        command = printable(shlex.join(["gancodec", *sys.argv[1:]]))
        heading = printable(title or f"{len(outcome.sources)} pictures")
        overlaid = [curve for curve in published if curve.name in drawn]
        context = derive(outcome, heading, command, published, overlaid, pairs)
        bar.stage("report", show)
        written = outputs.write_all(context, show, bar.step)
    _tell(context, report, as_json=as_json, quiet=quiet)
    report.say("written: " + ", ".join(map(str, written)))
    raise typer.Exit(_fail(outcome, report))


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """A folder or file of results that cannot be written is one line."""
    try:
        yield
    except OSError as error:
        raise GicError(f"{error.filename or out} cannot be written: {error.strerror or error}") from error


def _fail(outcome: Outcome, report: Report) -> int:
    """One line for each picture or file that failed; the exit code."""
    for row in outcome.failed:
        report.failed(" ".join(part for part in (row.picture, row.codec) if part), printable(row.error), FAILED)
    return FAILED if outcome.failed else 0


def _plan(names: str | None, bpp: str, beta: str, **rest: Any) -> Plan:
    """The plan of an evaluation, the `rest` of its fields as given; UsageError for what cannot be measured."""
    rates, betas = tuple({f"{r:g}": r for r in numbers(bpp)}.values()), tuple(dict.fromkeys(numbers(beta)))
    if any(not 0 < rate <= MOST_BPP for rate in rates):
        raise UsageError(f"--bpp: every rate must be above 0, and at most {MOST_BPP:g}")
    if not rates and not rest["sweep"]:
        raise UsageError("nothing to measure: give --bpp, --sweep or both")
    if not betas or any(not 0 <= b <= 1 for b in betas):
        raise UsageError("--beta: numbers from 0 to 1")
    if rest["backbones"] is not None and not rest["backbones"].is_dir():
        raise UsageError(f"--backbones {rest['backbones']}: no such folder")
    from gancodec.evaluate import codecs
    from gancodec.evaluate.job import Plan
    from gancodec.saliency import METHODS

    if rest["saliency"] not in METHODS:
        raise UsageError(f"--saliency {rest['saliency']}: choose {', '.join(METHODS)}")
    chosen = codecs.names() if names is None else dict.fromkeys(filter(None, map(str.strip, names.split(","))))
    pairs = tuple((name, b) for name in chosen for b in codecs.realisms(name, betas))
    pairs = tuple({codecs.get(name, rest["device"], b).name: (name, b) for name, b in reversed(pairs)}.values())[::-1]
    if not pairs:
        raise UsageError("--codecs: name at least one")
    return Plan(pairs, rates, **rest)


def _matching(names: list[str], patterns: list[str] | None, option: str) -> list[str]:
    """Names that a pattern matches, in the order of the patterns; UsageError for a pattern without any."""
    found: list[str] = []
    for pattern in patterns or []:
        mine = [name for name in names if name == pattern] or fnmatch.filter(names, pattern)
        if not mine:
            raise UsageError(f"{option} {pattern!r}: no such curve; there are {', '.join(names[:12])}, …")
        found += mine
    return list(dict.fromkeys(found))


def _pairs(measured: list[str], known: list[str], given: list[str] | None) -> list[tuple[str | None, str]]:
    """(codec, anchor) from ``anchor`` and ``codec=anchor``; a name may hold an equals sign itself."""
    found: list[tuple[str | None, str]] = []
    for text in given or []:
        codec, _, rest = text.partition("=")
        named = rest and codec in measured
        found += [(codec if named else None, name) for name in _matching(known, [rest if named else text], "--against")]
    return found


class Bar(ExitStack):
    """Progress with the time left: a bar on a terminal, else a line now and then."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self._report = report
        self._completed: Progress | None = None
        self._name, self._total, self._done, self._started, self._told = "", 0, 0, 0.0, 0.0

    def stage(self, name: str, total: int) -> None:
        """A new stage of `total` steps begins."""
        self.close()
        self._name, self._total, self._done, self._completed = name, total, 0, None
        self._started = self._told = time.monotonic()
        if not self._report.quiet and total and sys.stderr.isatty():
            self._completed = self.enter_context(self._report.bar(total, name))

    def step(self) -> None:
        """One step is done."""
        self._done += 1
        now = time.monotonic()
        if self._completed is not None:
            self._completed(self._done, self._total)
        elif now - self._told >= LINE_EVERY:
            left = (now - self._started) / self._done * (self._total - self._done)
            self._report.say(f"{self._name}: {self._done} of {self._total}, {left / 60:.1f} minutes left")
            self._told = now


def _tell(context: Context, report: Report, *, as_json: bool, quiet: bool) -> None:
    """The summary on standard output: a table, or one JSON object a row."""
    from gancodec.evaluate.report import tables
    from gancodec.evaluate.table import text_of

    summary = tables.summary(context.means)
    if as_json:
        for row in summary.rows:
            report.record({k: v if not isinstance(v, float) or math.isfinite(v) else None for k, v in row.items()})
        return
    if quiet:
        return
    shown = [c for c in summary.columns if c.name in TERMINAL or c.name.startswith("kid256") or c.name == "note"]
    left = [i for i, column in enumerate(shown) if column.name in ("codec", "point", "note")]
    report.table([c.label for c in shown], [[text_of(row[c.name], c) for c in shown] for row in summary.rows], left)
