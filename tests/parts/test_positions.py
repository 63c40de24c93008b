"""Where attended chunks stand in time: by hand, and by what must hold of any window."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldkv.engine.fit import fitted
from worldkv.engine.preflight import check_positions
from worldkv.engine.reach import reach_of
from worldkv.errors import SpecError
from worldkv.geometry import PRESETS
from worldkv.parts import Absolute, Rebased, Relative, Slots
from worldkv.parts.positions.order import Order
from worldkv.policies import WorldKV
from worldkv.policy import Positions
from worldkv.specs.parse import parse_policy, spec_of
from worldkv.views import AttendedChunks

FRAMES = 3


def attended(step: int, home: set[int], retrieved: tuple[int, ...], lengths: list[int] | None = None) -> AttendedChunks:
    """What a step attends; chunks have three latent frames each unless `lengths` says otherwise."""
    of_all = np.array(lengths or [FRAMES] * (step + 1))
    starts = np.cumsum(of_all) - of_all
    ids = np.array(sorted(home | set(retrieved)), np.int64)
    return AttendedChunks(step, ids, starts[ids], of_all[ids], retrieved, int(starts[step]), int(of_all[step]))


def stand(rule: Positions, chunks: AttendedChunks) -> dict[int, int]:
    """The place of every chunk in latent frames; the chunk being generated under its own number."""
    places = rule.places(chunks)
    assert places.shape == (len(chunks.ids) + 1,)
    return dict(zip([*chunks.ids.tolist(), chunks.step], places.tolist(), strict=True))


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
def test_rebased_by_hand(step: int, home: set[int], retrieved: tuple[int, ...], places: dict[int, int]) -> None:
    chunks = attended(step, home, retrieved)
    expected = {chunk: chunk * FRAMES for chunk in (*home, step)}
    expected |= {chunk: place * FRAMES for chunk, place in places.items()}
    assert stand(Rebased(), chunks) == expected
    assert stand(Absolute(), chunks) == {chunk: chunk * FRAMES for chunk in (*home, *retrieved, step)}


def test_orders_by_hand() -> None:
    chunks = attended(20, {0, 18, 19}, (7, 11, 3))
    assert stand(Rebased("rank"), chunks) == {0: 0, 7: 45, 11: 48, 3: 51, 18: 54, 19: 57, 20: 60}
    assert stand(Rebased("age"), chunks) == {0: 0, 11: 45, 7: 48, 3: 51, 18: 54, 19: 57, 20: 60}
    assert stand(Relative("rank"), chunks) == {0: 0, 7: 3, 11: 6, 3: 9, 18: 12, 19: 15, 20: 18}
    assert stand(Slots(27), chunks) == {0: 0, 3: 3, 7: 6, 11: 9, 18: 21, 19: 24, 20: 27}
    assert stand(Slots(27, "rank"), chunks) == {0: 0, 7: 3, 11: 6, 3: 9, 18: 21, 19: 24, 20: 27}
    assert stand(Slots(27, is_shared=True), chunks) == {0: 0, 7: 3, 11: 3, 3: 3, 18: 21, 19: 24, 20: 27}


def test_a_first_chunk_of_one_latent_by_hand() -> None:
    chunks = attended(5, {0, 4}, (1, 2), [1, 3, 3, 3, 2, 3])
    assert stand(Absolute(), chunks) == {0: 0, 1: 1, 2: 4, 4: 10, 5: 12}
    assert stand(Rebased(), chunks) == {0: 0, 1: 4, 2: 7, 4: 10, 5: 12}
    assert stand(Relative(), chunks) == {0: 0, 1: 1, 2: 4, 4: 7, 5: 9}


@given(st.data())
def test_nothing_stands_on_anything_and_what_is_unmoved_stays(data: st.DataObject) -> None:
    step = data.draw(st.integers(1, 30))
    lengths = data.draw(st.lists(st.integers(1, 3), min_size=step + 1, max_size=step + 1))
    home = data.draw(st.sets(st.integers(0, step - 1)))
    banked = sorted(set(range(step)) - home)
    retrieved = data.draw(st.permutations(banked)) if banked else []
    chunks = attended(step, home, tuple(retrieved[: data.draw(st.integers(0, len(retrieved)))]), lengths)
    order: Order = data.draw(st.sampled_from(["id", "rank", "age"]))
    total = sum(lengths)
    for rule in (Rebased(order), Relative(order), Slots(total, order)):
        places = stand(rule, chunks)
        # A rebased chunk may stand on a chunk at home in the middle, or on the sink; the others never on another.
        moved = [*chunks.retrieved, step] if isinstance(rule, Rebased) else [*chunks.ids.tolist(), step]
        taken = sorted(frame for chunk in moved for frame in range(places[chunk], places[chunk] + lengths[chunk]))
        assert len(set(taken)) == len(taken)
        in_line = sorted(chunks.retrieved, key=places.__getitem__)
        wanted = {"id": sorted(in_line), "rank": list(chunks.retrieved), "age": sorted(in_line, reverse=True)}[order]
        assert in_line == wanted
        assert max(places, key=places.__getitem__) == step, "the chunk itself stands last"
    relative = Relative(order).places(chunks)
    own = lengths[step]
    assert reach_of(relative, own) == int(chunks.frames.sum()) + own, "as far as the window is long, no farther"
    rebased = stand(Rebased(order), chunks)
    assert all(rebased[chunk] == sum(lengths[:chunk]) for chunk in (*home, step))
    recent = [chunk for chunk in range(step) if all(later in home for later in range(chunk, step))]
    if chunks.retrieved:
        ends = [rebased[chunk] + lengths[chunk] for chunk in chunks.retrieved]
        assert max(ends) == sum(lengths[: min(recent, default=step)])


def test_slots_that_do_not_hold_the_window_are_refused() -> None:
    with pytest.raises(SpecError, match="slots of 12 latent frames do not hold the 9 of sink .* raise slot_frames"):
        Slots(12).places(attended(20, {0, 18, 19}, (7, 3)))
    with pytest.raises(SpecError, match="order"):
        Relative("nearest")  # type: ignore[arg-type]


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 7, 8])
def test_default_slots_hold_default_windows(frames: int) -> None:
    geometry = dataclasses.replace(PRESETS["tiny"], frames_per_chunk=frames)
    for name in ("worldkv", "mean-key", "composed"):
        policy = fitted(parse_policy(f"{name}:positions=slots", geometry), geometry)
        check_positions(policy, geometry)
    with pytest.raises(SpecError, match="do not hold the .* take slot_frames="):
        check_positions(WorldKV(frames, 10 * frames, frames, positions=Slots(8 * frames)), geometry)


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("worldkv:rebase=true", "worldkv:positions=rebased"),
        ("worldkv:rebase=false", "worldkv"),
        ("worldkv:positions=rebased,order=rank", "worldkv:positions=rebased,order=rank"),
        ("sliding-window:sink_frames=3,positions=relative", "sliding-window:sink_frames=3,positions=relative"),
        ("composed:positions=slots,slot_frames=30", "composed:positions=slots,slot_frames=30"),
        ("mean-key:rebase=1", "mean-key:positions=rebased"),
    ],
)
def test_spec_strings(typed: str, told: str) -> None:
    assert spec_of(parse_policy(typed)) == told
    assert parse_policy(told) == parse_policy(typed)


def test_the_old_spelling_is_not_mixed_with_the_new() -> None:
    with pytest.raises(SpecError, match="give positions or rebase, not both"):
        parse_policy("worldkv:rebase=true,positions=relative")
    with pytest.raises(SpecError, match="rebase must be true or false, got 'maybe'"):
        parse_policy("worldkv:rebase=maybe")
