"""Put what `gancodec eval` measured into this repository's pages: figures and plots, no pictures.

    python tools/publish_results.py OUT --publish docs/results/kodak
    python tools/publish_results.py OUT --targets docs/targets.json --insert docs/models.md

OUT is the folder of results. --publish PREFIX writes PREFIX.md, PREFIX.json and the plots in the folder PREFIX;
--targets makes a table of bars and gaps, which is part of PREFIX.md, and --insert puts it between two marks in a page.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gancodec import atomic
from gancodec.errors import GicError, UsageError
from gancodec.evaluate.curves import Curve, Mean, at_rate, curves
from gancodec.evaluate.report.tables import METRICS, markdown
from gancodec.evaluate.rows import RATE, SETTING, Point
from gancodec.evaluate.table import DASH, Column, Table
from gancodec.messages import describe

START, END = "<!-- gancodec eval: {name} -->", "<!-- end of gancodec eval: {name} -->"
NAME = "targets"  # of the marks
Values = dict[float, float | None]


class Bars(NamedTuple):
    """Bars to reach: rates, and (codec, metric, label, value by rate) for each."""

    rates: list[float]
    bars: list[tuple[str, str, str, Values]]


def read_targets(path: Path) -> Bars:
    """Read a JSON file that has `rates` and `bars`: each with a `codec`, a `metric` (a column), a `label`, and
    `values` by rate, null where there is none. UsageError where it is not of that form."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        rates = [float(r) for r in data["rates"]]
        if not all(r > 0 for r in rates):
            raise ValueError("rates must be above 0")
        bars = [
            (str(b["codec"]), str(b["metric"]), str(b["label"]), _by_rate(rates, b["values"])) for b in data["bars"]
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"--targets {path}: not a file of targets: {error!r}") from error
    return Bars(rates, bars)


def _by_rate(rates: list[float], values: list[Any]) -> Values:
    return {rate: None if v is None else float(v) for rate, v in zip(rates, values, strict=True)}


def read_means(path: Path) -> list[Mean]:
    """Means of `results.json`; UsageError where there are none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["means"]
        return [
            Mean(
                codec=m["codec"],
                point=Point(m["kind"], m["asked"]),
                pictures=m["pictures"],
                reached=m["reached"],
                failed=0,
                beyond=math.nan,
                bpp=math.nan if m["bpp"] is None else m["bpp"],
                off=m["off"],
                encode_s=None,
                search_s=None,
                decode_s=None,
                figures={name: value for name, value in m["figures"].items() if value is not None},
            )
            for m in found
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: not the results of an evaluation: {error!r}") from error


def targets(wanted: Bars, measured: Sequence[Curve], found: Sequence[Mean]) -> Table:
    """Bars beside what was measured, with the gap: measured minus bar.

    Measured is the curve at one setting for all pictures, as published curves are, interpolated in log rate.
    """
    rates, bars = wanted
    columns = (Column("what", "what"), *(Column(f"{r:g}", f"{r:g} bpp") for r in rates))
    rows: list[dict[str, Any]] = []
    for codec, metric in dict.fromkeys((c, m) for c, m, _, _ in bars):
        curve = next((c for c in measured if c.name == codec and c.kind == SETTING), None)
        here = {r: at_rate(curve, metric, r) if curve else None for r in rates}
        name = _column(metric).label
        rows.append({"what": f"**{name}, {codec}**, one setting for all", **_cells(rates, here, None, metric)})
        mine = [m for m in found if m.codec == codec and m.point.kind == RATE and m.whole]
        there = {m.point.value: m.figures.get(metric) for m in mine}
        if any(value is not None for value in there.values()):
            rows.append({"what": f"{name}, {codec}, every picture at the rate", **_cells(rates, there, None, metric)})
        for _, _, label, values in (b for b in bars if b[:2] == (codec, metric)):
            rows.append({"what": f"{name}: {label}", **_cells(rates, values, here, metric)})
    return Table(columns, tuple(rows))


def _column(metric: str) -> Column:
    return METRICS.get(metric, Column(metric, metric, digits=4))


def _cells(rates: Sequence[float], values: Values, measured: Values | None, metric: str) -> dict[str, str | None]:
    digits = _column(metric).digits
    cells: dict[str, str | None] = {}
    for rate in rates:
        value, mine = values.get(rate), (measured or {}).get(rate)
        cells[f"{rate:g}"] = None if value is None else f"{value:.{digits}f}"
        if value is not None and measured is not None:
            cells[f"{rate:g}"] = f"{value:.{digits}f} ({DASH if mine is None else f'{mine - value:+.{digits}f}'})"
    return cells


def publish(folder: Path, prefix: Path, table: str) -> None:
    """Copy report, record and plots of a folder of results to `prefix`, with the table of targets on top."""
    try:
        head, mark, rest = (folder / "report.md").read_text(encoding="utf-8").partition("\n\n## ")
        record = (folder / "results.json").read_bytes()
        plots = {path.name: path.read_bytes() for path in (folder / "plots").glob("*.svg")}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{folder}: {getattr(error, 'strerror', None) or error}") from error
    prefix.mkdir(parents=True, exist_ok=True)
    for name, data in plots.items():
        atomic.replace(prefix / name, data)
    section = f"\n\n## Targets\n\n{table}" if table else ""
    page = head + section + mark + rest.replace("](plots/", f"]({prefix.name}/")
    atomic.replace(prefix.with_name(f"{prefix.name}.md"), page.encode("utf-8", "backslashreplace"))
    atomic.replace(prefix.with_name(f"{prefix.name}.json"), record)


def insert(path: Path, name: str, text: str) -> None:
    """Replace what stands between the marks of `name` in a file; UsageError where it has none."""
    try:
        page = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--insert {path}: {getattr(error, 'strerror', None) or error}") from error
    start, end = START.format(name=name), END.format(name=name)
    head, _, rest = page.partition(start)
    if page.count(start) != 1 or rest.count(end) != 1:
        raise UsageError(f"--insert {path}: needs one line {start} and, below it, one line {end}")
    atomic.replace(path, f"{head}{start}\n{text.strip()}\n{end}{rest.partition(end)[2]}".encode())


def run(folder: Path, wanted: Path | None, prefix: Path | None, page: Path | None) -> None:
    """Do what the options ask for."""
    if page is not None and wanted is None:
        raise UsageError("--insert needs --targets")
    table = ""
    if wanted is not None:
        found = read_means(folder / "results.json")
        table = markdown(targets(read_targets(wanted), curves(found, SETTING), found))
    try:
        if page is not None:
            insert(page, NAME, table)
        if prefix is not None:
            publish(folder, prefix, table)
    except OSError as error:
        raise GicError(f"{error.filename or prefix} cannot be written: {error.strerror or error}") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code; errors are one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="OUT")
    parser.add_argument("--targets", type=Path, metavar="FILE", help="JSON file of bars to reach")
    parser.add_argument("--publish", type=Path, metavar="PREFIX")
    parser.add_argument("--insert", type=Path, metavar="FILE", help="page with marks")
    options = parser.parse_args(arguments)
    try:
        run(options.folder, options.targets, options.publish, options.insert)
    except GicError as error:
        text, code = describe(error)
        print(f"gancodec: {text}", file=sys.stderr)
        return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
