"""Symbols of a stream of codec 6 by the words of docs/format-gic2.md and docs/format.md: integers and loops, nothing of
the package, and slow."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

LEVELS, KNOTS, SPACING, TOP = 32, 9, 62, 496
UNITS, MAGNITUDE, MOST = 127, 15, 16384
LADDER, SLICES = 32, 8
CLASS_ROW, FIRST_ROW, FINE = 27, 41, (0, 4, 7, 11, 15, 19, 23, 27)
WORD, WIDE = 1 << 32, 1 << 64

Numbers = list[int]
Place = tuple[int, ...]


class Wrong(Exception):
    """The stream is corrupt."""


class Decoded(NamedTuple):
    """Levels (hb, wb), hyper-latents (Kh, hb, wb), latents (C, h, w)."""

    levels: np.ndarray
    hyper: np.ndarray
    latents: np.ndarray


def clip(x: int, least: int, most: int) -> int:
    return max(least, min(most, x))


def rs(x: int, b: int) -> int:
    return (x + ((1 << b) >> 1)) >> b


# --- tables and coders, which are those of docs/format.md


class Tables:
    """Frequencies of each row."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        counts = arrays["tables.counts"].tolist()
        self.radius = arrays["tables.radius"].tolist()
        self.frequencies: list[Numbers] = []
        for r in self.radius:
            row, counts = counts[: 2 * r + 2], counts[2 * r + 2 :]
            self.frequencies.append([count + 1 for count in row])
            assert sum(self.frequencies[-1]) == 1 << 24


class RangeCoder:
    """Reads symbols and writes them again."""

    def __init__(self, tables: Tables, data: bytes) -> None:
        if len(data) % 4:
            raise Wrong("no whole words")
        self.tables, self.data = tables, data
        self.words = [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)]
        self.low, self.range, self.at = 0, WIDE - 1, 2
        self.point = (self.word(0) << 32) | self.word(1)
        self.coded: list[tuple[int, int]] = []

    def word(self, at: int) -> int:
        return self.words[at] if at < len(self.words) else 0

    def place(self, frequencies: Sequence[int]) -> int:
        scale = self.range >> 24
        q = (self.point - self.low) % WIDE // scale
        if q >= 1 << 24:
            raise Wrong("beyond the tables")
        place, below = 0, 0
        while q >= below + frequencies[place]:
            below += frequencies[place]
            place += 1
        self.low = (self.low + scale * below) % WIDE
        self.range = scale * frequencies[place]
        self.coded.append((below, frequencies[place]))
        if self.range < WORD:
            self.low, self.range = self.low * WORD % WIDE, self.range * WORD
            self.point = (self.point * WORD + self.word(self.at)) % WIDE
            self.at += 1
        return place

    def batch(self, rows: Numbers) -> Numbers:
        """Values of a batch in its own order: the places row by row, then the escapes."""
        values, order = [0] * len(rows), sorted(range(len(rows)), key=lambda i: rows[i])
        escaped = []
        for i in order:
            r = self.tables.radius[rows[i]]
            values[i] = self.place(self.tables.frequencies[rows[i]]) - r
            if values[i] == r + 1:
                escaped.append(i)
        bits = [1 + self.place([1 << 20] * 16) for _ in escaped]
        signs = [self.place([1 << 23] * 2) for _ in escaped]
        excess = [1 << (b - 1) for b in bits]
        for bit in range(15):
            for j, b in enumerate(bits):
                if b > bit + 1:
                    excess[j] |= self.place([1 << 23] * 2) << bit
        for i, sign, e in zip(escaped, signs, excess, strict=True):
            values[i] = (e + self.tables.radius[rows[i]]) * (-1 if sign else 1)
        return values

    def finish(self) -> None:
        """What was read, written again, must be the stream: by integers of any size, as carries then take care of
        themselves."""
        low, size, shifts = 0, WIDE - 1, 0
        for below, frequency in self.coded:
            scale = size >> 24
            low, size = low + scale * below, scale * frequency
            if size < WORD:
                low, size, shifts = low * WORD, size * WORD, shifts + 1
        end = (low + WORD - 1) >> 32
        written = [end >> 32 * i & (WORD - 1) for i in reversed(range(shifts + 1))]
        if (low + size) >> 32 == end:
            written.append(0)
        if (written if self.coded else []) != self.words:
            raise Wrong("other bytes than a writer's")


def huffman_lengths(weights: Numbers) -> Numbers:
    """Lengths of a canonical code's words by place."""
    while True:
        lengths, heap = [0] * len(weights), [(w, i, [i]) for i, w in enumerate(weights)]
        heapq.heapify(heap)
        for node in range(len(weights), 2 * len(weights) - 1):
            (a, _, left), (b, _, right) = heapq.heappop(heap), heapq.heappop(heap)
            for place in left + right:
                lengths[place] += 1
            heapq.heappush(heap, (a + b, node, left + right))
        if max(lengths) <= 32:
            return lengths
        weights = [(w >> 2) + 1 for w in weights]


def code_of(weights: Mapping[int, int]) -> dict[tuple[int, int], int]:
    """Places by (length, word); a single one has the word 0 of one bit."""
    places = list(weights)
    lengths = [1] if len(places) == 1 else huffman_lengths(list(weights.values()))
    code, word, last = {}, 0, 0
    for length, place in sorted(zip(lengths, places, strict=True)):
        word <<= length - last
        code[length, word], last = place, length
        word += 1
    return code


class HuffmanCoder:
    """Reads symbols, bit by bit."""

    known: dict[tuple[int, ...], tuple[dict[tuple[int, int], int], dict[tuple[int, int], int] | None, int]] = {}

    def __init__(self, tables: Tables, data: bytes) -> None:
        self.tables, self.bits, self.at = tables, [byte >> (7 - i) & 1 for byte in data for i in range(8)], 0

    def bit(self) -> int:
        if self.at >= len(self.bits):
            raise Wrong("cut")
        self.at += 1
        return self.bits[self.at - 1]

    def number(self, bits: int) -> int:
        value = 0
        for _ in range(bits):
            value = 2 * value + self.bit()
        return value

    def place(self, code: Mapping[tuple[int, int], int]) -> int:
        word = 0
        for length in range(1, 33):
            word = 2 * word + self.bit()
            if (length, word) in code:
                return code[length, word]
        raise Wrong("no such word")

    def codes(self, row: int) -> tuple[dict[tuple[int, int], int], dict[tuple[int, int], int] | None, int]:
        """Code of values, code of runs of zeros where there is one, and the longest run."""
        frequencies = self.tables.frequencies[row]
        key = tuple(frequencies)
        if key not in self.known:
            self.known[key] = self.codes_of(frequencies, self.tables.radius[row])
        return self.known[key]

    @staticmethod
    def codes_of(
        frequencies: Numbers, zero: int
    ) -> tuple[dict[tuple[int, int], int], dict[tuple[int, int], int] | None, int]:
        z = frequencies[zero]
        if z <= 1 << 23:
            return code_of(dict(enumerate(frequencies))), None, 0
        longest = 2
        while longest < 1024 and 4 * z**longest > (1 << 24) ** longest:
            longest *= 2
        weights, w = [], 1 << 40
        for _ in range(longest):
            weights.append(max(1, w * ((1 << 24) - z) >> 24))
            w = w * z >> 24
        weights.append(max(1, w))
        values = {place: f for place, f in enumerate(frequencies) if place != zero}
        return code_of(values), code_of(dict(enumerate(weights))), longest

    def batch(self, rows: Numbers) -> Numbers:
        """Values of a batch in its own order."""
        values, order = [0] * len(rows), sorted(range(len(rows)), key=lambda i: rows[i])
        for row in sorted(set(rows)):
            mine, r = [i for i in order if rows[i] == row], self.tables.radius[row]
            code, runs, longest = self.codes(row)
            done = 0
            while done < len(mine):
                run = 0 if runs is None else self.place(runs)
                done += run
                if runs is None or run < longest:
                    if done >= len(mine):
                        raise Wrong("a run leaves its row")
                    values[mine[done]] = self.place(code) - r
                    done += 1
        for i in order:
            r = self.tables.radius[rows[i]]
            if values[i] == r + 1:
                bits = self.number(4)
                sign = -1 if self.bit() else 1
                values[i] = sign * (r + (1 << bits) + self.number(bits))
        return values

    def finish(self) -> None:
        left = self.bits[self.at :]
        if len(left) > 7 or any(left):
            raise Wrong("more bits than symbols")


Coder = RangeCoder | HuffmanCoder
CODERS: dict[int, Callable[[Tables, bytes], Coder]] = {0: RangeCoder, 1: HuffmanCoder}


# --- the stream, which is that of docs/format-gic2.md


class Model:
    """What the page takes of the weights: arrays, and their values between knots."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.arrays = {name: array.tolist() for name, array in arrays.items()}
        self.tables = Tables(arrays)
        self.channels, self.hyper = len(arrays["projection.scale"]), arrays["hyper.offset"].shape[1]

    def __getitem__(self, name: str) -> list:  # type: ignore[type-arg]
        return self.arrays[name]

    def at(self, name: str, p: int, c: int) -> int:
        v, q = self.arrays[name], min(p, TOP)
        j = min(q // SPACING, KNOTS - 2)
        f = q - SPACING * j
        return (v[j][c] * (SPACING - f) + v[j + 1][c] * f) // SPACING


def listed(first: bytes) -> tuple[list[tuple[int, int]], Numbers, bytes]:
    """Steps from .. to of each slice, bytes of all but the first, and what follows the list."""
    count, at = first[0], 1
    if not 1 <= count <= SLICES:
        raise Wrong("number of slices")
    begins, lengths = [0], []
    for _ in range(count - 1):
        begins.append(first[at])
        at, value, shift = at + 1, 0, 0
        while True:
            value |= (first[at] & 127) << shift
            at, shift = at + 1, shift + 7
            if first[at - 1] < 128:
                break
        lengths.append(value)
    ends = [*begins[1:], LADDER + 1]
    if any(a >= b for a, b in zip(begins, ends, strict=True)):
        raise Wrong("steps do not ascend")
    return list(zip(begins, ends, strict=True)), lengths, first[at:]


def level_map(coder: Coder, hb: int, wb: int) -> dict[Place, int]:
    kind = coder.batch([CLASS_ROW])[0] + 4
    if not 0 <= kind < 8:
        raise Wrong("class")
    level = {(0, 0): coder.batch([FIRST_ROW])[0] + LEVELS // 2}
    for s in reversed(range(32)):
        step = 1 << s
        if step > max(hb, wb) - 1:
            continue
        across = [(y, x) for y in range(0, hb, 2 * step) for x in range(step, wb, 2 * step)]
        down = [(y, x) for y in range(step, hb, 2 * step) for x in range(0, wb, step)]
        for blocks, (dy, dx) in ((across, (0, step)), (down, (step, 0))):
            predicted = {}
            for y, x in blocks:
                before = level[y - dy, x - dx]
                after = level[y + dy, x + dx] if y + dy < hb and x + dx < wb else before
                predicted[y, x] = (before + after + 1) >> 1
            rows = [] if kind == 0 else [FINE[kind] + 2 * s] * len(blocks)
            for block, value in zip(blocks, coder.batch(rows) or [0] * len(blocks), strict=True):
                level[block] = predicted[block] + value
    if not all(0 <= value < LEVELS for value in level.values()):
        raise Wrong("level")
    return level


def around(z: Mapping[Place, Numbers], y: int, x: int, k: int) -> int:
    near = ((y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx)
    return sum(min(abs(z[block][k]), MAGNITUDE) for block in near if block in z)


def hyper_latents(coder: Coder, model: Model, p: Mapping[Place, int], blocks: list[Place]) -> dict[Place, Numbers]:
    z: dict[Place, Numbers] = {}
    for t, parity in enumerate(((0, 0), (1, 1), (0, 1), (1, 0))):
        mine = [block for block in blocks if (block[0] % 2, block[1] % 2) == parity]
        rows = {}
        for y, x in mine:
            near = [around(z, y, x, k) for k in range(model.hyper)]
            for c in range(model.hyper):
                o = model.at("hyper.offset", p[y, x], c)
                if t:
                    total = sum(w * n for w, n in zip(model["near.weight"][t - 1][c], near, strict=True))
                    o += model["near.scale"][t - 1][c] * total + model["near.bias"][t - 1][c]
                rows[y, x, c] = clip(o >> 8, 0, 63)
        values = decoded(coder, rows)
        z |= {(y, x): [values[y, x, c] for c in range(model.hyper)] for y, x in mine}
    if any(abs(value) > MOST for block in z.values() for value in block):
        raise Wrong("hyper-latent")
    return z


def decoded(coder: Coder, rows: Mapping[Place, int]) -> dict[Place, int]:
    """Symbols of a batch by place: 0 for those of row 0, which take no part in it."""
    places = [place for place, row in rows.items() if row]
    return dict.fromkeys(rows, 0) | dict(zip(places, coder.batch([rows[place] for place in places]), strict=True))


def latent_rows(
    model: Model, blocks: list[Place], levels: Mapping[Place, int], p: Mapping[Place, int], z: Mapping[Place, Numbers]
) -> Iterator[tuple[Place, int, int]]:
    """Place (y, x, s, c), row and step of every latent, in their order."""
    for y, x in blocks:
        u = [
            clip(rs(z[y, x][k] * model.at("hyper.inverse", p[y, x], k), 12), -UNITS, UNITS) for k in range(model.hyper)
        ]
        for s in range(16):
            for c in range(model.channels):
                weight = model["projection.weight"][s][c]
                t = model["projection.scale"][c] * sum(w * v for w, v in zip(weight, u, strict=True))
                row = clip((t + model.at("latent.offset", p[y, x], c)) >> 8, 0, 63)
                key = clip((t >> 8) + model["latent.worth"][c], -127, 127)
                off = levels[y, x] < model["latent.first"][c]
                yield (y, x, s, c), 0 if off else row, sum(above > key for above in model["latent.ladder"])


def decode(
    slices: Sequence[bytes], arrays: Mapping[str, np.ndarray], coder: int, hb: int, wb: int, level_shift: int
) -> Decoded:
    """Symbols of one stream, of which the first slices are there."""
    model = Model(arrays)
    steps, lengths, first = listed(slices[0])
    if [len(part) for part in slices[1:]] != lengths[: len(slices) - 1]:
        raise Wrong("lengths")
    coders = [CODERS[coder](model.tables, part) for part in (first, *slices[1:])]
    blocks = [(y, x) for y in range(hb) for x in range(wb)]
    levels = level_map(coders[0], hb, wb)
    p = {block: 16 * level + level_shift for block, level in levels.items()}
    z = hyper_latents(coders[0], model, p, blocks)
    latents = np.zeros((model.channels, 4 * hb, 4 * wb), np.int32)
    all_rows = list(latent_rows(model, blocks, levels, p, z))
    for (begin, end), reader in zip(steps, coders, strict=False):
        rows = {place: row for place, row, step in all_rows if begin <= step < end}
        for (y, x, s, c), value in decoded(reader, rows).items():
            latents[c, 4 * y + s // 4, 4 * x + s % 4] = value
        reader.finish()
    level_grid = np.array([levels[block] for block in blocks], np.int32).reshape(hb, wb)
    hyper = np.array([z[block] for block in blocks], np.int32).reshape(hb, wb, -1).transpose(2, 0, 1)
    return Decoded(level_grid, hyper, latents)
