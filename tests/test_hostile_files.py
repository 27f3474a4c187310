"""Every file of tests/hostile through the command line: what its README promises, within time and memory."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image

from gancodec import container, imageio, weights
from gancodec.cli import decode
from gancodec.codec import EncodeOptions
from gancodec.container import spec
from gancodec.errors import CorruptFile
from gancodec.models.stream import CODERS
from gancodec.types import Picture
from tests.commands import MIB, SECONDS, Ended, in_one_process
from tests.conftest import Run, needs_weights
from tests.frozen import with_gic2
from tests.fuzz.build import chunk, gic
from tests.tiny import picture
from tools.make_hostile import SPLIT, VECTORS, split_image

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "tests" / "hostile"
PIPE_MEMORY = 300 << 20  # bytes, of a process that is sent more than that
HEADER_ONLY = (
    "pixels-2-31.gic pixels-2-40.gic side-0.gic side-2-21.gic number-long.gic number-endless.gic version-2.gic "
    "signature-only.gic"
).split()


class Promise(NamedTuple):
    """A line of the README: file, exit code of `decode` and `verify` (or `encode`), words, exit code of `info`."""

    name: str
    code: int
    words: str
    info: int | None


def promises(suffix: str = "") -> list[Promise]:
    """What the README says of files with a suffix, or of pictures."""
    rows = re.findall(r"^\| `([^`]+)` \| [^|]+ \| (\d) \| ([^|]+) \| (\d|–) \|$", readme(), re.MULTILINE)
    made = [Promise(n, int(c), "" if w == "–" else w, None if i == "–" else int(i)) for n, c, w, i in rows]
    return [p for p in made if p.name.endswith(".gic") == bool(suffix)]


@lru_cache(maxsize=1)
def readme() -> str:
    return (FOLDER / "README.md").read_text(encoding="utf-8")


def holds(name: str, ended: Ended, code: int, words: str) -> None:
    """Fail unless a command ended as promised."""
    assert ended.code == code, (name, ended)
    assert "Traceback" not in ended.err, (name, ended.err)
    assert ended.seconds < SECONDS, (name, ended.seconds)
    assert ended.peak < MIB, (name, ended.peak)
    assert "torch" not in ended.loaded, name
    if code:
        assert ended.out == "", name
        assert len(ended.err.splitlines()) == 1, (name, ended.err)
        assert ended.err.startswith("gancodec: "), (name, ended.err)
        assert words in ended.err, (name, ended.err)


def test_the_list_is_complete() -> None:
    named = [promise.name for promise in promises() + promises(".gic")]
    assert len(set(named)) == len(named) > 70
    assert set(named) == {p.name for p in FOLDER.iterdir() if p.is_file()} - {"README.md"}
    sizes = {path.name: path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()}
    assert max(sizes.values()) < 20_000
    assert sum(sizes.values()) < 300_000


@pytest.fixture
def models(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is installed, and the model that files of codec 6 name here."""
    folder = with_gic2(tmp_path_factory.mktemp("weights"))
    monkeypatch.setenv(weights.ENVIRONMENT, str(folder))


@needs_weights
@pytest.mark.parametrize("command", ["decode", "verify", "info"])
def test_gic_files(command: str, tmp_path: Path, models: None) -> None:
    listed = promises(".gic")
    inputs = [(command, FOLDER / promise.name) for promise in listed]
    if command == "decode":
        inputs = [(*words, "-o", tmp_path / f"{words[1].name}.png") for words in inputs]  # type: ignore[misc]
    for promise, ended in zip(listed, in_one_process(inputs), strict=True):
        code = promise.info if command == "info" else promise.code
        assert code is not None
        holds(promise.name, ended, code, "" if command == "info" else promise.words)
    decoded = [f"{promise.name}.png" for promise in listed if promise.code == 0 and command == "decode"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(decoded)


@needs_weights
def test_files_in_slices_are_refused_in_part_too(tmp_path: Path, models: None) -> None:
    """None of them is taken for one that is cut, nor is a cut one that lies of the next slice."""
    listed = [p for p in promises(".gic") if p.name.startswith(("slices-", "more-", "tiles-"))]
    assert len(listed) > 40
    part = tmp_path / "lies.gic"
    part.write_bytes(cut_that_lies())
    commands = [("decode", FOLDER / promise.name, "--partial", "-o", tmp_path / "out.png") for promise in listed]
    *ended, last = in_one_process([*commands, ("decode", part, "--partial", "-o", tmp_path / "out.png")])
    for promise, end in zip(listed, ended, strict=True):
        gic1 = promise.name == "more-gic1.gic"
        holds(promise.name, end, 2 if gic1 else promise.code, "the gic1 codec has no slices" if gic1 else promise.words)
    holds("a cut that lies", last, 3, "slice 2 of 6 is not what the first one announces")
    assert list(tmp_path.iterdir()) == [part]


def cut_that_lies() -> bytes:
    """A file that ends within a second slice of another length."""
    data = (VECTORS / "photo.gic").read_bytes()
    more = next(info for info in container.read(data).chunks if info.type == spec.MORE)
    return data[: more.offset] + chunk(spec.MORE, bytes(more.length + 1))[:4]


@needs_weights
def test_pictures(tmp_path: Path) -> None:
    listed = promises()
    # The split codec reads them as the other one does, and needs no torch for those that are pictures.
    how = ("--profile", "split", "--roi-box", "0,0,9,9")
    commands = [("encode", FOLDER / p.name, "-o", tmp_path / f"{p.name}.gic", *how) for p in listed]
    for promise, ended in zip(listed, in_one_process(commands), strict=True):
        holds(promise.name, ended, promise.code, promise.words)
    encoded = [f"{promise.name}.gic" for promise in listed if promise.code == 0]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(encoded)


def test_headers_are_refused_before_anything_is_imported(tmp_path: Path) -> None:
    """No numpy, no codec, no model for a file that its header gives away; and no torch for a picture."""
    target = ("-o", tmp_path / "out.png")
    for promise, ended in zip(
        [p for p in promises(".gic") if p.name in HEADER_ONLY],
        in_one_process(("decode", FOLDER / name, *target) for name in HEADER_ONLY),
        strict=True,
    ):
        holds(promise.name, ended, 3, promise.words)
        assert ended.loaded == [], promise.name
    (picture,) = in_one_process([("encode", FOLDER / "pixels.png", "-o", tmp_path / "out.gic")])
    holds("pixels.png", picture, 3, "--max-pixels")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["pixels-2-31.gic", "icc-bomb-7.gic", "split-nonsense.gic", "pixels.gif"])
def test_in_a_process_of_its_own(name: str, tmp_path: Path) -> None:
    command = "decode" if name.endswith(".gic") else "encode"
    target = tmp_path / ("out.png" if command == "decode" else "out.gic")
    ran = subprocess.run(
        [sys.executable, "-m", "gancodec", command, str(FOLDER / name), "-o", str(target)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=120,
    )
    assert (ran.returncode, ran.stdout) == (3, b"")
    assert len(ran.stderr.decode().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_more_pixels_are_read_where_they_are_allowed(run: Run) -> None:
    """The limit is one of the user, not of the format."""
    said = run("decode", FOLDER / "pixels-2-31.gic", "--max-pixels", 1 << 31, "-o", "-").err
    assert "--max-pixels" not in said
    assert "IMAGE" in said


# --- files that are too large to keep


def test_a_million_chunks(tmp_path: Path) -> None:
    data = gic(SPLIT, split_image(), chunk(0xFE, b"") * 1_000_000)
    (tmp_path / "million.gic").write_bytes(data)
    for ended in in_one_process((command, tmp_path / "million.gic") for command in ("info", "verify", "decode")):
        holds("million.gic", ended, 3, "65 unknown chunks")
        assert ended.peak < 100


def test_a_sparse_file_of_ten_gigabytes(tmp_path: Path) -> None:
    """What no header allows is not read, from a file or from a pipe."""
    path = tmp_path / "sparse.gic"
    path.write_bytes(gic(SPLIT, split_image()))
    os.truncate(path, 10 << 30)
    commands = [("info", tmp_path / "none.gic"), *((command, path) for command in ("info", "verify", "decode"))]
    base, *others = in_one_process(commands)
    for ended in others:
        holds("sparse", ended, 3, "longer than any with its header")
        assert ended.seconds < 1
        assert ended.peak < base.peak + 10  # the most that such a header allows is 30 MB
    code = (
        f"import resource; resource.setrlimit(resource.RLIMIT_DATA, ({PIPE_MEMORY},) * 2)\n"
        "from gancodec.cli.app import main; main(['info', '-'])"
    )
    pipe = f"head -c 1000000000 '{path}' | '{sys.executable}' -c \"{code}\""
    ran = subprocess.run(
        ["sh", "-c", pipe], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, timeout=60
    )
    assert ran.returncode == 3, ran.stderr
    assert b"longer than any with its header" in ran.stderr


def test_unknown_chunks_are_bounded_together() -> None:
    """Few chunks, each within what the format's numbers hold, of more than they may have together."""
    half = chunk(0xFE, bytes(spec.MAX_UNKNOWN_BYTES // 2))
    container.read(gic(SPLIT, split_image(), half, half))
    with pytest.raises(CorruptFile, match="more than may"):
        container.read(gic(SPLIT, split_image(), half, half, chunk(0xFE, b"x")))


# --- names


@pytest.mark.parametrize(
    "name", ["two\nlines.gic", "\x1b[31mred\x1b[0m.gic", "-o.gic", "$(touch pwned).gic", "..%2f..%2fx.gic", "\x07.gic"]
)
def test_names_are_names(name: str, tmp_path: Path, run: Run) -> None:
    """Line breaks, control sequences and shell words in a name do nothing but name the file."""
    (tmp_path / name).write_bytes(b"junk")
    for command in ("info", "verify", "decode"):
        ran = run(command, tmp_path / name)
        assert ran.code == 3
        assert len(ran.err.splitlines()) == 1
        assert ran.err.strip().isprintable()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_options_name_the_coders_there_are() -> None:
    assert tuple(spec.ENTROPY_CODERS) == tuple(CODERS)
    assert EncodeOptions().entropy in CODERS


def test_formats_known_without_asking_are_those_that_are_written() -> None:
    assert all(decode.SUFFIX_FORMATS[suffix] == name for name, suffix in decode.SUFFIXES.items())
    for name in decode.SUFFIX_FORMATS.values():
        written = io.BytesIO()
        imageio.save(Picture(picture(20, 30)), written, name)
        assert str(Image.open(written).format).lower() == name
