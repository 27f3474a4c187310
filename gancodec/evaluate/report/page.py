"""The HTML report: data in, one self-contained page out. Knows no codec and no file but its own template."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from gancodec.errors import optional
from gancodec.evaluate.table import Cell, Column, Table, text_of


@dataclass(frozen=True)
class Plot:
    """An SVG element made by matplotlib; trusted markup."""

    title: str
    svg: str


@dataclass(frozen=True)
class Shown:
    """One codec's version of a picture.

    `image` and the maps are data URIs; `image` is None where the codec could not reach the rate, and `note` says why.
    """

    codec: str
    image: str | None
    bytes: int | None
    bpp: float | None
    figures: dict[str, float | None]
    importance: str | None = None
    bits_map: str | None = None
    note: str = ""


@dataclass(frozen=True)
class Rate:
    """Every codec at one rate."""

    label: str
    shown: tuple[Shown, ...]


@dataclass(frozen=True)
class Sample:
    """A picture to look at, with its original and saliency map as data URIs."""

    name: str
    width: int
    height: int
    original: str
    saliency: str | None
    rates: tuple[Rate, ...]


@dataclass(frozen=True)
class Report:
    """Everything on the page; empty tables, plots and samples leave their section out."""

    title: str
    command: str
    made: str
    facts: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    summary: Table
    speed: Table
    bd_rate: Table
    plots: tuple[Plot, ...]
    samples: tuple[Sample, ...]
    failures: Table


def sort_value(value: Cell) -> str:
    """A number as a script reads it."""
    return str(value).replace("inf", "Infinity")


def render(report: Report) -> str:
    """The page. Raises MissingExtra without Jinja."""
    page: str = _template().render(
        report=report,
        plots=[(plot.title, apart(plot.svg, f"p{i}-")) for i, plot in enumerate(report.plots)],
        samples=_as_script([asdict(sample) for sample in report.samples]),
        text_of=text_of,
        css=_asset("report.css"),
        sort_value=sort_value,
        js=_asset("report.js"),
    )
    return page.encode("utf-8", "backslashreplace").decode()  # a file's name need not be text


@lru_cache(maxsize=1)
def _template() -> Any:
    jinja = optional("jinja2", "the HTML report", "eval")
    options = {"autoescape": True, "undefined": jinja.StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    return jinja.Environment(**options).from_string(_asset("report.html.j2"))


def _asset(name: str) -> str:
    return (resources.files("gancodec.evaluate.report") / "assets" / name).read_text(encoding="utf-8")


def _as_script(value: Any) -> str:
    """JSON that can stand in a <script> element whatever the strings in it are."""
    text = json.dumps(_plain(value), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _plain(value: Any) -> Any:
    """Infinite figures (PSNR of equal pictures) as text, as JSON has no number for them."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else text_of(value, Column("", ""))
    return value


def apart(svg: str, prefix: str) -> str:
    """Put `prefix` before every id of an SVG element: several in one page would share theirs. Its metadata, which name
    places outside, are left out."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    ids = set(re.findall(r'\bid="([^"]+)"', svg))
    svg = re.sub(r'\bid="([^"]+)"', lambda m: f'id="{prefix}{m[1]}"', svg)
    svg = re.sub(r'href="#([^"]+)"', lambda m: f'href="#{prefix}{m[1]}"' if m[1] in ids else m[0], svg)
    return re.sub(r"url\(#([^)]+)\)", lambda m: f"url(#{prefix}{m[1]})" if m[1] in ids else m[0], svg)
