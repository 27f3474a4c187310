"""gic2's stream: whatever is written reads the same, whatever is damaged is refused, and slices are what they say."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import pytest

from gancodec import container
from gancodec.codec.api import encode_with
from gancodec.container import spec
from gancodec.entropy.gaussian import sigma_of
from gancodec.errors import CorruptFile, GicError
from gancodec.models.gic2 import slices
from gancodec.models.gic2.codec import Gic2Codec
from gancodec.models.gic2.config import HYPER_LIMIT, SYMBOL_LIMIT
from gancodec.models.gic2.symbols import (
    LAST,
    Symbols,
    Wanted,
    in_blocks,
    out_of_blocks,
    pack_list,
    sent_hyper,
    unpack_list,
)
from gancodec.models.levels import LEVELS, SUBLEVELS
from gancodec.models.stream import Frame, Levels
from gancodec.options import EncodeOptions
from gancodec.tiling import Area
from gancodec.types import BLOCK, SITES, Geometry, IntArray, Picture
from tests.tiny import picture, tiny_gic2_weights

CODERS = ("range", "huffman")
BLOCKS = [(1, 1), (1, 7), (5, 1), (2, 2), (3, 5), (4, 6)]
MOST = spec.CODECS[spec.CODEC_GIC2].slices
both = pytest.mark.parametrize("coder", CODERS)


@pytest.fixture(scope="module")
def codec() -> Gic2Codec:
    return Gic2Codec(tiny_gic2_weights(), "cpu")


class Made(NamedTuple):
    """What is to be coded, with its rows and steps of the ladder, (C, h, w)."""

    wanted: Wanted
    frame: Frame
    rows: IntArray
    steps: IntArray


def level_map(kind: str, blocks: tuple[int, int]) -> IntArray:
    rng = np.random.default_rng(blocks[0])
    kinds = {
        "flat": np.full(blocks, 19),
        "busy": rng.integers(0, LEVELS, blocks),
        "smooth": np.add.outer(np.arange(blocks[0]), np.arange(blocks[1])) + 9,
        "ends": rng.choice([0, LEVELS - 1], blocks),
    }
    return kinds[kind].astype(np.int32)


def made(
    codec: Gic2Codec, levels: IntArray, shift: int = 5, coder: str = "range", ends: tuple[int, ...] = (LAST,)
) -> Made:
    """Symbols as the rows have them, of both signs, some of them escapes, and some as large as they may be."""
    rng = np.random.default_rng(levels.size + shift)
    position, blocks = levels * SUBLEVELS + shift, levels.shape
    hyper = np.rint(rng.standard_cauchy((codec.entropy.hyper_channels, *blocks)) * 3)
    hyper.flat[:2] = HYPER_LIMIT, -HYPER_LIMIT
    sent = sent_hyper(codec.entropy, position, np.clip(hyper, -HYPER_LIMIT, HYPER_LIMIT).astype(np.int32))
    rows, keys = codec.entropy.rows_and_keys(sent, position)
    channels = codec.entropy.channels
    rows, steps = (out_of_blocks(v, blocks, channels).astype(np.int32) for v in (rows, codec.entropy.steps(keys)))
    sigma = np.vectorize(sigma_of)(rows + 0.5)
    latents = np.rint(rng.normal(0, sigma) * rng.choice([1, 1, 1, 12], rows.shape)).astype(np.int32)
    latents.flat[-2:] = SYMBOL_LIMIT, -SYMBOL_LIMIT
    latents[rows == 0] = 0
    symbols = Symbols(levels, np.ascontiguousarray(sent.transpose(2, 0, 1)), latents)
    frame = Frame(Geometry(width=BLOCK * blocks[1] - 9, height=BLOCK * blocks[0]), coder, shift)
    return Made(Wanted(symbols, ends), frame, rows, steps)


def check_same(found: Symbols, expected: Symbols) -> None:
    for name, a, b in zip(Symbols._fields, found, expected, strict=True):
        np.testing.assert_array_equal(a, b, name)
        assert a.dtype == np.int32


def ends_of(count: int, given: Made) -> tuple[int, ...]:
    """Of `count` slices that have about as many symbols each."""
    steps = np.sort(given.steps[given.rows > 0])
    wanted = {int(steps[k * len(steps) // count]) for k in range(1, count)} - {0}
    return (*sorted(wanted), LAST)


# --- round trips


@both
@pytest.mark.parametrize("blocks", BLOCKS)
@pytest.mark.parametrize("kind", ["flat", "busy", "smooth", "ends"])
def test_what_is_written_reads_the_same(codec: Gic2Codec, coder: str, blocks: tuple[int, int], kind: str) -> None:
    """In one slice, and in several that have symbols each; with the same symbols in all of them."""
    for shift in (0, 7, 15):
        given = made(codec, level_map(kind, blocks), shift, coder)
        assert np.abs(given.wanted.symbols.hyper).max() == HYPER_LIMIT or kind == "ends", "or nothing is shown"
        for ends in ((LAST,), ends_of(3, given), ends_of(8, given)):
            data = codec.write(given.wanted._replace(ends=ends), given.frame)
            assert len(data) == len(ends)
            check_same(codec.read(data, given.frame), given.wanted.symbols)
            assert codec.slice_lengths(data[0]) == tuple(map(len, data[1:]))
            bits = codec.block_bits(data, given.frame)
            assert bits.shape == blocks
            assert bits.sum() == pytest.approx(8 * sum(map(len, data)))
    assert len(ends) > 3, "of several slices"


@pytest.mark.parametrize("blocks", BLOCKS)
def test_blocks_in_a_row_and_back(blocks: tuple[int, int]) -> None:
    """Block by block, in each the sites, in each of these the channels."""
    hb, wb = blocks
    latents = np.arange(3 * 16 * hb * wb, dtype=np.int32).reshape(3, SITES * hb, SITES * wb)
    flat = in_blocks(latents)
    np.testing.assert_array_equal(out_of_blocks(flat, blocks, 3), latents)
    places = itertools.product(range(hb), range(wb), range(SITES), range(SITES), range(3))
    assert flat.tolist() == [latents[c, SITES * y + i, SITES * x + j] for y, x, i, j, c in places]


@both
def test_symbols_are_told_with_the_blocks_that_they_belong_to(codec: Gic2Codec, coder: str) -> None:
    """Each symbol that is coded once, under its row."""
    given = made(codec, level_map("busy", (3, 5)), 5, coder)
    data = codec.write(given.wanted._replace(ends=ends_of(4, given)), given.frame)
    count, magnitude = np.zeros((2, 3, 5), np.int64)

    def told(rows: IntArray, symbols: IntArray, places: tuple[IntArray, IntArray]) -> None:
        assert (rows > 0).all()
        np.add.at(count, places, 1)
        np.add.at(magnitude, places, np.abs(symbols))

    codec.read(data, given.frame, told)
    _, hyper, latents = (np.abs(v).astype(np.int64) for v in given.wanted.symbols)
    coded = given.rows > 0
    in_block = [v.reshape(8, 3, SITES, 5, SITES).sum((0, 2, 4)) for v in (coded, latents)]
    np.testing.assert_array_equal(magnitude, in_block[1] + hyper.sum(0))
    assert ((in_block[0] <= count) & (count <= in_block[0] + 4)).all()


# --- damage


def check_refused(codec: Gic2Codec, data: tuple[bytes, ...], frame: Frame) -> None:
    with pytest.raises(CorruptFile) as raised:
        codec.read(data, frame)
    assert str(raised.value)


@both
@pytest.mark.parametrize("count", [1, 8])
def test_every_flipped_bit_is_refused_or_means_something_else(codec: Gic2Codec, coder: str, count: int) -> None:
    """As with the other codecs: the class of the level map is up to the writer; and steps at which slices end, where
    no symbol lies between. Checksums of the file are what finds the rest."""
    given = made(codec, level_map("busy", (1, 2)), 5, coder)
    data = codec.write(given.wanted._replace(ends=ends_of(count, given)), given.frame)
    assert len(data) == 1 if count == 1 else len(data) > 3
    listed = len(data[0]) - len(unpack_list(data[0])[1])
    refused = meant = 0
    for number, part in enumerate(data):
        for place, bit in itertools.product(range(len(part)), (0, 3, 7)):
            changed = bytearray(part)
            changed[place] ^= 1 << bit
            try:
                found = codec.read((*data[:number], bytes(changed), *data[number + 1 :]), given.frame)
            except CorruptFile:
                refused += 1
                continue
            same = all(np.array_equal(a, b) for a, b in zip(found, given.wanted.symbols, strict=True))
            if number == 0 and place < listed:
                assert same, "the list says where slices end, and no more"
            else:
                assert not same or (number == 0 and place < listed + 2), (number, place, bit)
                meant += not same
    assert refused > meant / 3


@both
@pytest.mark.parametrize("below", [10**6, 20])
def test_every_flipped_byte_of_a_file_is_refused(
    codec: Gic2Codec, coder: str, below: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "WHOLE_BELOW", below)
    options = EncodeOptions(n=1.0, entropy=coder)
    data = encode_with(codec, Picture(picture(70, 130, 3)), options).data
    codec.verify(container.read(data))
    assert len(container.read(data).streams[0]) == 1 if below > 20 else len(container.read(data).streams[0]) > 3
    for place, flip in itertools.product(range(len(data)), (1, 0x10, 0xFF)):
        changed = bytearray(data)
        changed[place] ^= flip
        with pytest.raises(GicError):
            codec.verify(container.read(bytes(changed)))


@both
@pytest.mark.parametrize("count", [1, 8])
def test_every_cut_and_every_addition_is_noticed(codec: Gic2Codec, coder: str, count: int) -> None:
    given = made(codec, level_map("busy", (1, 2)), 5, coder)
    data = codec.write(given.wanted._replace(ends=ends_of(count, given)), given.frame)
    for number, part in enumerate(data):
        wrong = [part[:end] for end in range(len(part))]
        wrong += [part + more for more in (b"\0", b"\xff", b"\0\0\0\0", b"\xff" * 4, part)]
        for changed in wrong:
            if changed != part:
                check_refused(codec, (*data[:number], changed, *data[number + 1 :]), given.frame)


def test_a_damaged_slice_is_noticed_under_a_list_that_fits(codec: Gic2Codec) -> None:
    """Cut or continued by whole words, and the list says so."""
    given = made(codec, level_map("busy", (2, 2)))
    ends = ends_of(4, given)
    data = codec.write(given.wanted._replace(ends=ends), given.frame)
    first = unpack_list(data[0])[1]
    for number in range(1, len(data)):
        for changed in (data[number][:-4], data[number] + bytes(4), data[number][4:], b""):
            parts = (first, *data[1:number], changed, *data[number + 1 :])
            check_refused(codec, (pack_list(parts, ends) + first, *parts[1:]), given.frame)
    swapped = (first, data[2], data[1], *data[3:])
    check_refused(codec, (pack_list(swapped, ends) + first, *swapped[1:]), given.frame)
    check_refused(codec, (data[0], data[2], data[1], *data[3:]), given.frame)
    check_refused(codec, (*data, b""), given.frame)
    check_refused(codec, data, given.frame._replace(level_shift=given.frame.level_shift ^ 8))
    check_refused(codec, data, given.frame._replace(geometry=Geometry(width=192, height=128)))


def test_a_hyper_latent_out_of_range_is_refused(codec: Gic2Codec) -> None:
    """A writer that did not keep to the limit."""
    given = made(codec, level_map("flat", (1, 1)))
    far = given.wanted.symbols.hyper.copy()
    assert np.abs(far).max() == HYPER_LIMIT
    far[np.abs(far) == HYPER_LIMIT] += HYPER_LIMIT
    with pytest.raises(CorruptFile, match="hyper-latent out of range"):
        codec.write(given.wanted._replace(symbols=given.wanted.symbols._replace(hyper=far)), given.frame)


# --- from a picture to symbols


def test_what_has_row_0_is_not_sent_and_the_encoder_knows(codec: Gic2Codec) -> None:
    """Hyper-latents that would not be 0 are, where their row is 0, before rows and means are made of them."""
    analysis = codec.analyse(picture(192, 256, 2))
    loud = analysis._replace(hyper=analysis.hyper * 6)
    levels = Levels(np.full((3, 4), 2, np.int32), 3, (LAST,))
    wanted = codec.wanted_of(loud, levels)
    position = levels.values * SUBLEVELS + 3
    gained = np.rint(loud.hyper * codec.entropy.hyper_gains(position).transpose(2, 0, 1))
    dropped = gained != wanted.symbols.hyper
    assert dropped.any(), "or nothing is shown"
    assert not wanted.symbols.hyper[dropped].any()
    frame = Frame(Geometry(width=256, height=192), "range", 3)
    read = codec.read(codec.write(wanted, frame), frame)
    check_same(read, wanted.symbols)
    fine = codec.planes(read, frame)[0].values
    rows, _ = codec.entropy.rows_and_keys(read.hyper.transpose(1, 2, 0), position)
    sent = out_of_blocks(rows, position.shape, 8) > 0
    gain = codec.entropy.gains(position).transpose(2, 0, 1).repeat(SITES, 1).repeat(SITES, 2)
    error = np.abs(fine - loud.latent.astype(np.float32)) * gain
    assert error[sent].max() < 0.501, "rounded around the decoder's own means"
    assert not read.latents[~sent].any()


def test_an_area_is_coded_as_a_picture_of_its_own(codec: Gic2Codec) -> None:
    analysis = codec.analyse(picture(256, 320, 4))
    levels = codec.levels_at(analysis, -1.0)
    area = Area(64, 256, 128, 320)
    wanted = codec.wanted_of(analysis, levels, area)
    cut = type(analysis)(*(v[area.sites(s)] for v, s in zip(analysis, (16, 64, 64), strict=True)))
    expected = codec.wanted_of(cut, levels._replace(values=levels.values[area.slices(BLOCK)]))
    check_same(wanted.symbols, expected.symbols)
    assert wanted.symbols.latents.shape == (8, 12, 12)


def test_a_trim_takes_a_little(codec: Gic2Codec) -> None:
    """Of symbols at the border of two values, the larger ones."""
    analysis = codec.analyse(picture(256, 320, 4))
    levels = codec.levels_at(analysis, -2.0)
    before, *after = (codec.wanted_of(analysis, levels, None, trim).symbols for trim in (0, 10, 100))
    moved, sums = [np.mean(s.latents != before.latents) for s in after], [np.abs(s.latents).sum() for s in after]
    assert 0 < moved[0] < 0.03 < moved[1] < 0.3
    assert 0.97 * np.abs(before.latents).sum() < sums[1] < sums[0] < np.abs(before.latents).sum()
    for symbols in after:
        np.testing.assert_array_equal(symbols.hyper, before.hyper)
