"""The fuzz targets under hypothesis, with the same examples in every run, and everything that fuzzing has found so far.

For long runs, guided by coverage: ``python -m tests.fuzz.run TARGET --minutes 30``.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gancodec import container, weights
from gancodec.codec import decode_bytes
from gancodec.errors import CorruptFile
from tests.fuzz import corrupt, targets
from tests.fuzz.build import mended, mended_png
from tests.fuzz.run import NAMES
from tests.fuzz.seeds import kept, seeds

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
    assert len(counts) == 20
    assert set(sum(counts.values(), Counter())) == {"refused"}, counts


def test_corruptions_that_pass_are_noticed() -> None:
    """Nothing is called refused that is not."""
    file = next(data for name, data in corrupt.files() if name == "split-lossless-bare")
    original = decode_bytes(file)
    assert corrupt.outcome(file, original) == "same"
    assert corrupt.outcome(file, dataclasses.replace(original, rgb=original.rgb ^ 1)) == "silent"
    assert corrupt.outcome(file, dataclasses.replace(original, xmp=b"<x/>")) == "silent"
    assert corrupt.outcome(None, original) == "errors"  # type: ignore[arg-type]
