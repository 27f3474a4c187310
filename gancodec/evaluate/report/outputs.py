"""What an evaluation leaves behind: CSV, JSON, CompressAI's JSON, plots, Markdown and the HTML report."""

from __future__ import annotations

import base64
import json
import math
import re
import time
from collections.abc import Callable
from pathlib import Path

from gancodec import atomic, imageio
from gancodec.codec import read_allocation
from gancodec.errors import UsageError
from gancodec.evaluate import codecs
from gancodec.evaluate.inspect import maps
from gancodec.evaluate.metrics.quality import FACTS
from gancodec.evaluate.ours import Ours
from gancodec.evaluate.report import plots, tables
from gancodec.evaluate.report.context import Context
from gancodec.evaluate.report.page import Plot, Rate, Report, Sample, Shown, Table, render
from gancodec.evaluate.rows import RATE, Row, write_csv
from gancodec.saliency import saliency_map

Drawn = dict[str, tuple[str, str, bytes]]  # file name: title, SVG, PNG
START, END = "<!-- gancodec eval: {name} -->", "<!-- end of gancodec eval: {name} -->"


def write_all(context: Context, drawn: Drawn, show: int, targets: Table | None, step: Callable[[], None]) -> list[Path]:
    """Write every result into the folder; pictures of the first `show` sources go into the HTML report."""
    folder = context.outcome.plan.folder
    write_csv(folder / "results.csv", [*context.outcome.broken, *context.outcome.rows])
    _write(folder / "results.json", json.dumps(context.as_json(), indent=1, allow_nan=False))
    write_compressai(context, folder / "compressai")
    save_plots(drawn, folder / "plots", png=True)
    _write(folder / "report.md", markdown(context, drawn, "plots", targets))
    samples = []
    for source in context.outcome.sources[:show]:
        samples.append(_sample(context, source.path, source.name))
        step()
    _write(folder / "report.html", html(context, drawn, tuple(samples), targets))
    return [folder / name for name in ("results.csv", "results.json", "report.md", "report.html")]


def publish(context: Context, drawn: Drawn, prefix: Path, targets: Table | None) -> list[Path]:
    """`prefix`.md and .json, and the plots in the folder `prefix`: figures only, no pictures."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    save_plots(drawn, prefix, png=False)
    page, record = (prefix.with_name(prefix.name + suffix) for suffix in (".md", ".json"))
    _write(page, markdown(context, drawn, prefix.name, targets))
    _write(record, json.dumps(context.as_json(), indent=1, allow_nan=False))
    return [page, record]


def check_marks(path: Path, name: str) -> str:
    """Text of a file that has the marks of `name`; UsageError where it has not."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--insert {path}: {getattr(error, 'strerror', None) or error}") from error
    start, end = START.format(name=name), END.format(name=name)
    if text.count(start) != 1 or text.partition(start)[2].count(end) != 1:
        raise UsageError(f"--insert {path}: needs one line {start} and, below it, one line {end}")
    return text


def insert(path: Path, name: str, text: str) -> None:
    """Replace what stands between the marks of `name` in a file."""
    start, end = START.format(name=name), END.format(name=name)
    head, _, rest = check_marks(path, name).partition(start)
    _write(path, f"{head}{start}\n{text.strip()}\n{end}{rest.partition(end)[2]}")


def _write(path: Path, text: str) -> None:
    # A file's name need not be text.
    atomic.replace(path, (text.rstrip("\n") + "\n").encode("utf-8", "backslashreplace"))


def slug(name: str) -> str:
    """A name for files and anchors."""
    return re.sub(r"[^\w.=-]+", "-", name)


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
        kind = "one setting for all pictures" if curve.kind == "setting" else "every picture at the rate"
        mine = [m for m in context.means if m.codec == curve.name and m.point.kind == curve.kind and m.whole]
        mine.sort(key=lambda m: m.bpp)
        times = {"encoding_time": [m.encode_s for m in mine], "decoding_time": [m.decode_s for m in mine]}
        description = f"{context.title}; whole files, {kind}; {context.command}"
        record = {
            "name": curve.name,
            "description": description,
            "results": {"bpp": list(curve.bpp), **results, **times},
        }
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


def save_plots(drawn: Drawn, folder: Path, *, png: bool) -> None:
    """Plots as files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (_, svg, data) in drawn.items():
        _write(folder / f"{name}.svg", svg)
        if png:
            atomic.replace(folder / f"{name}.png", data)


def markdown(context: Context, drawn: Drawn, plots_folder: str, targets: Table | None) -> str:
    """The report as a page of Markdown, with links to the plots."""
    failed = tables.failures([*context.outcome.broken, *context.outcome.rows])
    summary = tables.summary(context.means)
    by_rate = Table(summary.columns, tuple(r for r in summary.rows if str(r["point"]).endswith("bpp")))
    by_setting = Table(summary.columns, tuple(r for r in summary.rows if not str(r["point"]).endswith("bpp")))
    parts = [f"# {context.title}", f"```\n{context.command}\n```", *(f"- {note}" for note in context.notes)]
    sections = [
        ("Targets", targets),
        ("Every picture at the rate", by_rate),
        ("BD-rate", tables.bd_rates(context.deltas)),
        ("Speed", tables.speed(context.outcome)),
        ("One setting for all pictures", by_setting),
        ("Failures", failed),
    ]
    text = "\n\n".join(parts[:2]) + "\n\n" + "\n".join(parts[2:])
    for title, table in sections:
        if table is not None and table.rows:
            text += f"\n\n## {title}\n\n{tables.markdown(table)}"
        if title == "Every picture at the rate":
            text += "\n\n## Plots\n\n" + "\n".join(f"![{t}]({plots_folder}/{n}.svg)" for n, (t, _, _) in drawn.items())
    facts = "\n".join(f"| {name} | {value} |" for name, value in context.facts())
    return text + f"\n\n## How this was made\n\n| what | version |\n|---|---|\n{facts}"


def html(context: Context, drawn: Drawn, samples: tuple[Sample, ...], targets: Table | None) -> str:
    """The report as one page."""
    report = Report(
        title=context.title,
        command=context.command,
        made=time.strftime("%Y-%m-%d"),
        facts=tuple(context.facts()),
        notes=tuple(context.notes),
        summary=tables.summary(context.means),
        targets=targets or Table((), ()),
        speed=tables.speed(context.outcome),
        bd_rate=tables.bd_rates(context.deltas),
        plots=tuple(Plot(title, svg) for title, svg, _ in drawn.values()),
        samples=samples,
        failures=tables.failures([*context.outcome.broken, *context.outcome.rows]),
    )
    return render(report)


def _uri(pixels: maps.Pixels) -> str:
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
    return Sample(name, width, height, _uri(rgb), _uri(saliency.pixels), rates)


def _shown(context: Context, row: Row, width: int, height: int) -> Shown:
    if not row.measured:
        note = row.error or f"out of reach: the nearest file has {row.bpp:.4f} bpp"
        return Shown(row.codec, None, row.bytes, row.bpp, {}, None, None, note)
    plan = context.outcome.plan
    codec = next(c for c in (codecs.get(n, plan.device, r) for n, r in plan.codecs) if c.name == row.codec)
    data = (plan.folder / row.file).read_bytes()
    levels = bits = None
    if isinstance(codec, Ours):
        allocation = read_allocation(data, max_pixels=plan.max_pixels)
        levels = _uri(maps.importance_panel(allocation.maps[0], width, height).pixels)
        bits = None if allocation.bits is None else _uri(maps.bits_panel(allocation.bits, width, height).pixels)
    figures = {tables.column_of(k).label: v for k, v in row.figures.items()}
    return Shown(row.codec, _uri(codec.decode(data)), row.bytes, row.bpp, figures, levels, bits, "")
