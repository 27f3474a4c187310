"""Draw what a training run logged: one panel for each loss and validation (Wu, Huang, Shen, figure 4, shows losses the
same way).

    python tools/plot_training.py LOG -o losses.svg

LOG is the run's folder, or its log.jsonl.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gancodec import atomic
from gancodec.errors import GicError, UsageError, optional
from gancodec.messages import describe

COLUMNS = 3
PANEL = (3.6, 2.3)  # inches
SMOOTHING = 15  # log lines in the running mean
NO_LOSS = ("step", "seconds", "cpu_hours", "validation_realism")
Series = dict[str, tuple[list[int], list[float]]]  # steps and values by name
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


def read_log(log: Path) -> Series:
    """Steps and values of every loss in the log, by name; validations by name and n."""
    path = log / "log.jsonl" if log.is_dir() else log
    try:
        series = _series(_records([line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError) as error:
        raise UsageError(f"{path}: not the log of a training run") from error
    if not series:
        raise UsageError(f"{path}: no figures in it yet")
    return series


def _records(lines: list[str]) -> list[dict[str, Any]]:
    """The lines as records; a last one that a killed run left torn is passed over."""
    records = [json.loads(line) for line in lines[:-1]]
    try:
        return records + [json.loads(line) for line in lines[-1:]]
    except ValueError:
        if not records:
            raise
        return records


def _series(records: list[dict[str, Any]]) -> Series:
    """Figures by name; where a resumed run takes steps again, the later ones count."""
    found: dict[str, dict[int, float]] = {}
    for record in records:
        n = record.pop("validation_n", None)
        for name, value in record.items():
            if name not in NO_LOSS and math.isfinite(value):
                found.setdefault(name if n is None else f"{name} at n = {n:g}", {})[int(record["step"])] = float(value)
    return {name: tuple(map(list, zip(*sorted(points.items()), strict=True))) for name, points in found.items()}  # type: ignore[misc]


def draw(series: Series) -> Any:
    """Matplotlib figure: the logged means, and their running mean on top."""
    figures = optional("matplotlib.figure", "plots", "eval")
    rows = math.ceil(len(series) / COLUMNS)
    figure = figures.Figure(figsize=(COLUMNS * PANEL[0], rows * PANEL[1]), layout="constrained")
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


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code; errors are one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", type=Path, metavar="LOG")
    parser.add_argument("-o", "--output", type=Path, default=Path("losses.svg"), help=", ".join(FORMATS))
    options = parser.parse_args(arguments)
    try:
        print(plot(options.log, options.output))
    except GicError as error:
        text, code = describe(error)
        print(f"gancodec: {text}", file=sys.stderr)
        return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
