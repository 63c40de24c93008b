"""`pin`, `forget` and `cut` on tensors: what the simulator says, and the same bits after a save in their midst."""

from __future__ import annotations

import functools
import os
import random
from collections import defaultdict
from pathlib import Path as FilePath
from typing import Any

import pytest
import torch

from tests.backends.late_ops import LateOps
from tests.backends.naive_cache import NaiveCache
from tests.backends.rollouts import Path, follow, generate, loop, open_cache
from tests.backends.saved_rollouts import reopened, told
from tests.backends.test_going_back import CONFIGS, POLICIES, RUNS, SMALL
from tests.core.asked_rollouts import Action, carry_out
from worldkv.backends.cache import WorldCache
from worldkv.chunks import Tier
from worldkv.engine.engine import CacheEngine
from worldkv.errors import BudgetError, PolicyError
from worldkv.parts import Rebased
from worldkv.policies import WorldKV
from worldkv.sim.backend import SimBackend
from worldkv.sim.recorder import needs_model

STEPS = 20


@functools.cache
def path() -> Path:
    return loop(SMALL, chunks=STEPS)


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def asked_at(name: str) -> dict[int, list[Action]]:
    """What is asked for before each step, the same for the same policy."""
    draw, script, pinned = random.Random(name), defaultdict[int, list[Action]](list), list[int]()
    for step in range(3, STEPS):
        kind = draw.choices(["pin", "unpin", "forget", "cut", None], (3, 2, 2, 1, 8))[0]
        if kind == "pin" and len(pinned) < 2:
            pinned.append(draw.choice([step - 1, step - 2, draw.randrange(step)]))
            script[step].append(Action("pin", pinned[-1]))
        elif kind == "unpin" and pinned:
            script[step].append(Action("unpin", pinned.pop(0)))
        elif kind == "forget":
            script[step].append(Action("forget", draw.randrange(step)))
        elif kind == "cut":
            script[step].append(Action("cut", draw.choice([None, None, 0])))
    return script


def ask(engine: CacheEngine, actions: list[Action]) -> None:
    """Do what can be done; what is gone by then, or pinned, is refused and nothing has changed."""
    for action in actions:
        try:
            carry_out(engine, action)
        except PolicyError:
            continue


def rolled(cache: WorldCache, script: dict[int, list[Action]], first: int, last: int) -> list[tuple[Any, ...]]:
    steps = []
    for step in range(first, last):
        ask(cache.engine, script[step])
        out, record = generate(cache, path(), step)
        tiers = cache.engine.table.columns["tier"][: len(cache.engine.table)].tolist()
        steps.append((out, document(record), record.traffic, tiers))
    return steps


def document(record: Any) -> dict[str, Any]:
    """A record as plan files tell it, without which tokens are kept, and of which frames: only tensors know."""
    found: dict[str, Any] = record.to_dict()
    for move in found["moves"]:
        move.pop("kept", None)
        move.pop("frame_tokens", None)
    return found


@pytest.mark.parametrize(("name", "config"), dict(RUNS).items())
def test_tensors_do_what_the_simulator_says_and_go_on_after_a_save(name: str, config: str, tmp_path: FilePath) -> None:
    script, room = asked_at(name), CONFIGS["disk" if config == "forgets" else config]
    stop = random.Random(f"stop {name}").randrange(6, STEPS - 2)
    with open_cache(POLICIES[name], SMALL, path(), LateOps(), config=room) as cache:
        expected, end, scene = rolled(cache, script, 0, STEPS), told(cache), cache.engine.scene
    cache = open_cache(POLICIES[name], SMALL, path(), LateOps(), config=room)
    found = rolled(cache, script, 0, stop)
    ask(cache.engine, script[stop])  # saved with what was asked for and no record has told yet
    cache = reopened(cache, tmp_path, LateOps())
    found += rolled(cache, script | {stop: []}, stop, STEPS)
    for (out, *record), (wanted, *of_step) in zip(found, expected, strict=True):
        assert torch.equal(out, wanted) and record == of_step
    assert told(cache) == end
    cache.close()
    if needs_model(POLICIES[name]) or POLICIES[name].asked_at == "first_pass":
        return
    engine = CacheEngine(POLICIES[name], SMALL, SimBackend(), room, scene)
    for step, (_, *of_tensors) in enumerate(expected):
        ask(engine, script[step])
        engine.begin(path().views[step])
        simulated = engine.commit()
        tiers = engine.table.columns["tier"][: len(engine.table)].tolist()
        assert [document(simulated), simulated.traffic, tiers] == of_tensors


def test_what_is_attended_is_plain_attention_over_pins_and_the_scene() -> None:
    """The naive cache concatenates what the plan names; that the plan names it is the account's business."""
    policy, naive = WorldKV(3, 6, 3, 0.5, positions=Rebased()), NaiveCache(SMALL)
    with open_cache(policy, SMALL, path(), config=CONFIGS["disk"]) as cache:
        for step in range(STEPS):
            if step == 7:
                cache.pin(2)
                assert cache.pinned == (2,)
            if step == 10:
                ids = cache.engine.state.window_ids.tolist()
                assert cache.cut() == 1
                naive_keeps(naive, cache, ids)
            if step == 16:
                ids = cache.engine.state.window_ids.tolist()
                assert cache.cut(0) == 0
                naive_keeps(naive, cache, ids)
            out, record = generate(cache, path(), step)
            if step in (10, 16):
                assert set(record.plan.attended.tolist()) <= {2} | (set(range(10)) if step == 16 else set())
            late = len(record.evicted) - sum(move.__class__.__name__ == "Store" for move in record.moves)
            record = record._replace(evicted=record.evicted[late:], kept_tokens=record.kept_tokens[late:])
            follow(naive, policy, cache.dtype, record, out)


def naive_keeps(naive: NaiveCache, cache: WorldCache, banked: list[int]) -> None:
    """The naive cache is told of the chunks that a cut banked."""
    for chunk in banked:
        if cache.engine.table.columns["tier"][chunk] != Tier.DEVICE:
            naive.keep(chunk, naive.least_like_anchor(chunk, 0.5, False))


def test_the_cache_hands_on_what_is_asked_for() -> None:
    cache = open_cache(WorldKV(3, 3, 3, 1.0), SMALL, path())
    for step in range(6):
        generate(cache, path(), step)
    cache.pin(3)
    cache.unpin(3)
    cache.forget(3)
    assert 3 in generate(cache, path(), 6)[1].discarded
    with pytest.raises(PolicyError, match="chunk 3 is gone"):
        cache.pin(3)
    cache.begin(path().views[7])
    with pytest.raises(PolicyError, match="cut between steps only"):
        cache.cut()
    cache.close()
    for call in (lambda: cache.pin(0), lambda: cache.forget(0), cache.cut):
        with pytest.raises(PolicyError, match="closed"):
            call()


def test_a_bank_too_small_for_the_window_refuses_a_cut_and_a_snapshot_brings_it_back() -> None:
    from worldkv.config import CacheConfig
    from worldkv.tiers import TierLimits

    room = CacheConfig(limits=TierLimits(SMALL.chunk_bytes, 0))
    policy = POLICIES["full-kv"]
    with open_cache(policy, SMALL, path(), config=room) as cache:
        for step in range(4):
            generate(cache, path(), step)
        before = cache.snapshot()
        with pytest.raises(BudgetError, match="the bank is full"):
            cache.cut()
        with pytest.raises(PolicyError, match="failed half way"):
            cache.begin(path().views[4])
        cache.restore(before)
        expected = generate(cache, path(), 4)[0]
    with open_cache(policy, SMALL, path(), config=room) as cache:
        assert torch.equal([generate(cache, path(), step)[0] for step in range(5)][-1], expected)
