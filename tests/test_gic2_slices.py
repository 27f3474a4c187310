"""Slices of gic2: their list, what the first ones hold, and where they end."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from gancodec.container import spec
from gancodec.container.header import varint
from gancodec.errors import CorruptFile
from gancodec.models.gic2 import slices
from gancodec.models.gic2.codec import Gic2Codec
from gancodec.models.gic2.config import LADDER
from gancodec.models.gic2.symbols import LAST, Listed, Wanted, pack_list, unpack_list
from gancodec.models.levels import LEVELS, SUBLEVELS
from gancodec.models.stream import Frame, Levels
from gancodec.types import Geometry
from tests.test_gic2_stream import both, check_same, ends_of, level_map, made
from tests.tiny import picture, tiny_gic2_weights

MOST = spec.CODECS[spec.CODEC_GIC2].slices


@pytest.fixture(scope="module")
def codec() -> Gic2Codec:
    return Gic2Codec(tiny_gic2_weights(), "cpu")


@pytest.mark.parametrize(
    ("lengths", "ends"),
    [
        ((), (LAST,)),
        ((0,), (1, LAST)),
        ((300,), (LADDER, LAST)),
        (tuple(range(0, 1400, 200)), (*range(1, 29, 4), LAST)),
    ],
)
def test_list_there_and_back(lengths: tuple[int, ...], ends: tuple[int, ...]) -> None:
    packed = pack_list((b"first", *map(bytes, lengths)), ends)
    assert packed == bytes((len(ends),)) + b"".join(
        bytes((e,)) + varint(n) for e, n in zip(ends, lengths, strict=False)
    )
    assert unpack_list(packed + b"first") == (Listed(ends, lengths), b"first")


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "cut short"),
        (b"\0", "0 slices"),
        (bytes((MOST + 1,)) + bytes(40), f"{MOST + 1} slices"),
        (b"\xff", "255 slices"),
        (b"\2", "cut short"),
        (b"\2\5", "cut short"),
        (b"\2\5\x80", "cut short"),
        (b"\2\5\x80\0", "shortest form"),
        (b"\2\0\1", "out of order"),
        (bytes((2, LAST, 1)), "out of order"),
        (b"\2\xff\1", "out of order"),
        (b"\3\5\1\5\1", "out of order"),
        (b"\3\6\1\5\1", "out of order"),
    ],
)
def test_lists_that_no_writer_makes(data: bytes, match: str) -> None:
    with pytest.raises(CorruptFile, match=match):
        unpack_list(data)


def test_slices_have_the_lengths_that_the_first_one_names(codec: Gic2Codec) -> None:
    """Or are refused, sound or not, and if only the first ones are there."""
    given = made(codec, level_map("busy", (3, 4)))
    data = codec.write(given.wanted._replace(ends=ends_of(4, given)), given.frame)
    listed, first = unpack_list(data[0])
    for number in range(1, len(data)):
        lengths = [len(part) + (k == number) for k, part in enumerate(data)]
        lying = pack_list(tuple(map(bytes, lengths)), listed.ends) + first
        for count in range(number + 1, len(data) + 1):
            with pytest.raises(CorruptFile, match="other lengths"):
                codec.read((lying, *data[1:count]), given.frame)
        codec.read((lying, *data[1:number]), given.frame)


# --- the first slices


@both
@pytest.mark.parametrize("count", [2, 8])
def test_the_first_slices_have_what_the_whole_has(codec: Gic2Codec, coder: str, count: int) -> None:
    given = made(codec, level_map("busy", (3, 4)), 5, coder)
    ends = ends_of(count, given)
    data = codec.write(given.wanted._replace(ends=ends), given.frame)
    assert len(data) == len(ends) > count // 2
    seen = []
    for k in range(1, len(data) + 1):
        symbols = codec.read(data[:k], given.frame)
        later = given.steps >= ends[k - 1]
        check_same(symbols, given.wanted.symbols._replace(latents=np.where(later, 0, given.wanted.symbols.latents)))
        seen.append(np.count_nonzero(symbols.latents))
    assert seen == sorted(set(seen)), "each slice brings something"


def test_keys_choose_the_slice_whatever_the_level(codec: Gic2Codec) -> None:
    """Where hyper-latents stand for the same, symbols lie on the same steps at all levels."""
    hyper = np.zeros((1, LEVELS, codec.entropy.hyper_channels), np.int32)
    _, keys = codec.entropy.rows_and_keys(hyper, (np.arange(LEVELS, dtype=np.int32) * SUBLEVELS)[None])
    assert (keys == keys[:, :1]).all()


# --- where slices end


def analysed(codec: Gic2Codec, n: float, size: tuple[int, int] = (448, 512)) -> tuple[Wanted, Levels, Frame]:
    analysis = codec.analyse(picture(*size, 6))
    levels = codec.levels_at(analysis, n)
    frame = Frame(Geometry(width=size[1], height=size[0]), "range", levels.shift)
    return codec.wanted_of(analysis, levels), levels, frame


def test_a_small_picture_is_one_slice(codec: Gic2Codec) -> None:
    wanted, levels, frame = analysed(codec, -1.0)
    (data,) = codec.write(wanted, frame)
    assert len(data) < slices.WHOLE_BELOW
    assert levels.slice_ends == wanted.ends == (LAST,)
    assert data[0] == 1


def test_each_slice_about_doubles_the_bytes(codec: Gic2Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    """From what the rows promise; the tiny model has steps of the ladder that are coarse."""
    counts = []
    for below in (8000, 3000, 1500, 700, 300, 100, 20):
        monkeypatch.setattr(slices, "WHOLE_BELOW", below)
        wanted, levels, frame = analysed(codec, -1.0)
        data = codec.write(wanted, frame)
        ends = levels.slice_ends
        assert ends == wanted.ends
        assert ends[-1] == LAST
        assert all(0 < a < b for a, b in itertools.pairwise(ends))
        assert 1 <= len(ends) == len(data) <= MOST
        counts.append(len(ends))
        so_far = np.cumsum([len(part) for part in data])
        growth = so_far[1:] / so_far[:-1]
        assert np.all((growth[-3:] > 1.3) & (growth[-3:] < 3.2)), so_far
        assert so_far[0] < 2.5 * below or below < 300, "levels and hyper-latents are all in the first"
    assert counts[0] == 1
    assert counts[-1] > 5
    assert counts == sorted(counts)


def test_ends_follow_from_what_the_rows_promise(codec: Gic2Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in strips of few blocks; and for symbols of any values."""
    monkeypatch.setattr(slices, "WHOLE_BELOW", 300)
    given = made(codec, level_map("busy", (7, 6)))
    hyper, position = given.wanted.symbols.hyper.transpose(1, 2, 0), given.wanted.symbols.levels * SUBLEVELS + 5
    ends = slices.slice_ends(codec.entropy, hyper, position)
    assert len(ends) > 3
    monkeypatch.setattr(slices, "TOGETHER", 3)
    assert slices.slice_ends(codec.entropy, hyper, position) == ends


def test_expected_bits_of_rows(codec: Gic2Codec) -> None:
    found = slices.entropies(codec.entropy.tables)
    for row in (1, 20, 63):
        p = (codec.entropy.tables.counts[row] + 1) / 2**24
        assert found[row] == pytest.approx(sum(float(-v * np.log2(v)) for v in p))
    assert found[0] == 0
    assert found[1] < found[30] < found[60]
