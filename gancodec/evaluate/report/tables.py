"""Results as tables, and a table as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from gancodec.evaluate.curves import Delta, Mean
from gancodec.evaluate.metrics.quality import COLUMNS, FACTS
from gancodec.evaluate.rows import RATE, Row
from gancodec.evaluate.run import Outcome
from gancodec.evaluate.table import Column, Table, text_of
from gancodec.messages import markdown as escaped
from gancodec.messages import printable

METRICS = {c.name: c for c in (*COLUMNS, *FACTS)}
SPEED = (
    Column("codec", "codec"),
    Column("bpp", "bpp", "of the file that is timed", 3),
    Column("encode_s", "encode s", "one encode at that setting, warm, least of three", 3, "lower"),
    Column("decode_s", "decode s", "warm, least of three", 3, "lower"),
    Column("cold_encode_s", "cold encode s", "a Python process from start to end", 2, "lower"),
    Column("cold_decode_s", "cold decode s", "a Python process from start to end, PNG out", 2, "lower"),
    Column("encode_mib", "encode MiB", "peak memory of that process", 0, "lower"),
    Column("decode_mib", "decode MiB", "peak memory of that process", 0, "lower"),
)
SUMMARY = (
    Column("codec", "codec"),
    Column("point", "asked", "rate for each picture, or one setting for all of them"),
    Column("reached", "pictures", "pictures that reached it, of all"),
    Column("bpp", "bpp", "mean bits per pixel of the whole files; of the nearest where it is not reached", 4, "lower"),
    Column("off", "off %", "largest distance of a picture's rate from the one asked for", 1, "lower"),
)
SEARCH = Column("search_s", "search s", "to find the setting and encode, mean, while other work ran", 3, "lower")
BD_RATES = (
    Column("test", "codec"),
    Column("anchor", "against"),
    Column("metric", "metric"),
    Column("percent", "BD-rate %", "negative: smaller files at equal quality (Akima)", 1, "lower"),
    Column("range", "overlap", "range of quality that both curves cover"),
    Column("why", "note"),
)
FAILURES = (
    Column("picture", "picture"),
    Column("codec", "codec"),
    Column("point", "asked"),
    Column("error", "error"),
)


def column_of(name: str) -> Column:
    """How a figure is shown; those of sets of patches are named by kind, side and network."""
    if name in METRICS:
        return METRICS[name]
    kind, _, network = name.partition("-")
    side = kind.lstrip("fikd")
    hint = f"{kind[:3].upper()} between {side}-pixel patches of originals and decoded pictures, features of {network}"
    return Column(name, f"{kind[:3].upper()}/{side} {network}", hint, 1 if kind.startswith("fid") else 4, "lower")


def _table(columns: Sequence[Column], rows: Iterable[dict[str, Any]]) -> Table:
    """A table with the cells of its columns in every row, None where there is none."""
    return Table(tuple(columns), tuple({c.name: row.get(c.name) for c in columns} for row in rows))


def summary(found: Sequence[Mean]) -> Table:
    """Means by codec and point. Where not every picture reached the rate, their number says so, and no figure is
    shown."""
    figures = [column_of(name) for name in dict.fromkeys(n for mean in found for n in mean.figures)]
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
    return _table([*SUMMARY, *figures, SEARCH, Column("note", "note")], rows)


def _note(mean: Mean) -> str:
    if mean.whole:
        return ""
    if mean.failed:
        return f"{mean.failed} failed"
    beyond = "lowest" if mean.beyond > mean.point.value else "highest"
    missed = mean.pictures - mean.reached
    return f"out of reach of {missed}: their {beyond} mean {mean.beyond:.4f} bpp"


def speed(outcome: Outcome) -> Table:
    """Seconds and memory by codec, alone on the machine, on one picture."""
    return _table(SPEED, ({"codec": name, **figures} for name, figures in outcome.speed.items()))


def bd_rates(deltas: Sequence[Delta]) -> Table:
    """BD-rates with the range of quality that they cover."""
    ranges = ("" if d.low is None or d.high is None else f"{d.low:.2f} .. {d.high:.2f}" for d in deltas)
    labels = (METRICS[d.metric].label if d.metric in METRICS else d.metric for d in deltas)
    rows = zip(deltas, labels, ranges, strict=True)
    return _table(BD_RATES, ({**d._asdict(), "metric": label, "range": covered} for d, label, covered in rows))


def failures(outcome: Outcome) -> Table:
    """Pictures that could not be read, and files that could not be made."""
    return _table(FAILURES, (_failure(row) for row in outcome.failed))


def _failure(row: Row) -> dict[str, str]:
    point = row.point.label if row.kind else ""
    return {
        "picture": printable(row.picture),
        "codec": row.codec or "all",
        "point": point,
        "error": printable(row.error),
    }


def markdown(table: Table) -> str:
    """A table in Markdown."""
    lines = ["| " + " | ".join(c.label for c in table.columns) + " |", "|" + "---|" * len(table.columns)]
    for row in table.rows:
        cells = (escaped(text_of(row[c.name], c).replace("\n", " ")) for c in table.columns)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plain_markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table in Markdown, of cells that are text already."""
    return ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]
