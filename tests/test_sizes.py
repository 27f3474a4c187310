"""`gancodec sizes`: what passes, what fails and with which exit code, and the sizes of our own photographs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image

import gancodec
from gancodec import weights
from gancodec.cli import app as app_module
from gancodec.cli.sizes import COLUMNS, sizes
from gancodec.errors import CorruptFile, MissingWeights, UnsupportedFile
from gancodec.sizes import Entry, Settings, Tolerances, compare, parse
from tests.conftest import Ran, Run, closed_folder, make_gic
from tests.tiny import picture, tiny_weights

OURS = Path(__file__).parent / "sizes" / "photos.json"
NAMES = ["photos/a.png", "photos/b.png"]


@pytest.fixture
def go(run: Run, monkeypatch: pytest.MonkeyPatch, tiny_folder: Path) -> Run:
    """`gancodec sizes ...`, with the tiny model."""
    root = typer.Typer()
    root.add_typer(sizes)
    monkeypatch.setattr(app_module, "app", root)
    monkeypatch.setenv(weights.ENVIRONMENT, str(tiny_folder))
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    return lambda *arguments: run("sizes", *arguments)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, which is the working folder too, with two small pictures in photos/."""
    (tmp_path / "photos").mkdir()
    for seed, name in enumerate(NAMES):
        Image.fromarray(picture(64, 96, seed)).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def made(go: Run, place: Path) -> Path:
    """A baseline of both pictures."""
    assert go("update", "base.json", "photos").code == 0
    return place / "base.json"


def edit(path: Path, change: Callable[[dict[str, Any]], None], name: str = NAMES[0]) -> dict[str, Any]:
    """Change what a baseline says of a file; returns what it said before."""
    record = json.loads(path.read_text(encoding="utf-8"))
    before = dict(record["files"][name])
    change(record["files"][name])
    path.write_text(json.dumps(record), encoding="utf-8")
    return before


def scaled(**factors: float) -> Callable[[dict[str, Any]], None]:
    def change(entry: dict[str, Any]) -> None:
        for key, factor in factors.items():
            entry[key] = round(entry[key] * factor) if key == "bytes" else entry[key] * factor

    return change


def verdicts(ran: Ran) -> dict[str, str]:
    return {record["file"]: record["verdict"] for record in map(json.loads, ran.out.splitlines())}


def failures(ran: Ran) -> list[str]:
    return [line for line in ran.err.splitlines() if line.startswith("gancodec: ")]


# --- update


def test_a_baseline_is_sorted_and_says_how_it_was_made(made: Path) -> None:
    record = json.loads(made.read_text(encoding="utf-8"))
    assert list(record) == ["format", "version", "gancodec", "model", "entropy_hash", "files"]
    assert (record["gancodec"], record["model"]) == (gancodec.__version__, "gic1-tiny")
    assert record["entropy_hash"] == tiny_weights().info.entropy_hash.hex()
    assert list(record["files"]) == NAMES
    entry = record["files"][NAMES[0]]
    assert list(entry) == ["sha256", "settings", "bytes", "bpp", "psnr", "ms_ssim"]
    assert entry["settings"] == {"n": 0.0, "entropy": "range", "device": "cpu"}
    assert entry["bpp"] == pytest.approx(8 * entry["bytes"] / (64 * 96), abs=1e-6)


def test_the_bytes_are_those_of_encode(made: Path) -> None:
    data = gancodec.encode(made.parent / NAMES[1])
    assert json.loads(made.read_text(encoding="utf-8"))["files"][NAMES[1]]["bytes"] == len(data)


def test_update_again_changes_nothing(go: Run, made: Path) -> None:
    before = made.read_bytes()
    assert go("update", made).code == 0
    assert made.read_bytes() == before
    assert [path.name for path in made.parent.iterdir() if path.name.startswith(".gancodec")] == []


def test_settings_that_are_not_given_stay(go: Run, place: Path) -> None:
    assert go("update", "base.json", NAMES[0], "--bpp", "2", "--entropy", "huffman").code == 0
    kept = {"bpp": 2.0, "entropy": "huffman", "device": "cpu"}
    ran = go("update", "base.json", "photos", "--json")
    assert [json.loads(line)["settings"] for line in ran.out.splitlines()] == [kept, kept]
    ran = go("update", "base.json", NAMES[1], "--size", "1kB", "--json")
    assert json.loads(ran.out)["settings"] == {"size": 1000, "entropy": "huffman", "device": "cpu"}
    assert f"{NAMES[0]}: no longer in the baseline" in ran.err
    assert list(parse((place / "base.json").read_bytes()).files) == [NAMES[1]]


def test_a_picture_that_cannot_be_read_leaves_the_baseline_alone(go: Run, made: Path) -> None:
    before = made.read_bytes()
    (made.parent / NAMES[0]).write_bytes(b"no picture")
    ran = go("update", made, "photos")
    assert ran.code == 1
    assert NAMES[0] in failures(ran)[0]
    assert made.read_bytes() == before
    assert go("update", "new.json", NAMES[0]).code == 3
    assert not (made.parent / "new.json").exists()


@pytest.mark.parametrize("arguments", [["-q"], ["--exact"]])
def test_update_then_check_passes(go: Run, made: Path, arguments: list[str]) -> None:
    ran = go("check", made, *arguments)
    assert ran.code == 0
    assert failures(ran) == []
    assert (ran.out == b"") == (arguments == ["-q"])


# --- check


def test_the_table(go: Run, made: Path) -> None:
    ran = go("check", made, "photos")
    head, *rows = ran.out.decode().splitlines()
    assert head.split() == " ".join(COLUMNS).split()
    assert [row.split()[0] for row in rows] == NAMES
    assert all(row.split()[-1] == "ok" for row in rows)
    assert ran.err.splitlines()[-1] == "2 files: 2 ok"


@pytest.mark.parametrize(
    ("change", "verdict", "why", "code"),
    [
        (scaled(bytes=0.9), "larger", "size 1", 1),
        (scaled(bytes=1.2), "better", "size 16", 0),
        (scaled(psnr=1.02), "worse", "PSNR 0.", 1),
        (scaled(psnr=0.98), "better", "PSNR 0.", 0),
        (scaled(ms_ssim=1.05), "worse", "MS-SSIM 0.", 1),
        (scaled(bytes=1.2, psnr=1.02), "worse", "% down, PSNR", 1),
        (scaled(bytes=0.9, psnr=0.98), "larger", "% up, PSNR", 1),
    ],
)
def test_what_moves_beyond_the_tolerance(
    go: Run, made: Path, change: Callable[[dict[str, Any]], None], verdict: str, why: str, code: int
) -> None:
    edit(made, change)
    ran = go("check", made, "--json")
    assert ran.code == code
    assert verdicts(ran) == {NAMES[0]: verdict, NAMES[1]: "ok"}
    assert why in json.loads(ran.out.splitlines()[0])["why"]
    assert len(failures(ran)) == code
    assert ("sizes update" in ran.err) == (verdict == "better")
    assert go("check", made, "--exact").code == 1
    wide = ["--size-tolerance", "50%", "--psnr-tolerance", "3", "--ms-ssim-tolerance", "1"]
    assert go("check", made, "--exact", *wide).code == 0


def test_quiet_prints_failures_only(go: Run, made: Path) -> None:
    edit(made, scaled(bytes=0.9))
    ran = go("check", made, "-q")
    assert (ran.code, ran.out, ran.err.count("\n")) == (1, b"", 1)


def test_figures_in_json(go: Run, made: Path) -> None:
    before = edit(made, scaled(bytes=2))
    record = json.loads(go("check", made, NAMES[0], "--json").out)
    assert (record["bytes_before"], record["bytes"]) == (2 * before["bytes"], before["bytes"])
    assert record["change_percent"] == -50
    assert record["psnr"] == record["psnr_before"] == before["psnr"]
    assert record["ms_ssim"] == before["ms_ssim"]


def test_the_settings_are_the_baselines(go: Run, place: Path) -> None:
    assert go("update", "base.json", NAMES[0], "--n", "1", "--entropy", "huffman").code == 0
    assert go("check", "base.json").code == 0
    assert go("check", "base.json", "--n", "1").code == 2
    edit(place / "base.json", lambda entry: entry["settings"].update(n=-1))
    assert json.loads(go("check", "base.json", "--json").out)["verdict"] == "larger"


def test_a_changed_source(go: Run, made: Path) -> None:
    Image.fromarray(picture(64, 96, 9)).save(made.parent / NAMES[0])
    ran = go("check", made)
    assert ran.code == 1
    assert failures(ran) == [
        f"gancodec: {NAMES[0]}: changed: the picture is not the one that the baseline was made from"
    ]


@pytest.mark.parametrize("arguments", [[], ["photos"], [NAMES[0]]])
def test_a_missing_file(go: Run, made: Path, arguments: list[str]) -> None:
    (made.parent / NAMES[0]).unlink()
    ran = go("check", made, *arguments)
    assert ran.code == 1
    assert failures(ran) == [f"gancodec: {NAMES[0]}: missing: in the baseline, but there is no such file"]


def test_a_folder_without_its_pictures(go: Run, made: Path) -> None:
    for name in NAMES:
        (made.parent / name).unlink()
    ran = go("check", made, "photos", "--json")
    assert (ran.code, set(verdicts(ran).values())) == (1, {"missing"})
    (made.parent / "other").mkdir()
    assert go("check", made, "other").code == 3


def test_a_file_that_is_not_in_the_baseline(go: Run, made: Path) -> None:
    Image.fromarray(picture(64, 64, 4)).save(made.parent / "photos" / "c.png")
    ran = go("check", made, "photos", "--json")
    assert (ran.code, verdicts(ran)) == (1, {NAMES[0]: "ok", NAMES[1]: "ok", "photos/c.png": "new"})
    assert failures(ran) == ["gancodec: photos/c.png: new: not in the baseline"]
    assert go("check", made).code == 0


def test_a_picture_that_cannot_be_read(go: Run, made: Path) -> None:
    import hashlib

    (made.parent / NAMES[0]).write_bytes(b"no picture")
    edit(made, lambda entry: entry.update(sha256=hashlib.sha256(b"no picture").hexdigest()))
    ran = go("check", made)
    assert ran.code == 1
    assert [line.split(": ")[:3] for line in failures(ran)] == [["gancodec", NAMES[0], "error"]]


def test_names_do_not_depend_on_the_working_folder(go: Run, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = made.read_bytes()
    elsewhere = made.parent / "else" / "where"
    elsewhere.mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    assert go("check", "../../base.json").code == 0
    assert go("check", "../../base.json", "../../photos").code == 0
    assert go("check", made, made.parent / NAMES[0]).code == 0
    assert go("update", "../../base.json", "../../photos").code == 0
    assert made.read_bytes() == before
    assert go("update", "base.json", "../../photos").code == 0
    assert list(parse((elsewhere / "base.json").read_bytes()).files) == [f"../../{name}" for name in NAMES]
    (made.parent / "link").symlink_to(made.parent / "photos")
    assert go("check", made, made.parent / "link").code == 0


# --- .gic files


def test_coded_files(go: Run, place: Path) -> None:
    coded = place / "coded.gic"
    coded.write_bytes(gancodec.encode(place / NAMES[0]))
    size = coded.stat().st_size
    assert go("update", "base.json", coded, NAMES[0]).code == 0
    record = json.loads((place / "base.json").read_text(encoding="utf-8"))["files"]
    assert record["coded.gic"] == {"bytes": size, "decodes": True}
    assert go("check", "base.json").code == 0
    coded.write_bytes(gancodec.encode(place / NAMES[0], n=-2))
    ran = go("check", "base.json", "--json")
    assert (ran.code, verdicts(ran)["coded.gic"]) == (1, "larger")
    coded.write_bytes(gancodec.encode(place / NAMES[0])[:-1])
    ran = go("check", "base.json", "coded.gic", "--json")
    assert (ran.code, verdicts(ran)) == (1, {"coded.gic": "error"})


def test_a_coded_file_that_does_not_decode_is_no_baseline(go: Run, place: Path) -> None:
    (place / "coded.gic").write_bytes(make_gic())
    assert go("update", "base.json", "coded.gic").code == 4
    assert not (place / "base.json").exists()


# --- baselines and arguments that are wrong


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\x89PNG",
        b"[]",
        b"{}",
        b'{"format": "gancodec sizes", "version": 1}',
        b'{"format": "gancodec sizes", "version": 2}',
        b'{"format": "gancodec sizes", "version": "x"}',
        b'{"format":"gancodec sizes","version":1,"gancodec":"0","model":"m","entropy_hash":"","files":{}}',
    ],
)
def test_what_is_no_baseline(go: Run, made: Path, damage: bytes) -> None:
    made.write_bytes(damage)
    for command in ("check", "update"):
        ran = go(command, made, "photos")
        assert (ran.code, ran.out, ran.err.count("\n")) == (3, b"", 1)
        assert str(made) in ran.err
    assert made.read_bytes() == damage, "update writes over baselines only"


@pytest.mark.parametrize(
    "change",
    [
        {"bytes": 0},
        {"bytes": 1.5},
        {"bytes": None},
        {"psnr": "x"},
        {"ms_ssim": float("nan")},
        {"sha256": 1},
        {"sha256": "0"},
        {"settings": {}},
        {"settings": {"n": 0, "bpp": 1}},
        {"settings": {"q": 1}},
        {"settings": {"n": "x"}},
    ],
)
def test_wrong_entries(made: Path, change: dict[str, Any]) -> None:
    edit(made, lambda entry: entry.update(change))
    with pytest.raises(CorruptFile, match="not a baseline"):
        parse(made.read_bytes())


def test_a_later_version_says_so(made: Path) -> None:
    with pytest.raises(UnsupportedFile, match="version 2"):
        parse(made.read_bytes().replace(b'"version": 1', b'"version": 2'))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["check"], 2),
        (["check", "none.json"], 3),
        (["check", "photos"], 3),
        (["check", "-"], 2),
        (["check", "base.json", "-"], 2),
        (["check", "base.json", "--size-tolerance", "-1"], 2),
        (["check", "base.json", "--size-tolerance", "x"], 2),
        (["update", "new.json"], 2),
        (["update", "new.json", "-"], 2),
        (["update", "new.json", "photos", "--bpp", "1", "--n", "0"], 2),
        (["update", "new.json", "photos", "--model", "none"], 4),
        (["update", "new.json", "none.png"], 3),
        (["update", "new.json", "photos/a.png", "--n", "99"], 2),
        (["update", "photos/a.png/new.json", "photos/a.png"], 1),
    ],
)
def test_errors_are_one_line(go: Run, made: Path, arguments: list[str], code: int) -> None:
    ran = go(*arguments)
    assert (ran.code, ran.out) == (code, b"")
    assert len(failures(ran)) == 1
    assert not (made.parent / "new.json").exists()


def test_a_model_that_is_missing_or_another(go: Run, made: Path) -> None:
    text = made.read_text(encoding="utf-8")
    made.write_text(text.replace("gic1-tiny", "gic9-none"), encoding="utf-8")
    assert go("check", made).code == 4
    made.write_text(text.replace(tiny_weights().info.entropy_hash.hex(), "0" * 16), encoding="utf-8")
    ran = go("check", made)
    assert ran.code == 1
    assert len(failures(ran)) == 1
    assert go("update", made).code == 0
    assert go("check", made).code == 0


# --- what is printed


def test_the_job_summary(go: Run, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = made.parent / "summary.md"
    target.write_text("before\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(target))
    edit(made, scaled(bytes=0.9))
    assert go("check", made, "--json").code == 1
    before, title, _, head, rule, first, second, *_ = target.read_text(encoding="utf-8").splitlines()
    assert (before, title) == ("before", "### File sizes: 2 files: 1 ok, 1 larger")
    assert head.count("|") == rule.count("|") == first.count("|") == len(COLUMNS) + 1
    assert first.startswith(f"| {NAMES[0]} | ")
    assert "larger: size" in first
    assert second.endswith("| ok |")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(made.parent))
    assert "no summary" in go("check", made, NAMES[1]).err


def test_names_are_told_in_one_line_that_can_be_printed(go: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["a\nb | 1 | ok |.png", "x\x1b[31mred.png", "<img src=x> @all `c`.png", "\udcff\u202e.png"]
    for name in names:
        shutil.copy(NAMES[0], place / "photos" / name)
    told = [go("update", "base.json", "photos"), go("check", "base.json", "photos")]
    assert [ran.code for ran in told] == [0, 0]
    shutil.copy(NAMES[1], place / "photos" / names[0])
    summary = place / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    told.append(go("check", "base.json"))
    told.append(go("update", "base.json", NAMES[0]))
    text = "".join(ran.out.decode() + ran.err for ran in told)
    assert all(line.isprintable() for line in text.split("\n"))
    assert [line[:2] for line in text.split("\n") if "1 | ok" in line] == ["ph"] * 3 + ["ga", "ph"]
    lines = summary.read_text(encoding="utf-8").splitlines()
    assert all(line.isprintable() and line.isascii() for line in lines)
    rows = [line for line in lines if line.startswith("| ")]
    assert [len(re.split(r"(?<!\\)\|", row)) for row in rows] == [len(COLUMNS) + 2] * (2 + 6)
    assert not re.search(r"[<>`@\x1b]", "".join(lines))


@pytest.mark.parametrize("command", ["check", "update"])
def test_folders_that_cannot_be_read_are_failures(
    go: Run, made: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, before = made.parent / "photos" / "closed", made.read_bytes()
    closed.mkdir()
    closed_folder(monkeypatch, "closed")
    ran = go(command, made, "photos", "--json")
    assert ran.code == 1
    assert failures(ran)[0] == "gancodec: photos/closed: folder cannot be read: Permission denied"
    assert [json.loads(line)["file"] for line in ran.out.splitlines() if b"error" in line] == ["photos/closed"]
    assert made.read_bytes() == before


def test_a_terminal_gets_a_drawn_table(go: Run, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys, "stdout", terminal)
    assert go("check", made).code == 0
    assert "┃" in terminal.getvalue()
    assert all(name in terminal.getvalue() for name in NAMES)


def test_equal_pictures_have_no_finite_psnr() -> None:
    def entry(quality: float) -> Entry:
        return Entry(100, "0" * 64, Settings(n=0.0), 1.0, quality, 1.0)

    same, lower = entry(float("inf")), entry(60.0)
    assert same.record["psnr"] is None
    assert compare("x", same, same, Tolerances()).verdict == "ok"
    assert compare("x", same, lower, Tolerances()).verdict == "worse"
    assert json.dumps(compare("x", lower, same, Tolerances()).record, allow_nan=False)


def test_help_loads_neither_torch_nor_numpy() -> None:
    code = (
        "import sys\nfrom gancodec.cli.sizes import sizes\ntry:\n    sizes(['check', '--help'])\n"
        "finally:\n    print([m for m in ('torch', 'numpy', 'rich') if m in sys.modules], file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stderr.strip() == "[]"
    assert "--size-tolerance" in ran.stdout


# --- our own sizes


def write_photographs(folder: Path) -> None:
    """Photographs that scikit-image ships as PNG, as BMP: the bytes of that do not depend on a version of zlib."""
    from skimage import data

    folder.mkdir(parents=True, exist_ok=True)
    pictures = {name: getattr(data, name)() for name in ("astronaut", "chelsea", "coffee")}
    pictures["motorcycle"] = data.stereo_motorcycle()[0]
    for name, rgb in pictures.items():
        Image.fromarray(np.ascontiguousarray(rgb[..., :3])).save(folder / f"{name}.bmp")


def _installed(model: str) -> bool:
    try:
        return weights.find(model).installed
    except MissingWeights:
        return False


@pytest.mark.skipif(not _installed(parse(OURS.read_bytes()).model), reason="the baseline's model is not installed")
def test_sizes_of_our_photographs(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/ci.md tells how to write the baseline anew, after a change that is meant to move sizes."""
    root = typer.Typer()
    root.add_typer(sizes)
    monkeypatch.setattr(app_module, "app", root)
    write_photographs(tmp_path)
    shutil.copy(OURS, tmp_path)
    ran = run("sizes", "check", tmp_path / OURS.name, tmp_path)
    assert ran.code == 0, ran.out.decode() + ran.err
