"""gic2's integers against plain loops, and the rules that its arrays keep to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gancodec.entropy.gaussian import ROWS
from gancodec.entropy.tables import Arrays
from gancodec.errors import CorruptTable, MissingWeights
from gancodec.models.gic2.codec import Gic2Codec
from gancodec.models.gic2.config import (
    HYPER_LIMIT,
    INPUT_MAX,
    KNOTS,
    LADDER,
    NEAR_MAX,
    POSITIONS,
    ROW_BITS,
    STEPS,
    TOP,
    UNIT_BITS,
)
from gancodec.models.gic2.integers import EXACT_LIMIT, INT32_LIMIT, KEY_LIMIT, EntropyModel
from gancodec.models.gic2.symbols import Symbols, Wanted, sent_hyper, walk
from gancodec.models.levels import LEVELS, SUBLEVELS
from gancodec.models.stream import Frame, entropy_model
from gancodec.types import BLOCK, SITES, Geometry, IntArray
from gancodec.weights import Weights
from tests.tiny import tiny_gic2_weights


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    """Those of the tiny model, with larger weights, and knots that are not in a line."""
    rng = np.random.default_rng(4)
    found = dict(tiny_gic2_weights().entropy)
    found["projection.weight"] = rng.integers(-127, 128, found["projection.weight"].shape).astype(np.int8)
    found["projection.scale"] = rng.integers(1, 5, found["projection.scale"].shape).astype(np.int16)
    found["near.weight"] = rng.integers(-127, 128, found["near.weight"].shape).astype(np.int8)
    found["latent.offset"] = found["latent.offset"] + rng.integers(-900, 900, (KNOTS, 1)).astype(np.int32)
    found["hyper.offset"] = found["hyper.offset"] + rng.integers(-900, 900, (KNOTS, 1)).astype(np.int32)
    found["hyper.inverse"] = found["hyper.inverse"] // np.where(np.arange(KNOTS) == 4, 3, 1)[:, None]
    return found


# --- rows and keys, once more in Python's own integers


def at_knots(knots: IntArray, position: int, column: int) -> int:
    """A value at a position, from those at the knots around it, rounded down."""
    spacing = TOP // (KNOTS - 1)
    place = min(position, TOP)
    if place % spacing == 0:
        return int(knots[place // spacing, column])
    below, above = (int(knots[place // spacing + k, column]) for k in (0, 1))
    fraction = place % spacing
    return (below * (spacing - fraction) + above * fraction) // spacing


def plain_row(number: int) -> int:
    return min(max(number >> ROW_BITS, 0), ROWS - 1)


def plain_rows_and_keys(arrays: Arrays, hyper: list[int], position: int) -> tuple[list[list[int]], list[list[int]]]:
    """Of the latents of one block, by site and channel."""
    inputs = []
    for k, z in enumerate(hyper):
        unit = (z * at_knots(arrays["hyper.inverse"], position, k) + (1 << UNIT_BITS) // 2) >> UNIT_BITS
        inputs.append(min(max(unit, -INPUT_MAX), INPUT_MAX))
    rows, keys = [], []
    for site in arrays["projection.weight"].tolist():
        rows.append([])
        keys.append([])
        for c, weights in enumerate(site):
            total = sum(w * u for w, u in zip(weights, inputs, strict=True)) * int(arrays["projection.scale"][c])
            row = plain_row(total + at_knots(arrays["latent.offset"], position, c))
            rows[-1].append(row if position // SUBLEVELS >= arrays["latent.first"][c] else 0)
            key = (total >> ROW_BITS) + int(arrays["latent.worth"][c])
            keys[-1].append(min(max(key, -KEY_LIMIT), KEY_LIMIT))
    return rows, keys


def check_block(arrays: Arrays, hyper: IntArray, position: int) -> tuple[list[list[int]], list[list[int]]]:
    wanted = plain_rows_and_keys(arrays, hyper.tolist(), position)
    found = EntropyModel(arrays).rows_and_keys(hyper[None, None], np.array([[position]], np.int32))
    for values, expected in zip(found, wanted, strict=True):
        assert values.shape == (1, 1, SITES**2, 8)
        assert values[0, 0].tolist() == expected
    return wanted


def test_rows_and_keys_at_every_position(arrays: Arrays) -> None:
    """Knots, what is between them, and what counts as the top."""
    rng = np.random.default_rng(0)
    hyper = rng.integers(-9, 10, (8, POSITIONS // 8, 4)).astype(np.int32)
    position = rng.permutation(POSITIONS).reshape(8, -1).astype(np.int32)
    rows, keys = EntropyModel(arrays).rows_and_keys(hyper, position)
    for y, x in np.ndindex(position.shape):
        expected = plain_rows_and_keys(arrays, hyper[y, x].tolist(), int(position[y, x]))
        assert (rows[y, x].tolist(), keys[y, x].tolist()) == expected, position[y, x]
    assert len(np.unique(rows)) == ROWS
    assert rows.dtype == np.uint8
    assert keys.dtype == np.int8


@pytest.mark.parametrize("size", [0, 1, 100, 130, HYPER_LIMIT])
@pytest.mark.parametrize("position", [0, 61, 62, 63, TOP - 1, TOP, POSITIONS - 1])
def test_rows_of_extreme_hyper_latents(arrays: Arrays, size: int, position: int) -> None:
    rng = np.random.default_rng(size)
    for _ in range(4):
        rows, keys = check_block(arrays, (size * rng.choice([-1, 1], 4)).astype(np.int32), position)
    if size == HYPER_LIMIT:
        assert {-KEY_LIMIT, KEY_LIMIT} <= set(np.ravel(keys)), "clipped at either end"
        assert {0, ROWS - 1} <= set(np.ravel(rows))


def test_inputs_are_clipped(arrays: Arrays) -> None:
    """Beyond 127 units nothing changes, and up to there it does; the halves of a unit are rounded up."""
    plain = arrays | {"hyper.inverse": np.full((KNOTS, 4), 1 << UNIT_BITS, np.int32)}
    model, position = EntropyModel(plain), np.zeros((1, 1), np.int32)

    def keys(*hyper: int) -> list[int]:
        return model.rows_and_keys(np.array([[hyper]], np.int32), position)[1].ravel().tolist()

    assert keys(INPUT_MAX, 0, 0, 0) == keys(INPUT_MAX + 1, 0, 0, 0) == keys(HYPER_LIMIT, 0, 0, 0)
    assert keys(-INPUT_MAX, 0, 0, 0) == keys(-INPUT_MAX - 1, 0, 0, 0) == keys(-HYPER_LIMIT, 0, 0, 0)
    assert keys(1, 0, 0, 0) != keys(2, 0, 0, 0)
    half = EntropyModel(plain | {"hyper.inverse": plain["hyper.inverse"] // 2})
    found = [half.rows_and_keys(np.array([[[z, 0, 0, 0]]], np.int32), position)[1].ravel().tolist() for z in (1, -1)]
    assert found == [keys(1, 0, 0, 0), keys(0, 0, 0, 0)]


def test_a_channel_that_is_off_has_row_0(arrays: Arrays) -> None:
    """From the level that `first` names on it is on; sublevels do not count."""
    first = np.array([0, 1, 5, 5, 17, 30, 31, 31])
    loud = arrays | {"latent.first": first.astype(np.uint8), "latent.offset": np.full((KNOTS, 8), 5000, np.int32)}
    position = np.arange(POSITIONS, dtype=np.int32)[None]
    rows, _ = EntropyModel(loud).rows_and_keys(np.zeros((1, POSITIONS, 4), np.int32), position)
    for place in range(POSITIONS):
        on = first <= place // SUBLEVELS
        np.testing.assert_array_equal(rows[0, place] == 5000 >> ROW_BITS, np.broadcast_to(on, (SITES**2, 8)))
        assert not rows[0, place][:, ~on].any()


def test_keys_depend_on_no_level(arrays: Arrays) -> None:
    """But for what a hyper-latent symbol stands for: with gains that are all the same, keys are too."""
    same = arrays | {"hyper.inverse": np.full((KNOTS, 4), 3000, np.int32)}
    hyper = np.random.default_rng(1).integers(-20, 20, (1, 1, 4)).astype(np.int32).repeat(POSITIONS, 1)
    rows, keys = EntropyModel(same).rows_and_keys(hyper, np.arange(POSITIONS, dtype=np.int32)[None])
    assert (keys == keys[:, :1]).all()
    assert (rows != rows[:, :1]).any()


def test_steps_count_the_keys_above(arrays: Arrays) -> None:
    model, keys = EntropyModel(arrays), np.arange(-KEY_LIMIT, KEY_LIMIT + 1, dtype=np.int8)
    assert model.steps(keys).tolist() == [sum(int(k) > key for k in arrays["latent.ladder"]) for key in keys.tolist()]
    assert set(model.steps(keys).tolist()) == set(range(LADDER + 1))


@pytest.mark.parametrize("name", ["latent", "hyper"])
def test_gains_at_every_position(arrays: Arrays, name: str) -> None:
    model, knots = EntropyModel(arrays), arrays[f"{name}.gain"]
    found = (model.gains if name == "latent" else model.hyper_gains)(np.arange(POSITIONS))
    expected = [[np.exp(at_knots(knots, p, c) / 65536) for c in range(knots.shape[1])] for p in range(POSITIONS)]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)


# --- rows of the hyper-latent


class Recorder:
    """A coder that keeps what it is given, and codes nothing."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.symbols: list[int] = []

    def code(self, rows: IntArray, symbols: IntArray | None) -> IntArray:
        assert symbols is not None
        self.rows += rows.tolist()
        self.symbols += symbols.tolist()
        return symbols

    def finish(self) -> bytes:
        return b""


def plain_hyper(arrays: Arrays, wanted: IntArray, position: IntArray) -> tuple[list[int], list[int], IntArray]:
    """Rows and symbols of hyper-latents (hb, wb, Kh) in the order of the stream, and what a decoder has."""
    hb, wb, kh = wanted.shape
    here: dict[tuple[int, int], list[int]] = {}
    rows, symbols = [], []
    for step, (down, right) in enumerate(((0, 0), (1, 1), (0, 1), (1, 0))):
        turn = [(y, x) for y in range(down, hb, 2) for x in range(right, wb, 2)]
        for y, x in turn:
            around = [v for (b, a), v in here.items() if abs(b - y) <= 1 >= abs(a - x) and (b, a) not in turn]
            near = [sum(min(abs(v[k]), NEAR_MAX) for v in around) for k in range(kh)]
            here[y, x] = []
            for k in range(kh):
                number = at_knots(arrays["hyper.offset"], int(position[y, x]), k)
                if step:
                    product = sum(int(w) * n for w, n in zip(arrays["near.weight"][step - 1, k], near, strict=True))
                    number += product * int(arrays["near.scale"][step - 1, k]) + int(arrays["near.bias"][step - 1, k])
                row = plain_row(number)
                here[y, x].append(int(wanted[y, x, k]) if row else 0)
                rows += [row] * (row > 0)
                symbols += [int(wanted[y, x, k])] * (row > 0)
    return rows, symbols, np.array([[here[y, x] for x in range(wb)] for y in range(hb)], np.int32)


@pytest.mark.parametrize("blocks", [(1, 1), (1, 6), (5, 1), (2, 2), (5, 7)])
@pytest.mark.parametrize("size", [2, 40, HYPER_LIMIT])
def test_rows_of_the_hyper_latent(arrays: Arrays, blocks: tuple[int, int], size: int) -> None:
    """In four passes, each with the magnitudes of its neighbours in the others; what has row 0 is not sent, and
    counts as 0 for what comes later."""
    rng = np.random.default_rng(size + blocks[1])
    wanted = rng.integers(-size, size + 1, (*blocks, 4)).astype(np.int32)
    levels = rng.integers(0, LEVELS, blocks).astype(np.int32)
    arrays = arrays | {"near.scale": rng.integers(1, 3, (STEPS - 1, 4)).astype(np.int16)}
    arrays["hyper.offset"] = arrays["hyper.offset"] - (12 << ROW_BITS)
    model, recorder = EntropyModel(arrays), Recorder()
    frame = Frame(Geometry(width=blocks[1] * BLOCK, height=blocks[0] * BLOCK), level_shift=9)
    nothing = np.zeros((8, blocks[0] * SITES, blocks[1] * SITES), np.int32)
    hyper = np.ascontiguousarray(wanted.transpose(2, 0, 1))
    sent = walk(lambda: recorder, model, frame, Wanted(Symbols(levels, hyper, nothing), (LADDER + 1,)))  # type: ignore[arg-type, return-value]
    rows, symbols, expected = plain_hyper(arrays, wanted, levels * SUBLEVELS + 9)
    latents = model.rows_and_keys(expected, levels * SUBLEVELS + 9)[0]
    count = len(recorder.rows) - np.count_nonzero(latents)
    assert recorder.rows[count - len(rows) : count] == rows, "behind the level map"
    assert recorder.symbols[count - len(rows) : count] == symbols
    np.testing.assert_array_equal(sent.hyper.transpose(1, 2, 0), expected)
    np.testing.assert_array_equal(sent_hyper(model, levels * SUBLEVELS + 9, hyper), expected)
    assert blocks != (5, 7) or (0 < len(rows) < wanted.size and np.any(expected != wanted)), "some rows are 0"


# --- loading

Change = Callable[[Arrays], Arrays]


def put(name: str, value: int, dtype: type = np.int32, where: Any = ...) -> Change:
    """One array with a value in it."""

    def change(arrays: Arrays) -> Arrays:
        changed = arrays[name].astype(dtype)
        changed[where] = value
        return {name: changed}

    return change


def projection_of(total: int) -> Change:
    """A projection of small weights, but for one sum that may reach 127 * `total`."""

    def change(arrays: Arrays) -> Arrays:
        weight = np.ones(arrays["projection.weight"].shape, np.int32)
        weight[3, 2] = 0
        weight[3, 2, 1] = -total
        return {"projection.weight": weight, "projection.scale": np.ones(8, np.int16)}

    return change


@pytest.mark.parametrize("name", sorted(n for n in tiny_gic2_weights().entropy if not n.startswith("tables.")))
@pytest.mark.parametrize("axis", [0, -1])
def test_shapes_must_fit(arrays: Arrays, name: str, axis: int) -> None:
    longer = np.concatenate((arrays[name], arrays[name].take([0], axis)), axis)
    for wrong in (longer, arrays[name].take(range(arrays[name].shape[axis] - 1), axis)):
        with pytest.raises(CorruptTable, match="must be|ladder"):
            EntropyModel(arrays | {name: wrong})


LEAST_WRONG = EXACT_LIMIT // INPUT_MAX + 1  # of 127 times this
LEAST_WRONG_NEAR = -(-EXACT_LIMIT // (8 * NEAR_MAX))
FALLING = np.arange(LADDER, 0, -1)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (projection_of(LEAST_WRONG), "exact range"),
        (put("near.weight", LEAST_WRONG_NEAR, where=(1, 2, 3)), "exact range"),
        (put("near.weight", -LEAST_WRONG_NEAR, where=(2, 0, 0)), "exact range"),
        (put("projection.scale", INT32_LIMIT // (127 * 127), where=5), "32 bits"),
        (put("projection.scale", -INT32_LIMIT // (127 * 127), where=5), "32 bits"),
        (put("latent.offset", INT32_LIMIT - 1, where=(4, 4)), "32 bits"),
        (put("latent.offset", -INT32_LIMIT, where=(8, 0)), "32 bits"),
        (put("near.scale", INT32_LIMIT // 127, where=(0, 0)), "32 bits"),
        (put("near.bias", INT32_LIMIT - 1, where=(2, 3)), "32 bits"),
        (put("hyper.offset", -INT32_LIMIT, where=(8, 3)), "32 bits"),
        (put("hyper.inverse", 1 << 17, where=(0, 0)), "32 bits"),
        (put("hyper.inverse", -(1 << 17), where=(8, 3)), "32 bits"),
        (put("latent.worth", INT32_LIMIT - 1, where=2), "32 bits"),
        (lambda a: {"projection.scale": a["projection.scale"][:, None]}, "projection.scale"),
        (put("latent.gain", 1 << 30, where=(8, 1)), "beyond what a float holds"),
        (put("hyper.gain", -(1 << 30), where=(0, 0)), "beyond what a float holds"),
        (lambda _: {"latent.ladder": FALLING[::-1].copy()}, "must fall"),
        (lambda _: {"latent.ladder": np.maximum(FALLING, 2)}, "must fall"),
        (lambda _: {"latent.ladder": FALLING + KEY_LIMIT - LADDER + 1}, "must fall"),
        (lambda _: {"latent.ladder": FALLING - KEY_LIMIT - 2}, "must fall"),
        (put("latent.first", LEVELS, where=7), "no such level"),
        (put("latent.first", -1, where=0), "no such level"),
        (lambda a: {"latent.gain": a["latent.gain"].astype(np.float32)}, "integers"),
        (lambda a: {"tables.counts": a["tables.counts"][:-4], "tables.radius": a["tables.radius"][:-1]}, "fit the rad"),
        (lambda a: without_last_table(a), f"{ROWS - 1} tables, must be {ROWS}"),
    ],
)
def test_arrays_that_break_a_rule(arrays: Arrays, change: Change, match: str) -> None:
    EntropyModel(arrays)
    with pytest.raises(CorruptTable, match=match):
        EntropyModel(arrays | change(arrays))


def without_last_table(arrays: Arrays) -> Arrays:
    last = 2 * int(arrays["tables.radius"][-1]) + 2
    return {"tables.radius": arrays["tables.radius"][:-1], "tables.counts": arrays["tables.counts"][:-last]}


@pytest.mark.parametrize(
    "change",
    [
        projection_of(LEAST_WRONG - 1),
        put("hyper.inverse", (1 << 17) - 1, where=(0, 0)),
        put("latent.first", LEVELS - 1, where=7),
        lambda _: {"latent.ladder": FALLING + KEY_LIMIT - LADDER},
        lambda _: {"latent.ladder": FALLING - KEY_LIMIT - 1},
    ],
)
def test_arrays_at_the_edge_of_a_rule_give_what_python_gives(arrays: Arrays, change: Change) -> None:
    wide = arrays | change(arrays)
    check_block(wide, np.array([HYPER_LIMIT, -HYPER_LIMIT, HYPER_LIMIT, HYPER_LIMIT], np.int32), 0)


@pytest.mark.parametrize("name", sorted(tiny_gic2_weights().entropy))
def test_weights_that_lack_an_array(name: str) -> None:
    given = tiny_gic2_weights()
    lacking = Weights(given.info, {k: v for k, v in given.entropy.items() if k != name}, given.network)
    with pytest.raises(MissingWeights, match="do not fit"):
        entropy_model(lacking, EntropyModel)


def test_the_hash_names_every_array(arrays: Arrays) -> None:
    before = EntropyModel(arrays).hash
    assert Gic2Codec(tiny_gic2_weights(), "cpu").entropy.hash == tiny_gic2_weights().info.entropy_hash != before
