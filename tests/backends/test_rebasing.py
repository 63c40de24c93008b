"""Where rebased chunks stand: by hand, and by what must hold of any window."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldkv.backends.rotary import rebased_places
from worldkv.engine.state import StepPlan


def plan_of(step: int, home: set[int], retrieved: tuple[int, ...]) -> StepPlan:
    attended = np.array(sorted(home | set(retrieved)), np.int64)
    return StepPlan(step, attended, 0, 0, retrieved, (), (), (), 0, 0, False)


@pytest.mark.parametrize(
    ("step", "home", "retrieved", "places"),
    [
        (20, {0, 18, 19}, (7, 3), {3: 16, 7: 17}),  # sink, two recent chunks, two retrieved before them
        (20, {0, 18, 19}, (), {}),
        (20, {0}, (5, 9, 2), {2: 17, 5: 18, 9: 19}),  # no recent window: right before the chunk itself
        (5, {0, 3, 4}, (2,), {2: 2}),  # stands there already
        (5, {0, 1, 2, 3, 4}, (), {}),
        (20, {0, 4, 18, 19}, (6,), {6: 17}),  # a reference chunk in the middle is not recent
    ],
)
def test_by_hand(step: int, home: set[int], retrieved: tuple[int, ...], places: dict[int, int]) -> None:
    assert rebased_places(plan_of(step, home, retrieved)) == places


@given(st.data())
def test_order_is_kept_and_nothing_stands_on_anything(data: st.DataObject) -> None:
    step = data.draw(st.integers(1, 40))
    home = data.draw(st.sets(st.integers(0, step - 1)))
    banked = sorted(set(range(step)) - home)
    retrieved = data.draw(st.permutations(banked)) if banked else []
    retrieved = retrieved[: data.draw(st.integers(0, len(retrieved)))]
    places = rebased_places(plan_of(step, home, tuple(retrieved)))
    assert sorted(places, key=places.__getitem__) == sorted(retrieved)
    stand = list(places.values())
    assert sorted(stand) == list(range(min(stand, default=0), min(stand, default=0) + len(stand)))
    recent = [chunk for chunk in range(step) if all(later in home for later in range(chunk, step))]
    assert all(place < min(recent, default=step) for place in stand)
    assert max(stand, default=min(recent, default=step) - 1) == min(recent, default=step) - 1
