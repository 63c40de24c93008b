"""A world that was saved and opened goes on with the same bits as one that never stopped."""

from __future__ import annotations

import dataclasses
import functools
import os
import random
import tempfile
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.backends.late_ops import LateOps
from tests.backends.naive_cache import NaiveCache
from tests.backends.rollouts import Path, follow, generate, loop, open_cache
from tests.backends.saved_rollouts import reopened, run, told
from tests.backends.test_going_back import CONFIGS, POLICIES, RUNS, SMALL
from tests.backends.where import DEVICE
from worldkv.backends.cache import WorldCache
from worldkv.backends.measuring import ATTENTION_SIGNALS
from worldkv.chunks import Tier
from worldkv.config import CacheConfig
from worldkv.errors import BudgetError
from worldkv.geometry import CacheGeometry
from worldkv.parts import Relative, Slots
from worldkv.policies import DropOldest, WorldKV
from worldkv.policy import CachePolicy
from worldkv.scene import Scene
from worldkv.signals import Signal
from worldkv.tiers import TierLimits

STEPS = 22


@functools.cache
def path() -> Path:
    return loop(SMALL, chunks=STEPS)


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system has been given is there for every process; only a power failure asks for more."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.mark.parametrize(("name", "config"), dict(RUNS).items())
def test_a_world_goes_on_with_the_same_bits_wherever_it_was_stopped(name: str, config: str, tmp_path: FilePath) -> None:
    """Stopped twice at drawn moments, the first time early; late copies, so that one not waited for is NaN."""
    draw = random.Random(f"{name} {config}")
    stops = sorted(draw.sample(range(1, STEPS), 2))
    with open_cache(POLICIES[name], SMALL, path(), LateOps(), config=CONFIGS[config]) as cache:
        expected = run(cache, path(), 0, STEPS)
        end = told(cache)
    cache, step = open_cache(POLICIES[name], SMALL, path(), LateOps(), config=CONFIGS[config]), 0
    for stop in (*stops, STEPS):
        for (out, record), (wanted, of_step) in zip(run(cache, path(), step, stop), expected[step:stop], strict=True):
            assert torch.equal(out, wanted)
            assert record == of_step
        step = stop
        if stop < STEPS:
            cache = reopened(cache, tmp_path / "world", LateOps())
    assert told(cache) == end
    cache.close()


FORMS: dict[str, tuple[CachePolicy, CacheGeometry, dict[str, Any]]] = {
    "branches and a rider": (WorldKV(3, 6, 3, 0.5), dataclasses.replace(SMALL, branches=3), {"riders": 1}),
    "unrotated keys": (WorldKV(3, 6, 3, 0.5), SMALL, {"keys": "unrotated"}),
    "relative positions": (WorldKV(3, 6, 3, 1.0, positions=Relative()), SMALL, {"keys": "unrotated"}),
    "slots": (WorldKV(3, 6, 3, 1.0, positions=Slots()), SMALL, {}),
    "padded": (WorldKV(3, 6, 3, 0.5), SMALL, {"pad_to": SMALL.chunk_tokens * 6}),
    "causal": (WorldKV(3, 6, 3, 0.5), SMALL, {"is_causal": True}),
    "tagged": (WorldKV(3, 6, 3, 0.5), SMALL, {"is_tagged": True}),
    "half precision": (WorldKV(3, 6, 3, 0.5), dataclasses.replace(SMALL, itemsize=2), {"dtype": torch.float16}),
    "kept to the token": (DropOldest(SMALL.chunk_tokens * 3 + 5), SMALL, {}),
    "everything measured": (WorldKV(3, 6, 3, 0.5), SMALL, {"extra_signals": ATTENTION_SIGNALS}),
}


@settings(max_examples=2, deadline=None)
@given(stop=st.integers(1, STEPS - 2))
@pytest.mark.parametrize("form", FORMS)
def test_however_the_model_hands_over_its_keys(form: str, stop: int) -> None:
    policy, geometry, options = FORMS[form]
    views = loop(geometry, chunks=STEPS).views
    there = Path(path().chunked, views)
    config = CacheConfig(limits=TierLimits(int(2.6 * geometry.chunk_bytes)))
    scene = dataclasses.replace(Scene(), signals=frozenset({Signal.POSE}))
    with WorldCache(policy, geometry, scene=scene, config=config, device=DEVICE, **options) as cache:
        expected, end = run(cache, there, 0, STEPS), told(cache)
        last = cache.measured
    cache = WorldCache(policy, geometry, scene=scene, config=config, device=DEVICE, **options)
    found = run(cache, there, 0, stop)
    with tempfile.TemporaryDirectory() as folder:
        cache = reopened(cache, FilePath(folder) / "world", scene=None)
    found += run(cache, there, stop, STEPS)
    assert all(torch.equal(a, b) and told == wanted for (a, told), (b, wanted) in zip(found, expected, strict=True))
    assert told(cache) == end and str(cache.measured) == str(last)
    cache.close()


def test_a_saved_world_is_the_naive_caches_too(tmp_path: FilePath) -> None:
    """Not only the same as itself: plain attention over every chunk in a list says so, before and after."""
    policy, naive = WorldKV(3, 6, 3, 0.5), NaiveCache(SMALL)
    cache = open_cache(policy, SMALL, path(), config=CONFIGS["disk"])
    for step in range(STEPS):
        if step in (4, 11):
            cache = reopened(cache, tmp_path / "world")
        out, record = generate(cache, path(), step)
        follow(naive, policy, cache.dtype, record, out)
    cache.close()


@pytest.mark.parametrize(("saved_on", "opened_on"), [("host", "disk"), ("disk", "host"), ("host", "forgets")])
def test_chunks_are_placed_again_where_there_is_other_room(saved_on: str, opened_on: str, tmp_path: FilePath) -> None:
    """Where everything still fits, the bits are those of a cache that always had its room."""
    policy, stop, config = WorldKV(3, 6, 3, 1.0), 14, CONFIGS[opened_on]
    with open_cache(policy, SMALL, path(), config=CONFIGS["host"]) as whole:
        expected = run(whole, path(), 0, STEPS)
    cache = open_cache(policy, SMALL, path(), config=CONFIGS[saved_on])
    run(cache, path(), 0, stop)
    cache = reopened(cache, tmp_path / "world", config=config)
    engine, limits = cache.engine, config.limits
    columns, tiers = engine.table.columns, engine.state.tiers
    for tier, ledger, limit in ((Tier.HOST, tiers.host, limits.host_bytes), (Tier.DISK, tiers.disk, limits.disk_bytes)):
        held = columns["stored_bytes"][: len(engine.table)][columns["tier"][: len(engine.table)] == tier].sum()
        assert held == ledger.held and (limit is None or held <= limit)
    counts = engine.state.counts
    assert counts.produced == counts.window + counts.banked + counts.pruned + counts.discarded
    banked = [chunk for chunk in range(stop) if columns["tier"][chunk] in (Tier.HOST, Tier.DISK)]
    assert set(cache.backend.bank.stored) == set(banked)
    found = run(cache, path(), stop, STEPS)
    if opened_on == "forgets":
        assert counts.forgotten and found[0][1][0]["discarded"] and banked == list(range(banked[0], banked[-1] + 1))
    else:
        assert all(torch.equal(a, b) for (a, _), (b, _) in zip(found, expected[stop:], strict=True))
    cache.close()
    with pytest.raises(BudgetError, match="does not fit into the room"):
        none = CacheConfig(limits=TierLimits(SMALL.chunk_bytes, 0))
        WorldCache.open(tmp_path / "world", policy, SMALL, scene=cache.engine.scene, config=none)


@pytest.mark.parametrize("opened_on", ["spare", "host"])
def test_chunks_in_spare_memory_come_back_to_it(opened_on: str, tmp_path: FilePath) -> None:
    spare = CacheConfig(limits=TierLimits(int(2.6 * SMALL.chunk_bytes), spare_bytes=3 * SMALL.chunk_bytes))
    policy, stop = WorldKV(3, 6, 3, 1.0), 13
    with open_cache(policy, SMALL, path(), LateOps(), config=spare) as whole:
        expected, end = run(whole, path(), 0, STEPS), told(whole)
    cache = open_cache(policy, SMALL, path(), LateOps(), config=spare)
    run(cache, path(), 0, stop)
    cache = reopened(cache, tmp_path / "world", LateOps(), config=spare if opened_on == "spare" else CONFIGS["host"])
    tiers = set(cache.engine.table.columns["tier"][:stop].tolist())
    assert (Tier.SPARE in tiers) == (opened_on == "spare")
    found = run(cache, path(), stop, STEPS)
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(found, expected[stop:], strict=True))
    if opened_on == "spare":
        assert [record for _, record in found] == [record for _, record in expected[stop:]] and told(cache) == end
    cache.close()


def test_what_the_model_hands_over_beside_comes_back_as_it_was(tmp_path: FilePath) -> None:
    generator = torch.Generator().manual_seed(3)
    torch.rand(5, generator=generator)
    draws = np.random.default_rng(1)
    shared = torch.arange(6.0)
    extra: dict[str, Any] = {
        "latents": torch.randn(2, 3, dtype=torch.bfloat16),
        "views of one tensor": [shared[:3], shared[::2], shared.view(2, 3).T],
        "generator": generator.get_state(),
        "numpy": draws.bit_generator.state,
        "legacy": np.random.RandomState(1).get_state(),
        "floats": (0.1, float("inf"), -0.0, np.float32(1.5)),
        "text": "ü\n",
        "lists": [None, True, b"", b"bytes", {3: {}}],
        "empty": np.zeros((0, 4), np.uint16),
    }
    cache = open_cache(WorldKV(), SMALL, path())
    cache.save(tmp_path, extra=extra)
    opened = WorldCache.open(tmp_path, cache.policy, SMALL, scene=cache.engine.scene)
    assert str(opened.extra) == str(extra) and isinstance(opened.extra["floats"], tuple)
    again, fresh = torch.Generator(), np.random.default_rng(5)
    again.set_state(opened.extra["generator"])
    fresh.bit_generator.state = opened.extra["numpy"]
    assert torch.equal(torch.rand(4, generator=again), torch.rand(4, generator=generator))
    assert (fresh.random(4) == draws.random(4)).all()
    opened.close()
    cache.close()


def test_what_is_banked_already_is_not_written_again(tmp_path: FilePath) -> None:
    cache = open_cache(WorldKV(3, 6, 3, 0.5), SMALL, path(), config=CONFIGS["disk"])
    run(cache, path(), 0, 12)
    cache.save(tmp_path)
    before = {file.name: file.stat().st_mtime_ns for file in tmp_path.glob("bank-*")}
    cache.rewind(2)
    run(cache, path(), 10, 15)
    cache.save(tmp_path)
    after = {file.name: file.stat().st_mtime_ns for file in tmp_path.glob("bank-*")}
    kept = before.keys() & after.keys()
    assert all(before[name] == after[name] for name in kept)
    assert len(after) == len(cache.backend.bank.stored)
    assert sorted(int(name.split("-")[1]) for name in kept) == list(range(1, 9))  # of 10 chunks all but sink and newest
    assert len(list(tmp_path.glob("state-*"))) == 1
    cache.close()
