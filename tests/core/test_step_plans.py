"""Step plans: their moves alone say where every chunk is and what is attended, as engine and backend do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, ClassVar, Literal

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.plan_replay import PlanReplay
from tests.core.random_answers import RandomAnswers
from tests.core.scripted import Failing, Scripted
from tests.core.test_engine import BLIND, HERE, TINY, blind_engine, limits
from worldkv.answers import Eviction, Keep, RaggedKeep, Retrieval
from worldkv.backend import Shrink, Store
from worldkv.chunks import Tier
from worldkv.config import CacheConfig
from worldkv.engine.engine import CacheEngine
from worldkv.engine.move_document import move_document
from worldkv.errors import LostChunkError
from worldkv.signals import Viewpoint
from worldkv.sim.backend import SimBackend
from worldkv.sim.document import geometry_document
from worldkv.tiers import TierLimits

CHUNK = TINY.chunk_bytes


@dataclass(frozen=True)
class Late(RandomAnswers):
    asked_at: ClassVar[Literal["begin", "first_pass"]] = "first_pass"


def walk(engine: CacheEngine, frames: Sequence[int]) -> list[dict[str, Any]]:
    """The lines of steps, each replayed and compared with the engine's table and the backend's dictionaries.

    Args:
        engine: a new engine on a simulator's backend.
        frames: latent frames of each chunk.
    """
    replay, lines = PlanReplay(geometry_document(TINY)), []
    starts = list(accumulate(frames, initial=0))
    backend = engine.backend
    assert isinstance(backend, SimBackend)
    for step, own in enumerate(frames):
        begun = engine.begin(Viewpoint(frames=own))
        window = {"begin": sorted(backend.window)}
        plan = engine.refine(None)
        if plan is not begun:
            window["first_pass"] = sorted(backend.window)
        told = json.loads(json.dumps(plan.to_dict(), allow_nan=False))
        record = engine.commit()
        line = json.loads(json.dumps(record.to_dict(), allow_nan=False))
        before = len(told["moves"])
        assert {**line, "moves": line["moves"][:before]} == {**told, "discarded": line["discarded"]}
        assert all(move["at"] == "commit" for move in line["moves"][before:])

        attended = replay.step(line)
        last = "first_pass" if "first_pass" in attended else "begin"
        assert {key: window[key] for key in attended} == attended, "what a backend had when each pass began"
        assert line["attended"] == attended[last] == window[list(window)[-1]]
        assert line.get("first_pass", line)["attended"] == attended["begin"]
        assert line["retrieved"] == list(plan.retrieved)
        assert (line["step"], line["frames"]) == (step, own)
        for told in (line, line.get("first_pass", line)):
            assert told["positions"] == [starts[chunk] for chunk in (*told["attended"], step)]
        assert replay.places == {
            "window": backend.window,
            "staging": backend.staging,
            "host": backend.host,
            "disk": backend.disk,
            "spare": backend.spare,
        }
        table = engine.table.columns
        for chunk in range(len(engine.table)):
            home = Tier(int(table["tier"][chunk]))
            assert (home is Tier.HOST, home is Tier.DISK, home is Tier.SPARE) == (
                chunk in replay.places["host"],
                chunk in replay.places["disk"],
                chunk in replay.places["spare"],
            )
            if home is not Tier.NONE:
                assert replay.counts[chunk] == table["tokens"][chunk]
            if home is Tier.DEVICE:
                assert replay.places["window"][chunk] == table["window_bytes"][chunk]
        assert line["discarded"] == list(record.discarded)
        lines.append(line)
    return lines


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    frames=st.lists(st.integers(1, 3), min_size=1, max_size=30),
    where=limits,
    staging=st.integers(0, 3),
)
def test_a_dictionary_of_places_follows_from_the_moves_alone(
    seed: int, frames: list[int], where: TierLimits, staging: int
) -> None:
    config = CacheConfig(limits=where, staging_chunks=staging)
    for policy in (RandomAnswers(seed), Late(seed)):
        walk(blind_engine(policy, config), frames)


def test_every_kind_of_move_is_told() -> None:
    where = TierLimits(2 * CHUNK, 3 * CHUNK, "forget-oldest")
    seen: set[tuple[str, str]] = set()
    for policy in (RandomAnswers(7), Late(7)):
        lines = walk(blind_engine(policy, CacheConfig(limits=where, staging_chunks=3)), [3] * 60)
        seen |= {(move["op"], move["at"]) for line in lines for move in line["moves"]}
    assert {op for op, _ in seen} == set("commit drop shrink fetch prefetch land unstage store spill forget".split())
    assert {at for op, at in seen if op == "fetch"} == {"begin", "first_pass"}
    assert {at for op, at in seen if op == "shrink"} >= {"begin", "commit"}


def test_a_lost_chunk_is_forgotten_before_the_rest_of_the_plan() -> None:
    policy = Scripted({4: Eviction(bank=(0, 1, 2))}, {5: Retrieval((2, 0, 1))})
    backend = Failing()
    engine = CacheEngine(policy, TINY, backend, CacheConfig(when_lost="go-on"), BLIND)
    walk(engine, [3] * 5)
    backend.failures = {chunk: LostChunkError(chunk, "its file is gone") for chunk in (2, 0)}
    line = engine.begin(HERE).to_dict()
    told = [(move["op"], move["chunk"]) for move in line["moves"]]
    assert told[:2] == [("forget", 2), ("forget", 0)], "as they turned out lost"
    assert told[2:] == [("fetch", 1)] and line["retrieved"] == [1]


def test_a_step_taken_back_is_in_no_later_plan() -> None:
    config = CacheConfig(rewind_chunks=4)
    engine, other = blind_engine(RandomAnswers(5), config), blind_engine(RandomAnswers(5), config)
    lines = walk(engine, [3] * 12)
    engine.rewind(3)
    engine.begin(HERE)
    engine.rewind(0)
    again = []
    for _ in range(3):
        engine.begin(HERE)
        again.append(json.loads(json.dumps(engine.commit().to_dict())))
    assert again == lines[9:] == walk(other, [3] * 12)[9:]


def test_kept_tokens_are_told_where_the_chunk_is_cut_and_only_there() -> None:
    by_layer = np.array([[0, 3], [1, 2]])
    keep = Keep(2, (2.0, 0.0, 0.0), by_layer, 64, "int8")
    told = move_document(Store(4, keep, Tier.DISK, 64), "commit")
    assert told == {
        "op": "store",
        "at": "commit",
        "chunk": 4,
        "from": "window",
        "to": "disk",
        "bytes": 64,
        "tokens": 2,
        "frame_tokens": [2.0, 0.0, 0.0],
        "kept": [[0, 3], [1, 2]],
        "stored_as": "int8",
    }
    assert move_document(Shrink(4, keep, 10), "commit")["kept"] == [[0, 3], [1, 2]]
    assert "kept" not in move_document(Shrink(4, keep, 10), "begin"), "the cut to what was stored a step before"
    assert "kept" not in move_document(Shrink(4, Keep.counted((8, 8, 8)), 10), "commit"), "the simulator has no keys"
    tokens = ((np.array([0, 5]), np.array([1])), (np.array([], np.int64), np.array([2, 3, 4])))
    ragged = RaggedKeep(np.array([[2, 1], [0, 3]]), (1.0, 0.5, 0.0), tokens)
    told = move_document(Shrink(4, ragged, 10), "commit")
    assert told["kept"] == [[[0, 5], [1]], [[], [2, 3, 4]]] and told["tokens"] == 2
    json.dumps(told)
