"""The search over a ladder of quality settings: what it promises whatever the sizes are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gancodec.evaluate.match import Place, match

SIZES = st.lists(st.integers(1, 10**6), min_size=1, max_size=200)
CLOSE_SIZES = st.lists(st.integers(1000, 2000), min_size=1, max_size=200)


class Ladder:
    """Sizes by place; counts who asks."""

    def __init__(self, sizes: list[int]) -> None:
        self.sizes = sizes
        self.asked: list[int] = []

    def __call__(self, place: int) -> int:
        self.asked.append(place)
        return self.sizes[place]

    def find(self, size: int, known: dict[int, int] | None = None) -> tuple[Place, dict[int, int]]:
        """The answer, and everything known afterwards."""
        known = {} if known is None else known
        return match(self, len(self.sizes), size, known), known


def _off(a: int, b: int) -> float:
    return abs(a / b - 1)


@given(SIZES | CLOSE_SIZES, st.integers(1, 2 * 10**6) | st.integers(900, 2200), st.booleans())
def test_promises(sizes: list[int], size: int, grows: bool) -> None:
    ladder = Ladder(sorted(sizes) if grows else sizes)
    found, known = ladder.find(size)
    assert len(ladder.asked) == len(set(ladder.asked)), "no place is encoded twice"
    assert set(ladder.asked) == set(known)
    assert all(ladder.sizes[place] == s for place, s in known.items())
    # Nearest in the ratio of sizes of everything that was seen.
    ratio = {place: abs(math.log(s / size)) for place, s in known.items()}
    assert ratio[found.place] == min(ratio.values())
    within = min(_off(s, size) for s in known.values()) <= 0.02
    assert (found.reached == "yes") == within
    if found.reached == "nearest":
        assert min(known.values()) < size < max(known.values())
    if found.reached == "no":
        last = len(sizes) - 1
        assert (size < min(known.values()) and 0 in known) or (size > max(known.values()) and last in known)


@given(SIZES | CLOSE_SIZES, st.integers(1, 2 * 10**6) | st.integers(900, 2200))
def test_growing_sizes_are_searched_to_the_end(sizes: list[int], size: int) -> None:
    """Of a ladder that grows the answer is the best there is, or within half a percent."""
    ladder = Ladder(sorted(sizes))
    found, _ = ladder.find(size)
    best = min(abs(math.log(s / size)) for s in sizes)
    got = ladder.sizes[found.place]
    assert abs(math.log(got / size)) == best or _off(got, size) <= 0.005
    beyond = size < min(sizes) or size > max(sizes)
    near = any(_off(s, size) <= 0.02 for s in sizes)
    assert found.reached == ("yes" if near else "no" if beyond else "nearest")


@given(
    st.integers(2, 4000),
    st.floats(0.0005, 0.02),
    st.floats(0, 3),
    st.floats(-0.2, 1.2),
    st.integers(0, 2**32 - 1),
)
def test_few_encodings_for_ladders_like_those_of_codecs(
    places: int, step: float, bend: float, where: float, seed: int
) -> None:
    """Sizes as codecs have them: exponential growth that bends, with steps of random height."""
    rise = np.linspace(0, 1, places) ** (1 + bend) * places * step * np.random.default_rng(seed).uniform(0.9, 1, places)
    assume(rise[-1] < 25)
    sizes = sorted(round(float(v)) for v in 300 * np.exp(rise))
    ladder = Ladder(sizes)
    ladder.find(max(round(sizes[0] * (sizes[-1] / sizes[0]) ** where), 1))
    assert len(ladder.asked) <= 2 * math.log2(places) + 12


@given(st.integers(1, 4000), st.data())
def test_encodings_are_bounded_for_any_growing_ladder(places: int, data: st.DataObject) -> None:
    """Plateaus and cliffs mislead the interpolation; every third step still halves what is left."""
    cliffs = data.draw(st.lists(st.integers(0, places), max_size=6))
    heights = data.draw(st.lists(st.floats(0, 6), min_size=6, max_size=6))
    rise = np.zeros(places)
    for cliff, height in zip(cliffs, heights, strict=False):
        rise[cliff:] += height
    ladder = Ladder([round(float(v)) for v in 100 * np.exp(rise)])
    ladder.find(data.draw(st.integers(1, 10**6)))
    assert len(ladder.asked) <= 2 * math.log2(places) + 12


@pytest.mark.parametrize("places", [16, 101, 991, 2001])
def test_encodings_are_bounded_against_an_adversary(places: int) -> None:
    """A ladder that always answers what leaves most of the places."""
    left = {"low": -1, "high": places}
    asked = []

    def size_at(place: int) -> int:
        asked.append(place)
        small = place - left["low"] <= left["high"] - place
        left["low" if small else "high"] = place
        # Sizes that pull the interpolation to the low end.
        return 97_000 - (places - place) if small else 10**9 + place

    match(size_at, places, 100_000, {})
    assert len(asked) == len(set(asked)) <= 2 * math.log2(places) + 12


@given(SIZES, st.integers(1, 2 * 10**6), st.integers(1, 2 * 10**6))
def test_what_is_known_is_used(sizes: list[int], first: int, second: int) -> None:
    ladder = Ladder(sorted(sizes))
    _, known = ladder.find(first)
    again, _ = ladder.find(first, known)
    before = set(known)
    assert again == ladder.find(first, dict(known))[0]
    assert set(ladder.asked) == before
    ladder.find(second, known)
    assert len(ladder.asked) == len(set(ladder.asked))
    complete = Ladder(sorted(sizes))
    complete.find(second, dict(enumerate(complete.sizes)))
    assert complete.asked == [], "nothing to encode where every size is known"


def test_known_places_narrow_the_search() -> None:
    ladder = Ladder([round(1000 * 1.01**place) for place in range(500)])
    target = round(1000 * 1.01**333.5)
    found, _ = ladder.find(target, {333: ladder.sizes[333], 334: ladder.sizes[334]})
    assert ladder.asked == []
    assert found.reached == "yes"
    assert found.place in (333, 334)


@given(st.integers(1000, 7000))
def test_fine_ladders_give_half_a_percent(size: int) -> None:
    ladder = Ladder([round(1000 * 1.001**place) for place in range(2000)])
    found, _ = ladder.find(size)
    assert found.reached == "yes"
    assert _off(ladder.sizes[found.place], size) <= 0.005


@pytest.mark.parametrize("size", [99, 100, 101, 102, 103, 1000])
def test_ladders_of_one_place(size: int) -> None:
    ladder = Ladder([100])
    found, _ = ladder.find(size)
    assert found == Place(0, "yes" if 99 <= size <= 102 else "no")
    assert ladder.asked == [0]


def test_ends_and_steps() -> None:
    ladder = Ladder([100, 200, 400, 800])
    assert ladder.find(50)[0] == Place(0, "no")
    assert ladder.find(99)[0] == Place(0, "yes")
    assert ladder.find(301)[0] == Place(2, "nearest"), "301 is nearer to 400 than to 200 in ratio"
    assert ladder.find(280)[0] == Place(1, "nearest")
    assert ladder.find(810)[0] == Place(3, "yes")
    assert ladder.find(2000)[0] == Place(3, "no")


def test_two_percent_is_of_the_size_asked_for() -> None:
    assert Ladder([10_199]).find(10_000)[0].reached == "yes"
    assert Ladder([10_201]).find(10_000)[0].reached == "no"
    assert Ladder([9_801]).find(10_000)[0].reached == "yes"
    assert Ladder([9_799]).find(10_000)[0].reached == "no"
