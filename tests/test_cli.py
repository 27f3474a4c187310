"""The command line: names, refusals, exit codes, pipes, and what it must not import."""

from __future__ import annotations

import inspect
import io
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
import warnings
from importlib import import_module
from pathlib import Path
from typing import Annotated, get_origin

import numpy as np
import pytest
import typer
from PIL import Image

import gancodec
from gancodec import container, tiling, weights
from gancodec.batch import job
from gancodec.batch.files import read_gic
from gancodec.cli import options
from gancodec.cli.app import app
from gancodec.cli.report import Report
from gancodec.codec import Box, api
from gancodec.codec.options import ENTROPY_CODERS, PROFILES
from gancodec.errors import CorruptFile, GicError, MissingWeights
from gancodec.messages import markdown, printable
from gancodec.types import Picture
from tests.conftest import FakeCodec, Run, closed_folder, make_gic, needs_weights

WRITING = {
    "--output/-o", "--dir/-d", "--model", "--device", "--threads", "--max-pixels", "--overwrite/-f", "--skip-existing",
    "--preserve-times", "--json", "--quiet/-q", "--verbose/-v", "--help",
}  # fmt: skip
EMPHASIS = {"--saliency", "--saliency-model", "--saliency-strength", "--roi", "--roi-box", "--protect"}
READING = {"--max-pixels", "--json", "--quiet/-q", "--verbose/-v", "--help"}
FLAGS = {
    "encode": WRITING | EMPHASIS | {
        "--jobs/-j", "--manifest",
        "--bpp", "--size", "--n", "--strict", "--entropy", "--strip", "--profile", "--inner", "--factor",
    },
    "decode": WRITING | {"--format", "--realism", "--region", "--scale", "--partial", "--jobs/-j", "--manifest"},
    "batch": READING | EMPHASIS | {
        "--dir/-d", "--bpp", "--size", "--n", "--strict", "--entropy", "--strip", "--decode", "--format", "--realism",
        "--model", "--device", "--engine", "--address", "--jobs/-j", "--threads", "--gpus", "--retries", "--manifest",
        "--overwrite/-f", "--profile", "--inner", "--factor", "--preserve-times", "--partial",
    },
    "info": READING,
    "verify": READING,
    "models": {"--json", "--help"},
    "inspect": READING | EMPHASIS | {
        "--overwrite/-f", "--out", "--original", "--bpp", "--size", "--n", "--model", "--entropy", "--device",
        "--realism", "--strict", "--strip", "--profile", "--inner", "--factor",
    },
    "saliency": READING | {
        "--output/-o", "--dir/-d", "--overwrite/-f", "--skip-existing", "--method", "--saliency-model", "--mask",
        "--overlay",
    },
    "export": {"--model", "--realism", "--out/-o", "--overwrite/-f", "--json", "--quiet/-q", "--verbose/-v", "--help"},
    "eval": READING | {
        "--out", "--codecs", "--bpp", "--sweep", "--beta", "--device", "--jobs", "--backbones", "--saliency",
        "--anchors", "--overlay", "--against", "--speed", "--show", "--title",
    },
    "tune-curve": {
        "--out", "--n", "--store", "--model", "--device", "--json", "--quiet/-q", "--verbose/-v", "--help",
    },
    "sizes check": READING | {
        "--size-tolerance", "--psnr-tolerance", "--ms-ssim-tolerance", "--exact", "--threads",
    },
    "sizes update": READING | {"--bpp", "--size", "--n", "--model", "--entropy", "--device", "--threads"},
}  # fmt: skip
# Asks a fresh interpreter: which of the heavy packages did this command load?
PROBE = (
    "import sys\nfrom gancodec.cli.app import main\ntry:\n    main(sys.argv[1:])\n"
    "finally:\n    print([m for m in ('torch', 'PIL', 'rich') if m in sys.modules], file=sys.stderr)"
)

# What costs time and has no part in --help, beside those.
LATE = "'torch', 'PIL', 'rich', 'numpy', 'multiprocessing', 'hashlib', 'ctypes'"


def process(*arguments: str | Path, code: str | None = None, **more: object) -> subprocess.CompletedProcess[bytes]:
    start = ["-m", "gancodec"] if code is None else ["-c", code]
    return subprocess.run([sys.executable, *start, *map(str, arguments)], capture_output=True, timeout=60, **more)  # type: ignore[call-overload, no-any-return]


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.name.startswith(".gancodec")]


# --- the interface itself


def test_every_flag_is_pinned() -> None:
    group = typer.main.get_group(app)
    context = typer.Context(group)
    commands = {name: group.resolve_command(context, [name])[1] for name in group.list_commands(context)}
    commands |= {f"sizes {name}": command for name, command in commands.pop("sizes").commands.items()}
    found = {}
    for name, command in commands.items():
        if name == "train":
            continue
        parameters = command.get_params(typer.Context(command))
        found[name] = {"/".join(sorted(p.opts, key=len, reverse=True)) for p in parameters if p.opts[0].startswith("-")}
    assert found == FLAGS
    assert "train" in commands


@pytest.mark.parametrize("name", ["encode", "batch", "inspect"])
def test_options_are_told_to_typer_as_they_are(name: str) -> None:
    """Nothing around them, as `typing.get_type_hints` of Python 3.10 would put."""
    told = inspect.signature(getattr(import_module(f"gancodec.cli.{name}"), name)).parameters
    assert {"bpp", "profile", "roi_boxes", "quiet"} <= told.keys()
    for parameter in told.values():
        if parameter.annotation is not typer.Context:
            assert get_origin(parameter.annotation) is Annotated, parameter


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        *(
            [name, "--help"]
            for name in (
                "encode",
                "decode",
                "batch",
                "info",
                "inspect",
                "saliency",
                "eval",
                "tune-curve",
                "sizes",
                "export",
            )
        ),
        [],
    ],
)
def test_help_names_codes_and_synthesis_without_torch(arguments: list[str]) -> None:
    result = process(*arguments, code=PROBE.replace("'torch', 'PIL', 'rich'", LATE))
    assert result.returncode == 0
    assert result.stderr.decode().strip() == "[]"
    if arguments in ([], ["--help"]):
        assert b"synthesised" in result.stdout
        assert b"Exit codes" in result.stdout


@pytest.mark.parametrize("command", ["info", "verify"])
def test_reading_commands_load_no_torch(command: str, coded: Path) -> None:
    result = process(command, coded, code=PROBE)
    assert result.stderr.decode().splitlines()[-1] == "[]"


def test_version_loads_no_torch() -> None:
    result = process("--version", code=PROBE)
    assert result.stderr.decode().strip() == "[]"
    lines = result.stdout.decode().splitlines()
    assert lines[:2] == [f"gancodec {gancodec.__version__}", "format gic 1.0"]
    assert lines[2].startswith(("model ", "no model"))


def test_completion_loads_no_torch() -> None:
    environment = {**os.environ, "_GANCODEC_COMPLETE": "complete_bash", "COMP_WORDS": "gancodec enc", "COMP_CWORD": "1"}
    result = process(code=PROBE, env=environment)
    assert result.stdout.split() == [b"encode"]
    assert result.stderr.decode().strip() == "[]"


@pytest.mark.parametrize(
    "arguments",
    [
        ["encode"],
        ["encode", "x.png", "--no-such-flag"],
        ["encode", "x.png", "--bpp", "0"],
        ["encode", "x.png", "--bpp", "nan"],
        ["encode", "x.png", "--bpp", "0.1", "--size", "3kB"],
        ["encode", "x.png", "--size", "3 parsecs"],
        ["encode", "x.png", "--strip", "icc"],
        ["encode", "x.png", "--threads", "0"],
        ["encode", "x.png", "--entropy", "ans"],
        ["encode", "x.png", "-o", "y.gic", "-d", "z"],
        ["encode", "x.png", "y.png", "-o", "z.gic"],
        ["encode", "-", "-", "-o", "z.gic"],
        ["encode", "-", "-d", "z"],
        ["encode", "-", "--json"],
        ["encode", "x.png", "--overwrite", "--skip-existing"],
        ["decode", "x.gic", "--realism", "-0.5"],
        ["decode", "x.gic", "--realism", "2"],
        ["decode", "x.gic", "-o", "x.docx"],
        ["decode", "x.gic", "-o", "x.jpg", "--format", "png"],
        ["nonsense"],
    ],
)
def test_usage_errors_are_one_line_and_code_2(run: Run, arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.code == 2
    assert result.out == b""
    assert result.err.startswith("gancodec: ")
    assert result.err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("30000", 30000),
        ("30kB", 30000),
        ("30KB", 30000),
        ("1.5MB", 1_500_000),
        ("2KiB", 2048),
        ("1MiB", 1 << 20),
        ("7B", 7),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert options.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "kB", "-3", "1e3", "3GB", "0", "0.4B", "nan"])
def test_wrong_sizes(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        options.parse_size(text)


def test_the_list_of_commands_has_each_and_starts_none() -> None:
    code = PROBE.replace("'torch', 'PIL', 'rich'", ", ".join(f"'gancodec.cli.{name}'" for name in ("encode", "batch")))
    result = process("--help", code=code)
    assert result.stderr.decode().strip() == "[]"
    listed = result.stdout.decode().split("Commands:\n")[1].splitlines()
    assert {line.split()[0] for line in listed} == {name.split()[0] for name in FLAGS} | {"train"}


def test_choices_are_those_of_the_codec(run: Run, photo: Path) -> None:
    for option, names in (
        ("--profile", PROFILES),
        ("--entropy", ENTROPY_CODERS),
        ("--inner", PROFILES["split"].own["inner"]),
    ):
        for command in ("encode", "batch", "inspect"):
            ran = run(command, photo, option, "other")
            assert (ran.code, ran.err.count("\n")) == (2, 1)
            assert ", ".join(map(repr, names)) in ran.err


# --- encode


def test_encode_writes_beside_the_input_and_says_what_it_did(run: Run, photo: Path, fake_codec: FakeCodec) -> None:
    result = run("encode", photo, "--bpp", "0.5")
    target = photo.with_suffix(".gic")
    assert result.code == 0
    assert result.out == b""
    assert target.read_bytes() == make_gic(n=0)
    size = target.stat().st_size
    assert f"{target}: 40x30, {size} bytes, {8 * size / 1200:.4f} bpp, n=0.000, 3 probes" in result.err
    assert leftovers(photo.parent) == []


def test_encode_passes_every_option_on(
    run: Run, photo: Path, fake_codec: FakeCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")  # restored afterwards
    arguments = "--size 2kB --strict --model m --entropy huffman --device cpu --threads 1 --strip all --max-pixels 5000"
    assert run("encode", photo, *arguments.split()).code == 0
    assert fake_codec.encoded == [
        gancodec.EncodeOptions(
            size=2000, strict=True, model="m", entropy="huffman", device="cpu", strip=("exif", "xmp"), max_pixels=5000
        )
    ]


def test_encode_passes_on_where_the_bits_should_go(run: Run, photo: Path, fake_codec: FakeCodec) -> None:
    arguments = "--saliency gradcam --saliency-model nets --saliency-strength 0.5 --roi mask.png"
    boxes = ("--roi-box", "0,1,20,30", "--roi-box", "4,5,6,7:0.25")
    assert run("encode", photo, *arguments.split(), *boxes, "--protect", "text").code == 0
    assert fake_codec.encoded == [
        gancodec.EncodeOptions(
            saliency="gradcam",
            saliency_model="nets",
            saliency_strength=0.5,
            roi="mask.png",
            roi_boxes=(Box(0, 1, 20, 30), Box(4, 5, 6, 7, 0.25)),
            protect=("text",),
        )
    ]


def test_encode_passes_the_profile_on(run: Run, photo: Path, fake_codec: FakeCodec) -> None:
    ran = run("encode", photo, *"--profile split --inner lossless --factor 8".split())
    assert ran.code == 0
    assert fake_codec.encoded == [gancodec.EncodeOptions(profile="split", inner="lossless", factor=8)]
    assert ", split, 3 probes" in ran.err
    assert "n=" not in ran.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--saliency-strength 2", "--saliency-strength scales --saliency, --roi and --roi-box: give one of them"),
        ("--roi-box 1,2,3", "region '1,2,3': write x,y,w,h or x,y,w,h:level, in pixels and with a level from 0 to 1"),
        (
            "--roi-box 0,0,5,5 --saliency-strength x",
            "Invalid value for '--saliency-strength': 'x' is not a number (--help lists the options)",
        ),
    ],
)
def test_wrong_words_about_regions(run: Run, photo: Path, fake_codec: FakeCodec, arguments: str, message: str) -> None:
    ran = run("encode", photo, *arguments.split())
    assert (ran.code, ran.err) == (2, f"gancodec: {message}\n")
    assert fake_codec.encoded == []


def test_options_that_fit_no_picture_are_refused_once(run: Run, photo: Path, fake_codec: FakeCodec) -> None:
    for words in ("--saliency guess", "--profile split --n 1", "--n 99", "--roi-box 0,0,1,1 --saliency-strength 9"):
        ran = run("encode", photo, photo.parent / "other.png", *words.split())
        assert (ran.code, len(ran.err.splitlines())) == (2, 1), ran.err
    assert fake_codec.encoded == []


def test_encode_without_a_target_leaves_n_to_the_codec(run: Run, photo: Path, fake_codec: FakeCodec) -> None:
    assert run("encode", photo).code == 0
    assert fake_codec.encoded == [gancodec.EncodeOptions()]


def test_threads_reach_the_numeric_libraries(
    run: Run, photo: Path, fake_codec: FakeCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    assert run("encode", photo, "--threads", "2").code == 0
    assert os.environ["OMP_NUM_THREADS"] == os.environ["OPENBLAS_NUM_THREADS"] == "2"
    options.set_threads(1)


def test_json_is_one_object_on_stdout(run: Run, photo: Path, fake_codec: FakeCodec) -> None:
    result = run("encode", photo, "--n", "1.5", "--json", "--quiet")
    record = json.loads(result.out)
    assert record["file"] == str(photo)
    assert record["bytes"] == photo.with_suffix(".gic").stat().st_size
    assert (record["width"], record["height"], record["n"], record["probes"], record["hit"]) == (40, 30, 1.5, 3, True)
    assert result.err == ""


def test_out_of_reach_warns_or_fails(run: Run, photo: Path, fake_codec: FakeCodec) -> None:
    result = run("encode", photo, "--bpp", "0.001")
    assert result.code == 0
    assert "warning: 0.001 bpp: out of reach, the nearest is" in result.err
    result = run("encode", photo, "--bpp", "0.001", "--strict", "-f")
    assert result.code == 5
    assert result.err == f"gancodec: {photo}: 2 bytes are out of reach\n"


def test_larger_than_the_source_warns(run: Run, photo: Path, fake_codec: FakeCodec) -> None:
    assert "is larger" not in run("encode", photo).err
    fake_codec.image = bytes(20_000)
    assert "is larger than its source" in run("encode", photo, "-f").err


def test_existing_output_is_refused_and_kept(run: Run, photo: Path, fake_codec: FakeCodec) -> None:
    target = photo.with_suffix(".gic")
    target.write_text("old")
    result = run("encode", photo)
    assert result.code == 6
    assert result.err.count("\n") == 1
    assert target.read_text() == "old"
    assert fake_codec.encoded == []  # refused before any work
    assert run("encode", photo, "--skip-existing").code == 0
    assert target.read_text() == "old"
    assert run("encode", photo, "-f").code == 0
    assert target.read_bytes() == make_gic(n=0)


@pytest.mark.parametrize("link", [False, True])
def test_never_onto_the_input(run: Run, photo: Path, fake_codec: FakeCodec, link: bool) -> None:
    before = photo.read_bytes()
    target = photo
    if link:
        target = photo.with_name("link.gic")
        target.symlink_to(photo)
    result = run("encode", photo, "-o", target, "--overwrite")
    assert result.code == 2
    assert "input" in result.err
    assert photo.read_bytes() == before


def test_a_failed_encode_leaves_the_old_output(run: Run, photo: Path, fake_codec: FakeCodec) -> None:
    target = photo.with_suffix(".gic")
    target.write_text("old")
    fake_codec.error = GicError("no")
    assert run("encode", photo, "-f").code == 1
    assert target.read_text() == "old"
    assert leftovers(photo.parent) == []


def test_a_failed_write_leaves_nothing(
    run: Run, photo: Path, fake_codec: FakeCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    result = run("encode", photo)
    assert result.code == 1
    assert "No space left on device" in result.err
    assert sorted(path.name for path in photo.parent.iterdir()) == ["photo.png"]


def test_devices_are_written_not_replaced(run: Run, photo: Path, coded: Path, fake_codec: FakeCodec) -> None:
    assert run("encode", photo, "-o", "/dev/null").code == 0
    assert run("decode", coded, "-o", "/dev/null").code == 0
    assert not Path("/dev/null").is_file()


@pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="open files have no names here")
@pytest.mark.parametrize(("flags", "kept"), [(os.O_TRUNC, b""), (os.O_APPEND, b"old")])
def test_open_files_are_written_into(run: Run, photo: Path, fake_codec: FakeCodec, flags: int, kept: bytes) -> None:
    target = photo.with_name("target")
    target.write_bytes(b"old")
    before = target.stat().st_ino
    link = photo.with_name("link")
    number = os.open(target, os.O_WRONLY | flags)
    link.symlink_to(f"/dev/fd/{number}")
    assert run("encode", photo, "-o", f"/dev/fd/{number}").code == 0
    assert run("encode", photo, "-o", link, "--skip-existing").code == 0
    os.close(number)
    assert target.read_bytes() == kept + 2 * make_gic(n=0)
    assert target.stat().st_ino == before
    ran = run("encode", photo, "-o", f"/dev/fd/{number}")
    assert (ran.code, ran.err) == (1, f"gancodec: {photo}: /dev/fd/{number} cannot be written: Bad file descriptor\n")


@pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="open files have no names here")
def test_pipes_of_the_shell_are_written_into(run: Run, photo: Path, coded: Path, fake_codec: FakeCodec) -> None:
    for command, start in (("encode", b"\x89GIC"), ("decode", b"\x89PNG")):
        ours, theirs = os.pipe()
        assert run(command, photo if command == "encode" else coded, "-o", f"/dev/fd/{theirs}").code == 0
        os.close(theirs)
        with open(ours, "rb") as stream:
            assert stream.read().startswith(start)


@pytest.mark.skipif(not os.path.exists("/dev/stdout"), reason="no /dev/stdout here")
def test_standard_output_by_its_name(photo: Path) -> None:
    line = [sys.executable, "-m", "gancodec", "encode", photo, "--profile", "split", "--roi-box", "0,0,9,9", "-q", "-o"]
    piped = subprocess.run([*line, "/dev/stdout"], capture_output=True, timeout=60, check=True).stdout
    assert piped.startswith(b"\x89GIC")
    target = photo.with_name("new.gic")
    with open(target, "wb") as stdout:
        assert subprocess.run([*line, "/dev/stdout"], stdout=stdout, timeout=60, check=False).returncode == 0
    assert target.read_bytes() == piped


def test_links_are_written_through(run: Run, photo: Path, fake_codec: FakeCodec) -> None:
    for name, leads_to in (("dangling", "new.gic"), ("loop", "loop"), ("lost", "no/where")):
        photo.with_name(name).symlink_to(leads_to)
    assert run("encode", photo, "-o", photo.with_name("dangling")).code == 0
    assert photo.with_name("new.gic").read_bytes() == make_gic(n=0)
    for name in ("loop", "lost"):
        for more in ([], ["-f"]):
            ran = run("encode", photo, "-o", photo.with_name(name), *more)
            assert (ran.code, ran.err.count("\n")) == (1, 1)
            assert "cannot be written" in ran.err
    assert all(photo.with_name(name).is_symlink() for name in ("dangling", "loop", "lost"))
    assert leftovers(photo.parent) == []


def test_preserve_times(run: Run, photo: Path, fake_codec: FakeCodec) -> None:
    os.utime(photo, ns=(10**18, 10**18 + 123_000_000))
    assert run("encode", photo, "--preserve-times").code == 0
    assert photo.with_suffix(".gic").stat().st_mtime_ns == photo.stat().st_mtime_ns


def test_permissions_follow_the_umask(run: Run, photo: Path, fake_codec: FakeCodec) -> None:
    old = os.umask(0o027)
    try:
        run("encode", photo)
    finally:
        os.umask(old)
    assert photo.with_suffix(".gic").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o664, 0o640])
def test_the_mode_of_a_replaced_file_stays(
    run: Run, photo: Path, fake_codec: FakeCodec, mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, seen, fsync = photo.with_suffix(".gic"), [], os.fsync
    target.write_bytes(b"old")
    target.chmod(mode)
    other = photo.with_name("other.gic")
    other.hardlink_to(target)

    def look(handle: int, *owner: int) -> None:
        seen.append(os.fstat(handle).st_mode & 0o777)

    monkeypatch.setattr(os, "fchown", look)  # all is written, nothing is given yet
    monkeypatch.setattr(os, "fsync", lambda handle: seen.append(os.fstat(handle).st_mode & 0o777) or fsync(handle))
    assert run("encode", photo, "-f").code == 0
    assert seen == [mode & 0o600, mode & 0o600, mode]
    assert target.stat().st_mode & 0o777 == mode
    assert (target.read_bytes(), other.read_bytes()) == (make_gic(n=0), b"old")


@pytest.mark.parametrize(("mode", "kept"), [(0o660, 0o600), (0o664, 0o644), (0o600, 0o600)])
def test_another_group_reads_no_more_than_everybody(
    run: Run, photo: Path, fake_codec: FakeCodec, mode: int, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    target = photo.with_suffix(".gic")
    target.write_bytes(b"old")
    target.chmod(mode)
    monkeypatch.setattr(os, "fchown", refuse)
    assert run("encode", photo, "-f").code == 0
    assert target.stat().st_mode & 0o777 == kept


@pytest.mark.skipif(not hasattr(os, "setxattr"), reason="no attributes of files here")
def test_attributes_of_a_replaced_file_stay(run: Run, photo: Path, fake_codec: FakeCodec) -> None:
    target = photo.with_suffix(".gic")
    target.write_bytes(b"old")
    try:
        os.setxattr(target, "user.origin", b"here")
    except OSError:
        pytest.skip("the file system has no attributes")
    assert run("encode", photo, "-f").code == 0
    assert os.getxattr(target, "user.origin") == b"here"


@pytest.mark.parametrize("links", [True, False])
def test_of_two_writers_of_one_name_one_succeeds(
    run: Run, photo: Path, fake_codec: FakeCodec, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one comes between the look at the name and its taking; file systems need not have hard links."""
    target, fsync = photo.with_suffix(".gic"), os.fsync

    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    def other(handle: int) -> None:
        fsync(handle)
        target.write_bytes(b"theirs")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    assert run("encode", photo).code == 0
    assert target.read_bytes() == make_gic(n=0)
    target.unlink()
    monkeypatch.setattr(os, "fsync", other)
    ran = run("encode", photo)
    assert (ran.code, ran.err.count("\n")) == (6, 1)
    assert target.read_bytes() == b"theirs"
    assert run("encode", photo, "-f").code == 0
    assert target.read_bytes() == make_gic(n=0)
    assert sorted(path.name for path in photo.parent.iterdir()) == ["photo.gic", "photo.png"]


def test_a_name_that_cannot_be_taken_is_left_free(
    run: Run, photo: Path, fake_codec: FakeCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(os, "replace", refuse)
    assert run("encode", photo).code == 1
    assert [path.name for path in photo.parent.iterdir()] == ["photo.png"]


@pytest.mark.parametrize("command", ["encode", "decode", "batch", "info", "verify", "saliency"])
@pytest.mark.parametrize("number", [13, 2, 5])
def test_folders_that_cannot_be_read_are_failures(
    run: Run,
    photo: Path,
    coded: Path,
    fake_codec: FakeCodec,
    command: str,
    number: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if command == "saliency":
        pytest.importorskip("cv2")
    monkeypatch.setattr(api, "verify_parsed", lambda *_: None)
    closed_folder(monkeypatch, "closed", number)
    folder, closed = photo.parent, photo.parent / "closed"
    closed.mkdir()
    more = [] if command in ("info", "verify") else ["-d", folder / "out"]
    more += ["--jobs", "1"] if command == "batch" else []
    ran = run(command, folder, *more, "--json")
    assert ran.code == 1
    assert ran.err.count(f"gancodec: {closed}: folder cannot be read: {os.strerror(number)}\n") == 1
    assert ran.err.splitlines()[-1] == "gancodec: 1 of 2 failed"
    records = [json.loads(line) for line in ran.out.splitlines()]
    assert [r["file"] for r in records if "error" in r] == [str(closed)]
    assert len(records) == 2
    if command == "batch":
        lines = (folder / "out" / "manifest.jsonl").read_text().splitlines()
        assert [json.loads(line)["file"] for line in lines if "error" in line] == [str(closed)]
    ran = run(command, closed, *more)
    assert (ran.code, ran.err) == (3, f"gancodec: {closed}: folder cannot be read: {os.strerror(number)}\n")


def test_folders_keep_their_tree(run: Run, tmp_path: Path, photo: Path, fake_codec: FakeCodec) -> None:
    deep = tmp_path / "in" / "a" / "b"
    deep.mkdir(parents=True)
    for path in (tmp_path / "in" / "one.png", deep / "two.JPG", deep / ".hidden.png", deep / "notes.txt"):
        path.write_bytes(photo.read_bytes())
    result = run("encode", tmp_path / "in", "-d", tmp_path / "out")
    assert result.code == 0
    written = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*"))
    assert written == ["a/b/two.gic", "one.gic"]


def test_an_empty_folder_is_an_error(run: Run, tmp_path: Path) -> None:
    assert run("encode", tmp_path).code == 3


def test_two_inputs_for_one_output_are_refused(run: Run, photo: Path, fake_codec: FakeCodec) -> None:
    twin = photo.parent / "other" / photo.name
    twin.parent.mkdir()
    twin.write_bytes(photo.read_bytes())
    result = run("encode", photo, twin, "--overwrite", "-d", photo.parent / "out")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "both become" in result.err
    assert fake_codec.encoded == []


@pytest.mark.parametrize(
    ("names", "outputs"),
    [
        ("a.jpg a.png b.png", "a.jpg.gic a.png.gic b.gic"),
        ("a.png a.png.png a.jpg", "a.jpg.gic a.png.gic a.png.png.gic"),
        ("a.png.jpg a.png a.jpg", "a.jpg.gic a.png.gic a.png.jpg.gic"),
        ("a.PNG a.png", "a.PNG.gic a.png.gic"),
        ("x/a.png y/a.jpg", "a.jpg.gic a.png.gic"),
        ("x/a.png x/a.png x/../x/a.png", "a.gic"),
    ],
)
def test_inputs_of_one_name_keep_their_suffixes(
    run: Run, photo: Path, fake_codec: FakeCodec, names: str, outputs: str
) -> None:
    sources = [photo.parent / "in" / name for name in names.split()]
    for path in sources:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo.read_bytes())
    out = photo.parent / "out"
    for order in (sources, sources[::-1]):
        ran = run("encode", *order, "-d", out, "-f")
        assert ran.code == 0
        assert sorted(path.name for path in out.iterdir()) == outputs.split()
        assert ran.err.count("would share outputs") == ("a.gic" not in outputs.split())
    ran = run("encode", *sources, "-d", out, "--skip-existing", "-v")
    assert (ran.code, ran.err.count(" exists")) == (0, len(outputs.split()))


def test_the_names_of_decoded_files(run: Run, coded: Path, fake_codec: FakeCodec) -> None:
    """a.png.gic was a.png, which is not replaced; a.jpg.gic is not turned into a JPEG file."""
    folder, data = coded.parent / "in", coded.read_bytes()
    folder.mkdir()
    for name in ("a.png.gic", "a.jpg.gic", "b.gic"):
        (folder / name).write_bytes(data)
    (folder / "a.png").write_bytes(b"the source")
    ran = run("decode", folder)
    assert ran.code == 1
    assert ran.err.count("a.png exists") == 1
    assert (folder / "a.png").read_bytes() == b"the source"
    assert {path.name for path in folder.glob("*.png")} == {"a.png", "a.jpg.png", "b.png"}
    (folder / "a.gic").write_bytes(data)
    assert run("decode", folder, "-d", coded.parent / "out").code == 0
    made = sorted(path.name for path in (coded.parent / "out").iterdir())
    assert made == ["a.gic.png", "a.jpg.png", "a.png.gic.png", "b.png"]


def test_several_inputs_go_on_after_an_error(run: Run, tmp_path: Path, photo: Path, fake_codec: FakeCodec) -> None:
    bad = tmp_path / "bad.png"
    bad.write_text("not a picture")
    result = run("encode", bad, tmp_path / "missing.png", photo, "--json")
    assert result.code == 1
    assert photo.with_suffix(".gic").exists()
    assert result.err.splitlines()[-1] == "gancodec: 2 of 3 failed"
    assert result.err.count("bad.png") == result.err.count("missing.png") == 1
    assert [json.loads(line).get("exit_code", 0) for line in result.out.splitlines()] == [3, 3, 0]
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (MissingWeights("model x is not installed"), 4, "model x is not installed"),
        (MemoryError(), 1, "out of memory"),
        (ZeroDivisionError("oh\nno"), 1, "unexpected ZeroDivisionError: oh no (-vv shows where)"),
    ],
)
def test_errors_are_one_line(
    run: Run, photo: Path, fake_codec: FakeCodec, error: Exception, code: int, text: str
) -> None:
    fake_codec.error = error
    result = run("encode", photo)
    assert (result.code, result.err) == (code, f"gancodec: {photo}: {text}\n")
    assert "Traceback" in run("encode", photo, "-vv").err


def test_missing_input(run: Run, tmp_path: Path) -> None:
    for command in ("encode", "decode", "info", "verify"):
        result = run(command, tmp_path / "none")
        assert (result.code, result.err) == (3, f"gancodec: {tmp_path / 'none'}: cannot be read: no such file\n")


# --- decode


def test_decode_writes_png_by_default(run: Run, coded: Path, fake_codec: FakeCodec) -> None:
    result = run("decode", coded)
    assert result.code == 0
    assert result.out == b""
    with Image.open(coded.with_suffix(".png")) as image:
        assert (image.format, image.size) == ("PNG", (40, 30))
    assert fake_codec.decoded == [gancodec.DecodeOptions()]


@pytest.mark.parametrize(
    ("arguments", "name", "kind"),
    [
        (["-o", "x.jpg"], "x.jpg", "JPEG"),
        (["-o", "x.tif"], "x.tif", "TIFF"),
        (["--format", "webp"], "coded.webp", "WEBP"),
        (["--format", "jpeg"], "coded.jpg", "JPEG"),
        (["-o", "x.out", "--format", "png"], "x.out", "PNG"),
        (["-d", "deep/er"], "deep/er/coded.png", "PNG"),
    ],
)
def test_decode_formats(
    run: Run,
    coded: Path,
    fake_codec: FakeCodec,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    name: str,
    kind: str,
) -> None:
    monkeypatch.chdir(coded.parent)
    assert run("decode", coded, *arguments).code == 0
    with Image.open(coded.parent / name) as image:
        assert image.format == kind


def test_decode_of_damage_is_one_line_and_no_file(run: Run, coded: Path, fake_codec: FakeCodec) -> None:
    coded.write_bytes(coded.read_bytes()[:-1])
    result = run("decode", coded)
    assert result.code == 3
    assert result.err.count("\n") == 1
    assert not coded.with_suffix(".png").exists()


# --- pipes


def test_pipes_carry_the_payload_and_nothing_else(run: Run, photo: Path, fake_codec: FakeCodec) -> None:
    result = run("encode", "-", stdin=photo.read_bytes())
    assert (result.code, result.out) == (0, make_gic(n=0))
    assert result.err.startswith("standard output: 40x30, ")
    result = run("decode", "-", "-o", "-", "--format", "jpeg", stdin=result.out)
    assert result.code == 0
    assert result.out[:2] == b"\xff\xd8"
    assert b"gancodec" not in result.out


def test_named_pipes_are_read(run: Run, photo: Path, fake_codec: FakeCodec) -> None:
    fifo = photo.with_name("fifo")
    os.mkfifo(fifo)
    with subprocess.Popen(["sh", "-c", f"cat '{photo}' > '{fifo}'"]):
        assert run("encode", fifo).code == 0


def test_binary_is_not_written_to_a_terminal(photo: Path) -> None:
    leader, follower = pty.openpty()
    with open(photo, "rb") as stdin:
        result = subprocess.run(
            [sys.executable, "-m", "gancodec", "encode", "-"],
            stdin=stdin,
            stdout=follower,
            stderr=subprocess.PIPE,
            timeout=60,
        )
    os.close(follower)
    os.close(leader)
    assert result.returncode == 2
    assert b"terminal" in result.stderr


class Terminal(io.StringIO):
    """A standard error that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    "name",
    ["a\nb", "\x1b[31mred", "\u202egpj.exe", "a\u200bb", "tab\there", "\udcff", "\x9b0m", "a\u2028b", ":car:", "[red]"],
)
@pytest.mark.parametrize("terminal", [False, True])
def test_names_are_told_in_one_line_that_can_be_printed(
    run: Run, photo: Path, fake_codec: FakeCodec, name: str, terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", shown)
    folder = photo.parent / "in"
    folder.mkdir()
    for suffix in (".png", ".bmp", ".avif"):
        (folder / f"{name}{suffix}").write_bytes(photo.read_bytes() if suffix != ".bmp" else b"")
    (folder / f"{name}.gic").write_bytes(make_gic())
    out = [run("encode", folder, "-d", folder / "out", "-vv"), run("encode", folder, "-d", folder / "out", "-v")]
    out += [run("encode", folder, "-d", folder / "out", "-v", "--skip-existing", "--json")]
    out += [run("batch", folder, "-d", folder / "out", "-v", "--jobs", "1")]
    out += [run("info", folder), run("verify", folder), run("decode", folder, "-d", folder / "out" / f"{name}x", "-v")]
    told = shown.getvalue() + "".join(ran.out.decode() for ran in out)
    if terminal:  # what the progress bars do
        told = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", told)
    assert all(line.isprintable() for line in told.split("\n"))
    assert name.encode("unicode_escape").decode() in told
    assert "\U0001f697" not in told, "no emoji for :car:"


def test_tracebacks_have_no_control_sequences(
    run: Run, photo: Path, fake_codec: FakeCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_codec.error = GicError("\x1b[31mred")
    told = [run("encode", photo, "-vv").err]

    def fail(*_: object) -> None:
        raise ValueError("\x1b[31mred")

    monkeypatch.setattr("gancodec.cli.encode.Saving", fail)  # outside of all inputs
    ran = run("encode", photo, "-vv")
    assert ran.code == 1
    assert ran.err.splitlines()[-1].startswith("gancodec: unexpected ValueError: \\x1b[31mred")
    told.append(ran.err)
    for text in told:
        assert "Traceback" in text
        assert "\x1b" not in text


def test_markdown_is_shown_as_it_is() -> None:
    text = markdown("a|b <img> [x](y) *b* `c` _d_ #12 @all https://x www.x &lt; ~~s~~ $m$ \\ ![i] \x1b\n")
    assert not re.search(r"[<>\[\]*`_~$@!\n\x1b]|&(?!#\d+;)|#(?!\d+;)|(?<!\\)\||://|www\.", text)
    plain = "photos/a-b.png: larger: size 5.28 % up (+1), x=y"
    assert markdown(plain) == plain


ROWS = [["photos/a.png", "6542", "+0.00 %", "ok"], ["photos/b.png", "5678", "+5.28 %", "larger"]]


@pytest.mark.parametrize("columns", ["0", "1", "10", "40", "80", "x"])
def test_tables_are_whole_at_any_width(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    for stream in (Terminal(), io.StringIO()):
        monkeypatch.setattr(sys, "stdout", stream)
        Report().table(("file", "bytes before", "change", "verdict"), ROWS, (0, 3))
        text = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())
        drawn = isinstance(stream, Terminal) and columns in ("80", "x")
        assert ("┃" in text) == drawn
        for word in ("bytes before", "change", "verdict", *ROWS[0], *ROWS[1]):
            assert word in text, (columns, word)
        if columns == "40" and isinstance(stream, Terminal):
            assert max(map(len, text.split("\n"))) <= 40


def test_progress_only_on_a_terminal(
    run: Run, photo: Path, fake_codec: FakeCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["encode", photo, photo.with_name("none.png"), "-d", photo.parent / "out", "-f"]
    assert "2/2" not in run(*arguments).err
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    run(*arguments)
    assert "2/2" in terminal.getvalue()
    assert "40x30" in terminal.getvalue()
    terminal.truncate(0)
    run(*arguments, "--quiet")
    assert "2/2" not in terminal.getvalue()


@pytest.mark.parametrize("inputs", [1, 2])
def test_a_large_picture_has_a_bar_from_its_start(
    run: Run, photo: Path, fake_codec: FakeCodec, inputs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.progress import Progress

    seen: list[list[tuple[float, float | None]]] = []

    def encode_picture(picture: Picture, options: api.EncodeOptions, *, progress: tiling.Progress) -> api.Encoded:
        for done in (None, 25, 100):
            if done is not None:
                progress(done, 100)
            seen.append([(task.completed, task.total) for bars in shown for task in bars.tasks])
        return fake_codec.encode_picture(picture, options)

    shown: list[Progress] = []
    start = Progress.start
    monkeypatch.setattr(Progress, "start", lambda bars: shown.append(bars) or start(bars))
    monkeypatch.setattr(api, "encode_picture", encode_picture)
    monkeypatch.setattr(job, "LARGE", 40 * 30)
    monkeypatch.setattr(sys, "stderr", Terminal())
    small = photo.with_name("small.png")
    Image.new("RGB", (40, 29)).save(small)
    assert run("encode", *[photo, small][:inputs], "-d", photo.parent / "out").code == 0
    others = [(0, 2)] if inputs == 2 else []
    assert seen[:3] == [[*others, (0, None)], [*others, (25, 100)], [*others, (100, 100)]]
    if inputs == 2:
        assert seen[3] == [(1, 2)], "a small picture has none until there is something to show"
    assert len(shown) == 1
    shown.clear()
    assert run("encode", photo, "-d", photo.parent / "out", "-f", "--quiet").code == 0
    assert shown == []


# --- info, verify, models


def test_info(run: Run, coded: Path) -> None:
    result = run("info", coded)
    assert result.code == 0
    text = result.out.decode()
    assert "gic 1.0, 40x30" in text
    assert "n=0.250" in text
    assert "synthetic  no" in text


def test_info_shows_the_synthetic_flag(run: Run, coded: Path) -> None:
    coded.write_bytes(make_gic(flags=1))
    assert "may contain detail that the original did not have" in run("info", coded).out.decode()
    assert json.loads(run("info", coded, "--json").out)["synthetic_detail"] is True


def test_info_json(run: Run, coded: Path) -> None:
    record = json.loads(run("info", coded, "--json").out)
    size = coded.stat().st_size
    assert (record["width"], record["height"], record["bytes"]) == (40, 30, size)
    assert record["bpp"] == pytest.approx(8 * size / 1200)
    assert (record["model"], record["model_hash"], record["model_installed"]) == (1, "0001020304050607", False)
    assert (record["format"], record["codec"], record["coder"], record["n"]) == ("1.0", "gic1", "range", 0.25)
    assert [chunk["bytes"] for chunk in record["chunks"]] == [5, 0]


def test_info_of_another_format_reads_only_its_start(run: Run, photo: Path) -> None:
    os.truncate(photo, 1 << 36)  # sparse: nobody has so much memory
    with pytest.raises(CorruptFile, match="not a"):
        read_gic(str(photo))
    assert run("info", photo).code == 3


def test_verify(run: Run, coded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[container.Container] = []
    monkeypatch.setattr(api, "verify_parsed", checked.append)
    result = run("verify", coded)
    assert (result.code, result.out.decode()) == (0, f"{coded}: ok\n")
    assert checked == [container.read(coded.read_bytes())]
    assert run("verify", coded, "-q").out == b""
    assert json.loads(run("verify", coded, "--json").out) == {"file": str(coded), "ok": True}


def test_verify_finds_damage(run: Run, coded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(parsed: container.Container) -> None:
        raise CorruptFile("symbols left over")

    monkeypatch.setattr(api, "verify_parsed", damaged)
    assert run("verify", coded).code == 3
    data = bytearray(coded.read_bytes())
    data[20] ^= 1
    coded.write_bytes(data)
    monkeypatch.setattr(api, "verify_parsed", lambda parsed: None)
    result = run("verify", coded)
    assert result.code == 3
    assert result.out == b""
    assert result.err.count("\n") == 1


def test_verify_without_the_model_says_what_was_checked(run: Run, coded: Path) -> None:
    result = run("verify", coded)  # its model hash belongs to no model
    assert result.code == 4
    assert "structure and checksums are fine" in result.err


def test_models(run: Run) -> None:
    if not weights_known():
        assert run("models").code == 4
        return
    records = [json.loads(line) for line in run("models", "--json").out.splitlines()]
    assert [record["name"] for record in records] == [model.name for model in weights.available()]
    assert all(len(record["hash"]) == 16 for record in records)


def weights_known() -> bool:
    try:
        return bool(weights.available())
    except MissingWeights:
        return False


# --- signals and closed pipes, in real processes

SLOW = """
import os, signal, sys, time
from gancodec.batch import files, job
from gancodec.cli.app import main
def fsync(descriptor):
    print("writing", flush=True)
    time.sleep(30)
os.fsync = fsync
def run(job, *args, **kwargs):
    files.write(job, b"data", files.Saving())
job.run = run
main(sys.argv[1:])
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interruption_leaves_no_partial_file(photo: Path, number: signal.Signals, code: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SLOW, "encode", str(photo)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline() == b"writing\n"
        assert leftovers(photo.parent) != []  # it is in the middle of writing
        time.sleep(0.1)
        child.send_signal(number)
        assert child.wait(timeout=30) == code
        assert b"Traceback" not in child.stderr.read()
    assert sorted(path.name for path in photo.parent.iterdir()) == ["photo.png"]


def test_a_closed_pipe_ends_quietly(coded: Path) -> None:
    for number in range(300):
        (coded.parent / f"{number}.gic").write_bytes(coded.read_bytes())
    command = f"'{sys.executable}' -m gancodec info --json '{coded.parent}' | head -n 1"
    result = subprocess.run(["sh", "-c", command], capture_output=True, timeout=60)
    assert result.stdout.count(b"\n") == 1
    assert result.stderr == b""


# --- the real thing, where weights are installed


@needs_weights
def test_round_trip_on_a_real_photograph(tmp_path: Path) -> None:
    from skimage import data

    photo = tmp_path / "astronaut.png"
    Image.fromarray(data.astronaut()[:128, 160:352]).save(photo)
    assert process("encode", photo, "--bpp", "0.8", "--json").returncode == 0
    gic = photo.with_suffix(".gic")
    assert gic.stat().st_size <= 0.8 * 128 * 192 / 8
    assert process("verify", gic).returncode == 0
    assert process("decode", gic, "-o", tmp_path / "back.png").returncode == 0
    with Image.open(photo) as before, Image.open(tmp_path / "back.png") as after:
        error = np.abs(np.asarray(before, np.int16) - np.asarray(after, np.int16)).mean()
    assert error < 16
    record = json.loads(process("info", gic, "--json").stdout)
    assert record["model_installed"] is True


@needs_weights
def test_every_kind_of_damage_is_refused(tmp_path: Path, photo: Path) -> None:
    assert process("encode", photo).returncode == 0
    data = photo.with_suffix(".gic").read_bytes()
    bad = tmp_path / "bad.gic"
    for damaged in (data[:-1], data + b"\0", data[:60] + bytes([data[60] ^ 4]) + data[61:], b""):
        bad.write_bytes(damaged)
        result = process("decode", bad, "-o", tmp_path / "bad.png")
        assert result.returncode == 3
        assert result.stderr.count(b"\n") == 1
        assert not (tmp_path / "bad.png").exists()


def test_warnings_of_the_library_are_one_line(
    run: Run, photo: Path, fake_codec: FakeCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def encode_picture(picture: Picture, options: api.EncodeOptions, **_: object) -> api.Encoded:
        warnings.warn("out of GPU memory:\ngoing on with the CPU", RuntimeWarning, stacklevel=1)
        return fake_codec.encode_picture(picture, options)

    monkeypatch.setattr(api, "encode_picture", encode_picture)
    warnings.simplefilter("default")
    ran = run("encode", photo, "-q")
    assert (ran.code, ran.err) == (0, "gancodec: warning: out of GPU memory: going on with the CPU\n")


def test_empty_names_are_refused(run: Run) -> None:
    ran = run("encode", "")
    assert (ran.code, ran.err.count("\n")) == (2, 1)


def test_names_beyond_the_terminals_encoding_do_not_fail(tmp_path: Path) -> None:
    (tmp_path / "ü.gic").write_bytes(make_gic())
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    ran = subprocess.run(
        [sys.executable, "-m", "gancodec", "info", str(tmp_path / "ü.gic")],
        env=environment,
        capture_output=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert b"\\xfc.gic" in ran.stdout


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("::error::x", r"\x3a:error::x"),
        ("  ::add-mask::x", r"  \x3a:add-mask::x"),
        ("a ##[command]x", r"a \x23#[command]x"),
        ("a::b:c #1", "a::b:c #1"),
    ],
)
def test_names_are_no_commands_of_a_runner(name: str, told: str) -> None:
    """Of GitHub, which takes lines of a log that begin so for its own."""
    assert printable(name) == told


def test_a_line_never_begins_like_a_command(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "::error::pwn.gic").write_bytes(make_gic())
    for command in ("info", "verify", "decode"):
        done = run(command, "--", "::error::pwn.gic")
        assert not re.search(r"^\s*::", done.out.decode() + "\n" + done.err, re.MULTILINE)


def test_a_name_that_is_too_long_is_told_of(run: Run, photo: Path, tmp_path: Path, fake_codec: FakeCodec) -> None:
    done = run("encode", photo, "-o", tmp_path / ("n" * 300 + ".gic"))
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "cannot be written: File name too long" in done.err


def test_json_and_a_second_number_of_standard_output_exclude_each_other(photo: Path) -> None:
    command = [sys.executable, "-m", "gancodec", "encode", "--json", str(photo), "-o", "/dev/fd/3"]
    shell = " ".join(map(shlex.quote, command)) + " 3>&1 | cat; exit ${PIPESTATUS[0]}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (2, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a system without /dev/full")
def test_versions_to_a_full_disk() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "gancodec", "--version"], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 1
    assert done.stderr.decode().startswith("gancodec: standard output cannot be written: No space left")
