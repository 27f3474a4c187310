"""Rate search: never above the target, bounded probes, no trust in monotone sizes."""

from __future__ import annotations

import math
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from gancodec.codec.rate import MAX_PROBES, TOLERANCE, search

BOUNDS = (-8.0, 8.0)


def curve(scale: float, slope: float, bend: float):  # type: ignore[no-untyped-def]
    return lambda n: 60 + round(scale * math.exp(slope * n + bend * n * n))


@settings(max_examples=300, deadline=None)
@given(st.floats(2000, 60000), st.floats(-0.8, -0.3), st.floats(-0.01, 0.01), st.floats(-1.5, 2.0), st.floats(-1, 1))
def test_smooth_curves_are_hit(scale: float, slope: float, bend: float, wanted: float, error: float) -> None:
    size_of = curve(scale, slope, bend)
    target = size_of(wanted)
    found = search(size_of, target, wanted + error, -0.5, BOUNDS, fixed=60)
    assert found.size <= target
    assert found.size >= (1 - TOLERANCE) * target - 1
    assert found.probes <= MAX_PROBES
    assert found.hit


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**31), st.integers(100, 50_000))
def test_any_function_of_n_stays_within_the_target_if_a_probe_did(seed: int, target: int) -> None:
    """Sizes that jump up and down at random: the answer is the best of what was tried, and the probes are bounded."""
    tried: list[int] = []

    def size_of(n: float) -> int:
        tried.append(50 + hash((seed, round(n * 1000))) % 60_000)
        return tried[-1]

    found = search(size_of, target, 0.0, -0.5, BOUNDS)
    within = [size for size in tried if size <= target]
    assert len(tried) == found.probes <= MAX_PROBES
    assert found.size == (max(within) if within else min(tried))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**31), st.integers(100, 50_000), st.floats(0.001, 1.2))
def test_any_effect_of_n_and_trims_gives_the_best_of_what_was_tried(seed: int, target: int, spread: float) -> None:
    """The same with trims that do whatever they like, around sizes that are near the target or far from it."""
    tried: dict[tuple[float, int], int] = {}

    def size_of(n: float, trim: int = 0) -> int:
        noise = random.Random(f"{seed} {n:.3f} {trim}").uniform(-spread, spread)
        tried[n, trim] = round(50 + target * math.exp(noise - 0.05 * n))
        return tried[n, trim]

    found = search(size_of, target, 0.0, -0.5, BOUNDS, trimmed=size_of)
    within = [size for size in tried.values() if size <= target]
    assert len(tried) == found.probes <= MAX_PROBES
    assert found.size == (max(within) if within else min(tried.values())) == tried[found.n, found.trim]


SHAPES = {
    "constant": lambda n, trim, size: size,
    "jump": lambda n, trim, size: size if n < 0.7 else 1,
    "rising": lambda n, trim, size: max(0, int(size + 100 * n)) + 10**9 * trim,
    "noise": lambda n, trim, size: random.Random(f"{n}{trim}{size}").choice([0, 1, size]),
    "falling": lambda n, trim, size: int(size * math.exp(-n - trim / 1000)),
}


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(sorted(SHAPES)),
    st.sampled_from([0, 1, 55, 10_000, 2**40, 2**62]),
    st.sampled_from([-1, 0, 1, 8, 54, 55, 56, 10_000, 2**40, 2**62]),
    st.sampled_from([0, 47, 10**7]),
    st.sampled_from([(-8.0, 8.0), (0.0, 127.0)]),
    st.floats(-200, 200),
    st.floats(-4, -0.01),
    st.booleans(),
)
def test_no_sizes_and_no_target_are_too_odd(
    shape: str, size: int, target: int, fixed: int, bounds: tuple[float, float], guess: float, slope: float, trims: bool
) -> None:
    tried: list[int] = []

    def size_of(n: float, trim: int = 0) -> int:
        tried.append(SHAPES[shape](n, trim, size))
        return tried[-1]

    found = search(size_of, target, guess, slope, bounds, fixed, size_of if trims else None)
    within = [size for size in tried if size <= target]
    assert len(tried) == found.probes <= MAX_PROBES
    assert found.size == (max(within) if within else min(tried))


def test_out_of_reach_gives_the_nearest() -> None:
    size_of = curve(10_000, -0.5, 0.0)
    smallest, largest = size_of(BOUNDS[1]), size_of(BOUNDS[0])
    low = search(size_of, 20, 0.0, -0.5, BOUNDS)
    assert (low.size, low.hit) == (smallest, False)
    high = search(size_of, 10 * largest, 0.0, -0.5, BOUNDS)
    assert (high.size, high.hit) == (largest, False)


@given(st.integers(1, 12))
def test_a_little_below_the_smallest_file_only_trims_are_left(percent: int) -> None:
    def size_of(n: float, trim: int = 0) -> int:
        return round(curve(10_000, -0.5, 0.0)(n) * math.exp(-0.0008 * trim))

    smallest = size_of(BOUNDS[1])
    assert size_of(BOUNDS[1], 300) < (1 - percent / 100) * smallest, "there is something to be found"
    found = search(size_of, round(smallest * (1 - percent / 100)), BOUNDS[1], -0.5, BOUNDS, trimmed=size_of)
    assert found.hit
    assert (found.n, found.trim > 0) == (BOUNDS[1], True)
    far = search(size_of, smallest // 2, BOUNDS[1], -0.5, BOUNDS, trimmed=size_of)
    assert (far.size, far.trim, far.hit) == (smallest, 0, False)


@settings(max_examples=300, deadline=None)
@given(st.floats(0.03, 0.1), st.floats(0.15, 0.6))
def test_steps_of_equal_size_lead_on(width: float, wanted: float) -> None:
    """From the first n of a step the curve leads to the second; from there it has to go on, and not far away."""
    tried: list[float] = []

    def size_of(n: float) -> int:
        tried.append(n)
        return round(10_000 * math.exp(-0.3 * width * math.floor(n / width)))

    target = size_of(wanted)
    assert search(size_of, target, 0.0, -0.5, BOUNDS).hit
    assert max(tried) < 2


@settings(max_examples=200, deadline=None)
@given(st.integers(1500, 40_000), st.floats(0.012, 0.04), st.floats(-0.8, 0.8), st.floats(0.0002, 0.0012))
def test_sizes_that_jump_over_the_target_are_trimmed(size: int, jump: float, guess: float, effect: float) -> None:
    """A staircase with one tall step around the target: no n hits, a trim does."""
    target = round(size * (1 - jump / 2))

    def size_of(n: float, trim: int = 0) -> int:
        step = size if n < 0.1 else round(size * (1 - jump))
        return round(step * math.exp(-0.5 * (n - 0.1)) * math.exp(-effect * trim))

    found = search(size_of, target, guess, -0.5, BOUNDS, trimmed=size_of)
    assert found.probes <= MAX_PROBES
    assert found.size <= target
    assert found.size == size_of(found.n, found.trim)
    assert found.hit


@settings(max_examples=200, deadline=None)
@given(st.floats(0.002, 0.02), st.floats(0.2, 1.5), st.floats(-0.3, 0.0), st.floats(0.0004, 0.0012))
def test_a_plateau_a_little_above_the_target_is_trimmed(
    excess: float, length: float, guess: float, effect: float
) -> None:
    """Where sizes hardly fall over a stretch of n and then by a third at once, a miss by a third is no answer."""

    def size_of(n: float, trim: int = 0) -> int:
        step = 10_000 * (1 - 0.001 * n) if n < length else 6_600 * math.exp(-0.5 * (n - length))
        return round((step if n > -0.5 else step * math.exp(-0.5 * (n + 0.5))) * math.exp(-effect * trim))

    target = round(size_of(length - 1e-9) * (1 - excess))
    found = search(size_of, target, guess, -0.5, BOUNDS, trimmed=size_of)
    assert found.probes <= MAX_PROBES
    assert found.hit
    assert found.size == size_of(found.n, found.trim) <= target


def test_without_trims_a_jump_stays_a_miss() -> None:
    def size_of(n: float) -> int:
        return 10_000 if n < 0.1 else 9_700

    found = search(size_of, 9_900, 0.3, -0.5, BOUNDS)
    assert (found.size, found.hit, found.trim) == (9_700, False, 0)
