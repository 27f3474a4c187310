"""Figures: rate-distortion curves, speed, the tunability curve. Matplotlib without its global state."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gancodec.errors import optional
from gancodec.evaluate.curves import Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gancodec.evaluate.table import Table

# Okabe and Ito's colours, which stay apart for the colour blind; black is ours.
COLOURS = ("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#7f7f7f")
MARKERS = "osD^vPX*<>"
DASHES = ("--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)))
TICKS = (0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 3)  # bits per pixel
SIZE = (6.4, 4.4)  # inches
METADATA = {"Date": None}  # the same picture for the same figures


def _figure(size: tuple[float, float] = SIZE) -> tuple[Figure, Axes]:
    figure: Figure = optional("matplotlib.figure", "plots", "eval").Figure(figsize=size, layout="constrained")
    return figure, figure.add_subplot()


def svg(figure: Figure) -> str:
    """An <svg> element, without the XML prologue."""
    import matplotlib

    text = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "gancodec", "font.family": "sans-serif"}):
        figure.savefig(text, format="svg", metadata=METADATA)
    whole = text.getvalue()
    return whole[whole.index("<svg") :]


def rate_distortion(measured: Sequence[Curve], published: Sequence[Curve], metric: str, label: str) -> Figure | None:
    """Quality over log rate, one line a codec; anchors are gray and dashed. None where no curve has the metric."""
    shown = [c for c in measured if metric in c.figures]
    if not shown:
        return None
    figure, axes = _figure()
    for i, curve in enumerate(shown):
        style: dict[str, Any] = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}
        width = 2.2 if i == 0 else 1.3
        axes.plot(curve.bpp, curve.figures[metric], label=curve.name, linewidth=width, markersize=4, **style)
    for i, curve in enumerate(c for c in published if metric in c.figures):
        style = {"color": "#555555", "linestyle": DASHES[i % len(DASHES)], "linewidth": 1.1}
        axes.plot(curve.bpp, curve.figures[metric], label=_label(f"{curve.name} (anchor)"), **style)
    _rate_axis(axes, [c.bpp for c in shown])
    axes.set_ylabel(label)
    _tidy(axes)
    return figure


def _label(name: str) -> str:
    """A name as text: dollars are no formulas, and a leading underscore hides nothing."""
    return name.replace("$", r"\$").replace("_", "\u200b_", 1) if name.startswith("_") else name.replace("$", r"\$")


def _rate_axis(axes: Axes, rates: Sequence[Sequence[float]]) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    low, high = min(min(r) for r in rates), max(max(r) for r in rates)
    axes.set_xscale("log")
    axes.set_xlim(low / 1.15, high * 1.15)
    axes.xaxis.set_major_locator(FixedLocator(TICKS))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("bits per pixel (whole file)")
    axes.grid(True, color="#dddddd", linewidth=0.6)


def _tidy(axes: Axes) -> None:
    axes.legend(fontsize=8, frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def speeds(table: Table) -> Figure | None:
    """Seconds to encode and decode by codec, on a logarithmic axis."""
    names = [str(row["codec"]) for row in table.rows]
    if not names:
        return None
    figure, axes = _figure((6.4, 0.7 + 0.5 * len(names)))
    for offset, (key, label, colour) in enumerate(
        (("encode_s", "encode", COLOURS[1]), ("decode_s", "decode", COLOURS[2]))
    ):
        places = [i + 0.4 * offset - 0.2 for i in range(len(names))]
        values = [float(row[key] or 0) for row in table.rows]
        axes.barh(places, values, height=0.36, label=label, color=colour)
        for place, value in zip(places, values, strict=True):
            axes.text(value * 1.06, place, f"{1000 * value:.0f} ms", va="center", fontsize=7)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.margins(x=0.15)
    axes.set_xlabel("seconds, warm, one picture")
    _tidy(axes)
    return figure


def tunability(ns: Sequence[float], bpp: Sequence[float], fit: tuple[Sequence[float], Sequence[float]]) -> Figure:
    """The source paper's figure 8: bits per pixel over n, measured points and the fitted curve."""
    figure, axes = _figure()
    axes.plot(*fit, color=COLOURS[1], label="least-squares fit")
    axes.plot(ns, bpp, "o", color="#cc0000", markersize=5, label="mean of the pictures at fixed n")
    axes.set_yscale("log")
    axes.set_yticks([t for t in TICKS if min(bpp) / 1.5 < t < max(bpp) * 1.5])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.minorticks_off()
    axes.set_xlabel("n")
    axes.set_ylabel("bits per pixel (whole file)")
    axes.grid(True, color="#dddddd", linewidth=0.6)
    axes.legend(fontsize=8, frameon=False)
    return figure
