"""Figure of a training run: one panel for each figure of its log (Wu, Huang, Shen, figure 4, shows losses the same
way)."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

from gancodec import atomic
from gancodec.errors import GicError, MissingExtra, UsageError

COLUMNS = 3
PANEL = (3.6, 2.3)  # inches
SMOOTHING = 15  # log lines in the running mean
NO_LOSS = ("step", "seconds")
FORMATS = (".svg", ".png", ".pdf")


def plot(log: Path, target: Path) -> Path:
    """Draw `log` (a run's log.jsonl, or the run's folder) into `target` (.svg, .png or .pdf).

    Raises UsageError for a log without figures or another suffix, MissingExtra without matplotlib, GicError where the
    target cannot be written.
    """
    if target.suffix.lower() not in FORMATS:
        raise UsageError(f"{target}: choose a name that ends in {', '.join(FORMATS)}")
    figure = draw(read_log(log))
    try:
        stream = io.BytesIO()
        figure.savefig(stream, format=target.suffix.lower()[1:], dpi=120)
        atomic.replace(target, stream.getvalue())
    except OSError as error:
        raise GicError(f"{target} cannot be written: {error.strerror or error}") from error
    return target


def read_log(log: Path) -> dict[str, tuple[list[int], list[float]]]:
    """Steps and values of every loss in the log, by name; validations by name and n."""
    path = log / "log.jsonl" if log.is_dir() else log
    try:
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        series: dict[str, tuple[list[int], list[float]]] = {}
        for record in records:
            n = record.pop("validation_n", None)
            for name, value in record.items():
                if name not in NO_LOSS and math.isfinite(value):
                    steps, values = series.setdefault(name if n is None else f"{name} at n = {n:g}", ([], []))
                    steps.append(int(record["step"]))
                    values.append(float(value))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"{path}: not the log of a training run") from error
    if not series:
        raise UsageError(f"{path}: no figures in it yet")
    return series


def draw(series: dict[str, tuple[list[int], list[float]]]) -> Any:
    """Matplotlib figure: the logged means, and their running mean on top."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("plots", "eval") from error
    rows = math.ceil(len(series) / COLUMNS)
    figure = Figure(figsize=(COLUMNS * PANEL[0], rows * PANEL[1]), layout="constrained")
    for place, (name, (steps, values)) in enumerate(series.items(), 1):
        axes = figure.add_subplot(rows, COLUMNS, place)
        sparse = len(values) < 2 * SMOOTHING
        axes.plot(steps, values, color="#0072b2", linewidth=1.4 if sparse else 0.6, alpha=1 if sparse else 0.45)
        if not sparse:
            axes.plot(steps, running_mean(values), color="#000000", linewidth=1.4)
        axes.set_title(name.replace("_", " "), fontsize=9)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.25)
    figure.supxlabel("step", fontsize=9)
    return figure


def running_mean(values: list[float], width: int = SMOOTHING) -> list[float]:
    """Mean of each value and its neighbours, fewer at the ends: as long as `values`."""
    half = width // 2
    windows = [values[max(0, i - half) : i + half + 1] for i in range(len(values))]
    return [sum(window) / len(window) for window in windows]
