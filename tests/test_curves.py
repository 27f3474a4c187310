"""Means, curves, BD-rates, anchors, targets and tables."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from gancodec.errors import UsageError
from gancodec.evaluate.curves import Curve, at_rate, bd_rate, best, curve_of, curves, means
from gancodec.evaluate.report import tables
from gancodec.evaluate.report.anchors import read_anchors
from gancodec.evaluate.rows import RATE, SETTING, Log, Row
from gancodec.evaluate.table import Column, Table
from tools import publish_results

ANCHORS = Path(__file__).parents[2] / "shared" / "anchors"


def row(codec: str, picture: str, asked: float, bpp: float, psnr: float, kind: str = RATE, reached: str = "yes") -> Row:
    figures = {"psnr": psnr, "ms-ssim": 0.9} if reached in ("yes", "nearest") else {}
    return Row(f"{codec}{picture}{kind}{asked}", picture, codec, kind, asked, reached, bpp=bpp, figures=figures)


def curve(name: str, scale: float = 1.0, points: int = 8) -> Curve:
    """PSNR of 25 dB at 0.05 x scale bpp and 5 dB more with every doubling."""
    bpp = [0.05 * scale * 2 ** (i / 2) for i in range(points)]
    return curve_of(name, SETTING, [(b, {"psnr": 25 + 5 * math.log2(b / 0.05 / scale)}) for b in bpp])


def test_means_are_over_all_pictures_or_say_so() -> None:
    rows = [row("a", "1", 0.1, 0.09, 20), row("a", "2", 0.1, 0.103, 30), row("b", "1", 0.1, 0.2, 0, reached="no")]
    rows += [
        row("b", "2", 0.1, 0.1, 40),
        row("c", "1", 0.1, 0.3, 0, reached="no"),
        row("c", "2", 0.1, 0.1, 0, reached="error"),
    ]
    a, b, c = means(rows, 2, {("a", RATE, 0.1): {"kid256-x": 0.5}})
    assert (a.bpp, a.figures["psnr"], a.off) == (pytest.approx(0.0965), 25, pytest.approx(0.1))
    assert a.figures["ms-ssim-db"] == pytest.approx(10)
    assert a.figures["kid256-x"] == 0.5
    assert a.whole
    assert not b.whole
    assert (b.reached, c.reached) == (1, 0)
    assert [found.name for found in curves([a, b, c], RATE)] == ["a"]
    summary = tables.summary([a, b, c])
    assert summary.rows[0]["psnr"] == 25
    assert summary.rows[1]["psnr"] is None, "a mean over a part of the set is not shown"
    assert summary.rows[1]["note"] == "out of reach of 1: their lowest mean 0.2000 bpp"
    assert summary.rows[2]["note"] == "1 failed"


def test_a_figure_that_one_picture_lacks_has_no_mean() -> None:
    rows = [row("a", "1", 0.1, 0.1, 20), row("a", "2", 0.1, 0.1, 30)]
    rows[1].figures["ms-ssim"] = None
    assert "ms-ssim" not in means(rows, 2)[0].figures


def test_curves_over_settings_go_before_those_over_rates() -> None:
    rows = [row("a", "1", 0.1, 0.1, 20), row("a", "1", 5, 0.4, 30, SETTING), row("a", "1", 9, 0.2, 25, SETTING)]
    found = best(means(rows, 1))
    assert [(c.kind, c.bpp) for c in found] == [(SETTING, (0.2, 0.4))]


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.0, 1.3])
def test_bd_rate_of_a_scaled_curve(factor: float) -> None:
    """A curve that needs `factor` times the bits at every quality."""
    delta = bd_rate(curve("anchor"), curve("test", factor), "psnr")
    assert delta.percent == pytest.approx(100 * (factor - 1), abs=1e-6)
    assert (delta.low, delta.high) == (pytest.approx(25), pytest.approx(42.5))


def test_bd_rate_against_an_integral_of_its_own() -> None:
    """Numerical integration of the log rate, linear between dense points, over the overlap."""
    a = [(0.05 * 2**i, 24 + 5.5 * i - 0.3 * i * i) for i in range(7)]
    b = [(0.045 * 2 ** (0.9 * i), 23 + 5.2 * i - 0.25 * i * i) for i in range(8)]
    one, two = (curve_of(n, SETTING, [(r, {"psnr": q}) for r, q in p]) for n, p in (("a", a), ("b", b)))
    delta = bd_rate(one, two, "psnr")
    assert delta.low is not None
    assert delta.high is not None
    from scipy.integrate import trapezoid
    from scipy.interpolate import Akima1DInterpolator

    grid = np.linspace(delta.low, delta.high, 20001)
    logs = [Akima1DInterpolator([q for _, q in p], [math.log(r) for r, _ in p])(grid) for p in (a, b)]
    expected = 100 * (math.exp(trapezoid(logs[1] - logs[0], grid) / (delta.high - delta.low)) - 1)
    assert delta.percent == pytest.approx(expected, abs=0.01)


def test_bd_rate_says_why_there_is_none() -> None:
    few = bd_rate(curve("anchor"), curve("test", points=5), "psnr")
    assert (few.percent, few.why) == (None, "test has 5 points, 6 are needed")
    apart = curve_of("far", SETTING, [(0.1 * i, {"psnr": 90.0 + i}) for i in range(1, 8)])
    assert bd_rate(curve("anchor"), apart, "psnr").why == "the curves share no range of quality"
    assert bd_rate(curve("anchor"), curve("test"), "ssim").why == "anchor has no ssim"


def test_bd_rate_ignores_points_that_do_not_rise() -> None:
    points = [(b, {"psnr": q}) for b, q in zip(curve("x").bpp, curve("x").figures["psnr"], strict=True)]
    bumpy = curve_of("bumpy", SETTING, [*points, (points[3][0] * 1.01, {"psnr": 20.0})])
    assert bd_rate(curve("anchor"), bumpy, "psnr").percent == pytest.approx(0, abs=1e-6)


def test_lpips_counts_downwards() -> None:
    worse, good = (
        curve_of(n, SETTING, [(f * 0.05 * 2**i, {"lpips-squeeze": 0.5 * 0.7**i}) for i in range(7)])
        for n, f in (("worse", 2.0), ("good", 1.0))
    )
    assert bd_rate(worse, good, "lpips-squeeze").percent == pytest.approx(-50, abs=1e-6)


def test_at_rate_is_linear_in_log_rate_and_never_outside() -> None:
    line = curve("x")
    assert at_rate(line, "psnr", 0.05 * math.sqrt(2)) == pytest.approx(27.5)
    assert at_rate(line, "psnr", 0.049) is None
    assert at_rate(line, "ssim", 0.1) is None


def test_anchor_files(tmp_path: Path) -> None:
    one = tmp_path / "one.csv"
    one.write_text("codec,variant,kind,bpp,psnr,ms_ssim\nx,v,curve,0.2,30,0.99\nx,v,curve,0.1,25,0.9\nx,v,at,9,9,9\n")
    (found,) = read_anchors(one)
    assert (found.name, found.bpp, found.figures["psnr"]) == ("x v", (0.1, 0.2), (25, 30))
    assert found.figures["ms-ssim-db"] == pytest.approx((10, 20))
    two = tmp_path / "two.json"
    two.write_text(json.dumps({"name": "y", "results": {"bpp": [0.1], "psnr-rgb": [25.5], "ms-ssim-rgb": [0.9]}}))
    (found,) = read_anchors(two)
    assert (found.name, found.figures["ms-ssim"]) == ("y", (0.9,))
    for name, text in (
        ("a.csv", "nothing\n1\n"),
        ("b.json", "[]"),
        ("c.json", "{"),
        ("d.csv", "codec,bpp,psnr\nx,a,b\n"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(UsageError, match="--anchors"):
            read_anchors(tmp_path / name)
    with pytest.raises(UsageError, match="--anchors"):
        read_anchors(tmp_path / "missing.csv")


@pytest.mark.skipif(not ANCHORS.is_dir(), reason="published curves are not in ../shared/anchors")
def test_published_curves_and_their_published_comparison() -> None:
    """Curves of two repositories for one codec: BPG by CompressAI and by TensorFlow Compression differ by under 2 %."""
    found = {c.name: c for c in read_anchors(ANCHORS / "kodak_rd.csv")}
    delta = bd_rate(found["CompressAI bpg_444_x265_ycbcr"], found["TFC bpg444"], "psnr")
    assert abs(delta.percent or 99) < 2
    measured = {c.name: c for c in read_anchors(ANCHORS / "peers_kodak_summary.csv")}
    vvc = bd_rate(measured["avif pillow-default-s6-420"], measured["vvc vvenc-medium-420-qpa"], "psnr")
    assert -40 < (vvc.percent or 0) < -25


def test_targets_give_the_gap(tmp_path: Path) -> None:
    path = tmp_path / "targets.json"
    bars = [
        {"codec": "x", "metric": "psnr", "label": "bar", "values": [26.0, None]},
        {"codec": "absent", "metric": "psnr", "label": "bar", "values": [1.0, 2.0]},
    ]
    path.write_text(json.dumps({"rates": [0.05, 9], "bars": bars}))
    wanted, found = publish_results.read_targets(path), means([row("x", "1", 0.05, 0.05, 24.5)], 1)
    found = publish_results.targets(wanted, [curve("x")], found)
    assert [r["what"] for r in found.rows[:3]] == [
        "**PSNR dB, x**, one setting for all",
        "PSNR dB, x, every picture at the rate",
        "PSNR dB: bar",
    ]
    assert [r["0.05"] for r in found.rows] == ["25.00", "24.50", "26.00 (-1.00)", None, "1.00 (–)"]
    assert [r["9"] for r in found.rows] == [None, None, None, None, "2.00 (–)"]
    path.write_text("{}")
    with pytest.raises(UsageError, match="--targets"):
        publish_results.read_targets(path)


def test_markdown_escapes() -> None:
    table = Table((Column("a", "A"), Column("b", "B", digits=1)), ({"a": "x|y\nz", "b": None}, {"a": "q", "b": 1.25}))
    assert tables.markdown(table).splitlines() == ["| A | B |", "|---|---|", "| x\\|y z | – |", "| q | 1.2 |"]


def test_log_survives_a_cut_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    Log(path).add([{"key": "a", "value": 1}, {"key": "b", "value": 2}])
    path.write_bytes(path.read_bytes()[:-5])
    log = Log(path)
    assert set(log.records) == {"a"}
    log.add([{"key": "c", "value": 3}])
    assert {k: v["value"] for k, v in Log(path).records.items()} == {"a": 1, "c": 3}
