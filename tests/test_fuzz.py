"""The fuzz targets under hypothesis, with the same examples in every run, and everything that fuzzing has found so far.

For long runs, guided by coverage: ``python -m tests.fuzz.run TARGET --minutes 30``.
"""

from __future__ import annotations

import dataclasses
import gc
import os
import re
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from gancodec import container, imageio, weights
from gancodec.codec import decode_bytes
from gancodec.errors import CorruptFile, GicError
from gancodec.types import Picture
from tests import commands
from tests.fuzz import corrupt, targets
from tests.fuzz.build import mended, mended_png
from tests.fuzz.pictures import HEIGHT, WIDTH, sound
from tests.fuzz.run import NAMES
from tests.fuzz.seeds import kept, seeds
from tests.fuzz.structure import structure
from tests.tiny import picture
from tools import corrupt_pictures

EXAMPLES = 250
Edit = tuple[int, int, int]


@pytest.fixture(scope="module", autouse=True)
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The tiny seeded model is all that is installed."""
    folder = tmp_path_factory.mktemp("weights")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(weights.ENVIRONMENT, str(folder))
        targets.prepare(folder)
        yield


def edited(seed: bytes, edits: list[Edit]) -> bytes:
    """A sound input with bytes changed, put in, taken out, or cut off."""
    out = bytearray(seed)
    for kind, where, byte in edits:
        place = where % (len(out) + 1)
        if kind == 0 and place < len(out):
            out[place] = byte
        elif kind == 1:
            out[place:place] = bytes((byte,)) * (1 + byte % 8)
        elif kind == 2:
            del out[place : place + 1 + byte % 8]
        elif kind == 3 and byte < 64:
            del out[place:]
    return bytes(out)


def test_the_runner_knows_all_targets() -> None:
    assert tuple(targets.TARGETS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_sound_inputs_and_former_findings(name: str) -> None:
    for data in (*seeds(name), *(path.read_bytes() for path in kept(name))):
        targets.check(name, data)


@pytest.mark.parametrize("name", NAMES)
def test_any_bytes(name: str) -> None:
    edit = st.tuples(st.integers(0, 3), st.integers(0, 1 << 14), st.integers(0, 255))
    changed = st.builds(edited, st.sampled_from(seeds(name)), st.lists(edit, min_size=1, max_size=6))

    @settings(
        derandomize=True, database=None, deadline=None, max_examples=EXAMPLES, suppress_health_check=[*HealthCheck]
    )
    @given(changed | st.binary(max_size=200))
    def holds(data: bytes) -> None:
        targets.check(name, data)

    holds()


def test_mending_makes_checksums_right() -> None:
    """What is tried behind the checksums is behind them indeed."""
    for data in (seed[1:] for seed in seeds("container")):
        assert mended(data) == data
        chunks = container.read(data).chunks
        place = [chunk.name for chunk in chunks].index("IMAGE")
        image, last = chunks[place], chunks[place + 1].offset - 5
        changed = data[:last] + bytes((data[last] ^ 1,)) + data[last + 1 :]
        with pytest.raises(CorruptFile, match="IMAGE: checksum differs"):
            container.read(changed)
        assert len(container.read(mended(changed)).image) == image.length
    for data in (seed[1:] for seed in seeds("pictures") if seed[1:5] == b"\x89PNG"):
        assert mended_png(data) == data
        assert mended_png(data[:29] + bytes(4) + data[33:]) == data


def test_random_corruptions_are_refused() -> None:
    """The short form of ``python -m tests.fuzz.corrupt``; test_hostile.py changes single bytes more often."""
    counts = corrupt.trial(each=20, seed=2)
    assert len(counts) == 24
    assert set(sum(counts.values(), Counter())) == {"refused"}, counts


def test_corruptions_that_pass_are_noticed() -> None:
    """Nothing is called refused that is not."""
    file = next(data for name, data in corrupt.files() if name == "split-lossless-bare")
    original = decode_bytes(file)
    assert corrupt.outcome(file, original) == "same"
    assert corrupt.outcome(file, dataclasses.replace(original, rgb=original.rgb ^ 1)) == "silent"
    assert corrupt.outcome(file, dataclasses.replace(original, xmp=b"<x/>")) == "silent"
    assert corrupt.outcome(None, original) == "errors"  # type: ignore[arg-type]


# --- pictures, as tools/corrupt_pictures.py damages them


def test_corrupted_pictures_are_pictures_or_refused_in_a_line() -> None:
    """The short form of ``python -m tools.corrupt_pictures``."""
    made = corrupt_pictures.Maker(seed=2)
    inputs = [made(number) for number in range(300)]
    gc.collect()  # nothing of other tests is told of while these run
    counts = Counter(
        (i.format, corrupt_pictures.examine(i.data, i.number % 50 == 0, i.number % 20 == 1)) for i in inputs
    )
    assert len({format for format, _ in counts}) == 7
    assert len(counts) == 14, counts  # in each format some are read and some are not
    assert {ended for _, ended in counts} == {corrupt_pictures.PICTURE, corrupt_pictures.REFUSED}, counts
    assert made(7) == corrupt_pictures.Maker(seed=2)(7) != corrupt_pictures.Maker(seed=3)(7)


class _Lines(GicError):
    def __str__(self) -> str:  # which every error of ours makes one line
        return "one\ntwo"


def _two_lines(*_: object) -> Picture:
    raise _Lines


def _large(*_: object) -> Picture:
    return Picture(np.ones((100 << 20, 1, 3), np.uint8)[:9])


def _told(how: Callable[[], object]) -> Callable[..., Picture]:
    return lambda *_: (how(), Picture(picture(3, 5)))[1]


@pytest.mark.parametrize(
    ("load", "fault"),
    [
        (_told(lambda: None), "picture"),
        (_told(lambda: 1 // 0), "ZeroDivisionError: integer division or modulo by zero"),
        (_two_lines, "AssertionError: an error of several lines"),
        (_large, "AssertionError: 3.. MiB"),
        (_told(lambda: os.write(2, b"libtiff: bad")), "output: libtiff: bad"),
        (_told(lambda: print("here")), "output: here"),
        (_told(lambda: warnings.warn("bomb", Image.DecompressionBombWarning, stacklevel=1)), "output: .*bomb"),
        (lambda *_: Picture(np.zeros((1 << 9, 1 << 9, 3), np.uint8)), "AssertionError"),
        (lambda *_: Picture(picture(3, 5), notices=("a\nb",)), "AssertionError"),
    ],
)
def test_faults_of_readers_are_noticed(
    load: Callable[..., Picture], fault: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(imageio, "load", load)
    assert re.match(fault, corrupt_pictures.examine(b"", coded=True), re.DOTALL)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("end", "told"), [("kill -SEGV $$", "ended its process with -11"), ("exec sleep 9", "no end")])
def test_inputs_that_end_the_process_or_do_not_end_are_faults(
    end: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = tmp_path / "python"
    stub.write_text(f'#!/bin/sh\necho \'[-1, "ready"]\'\necho "[$6, \\"picture\\"]"\n{end}\n')
    stub.chmod(0o755)
    for name, value in (("SILENCE", 0.5), ("GRACE", 0.1)):
        monkeypatch.setattr(corrupt_pictures, name, value)
    monkeypatch.setattr(sys, "executable", str(stub))
    outcomes = [(number, ended.strip()) for number, ended in corrupt_pictures.supervise(1, range(4))]
    assert outcomes == [(0, "picture"), (1, told), (2, "picture"), (3, told)]


def test_the_command_line_is_examined(monkeypatch: pytest.MonkeyPatch) -> None:
    file = next(data for format, data in sound() if format == "PNG")
    inputs = [corrupt_pictures.Input(number, "PNG", data) for number, data in enumerate((file, b"junk"))]
    assert list(corrupt_pictures.commanded(inputs)) == []
    bad = [commands.Ended(0, "", "", 0, 0, []), commands.Ended(3, "", "one\ntwo", 0, 0, [])]
    monkeypatch.setattr(commands, "in_one_process", lambda _: bad)
    assert [number for number, _ in corrupt_pictures.commanded(inputs)] == [0, 1]


def test_damage_finds_the_structure_of_files() -> None:
    """Parts and numbers in every format, and the sides where a reader finds them."""
    for format, data in sound():
        parts, fields, sides = structure(data)
        assert parts, format
        assert len(fields) > 8, format
        stated = {int.from_bytes(data[at : at + size], order) for at, size, order in sides}  # type: ignore[arg-type]
        assert format in ("WEBP", "BMP") or {HEIGHT, WIDTH} <= stated, (format, stated)
