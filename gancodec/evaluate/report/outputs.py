"""What an evaluation leaves behind: CSV, JSON, CompressAI's JSON, plots, Markdown and the HTML report."""

from __future__ import annotations

import base64
import json
import math
import time
from collections.abc import Callable, Sequence
from itertools import compress
from pathlib import Path

from gancodec import atomic, imageio
from gancodec.codec import read_allocation
from gancodec.evaluate.inspect import maps
from gancodec.evaluate.job import slug
from gancodec.evaluate.metrics.quality import FACTS
from gancodec.evaluate.ours import Ours
from gancodec.evaluate.report import plots, tables
from gancodec.evaluate.report.context import Context
from gancodec.evaluate.report.page import Plot, Rate, Report, Sample, Shown, render
from gancodec.evaluate.rows import RATE, SETTING, Row, write_csv
from gancodec.evaluate.table import Table
from gancodec.messages import printable
from gancodec.saliency import saliency_map
from gancodec.types import Pixels

Drawn = dict[str, tuple[str, str, bytes]]  # file name: title, SVG, PNG


def write_all(context: Context, show: int, step: Callable[[], None]) -> list[Path]:
    """Write every result into the folder; pictures of the first `show` sources go into the HTML report.

    Returns the files that a reader starts with.
    """
    folder, drawn = context.outcome.plan.folder, draw(context)
    write_csv(folder / "results.csv", [*context.outcome.broken, *context.outcome.rows])
    _write(folder / "results.json", json.dumps(context.as_json(), indent=1, allow_nan=False))
    write_compressai(context, folder / "compressai")
    (folder / "plots").mkdir(parents=True, exist_ok=True)
    for name, (_, svg, png) in drawn.items():
        _write(folder / "plots" / f"{name}.svg", svg)
        atomic.replace(folder / "plots" / f"{name}.png", png)
    samples = []
    for source in context.outcome.sources[:show]:
        samples.append(_sample(context, source.path, source.name))
        step()
    report = Report(
        title=context.title,
        command=context.command,
        made=time.strftime("%Y-%m-%d"),
        facts=tuple(context.facts()),
        notes=tuple(context.notes),
        summary=tables.summary(context.means),
        speed=tables.speed(context.outcome),
        bd_rate=tables.bd_rates(context.deltas),
        plots=tuple(Plot(title, svg) for title, svg, _ in drawn.values()),
        samples=tuple(samples),
        failures=tables.failures(context.outcome),
    )
    _write(folder / "report.md", markdown(report, [f"![{t}](plots/{n}.svg)" for n, (t, _, _) in drawn.items()]))
    _write(folder / "report.html", render(report))
    return [folder / name for name in ("results.csv", "results.json", "report.md", "report.html")]


def _write(path: Path, text: str) -> None:
    # A file's name need not be text.
    atomic.replace(path, (text.rstrip("\n") + "\n").encode("utf-8", "backslashreplace"))


def write_compressai(context: Context, folder: Path) -> None:
    """One file a curve in the form of CompressAI's results, which its plotting tool reads."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {"psnr": "psnr-rgb", "ms-ssim": "ms-ssim-rgb"}
    for curve in context.curves:
        results = {
            names.get(k, k): [x if math.isfinite(x) else None for x in v]
            for k, v in curve.figures.items()
            if k not in ("ms-ssim-db", "ratio", "hq-ratio")
        }
        kind = "one setting for all pictures" if curve.kind == SETTING else "every picture at the rate"
        mine = [m for m in context.means if m.codec == curve.name and m.point.kind == curve.kind and m.whole]
        mine.sort(key=lambda m: m.bpp)
        times = {"encoding_time": [m.encode_s for m in mine], "decoding_time": [m.decode_s for m in mine]}
        about = {"name": curve.name, "description": f"{context.title}; whole files, {kind}; {context.command}"}
        record = {**about, "results": {"bpp": list(curve.bpp), **results, **times}}
        _write(folder / f"{slug(curve.name)}.json", json.dumps(record, indent=2))


def draw(context: Context) -> Drawn:
    """Every plot."""
    found: Drawn = {}
    unplotted = {"ms-ssim", *(c.name for c in FACTS)}  # MS-SSIM shows more on its dB scale
    for name in dict.fromkeys(n for c in context.curves for n in c.figures if n not in unplotted):
        label = tables.column_of(name).label
        figure = plots.rate_distortion(context.curves, context.published, name, label)
        if figure is not None:
            found[f"rd-{slug(name)}"] = (f"{label} over rate", plots.svg(figure), maps.png(figure))
    figure = plots.speeds(tables.speed(context.outcome))
    if figure is not None:
        found["speed"] = ("Speed", plots.svg(figure), maps.png(figure))
    return found


def markdown(report: Report, plots: Sequence[str]) -> str:
    """The report as a page of Markdown, with links to the plots."""
    rates = [str(row["point"]).endswith("bpp") for row in report.summary.rows]
    by_rate, by_setting = (
        Table(report.summary.columns, tuple(compress(report.summary.rows, kept)))
        for kept in (rates, [not rate for rate in rates])
    )
    sections = [
        ("Every picture at the rate", by_rate),
        ("BD-rate", report.bd_rate),
        ("Speed", report.speed),
        ("One setting for all pictures", by_setting),
        ("Failures", report.failures),
    ]
    text = f"# {report.title}\n\n```\n{report.command}\n```\n\n" + "\n".join(f"- {note}" for note in report.notes)
    for title, table in sections:
        if table.rows:
            text += f"\n\n## {title}\n\n{tables.markdown(table)}"
        if table is by_rate:
            text += "\n\n## Plots\n\n" + "\n".join(plots)
    facts = "\n".join(f"| {name} | {value} |" for name, value in report.facts)
    return text + f"\n\n## How this was made\n\n| what | version |\n|---|---|\n{facts}"


def _uri(pixels: Pixels) -> str:
    """Lossless, so that the page shows what was decoded."""
    return "data:image/webp;base64," + base64.b64encode(maps.encoded(pixels, "WEBP")).decode()


def _sample(context: Context, path: str, name: str) -> Sample:
    plan = context.outcome.plan
    rgb = imageio.load(path, plan.max_pixels).rgb
    height, width = rgb.shape[:2]
    mine = [r for r in context.outcome.rows if r.picture == name]
    # One setting means another rate in every codec: only rates can be laid side by side.
    points = list(dict.fromkeys(r.point for r in mine if r.kind == RATE))
    rates = tuple(
        Rate(point.label, tuple(_shown(context, row, width, height) for row in mine if row.point == point))
        for point in points
    )
    saliency = maps.map_panel(saliency_map(rgb, plan.saliency), f"saliency ({plan.saliency})")
    return Sample(printable(name), width, height, _uri(rgb), _uri(saliency.pixels), rates)


def _shown(context: Context, row: Row, width: int, height: int) -> Shown:
    if not row.measured:
        note = row.error or f"out of reach: the nearest file has {row.bpp:.4f} bpp"
        return Shown(row.codec, None, row.bytes, row.bpp, {}, note=note)
    plan = context.outcome.plan
    codec = next(codec for codec in plan.under_test.values() if codec.name == row.codec)
    data = (plan.folder / row.file).read_bytes()
    importance = bits = None
    if isinstance(codec, Ours):
        allocation = read_allocation(data, max_pixels=plan.max_pixels)
        importance = _uri(maps.importance_panel(allocation.maps[0], width, height).pixels)
        bits = None if allocation.bits is None else _uri(maps.bits_panel(allocation.bits, width, height).pixels)
    figures = {tables.column_of(k).label: v for k, v in row.figures.items()}
    return Shown(row.codec, _uri(codec.decode(data)), row.bytes, row.bpp, figures, importance, bits)
