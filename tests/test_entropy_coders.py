"""Both coders under frozen tables: exact round trips, sizes near the ideal, damage noticed."""

from __future__ import annotations

import constriction
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gancodec.entropy.huffman import HuffmanReader, HuffmanWriter, canonical, code_lengths
from gancodec.entropy.logistic import logistic_tables
from gancodec.entropy.rangecoder import RangeReader, RangeWriter, exact_model
from gancodec.entropy.tables import ESCAPE_LIMIT, TOTAL, Tables, fit_counts
from gancodec.errors import CorruptFile, CorruptTable
from gancodec.types import IntArray

Ints = NDArray[np.int64]
Batch = tuple[IntArray, IntArray]
CODERS = {"range": (RangeWriter, RangeReader), "huffman": (HuffmanWriter, HuffmanReader)}
both = pytest.mark.parametrize("coder", list(CODERS))


def make_tables(*weights: list[float]) -> Tables:
    """Tables from weights by row, each for -r .. r and the escape."""
    radius = np.array([(len(w) - 2) // 2 for w in weights], np.int32)
    return Tables(radius, np.concatenate([fit_counts(np.array(w, np.float64)) for w in weights]))


LOGISTIC = Tables(
    logistic_tables()["tables.radius"].astype(np.int32), logistic_tables()["tables.counts"].astype(np.int64)
)
# Radius 0 with likely, rare and certain zeros; flat; skewed; one where most symbols escape; one with long code words.
ODD = make_tables(
    [1, 1],
    [1, 1e-9],
    [1e-9, 1],
    [1, 1, 1, 1],
    [0.1, 5, 0.5, 0.001],
    [0, 1, 0, 200],
    [*(0.5**k for k in range(22)), 0, 0],
)


def write(coder: str, tables: Tables, batches: list[Batch]) -> bytes:
    writer = CODERS[coder][0](tables)
    for rows, symbols in batches:
        np.testing.assert_array_equal(writer.code(rows, symbols), symbols)
    return writer.finish()


def read(coder: str, tables: Tables, data: bytes, batches: list[Batch]) -> list[IntArray]:
    reader = CODERS[coder][1](tables, data)
    symbols = [reader.code(rows, None) for rows, _ in batches]
    assert reader.finish() == b""
    return symbols


def check(coder: str, tables: Tables, batches: list[Batch]) -> bytes:
    data = write(coder, tables, batches)
    for (_, symbols), decoded in zip(batches, read(coder, tables, data, batches), strict=True):
        assert decoded.dtype == np.int32
        np.testing.assert_array_equal(decoded, symbols)
    return data


def drawn(tables: Tables, rows: IntArray, seed: int) -> IntArray:
    """Symbols drawn from the tables themselves; escapes get exponents drawn at random."""
    rng = np.random.default_rng(seed)
    symbols = np.zeros(len(rows), np.int32)
    for row in np.unique(rows):
        where, radius = np.flatnonzero(rows == row), int(tables.radius[row])
        index = rng.choice(2 * radius + 2, len(where), p=(tables.counts[row] + 1) / TOTAL)
        excess = np.exp2(rng.uniform(0, 15.99, len(where))).astype(np.int64) * rng.choice([-1, 1], len(where))
        symbols[where] = np.where(index <= 2 * radius, index - radius, excess + np.sign(excess) * radius)
    return symbols


def mixed(count: int, seed: int) -> Batch:
    rows = np.random.default_rng(seed).integers(1, len(LOGISTIC), count).astype(np.int32)
    return rows, drawn(LOGISTIC, rows, seed + 1)


EMPTY: Batch = (np.zeros(0, np.int32), np.zeros(0, np.int32))


@both
@settings(max_examples=60, deadline=None)
@given(
    batches=st.lists(
        st.lists(st.tuples(st.integers(0, len(ODD) - 1), st.integers(-65000, 65000)), max_size=40), max_size=4
    )
)
def test_round_trip_of_any_symbols(coder: str, batches: list[list[tuple[int, int]]]) -> None:
    arrays = [np.array(batch, np.int32).reshape(-1, 2) for batch in batches]
    check(coder, ODD, [(a[:, 0], a[:, 1]) for a in arrays])


@both
@settings(max_examples=30, deadline=None)
@given(counts=st.lists(st.integers(0, 400), max_size=4), seed=st.integers(0, 2**31))
def test_round_trip_of_likely_symbols(coder: str, counts: list[int], seed: int) -> None:
    batches = []
    for i, count in enumerate(counts):
        rows = np.random.default_rng(seed + i).integers(0, len(ODD), count).astype(np.int32)
        batches.append((rows, drawn(ODD, rows, seed + i)))
    check(coder, ODD, batches)


@both
def test_several_calls_share_a_stream(coder: str) -> None:
    one = (np.array([20], np.int32), np.array([-3], np.int32))
    data = check(coder, LOGISTIC, [EMPTY, mixed(500, 1), EMPTY, one, mixed(1000, 2), one, EMPTY])
    assert len(data) < 1500 * 2


@both
def test_nothing_coded_is_no_bytes(coder: str) -> None:
    assert check(coder, LOGISTIC, []) == b""
    assert check(coder, LOGISTIC, [EMPTY, EMPTY]) == b""


@both
def test_writers_need_symbols(coder: str) -> None:
    with pytest.raises(ValueError, match="symbols"):
        CODERS[coder][0](LOGISTIC).code(np.ones(3, np.int32), None)


@both
@pytest.mark.parametrize("row", [1, 20, 40, 63])
def test_escapes_up_to_the_largest(coder: str, row: int) -> None:
    radius = int(LOGISTIC.radius[row])
    excess = np.concatenate([1 << np.arange(17), (1 << np.arange(17)) - 1, (1 << np.arange(17)) + 1])
    excess = excess[(excess > 0) & (excess < ESCAPE_LIMIT)]
    symbols = np.concatenate([excess + radius, -excess - radius, [radius, -radius]]).astype(np.int32)
    check(coder, LOGISTIC, [(np.full(len(symbols), row, np.int32), symbols)])


@both
@pytest.mark.parametrize("sign", [-1, 1])
def test_symbols_beyond_every_escape(coder: str, sign: int) -> None:
    beyond = np.array([sign * (ESCAPE_LIMIT + int(LOGISTIC.radius[5]))], np.int32)
    with pytest.raises(ValueError, match="out of range"):
        CODERS[coder][0](LOGISTIC).code(np.array([5], np.int32), beyond)


@pytest.mark.parametrize("count", [0, 1, 10, 1000, 50_000])
def test_range_coder_is_within_half_a_percent_of_ideal(count: int) -> None:
    rows, symbols = mixed(count, 5)
    ideal = LOGISTIC.bits(rows, symbols).sum() / 8
    assert ideal - 1 <= len(check("range", LOGISTIC, [(rows, symbols)])) <= 1.005 * ideal + 8


@pytest.mark.parametrize("low", [1, 12, 30])
def test_huffman_coder_is_within_eight_percent_of_ideal(low: int) -> None:
    rows = np.random.default_rng(low).integers(low, len(LOGISTIC), 20_000).astype(np.int32)
    symbols = drawn(LOGISTIC, rows, 6)
    ideal = LOGISTIC.bits(rows, symbols).sum() / 8
    assert ideal - 1 <= len(check("huffman", LOGISTIC, [(rows, symbols)])) <= 1.08 * ideal + 8


def test_huffman_spends_little_on_zeros() -> None:
    zeros = (np.full(100_000, 1, np.int32), np.zeros(100_000, np.int32))
    assert len(check("huffman", LOGISTIC, [zeros])) < 400


def test_bits_are_those_of_the_probabilities() -> None:
    tables = make_tables([1, 2, 1, 4])
    p = (tables.counts[0] + 1) / TOTAL
    bits = tables.bits(np.zeros(4, np.int32), np.array([-1, 0, 2, -9], np.int32))
    # Excess 1 takes 4 bits for its length and 1 for its sign; 8 takes 3 more.
    np.testing.assert_allclose(bits, [-np.log2(p[0]), -np.log2(p[1]), 5 - np.log2(p[3]), 8 - np.log2(p[3])])


# Damage


@both
def test_every_cut_is_noticed(coder: str) -> None:
    batches = [mixed(150, 8), mixed(150, 9)]
    data = write(coder, LOGISTIC, batches)
    for length in range(len(data)):
        with pytest.raises(CorruptFile):
            read(coder, LOGISTIC, data[:length], batches)


@both
@pytest.mark.parametrize("junk", [b"\0", b"\xff", bytes(4), b"\xff" * 4, bytes(8), bytes(100)])
@pytest.mark.parametrize("count", [0, 1, 300])
def test_appended_bytes_are_noticed(coder: str, junk: bytes, count: int) -> None:
    batches = [mixed(count, 10)]
    with pytest.raises(CorruptFile):
        read(coder, LOGISTIC, write(coder, LOGISTIC, batches) + junk, batches)


def test_every_flipped_bit_of_a_range_coded_stream_is_noticed() -> None:
    batches = [mixed(60, 11), mixed(60, 12)]
    data = write("range", LOGISTIC, batches)
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            decoded = read("range", LOGISTIC, bytes(flipped), batches)
        except CorruptFile:
            continue
        # Another valid stream: then the symbols must differ, which is what the chunk's CRC is for.
        assert any((a != b).any() for a, (_, b) in zip(decoded, batches, strict=True))


@both
@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=200), seed=st.integers(0, 50))
def test_junk_is_corrupt_or_symbols(coder: str, data: bytes, seed: int) -> None:
    for tables in (LOGISTIC, ODD):
        rows = np.random.default_rng(seed).integers(0, len(tables), 60).astype(np.int32)
        reader = CODERS[coder][1]
        try:
            opened = reader(tables, data)
            symbols = [opened.code(rows[:30], None), opened.code(rows[30:], None)]
            opened.finish()
        except CorruptFile:
            continue
        # Whatever passes is just what a writer makes of these symbols.
        assert write(coder, tables, [(rows[:30], symbols[0]), (rows[30:], symbols[1])]) == data


@both
def test_flipped_bits_raise_nothing_but_corrupt_file(coder: str) -> None:
    batches = [mixed(200, 13)]
    data = write(coder, LOGISTIC, batches)
    noticed = 0
    for bit in np.random.default_rng(0).integers(0, 8 * len(data), 150).tolist():
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            read(coder, LOGISTIC, bytes(flipped), batches)
        except CorruptFile:
            noticed += 1
    assert noticed >= (140 if coder == "range" else 10)  # a Huffman stream falls in step again: the chunk's CRC sees it


@both
def test_empty_stream_for_many_symbols(coder: str) -> None:
    with pytest.raises(CorruptFile):
        read(coder, LOGISTIC, b"", [mixed(300, 14)])


@pytest.mark.parametrize("length", [1, 2, 3, 5])
def test_range_coded_streams_are_whole_words(length: int) -> None:
    with pytest.raises(CorruptFile, match="whole words"):
        RangeReader(LOGISTIC, bytes(length))


# Tables


def counts_of(*values: int) -> Ints:
    return np.array(values, np.int64)


GOOD = counts_of(1, 2, 3, TOTAL - 4 - 6)


@pytest.mark.parametrize(
    ("radius", "counts"),
    [
        ([], counts_of()),
        ([-1], counts_of()),
        ([1], GOOD[:3]),
        ([2], GOOD),
        ([1], GOOD + [0, 0, 0, 1]),
        ([1], GOOD - [0, 0, 0, 1]),
        ([1], counts_of(-1, 3, 4, TOTAL - 4 - 6)),
        ([1], counts_of(1 << 62, 1 << 62, 1 << 62, (1 << 62) + TOTAL - 4)),
        ([ESCAPE_LIMIT], np.zeros(2 * ESCAPE_LIMIT + 2, np.int64)),
        ([[1]], GOOD),
        ([1], GOOD[None]),
    ],
)
def test_bad_tables(radius: list[int], counts: Ints) -> None:
    with pytest.raises(CorruptTable):
        Tables(np.array(radius, np.int32), counts)


def test_good_tables() -> None:
    assert len(Tables(np.array([1, 1], np.int32), np.concatenate([GOOD, GOOD]))) == 2


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1e30), min_size=2, max_size=400).filter(lambda w: sum(w) > 0))
def test_fitted_counts_sum_exactly(weights: list[float]) -> None:
    array = np.array(weights)
    counts = fit_counts(array)
    assert counts.sum() == TOTAL - len(weights)
    assert counts.min() >= 0
    assert np.abs(counts - array / array.sum() * (TOTAL - len(weights))).max() <= 1


@pytest.mark.parametrize("weights", [[0, 0], [1, -1], [1, np.nan], [np.inf, 1]])
def test_weights_that_cannot_be_fitted(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weights"):
        fit_counts(np.array(weights, np.float64))


def test_shipped_rule_for_logistic_tables() -> None:
    assert len(LOGISTIC) == 64
    assert all(count.sum() == TOTAL - len(count) for count in LOGISTIC.counts)


# Exactness


@pytest.mark.parametrize("row", [0, 1, 17, 40, 63])
def test_range_model_does_not_depend_on_float_formats(row: int) -> None:
    counts = LOGISTIC.counts[row]
    symbols = drawn(LOGISTIC, np.full(3000, row, np.int32), row)
    index = np.clip(symbols + LOGISTIC.radius[row], 0, len(counts) - 1).astype(np.int32)
    streams = set()
    for dtype in (np.float32, np.float64):
        for lazy in (False, True):
            encoder = constriction.stream.queue.RangeEncoder()
            model = constriction.stream.model.Categorical(counts.astype(dtype), perfect=False, lazy=lazy)
            encoder.encode(index, model)
            streams.add(encoder.get_compressed().tobytes())
    encoder = constriction.stream.queue.RangeEncoder()
    encoder.encode(index, exact_model(counts))
    assert streams == {encoder.get_compressed().tobytes()}


class PlainReader:
    """Range decoder by the words of docs/format.md, in exact integers."""

    def __init__(self, data: bytes) -> None:
        self.words = iter([*np.frombuffer(data, "<u4").tolist()])
        self.low, self.range = 0, 2**64 - 1
        self.point = next(self.words, 0) << 32 | next(self.words, 0)

    def place(self, frequencies: list[int]) -> int:
        scale = self.range >> 24
        quantile = (self.point - self.low) % 2**64 // scale
        assert quantile < 1 << 24
        place = below = 0
        while quantile >= below + frequencies[place]:
            below += frequencies[place]
            place += 1
        self.low, self.range = (self.low + scale * below) % 2**64, scale * frequencies[place]
        if self.range < 2**32:
            self.low, self.range = (self.low << 32) % 2**64, self.range << 32
            self.point = (self.point << 32 | next(self.words, 0)) % 2**64
        return place


def test_range_coder_is_the_one_that_the_format_page_describes() -> None:
    rows, symbols = mixed(400, 21)
    symbols[:5] = LOGISTIC.radius[rows[:5]] + [1, 2, 700, 65535, 3]
    symbols[2] *= -1
    reader = PlainReader(write("range", LOGISTIC, [(rows, symbols)]))
    order = np.argsort(rows, kind="stable")
    radii = LOGISTIC.radius[rows[order]].tolist()
    frequencies = [(count + 1).tolist() for count in LOGISTIC.counts]
    values = [reader.place(frequencies[row]) - r for row, r in zip(rows[order].tolist(), radii, strict=True)]
    escaped = [i for i, (value, r) in enumerate(zip(values, radii, strict=True)) if value == r + 1]
    lengths = [reader.place([TOTAL // 16] * 16) + 1 for _ in escaped]
    negative = [reader.place([TOTAL // 2] * 2) for _ in escaped]
    magnitude = [1 << (length - 1) for length in lengths]
    for bit in range(15):
        for i, length in enumerate(lengths):
            if length > bit + 1:
                magnitude[i] |= reader.place([TOTAL // 2] * 2) << bit
    for place, size, sign in zip(escaped, magnitude, negative, strict=True):
        values[place] = (-1 if sign else 1) * (size + radii[place])
    assert len(escaped) >= 5
    assert values == symbols[order].tolist()


class PlainHuffman:
    """Huffman decoder by the words of docs/format.md, one bit at a time."""

    def __init__(self, data: bytes) -> None:
        self.bits = [int(b) for b in "".join(f"{byte:08b}" for byte in data)]

    def number(self, count: int) -> int:
        taken, self.bits = self.bits[:count], self.bits[count:]
        return int("".join(map(str, taken)) or "0", 2)

    def place(self, weights: dict[int, int]) -> int:
        nodes = [(weight, i, [place]) for i, (place, weight) in enumerate(weights.items())]
        depth = dict.fromkeys(weights, 0) if len(nodes) > 1 else dict.fromkeys(weights, 1)
        for made in range(len(nodes), 2 * len(nodes) - 1):
            nodes.sort(key=lambda node: node[:2])
            (a, _, left), (b, _, right), *nodes = nodes
            for place in left + right:
                depth[place] += 1
            nodes.append((a + b, made, left + right))
        word, last, code = 0, 0, {}
        for length, place in sorted((length, place) for place, length in depth.items()):
            word <<= length - last
            code[length, word], word, last = place, word + 1, length
        word, length = self.number(1), 1
        while (length, word) not in code:
            word, length = word << 1 | self.number(1), length + 1
        return code[length, word]

    def row(self, frequencies: list[int], count: int) -> list[int]:
        zero = len(frequencies) // 2 - 1
        likely = frequencies[zero]
        if likely <= 1 << 23:
            return [self.place(dict(enumerate(frequencies))) for _ in range(count)]
        most = next(2**k for k in range(1, 11) if k == 10 or 4 * likely**2**k <= TOTAL**2**k)
        runs, power = {}, 1 << 40
        for run in range(most):
            runs[run], power = max(1, power * (TOTAL - likely) >> 24), power * likely >> 24
        runs[most] = max(1, power)
        values: list[int] = []
        while len(values) < count:
            run = self.place(runs)
            values += [zero] * run
            if run < most:
                values.append(self.place({i: f for i, f in enumerate(frequencies) if i != zero}))
        return values[:count]


def test_huffman_coder_is_the_one_that_the_format_page_describes() -> None:
    rows = np.sort(np.random.default_rng(3).choice([1, 8, 14, 20, 26], 120)).astype(np.int32)
    symbols = drawn(LOGISTIC, rows, 22)
    symbols[[2, 50, 119]] = [-70, 300, 65000]
    reader = PlainHuffman(write("huffman", LOGISTIC, [(rows, symbols)]))
    decoded: list[int] = []
    for row in np.unique(rows).tolist():
        places = reader.row((LOGISTIC.counts[row] + 1).tolist(), int((rows == row).sum()))
        decoded += [place - int(LOGISTIC.radius[row]) for place in places]
    for i in np.flatnonzero(np.array(decoded) == LOGISTIC.radius[rows] + 1).tolist():
        below, negative = reader.number(4), reader.number(1)
        excess = (1 << below) + reader.number(below)
        decoded[i] = (-1 if negative else 1) * (excess + int(LOGISTIC.radius[rows[i]]))
    assert decoded == symbols.tolist()
    assert len(reader.bits) < 8
    assert not any(reader.bits)


@pytest.mark.parametrize("row", range(0, 64, 7))
def test_huffman_codes_are_complete_prefix_codes(row: int) -> None:
    code = canonical(LOGISTIC.counts[row] + 1)
    assert sum(2.0**-code.lengths) == 1
    words = sorted(format(w, f"0{n}b") for w, n in zip(code.words.tolist(), code.lengths.tolist(), strict=True))
    assert not any(b.startswith(a) for a, b in zip(words, words[1:], strict=False))


def test_huffman_lengths_are_bounded() -> None:
    fibonacci = [1, 1]
    while len(fibonacci) < 60:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    lengths = code_lengths(np.array(fibonacci, np.int64))
    assert lengths.max() <= 32
    assert sum(2.0**-lengths) == 1
