"""``gancodec tune-curve``: n against bits per pixel, measured and fitted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gancodec import atomic
from gancodec.cli import files, options
from gancodec.cli.evaluate import Bar, numbers, writing
from gancodec.cli.report import Report
from gancodec.errors import UnreadablePicture, UsageError

if TYPE_CHECKING:
    from gancodec.evaluate.tunability import Measured

Out = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Write tune-curve.json, .svg and .png into this folder.")
]
Ns = Annotated[str | None, typer.Option("--n", metavar="X,Y", help="Values of n; without, 3 down to -4 by 0.5.")]
Store = Annotated[
    bool, typer.Option("--store", help="Store the fit with the model, where the rate search starts from it.")
]


def tune_curve(
    inputs: options.Pictures,
    out: Out = None,
    n: Ns = None,
    store: Store = False,
    model: options.Model = None,
    device: options.DeviceOption = "auto",
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> None:
    """Measure bits per pixel at fixed n and fit the tunability curve."""
    report = Report(quiet=quiet, verbose=verbose, as_json=as_json)
    given = None if n is None else sorted(set(numbers(n)), reverse=True)
    if given is not None and (len(given) < 2 or not all(-8 <= v <= 8 for v in given)):
        raise UsageError("--n: at least two numbers from -8 to 8")
    from gancodec import weights
    from gancodec.evaluate import tunability

    paths = []
    for path, _, fault in files.inputs(inputs, files.PICTURE_SUFFIXES):
        if fault:
            raise UnreadablePicture(f"{path}: {fault}")
        paths.append(path)
    info = weights.find(model)
    with Bar(report) as bar:
        bar.stage("pictures", len(paths))
        measured = tunability.measure(paths, given or tunability.DEFAULT_NS, info, device, bar.step)
    record = measured.as_json()
    if out is not None:
        with writing(out):
            _write(measured, record, out)
        report.say(f"written: {out}/tune-curve.json, .svg, .png")
    if store:
        report.say(f"stored with {info.name}: {weights.store_calibration(info.name, record['calibration'])}")
    lines = [f"n = {p['n']:5.2f}  {p['bpp']:.4f} bpp" for p in record["points"]]
    terms = " ".join(f"{c:+.4f} n^{i}" for i, c in enumerate(record["fit"]["coefficients"]))
    error = f"rms error {record['fit']['rms_error_percent']:.1f} %"
    report.result("\n".join([*lines, f"ln(bpp) = {terms}, {error}, {measured.pictures} pictures"]), record)


def _write(measured: Measured, record: dict[str, object], out: Path) -> None:
    from gancodec.evaluate.inspect import maps
    from gancodec.evaluate.report import plots

    figure = plots.tunability(measured.ns, measured.bpp, measured.line())
    out.mkdir(parents=True, exist_ok=True)
    atomic.replace(out / "tune-curve.json", (json.dumps(record, indent=1) + "\n").encode())
    atomic.replace(out / "tune-curve.svg", plots.svg(figure).encode())
    atomic.replace(out / "tune-curve.png", maps.png(figure))
