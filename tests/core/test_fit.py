"""Defaults in whole chunks, against a search for the next whole number of them; what was set stays as it is."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from typing import Any, cast

import pytest

from worldkv.engine.engine import CacheEngine
from worldkv.engine.fit import TakenDefault, fitted, taken_defaults
from worldkv.errors import SpecError
from worldkv.geometry import PRESETS, CacheGeometry
from worldkv.parts import PARTS, SinkRecent, Slots, TokenPool
from worldkv.policies import Composed, DropOldest, FullKV, ReferenceWindow, SlidingWindow, WorldKV
from worldkv.policy import EvictionRule, Part
from worldkv.sim.backend import SimBackend
from worldkv.specs.names import policy_classes

LENGTHS = (1, 2, 3, 4, 5, 7, 8)


def chunks_of(frames: int, **fields: Any) -> CacheGeometry:
    return dataclasses.replace(PRESETS["tiny"], frames_per_chunk=frames, **fields)


def next_whole(frames: int, per_chunk: int) -> int:
    return next(number for number in itertools.count(frames) if number % per_chunk == 0)


def values(part: Part) -> dict[str, Any]:
    return {field.name: getattr(part, field.name) for field in dataclasses.fields(cast(Any, part))}


@pytest.mark.parametrize("frames", LENGTHS)
def test_every_default_in_latent_frames_becomes_the_next_whole_number_of_chunks(frames: int) -> None:
    geometry = chunks_of(frames)
    changed = 0
    for cls in {*policy_classes().values(), *PARTS.values()}:
        before, found = values(cls()), values(fitted(cls(), geometry))
        for name, value in before.items():
            if name.endswith("_frames"):
                parts = (3, 18, 6) if cls is Slots else (value,)  # slots hold a sink, what is fetched, a recent window
                assert found[name] == sum(next_whole(part, frames) for part in parts), f"{cls.__name__}.{name}"
                changed += found[name] != value
            elif not isinstance(value, Part | tuple) and name != "references":
                assert found[name] == value, f"{cls.__name__}.{name}"
    assert (changed == 0) == (frames in (1, 3))


@pytest.mark.parametrize("frames", [1, 3])
def test_what_fits_is_the_same_object(frames: int) -> None:
    for cls in policy_classes().values():
        policy = cls()
        assert fitted(policy, chunks_of(frames)) is policy
        assert taken_defaults(policy, chunks_of(frames)) == ()


def test_what_was_set_stays_and_is_refused() -> None:
    policy = WorldKV(recent_frames=9)
    assert fitted(policy, chunks_of(4)) == WorldKV(sink_frames=4, retrieved_frames=20, recent_frames=9)
    with pytest.raises(SpecError, match=r"WorldKV.recent_frames must be whole chunks of 4 .* got 9; take 8 or 12"):
        CacheEngine(policy, chunks_of(4), SimBackend())
    engine = CacheEngine(WorldKV(), chunks_of(4), SimBackend())
    assert engine.policy == WorldKV(sink_frames=4, retrieved_frames=20, recent_frames=8)


def test_parts_in_fields_and_tuples() -> None:
    @dataclass(frozen=True)
    class Several(FullKV):
        rules: tuple[EvictionRule, ...] = ()
        rest: str = "untouched"

    policy = Several(rules=(SinkRecent(), TokenPool(12, 9), SinkRecent(4, 8)))
    found = fitted(policy, chunks_of(4))
    assert found.rules == (SinkRecent(4, 8), TokenPool(12, 12), SinkRecent(4, 8))
    assert fitted(found, chunks_of(4)) is found
    composed = fitted(Composed(eviction=TokenPool()), chunks_of(8))
    assert (composed.eviction, composed.retrieved_frames) == (TokenPool(16, 16), 24)
    assert taken_defaults(Composed(eviction=TokenPool()), chunks_of(8)) == (
        TakenDefault("token-pool.recent_frames", 9, 16),
        TakenDefault("token-pool.pool_frames", 9, 16),
        TakenDefault("retrieved_frames", 18, 24),
    )


def test_a_default_part_is_a_default_throughout() -> None:
    @dataclass(frozen=True)
    class Mine(FullKV):
        eviction: EvictionRule = SinkRecent(6, 9)

    assert fitted(Mine(), chunks_of(4)).eviction == SinkRecent(8, 12)
    assert fitted(Mine(eviction=SinkRecent(6, 9)), chunks_of(4)).eviction == SinkRecent(8, 12), "equal, if not the same"
    assert fitted(Mine(eviction=SinkRecent(6, 6)), chunks_of(4)).eviction == SinkRecent(6, 8), (
        "6 was set, 6 is the part's own"
    )


@pytest.mark.parametrize("frames", LENGTHS)
def test_references_are_the_chunks_that_hold_the_first_three_frames(frames: int) -> None:
    geometry = chunks_of(frames)
    policy = dataclasses.replace(fitted(ReferenceWindow(), geometry), recent_frames=0)
    holding = sorted({frame // frames for frame in range(3)})
    assert policy.pinned(100, geometry).tolist() == holding
    assert fitted(ReferenceWindow("5-6"), geometry).references == "5-6", "it was set"


def test_a_budget_holds_the_chunk_being_generated() -> None:
    wide = chunks_of(8, frame_rows=80, frame_columns=80)
    assert fitted(DropOldest(), wide).budget_tokens == wide.chunk_tokens == 51_200
    assert fitted(DropOldest(), chunks_of(8)).budget_tokens == 32_760
    assert fitted(DropOldest(100), wide).budget_tokens == 100, "it was set"


def test_a_class_that_refuses_its_rounded_default_says_so() -> None:
    @dataclass(frozen=True)
    class AtMostSix(SlidingWindow):
        recent_frames: int = 6

        def __post_init__(self) -> None:
            if self.recent_frames > 6:
                raise ValueError("no more than six")
            super().__post_init__()

    assert fitted(AtMostSix(), chunks_of(3)) == AtMostSix()
    with pytest.raises(
        SpecError, match=r"AtMostSix cannot be made with recent_frames=8, its defaults .*: no more than"
    ):
        fitted(AtMostSix(), chunks_of(4))
