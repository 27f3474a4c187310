"""Means over pictures, rate-distortion curves, and Bjontegaard deltas."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from gancodec.errors import optional
from gancodec.evaluate.metrics.quality import decibel
from gancodec.evaluate.rows import RATE, SETTING, Point, Row

LEAST_POINTS = 6  # of both curves, for a Bjontegaard delta that means something


@dataclass(frozen=True)
class Mean:
    """One codec at one point, averaged over the pictures.

    Attributes
    ----------
    reached, pictures : int
        Pictures that count, and pictures in all. Where they differ the means are of a part of the set and belong on no
        curve.
    failed : int
        Pictures whose file could not be made, decoded or measured.
    beyond : float
        Mean rate of the nearest files of the pictures that do not reach it; NaN where all do.
    bpp : float
        Mean rate, of the nearest files where the rate asked for is not reached.
    off : float
        Largest relative distance of a picture's rate from the one asked for.
    """

    codec: str
    point: Point
    pictures: int
    reached: int
    failed: int
    beyond: float
    bpp: float
    off: float
    encode_s: float | None
    search_s: float | None
    decode_s: float | None
    figures: dict[str, float]

    @property
    def whole(self) -> bool:
        """Does every picture count?"""
        return self.reached == self.pictures


def means(
    rows: Sequence[Row], pictures: int, sets: dict[tuple[str, str, float], dict[str, float]] | None = None
) -> list[Mean]:
    """Average rows by codec and point, in their order; `sets` adds figures of whole sets."""
    found: dict[tuple[str, Point], list[Row]] = {}
    for row in rows:
        found.setdefault((row.codec, row.point), []).append(row)
    return [
        _mean(codec, point, mine, pictures, (sets or {}).get((codec, *point), {}))
        for (codec, point), mine in found.items()
    ]


def _mean(codec: str, point: Point, rows: list[Row], pictures: int, extra: dict[str, float]) -> Mean:
    good = [r for r in rows if r.measured]
    rates = [r.bpp for r in rows if r.bpp is not None]
    missed = [r.bpp for r in rows if r.reached == "no" and r.bpp is not None]
    off = [abs(r.bpp / point.value - 1) for r in good if r.bpp is not None] if point.kind == RATE else []
    names = dict.fromkeys(n for r in good for n in r.figures)
    averages = {name: _average([r.figures.get(name) for r in good]) for name in names}
    known = {name: value for name, value in averages.items() if value is not None}
    if "ms-ssim" in known:  # of the mean, as published curves have it
        known["ms-ssim-db"] = decibel(known["ms-ssim"])
    return Mean(
        codec=codec,
        point=point,
        pictures=pictures,
        reached=len(good),
        failed=sum(r.reached == "error" for r in rows),
        beyond=float(np.mean(missed)) if missed else math.nan,
        bpp=float(np.mean(rates)) if rates else math.nan,
        off=max(off, default=0.0),
        encode_s=_average([r.encode_s for r in good]),
        search_s=_average([r.search_s for r in good]),
        decode_s=_average([r.decode_s for r in good]),
        figures=known | extra,
    )


def _average(values: Sequence[float | None]) -> float | None:
    """Mean, or None where a picture has no value (a mean over the others would be of another set)."""
    return None if not values or any(v is None for v in values) else float(np.mean(np.array(values, float)))


@dataclass(frozen=True)
class Curve:
    """Rate and quality, ascending in rate.

    Attributes
    ----------
    name : str
        Codec, or source and codec for a published one.
    kind : {"rate", "setting", "published"}
    bpp : tuple of float
    figures : dict of str to tuple of float
        By column name, as long as `bpp`.
    """

    name: str
    kind: str
    bpp: tuple[float, ...]
    figures: dict[str, tuple[float, ...]] = field(default_factory=dict)


def curves(found: Iterable[Mean], kind: str) -> list[Curve]:
    """Curves of one kind from the points that every picture reached."""
    by_codec: dict[str, list[Mean]] = {}
    for mean in found:
        if mean.point.kind == kind and mean.whole:
            by_codec.setdefault(mean.codec, []).append(mean)
    return [curve_of(name, kind, [(m.bpp, m.figures) for m in mine]) for name, mine in by_codec.items()]


def curve_of(name: str, kind: str, points: list[tuple[float, dict[str, float]]]) -> Curve:
    """Curve from points (bpp, figures) in any order, with the figures that all of them have."""
    points = sorted(points, key=lambda p: p[0])
    shared = [n for n in points[0][1] if all(n in figures for _, figures in points)]
    return Curve(name, kind, tuple(b for b, _ in points), {n: tuple(f[n] for _, f in points) for n in shared})


def best(found: Sequence[Mean]) -> list[Curve]:
    """For each codec the curve over its own settings where there is one (it has more points), else that over rates."""
    over_settings = {c.name: c for c in curves(found, SETTING)}
    return list((({c.name: c for c in curves(found, RATE)}) | over_settings).values())


class Delta(NamedTuple):
    """Mean rate difference at equal quality in percent (negative: `test` needs less), over quality `low` .. `high`;
    or why there is none."""

    anchor: str
    test: str
    metric: str
    percent: float | None
    low: float | None = None
    high: float | None = None
    why: str = ""


def bd_rate(anchor: Curve, test: Curve, metric: str) -> Delta:
    """Bjontegaard delta rate by Akima interpolation of log rate over quality, on the range that both curves cover.

    `metric` is a column that grows with quality in even steps: PSNR or MS-SSIM in dB. LPIPS is turned into
    -10 log10 first. Both curves need 6 points.

    References
    ----------
    .. [1] Herglotz et al.: Beyond Bjontegaard, ICIP 2022 (package `bjontegaard`).
    """
    names = anchor.name, test.name, metric
    sides, dropped = [], []
    for curve in (anchor, test):
        if metric not in curve.figures:
            return Delta(*names, None, why=f"{curve.name} has no {metric}")
        bpp, quality = _rising(curve.bpp, _quality(metric, curve.figures[metric]))
        if len(bpp) < len(curve.bpp):
            dropped.append(f"{len(curve.bpp) - len(bpp)} points of {curve.name} that do not rise left out")
        if len(bpp) < LEAST_POINTS:
            return Delta(*names, None, why=f"{curve.name} has {len(bpp)} points, {LEAST_POINTS} are needed")
        sides.append((bpp, quality))
    (rate_a, quality_a), (rate_b, quality_b) = sides
    low, high = max(quality_a[0], quality_b[0]), min(quality_a[-1], quality_b[-1])
    if low >= high:
        return Delta(*names, None, why="the curves share no range of quality")
    bjontegaard = optional("bjontegaard", "BD-rate", "eval")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the overlap is small: it is shown
        value = bjontegaard.bd_rate(
            rate_a, quality_a, rate_b, quality_b, method="akima", require_matching_points=False, min_overlap=0
        )
    return Delta(*names, float(value), low, high, "; ".join(dropped))


def _quality(metric: str, values: Sequence[float]) -> list[float]:
    return [-10 * math.log10(max(v, 1e-9)) for v in values] if metric.startswith(("lpips", "dists")) else list(values)


def _rising(bpp: Sequence[float], quality: Sequence[float]) -> tuple[list[float], list[float]]:
    """Points whose quality is above all those of lower rate: interpolation over quality needs it to rise."""
    kept: list[tuple[float, float]] = []
    for rate, value in zip(bpp, quality, strict=True):
        if math.isfinite(value) and (not kept or (value > kept[-1][1] and rate > kept[-1][0])):
            kept.append((rate, value))
    return [r for r, _ in kept], [q for _, q in kept]


def at_rate(curve: Curve, metric: str, bpp: float) -> float | None:
    """Value at a rate, linear in log rate (MS-SSIM in dB, LPIPS in its logarithm); None outside the curve."""
    column = "ms-ssim-db" if metric == "ms-ssim" else metric
    if column not in curve.figures or not curve.bpp[0] <= bpp <= curve.bpp[-1]:
        return None
    logs = metric.startswith(("lpips", "dists"))
    values = [math.log(v) for v in curve.figures[column]] if logs else list(curve.figures[column])
    value = float(np.interp(math.log(bpp), np.log(curve.bpp), values))
    if metric == "ms-ssim":
        return 1 - 10 ** (-value / 10)
    return math.exp(value) if logs else value
