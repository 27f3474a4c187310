"""Results as tables, and a table as text: terminal, Markdown."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gancodec.errors import UsageError
from gancodec.evaluate.curves import Curve, Delta, Mean, at_rate
from gancodec.evaluate.metrics.quality import COLUMNS, FACTS
from gancodec.evaluate.report.page import DASH, Column, Table, text_of
from gancodec.evaluate.rows import RATE, SETTING, Row
from gancodec.evaluate.run import Outcome

Values = dict[float, float | None]
METRICS = {c.name: c for c in (*COLUMNS, *FACTS)}
SPEED = (
    Column("bpp", "bpp", "of the file that is timed", 3),
    Column("encode_s", "encode s", "one encode at that setting, warm, least of three", 3, "lower"),
    Column("decode_s", "decode s", "warm, least of three", 3, "lower"),
    Column("cold_encode_s", "cold encode s", "a Python process from start to end", 2, "lower"),
    Column("cold_decode_s", "cold decode s", "a Python process from start to end, PNG out", 2, "lower"),
    Column("encode_mib", "encode MiB", "peak memory of that process", 0, "lower"),
    Column("decode_mib", "decode MiB", "peak memory of that process", 0, "lower"),
)


def _figure_columns(found: Sequence[Mean]) -> list[Column]:
    names = list(dict.fromkeys(n for mean in found for n in mean.figures))
    return [column_of(name) for name in names]


def column_of(name: str) -> Column:
    """How a figure is shown; those of sets of patches are named by kind, side and network."""
    known = METRICS.get(name)
    if known is not None:
        return Column(name, known.label, known.hint, known.digits, known.better)
    kind, _, network = name.partition("-")
    side = kind.lstrip("fikd")
    hint = f"{kind[:3].upper()} between {side}-pixel patches of originals and decoded pictures, features of {network}"
    return Column(name, f"{kind[:3].upper()}/{side} {network}", hint, 1 if kind.startswith("fid") else 4, "lower")


def summary(found: Sequence[Mean]) -> Table:
    """Means by codec and point. Where not every picture reached the rate, their number says so, and no figure is
    shown."""
    columns = [
        Column("codec", "codec"),
        Column("point", "asked", "rate for each picture, or one setting for all of them"),
        Column("reached", "pictures", "pictures that reached it, of all"),
        Column(
            "bpp", "bpp", "mean bits per pixel of the whole files; of the nearest where it is not reached", 4, "lower"
        ),
        Column("off", "off %", "largest distance of a picture's rate from the one asked for", 1, "lower"),
        *_figure_columns(found),
        Column("search_s", "search s", "to find the setting and encode, mean, while other work ran", 3, "lower"),
        Column("note", "note"),
    ]
    rows: list[dict[str, Any]] = []
    for mean in found:
        row: dict[str, Any] = {
            "codec": mean.codec,
            "point": mean.point.label,
            "reached": f"{mean.reached} of {mean.pictures}",
            "bpp": None if math.isnan(mean.bpp) else mean.bpp,
            "off": 100 * mean.off if mean.point.kind == RATE and mean.reached else None,
            "search_s": mean.search_s if mean.point.kind == RATE else None,
            "note": _note(mean),
        }
        rows.append(row | (mean.figures if mean.whole else {}))
    return _table(columns, rows)


def _note(mean: Mean) -> str:
    if mean.whole:
        return ""
    if mean.failed:
        return f"{mean.failed} failed"
    beyond = "lowest" if mean.beyond > mean.point.value else "highest"
    missed = mean.pictures - mean.reached
    return f"out of reach of {missed}: their {beyond} mean {mean.beyond:.4f} bpp"


def _table(columns: Sequence[Column], rows: Sequence[dict[str, Any]]) -> Table:
    filled = tuple({c.key: row.get(c.key) for c in columns} for row in rows)
    return Table(tuple(columns), filled)


def speed(outcome: Outcome) -> Table:
    """Seconds and memory by codec, alone on the machine, on one picture."""
    rows = [{"codec": name, **figures} for name, figures in outcome.speed.items()]
    return _table([Column("codec", "codec"), *SPEED], rows)


def bd_rates(deltas: Sequence[Delta]) -> Table:
    """BD-rates with the range of quality that they cover."""
    columns = [
        Column("test", "codec"),
        Column("anchor", "against"),
        Column("metric", "metric"),
        Column("percent", "BD-rate %", "negative: smaller files at equal quality (Akima)", 1, "lower"),
        Column("range", "overlap", "range of quality that both curves cover"),
        Column("why", "note"),
    ]
    rows = [
        {
            "test": d.test,
            "anchor": d.anchor,
            "metric": METRICS[d.metric].label if d.metric in METRICS else d.metric,
            "percent": d.percent,
            "range": "" if d.low is None or d.high is None else f"{d.low:.2f} .. {d.high:.2f}",
            "why": d.why,
        }
        for d in deltas
    ]
    return _table(columns, rows)


def failures(rows: Sequence[Row]) -> Table:
    """Pictures that could not be read, and files that could not be made."""
    columns = [
        Column("picture", "picture"),
        Column("codec", "codec"),
        Column("point", "asked"),
        Column("error", "error"),
    ]
    return _table(
        columns,
        [
            {
                "picture": r.picture,
                "codec": r.codec or "all",
                "point": r.point.label if r.kind else "",
                "error": r.error,
            }
            for r in rows
            if r.reached == "error"
        ],
    )


class Bars(NamedTuple):
    """Bars to reach: rates, and (codec, metric, label, value by rate) for each."""

    rates: list[float]
    bars: list[tuple[str, str, str, dict[float, float | None]]]


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


def targets(wanted: Bars, curves: Sequence[Curve], found: Sequence[Mean]) -> Table:
    """Bars beside what was measured, with the gap: measured minus bar.

    Measured is the curve at one setting for all pictures, as published curves are, interpolated in log rate.
    """
    rates, bars = wanted
    columns = [Column("what", "what"), *(Column(f"{r:g}", f"{r:g} bpp") for r in rates)]
    rows: list[dict[str, Any]] = []
    for name, metric in dict.fromkeys((c, m) for c, m, _, _ in bars):
        curve = next((c for c in curves if c.name == name and c.kind == SETTING), None)
        here = {r: at_rate(curve, metric, r) if curve else None for r in rates}
        title = METRICS[metric].label if metric in METRICS else metric
        rows.append({"what": f"**{title}, {name}**, one setting for all", **_cells(rates, here, None, metric)})
        mine = [m for m in found if m.codec == name and m.point.kind == RATE and m.whole]
        there = {m.point.value: m.figures.get(metric) for m in mine}
        if any(value is not None for value in there.values()):
            rows.append({"what": f"{title}, {name}, every picture at the rate", **_cells(rates, there, None, metric)})
        for _, _, label, values in (b for b in bars if b[:2] == (name, metric)):
            rows.append({"what": f"{title}: {label}", **_cells(rates, values, here, metric)})
    return _table(columns, rows)


def _cells(rates: Sequence[float], values: Values, measured: Values | None, metric: str) -> dict[str, str | None]:
    digits = METRICS[metric].digits if metric in METRICS else 4
    cells: dict[str, str | None] = {}
    for rate in rates:
        value, mine = values.get(rate), (measured or {}).get(rate)
        cells[f"{rate:g}"] = None if value is None else f"{value:.{digits}f}"
        if value is not None and measured is not None:
            cells[f"{rate:g}"] = f"{value:.{digits}f} ({DASH if mine is None else f'{mine - value:+.{digits}f}'})"
    return cells


def markdown(table: Table, keys: Sequence[str] | None = None) -> str:
    """A table in Markdown; with `keys` those columns only."""
    columns = [c for c in table.columns if keys is None or c.key in keys]
    lines = ["| " + " | ".join(c.label for c in columns) + " |", "|" + "---|" * len(columns)]
    for row in table.rows:
        cells = (text_of(row[c.key], c).replace("|", "\\|").replace("\n", " ") for c in columns)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plain_markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table in Markdown, of cells that are text already."""
    return ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]
