"""Snapshot, restore, rewind, fork and reset on tensors: the same bits as if nothing had happened."""

from __future__ import annotations

import dataclasses
import functools
import random
import tempfile
import weakref
from pathlib import Path as FilePath
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.backends.late_ops import LateOps
from tests.backends.retrieval_policies import AfterFirstPass, Prefetching
from tests.backends.rollouts import Path, generate, inputs, loop, open_cache
from tests.backends.where import DEVICE
from tests.policies.all_policies import EVERY
from worldkv.backend import Traffic
from worldkv.backends.bank import chunk_file, disk
from worldkv.backends.bank.stored_chunk import HostBuffer, HostPool
from worldkv.backends.cache import WorldCache
from worldkv.config import CacheConfig
from worldkv.engine.engine import Snapshot
from worldkv.errors import PolicyError
from worldkv.geometry import CacheGeometry
from worldkv.parts import Rebased
from worldkv.policies import DropOldest, WorldKV
from worldkv.signals import Signal
from worldkv.tiers import FILE_BYTES, TierLimits

SMALL = CacheGeometry(2, 2, 1, 8, 2, 3, itemsize=4, rope_frames=1 << 16)
CONFIGS = {
    "host": CacheConfig(rewind_chunks=3),
    "disk": CacheConfig(limits=TierLimits(int(2.6 * SMALL.chunk_bytes)), rewind_chunks=3),
    "forgets": CacheConfig(
        limits=TierLimits(int(1.2 * SMALL.chunk_bytes), 8 * SMALL.chunk_bytes, "forget-oldest"), rewind_chunks=3
    ),
}
SPARE = TierLimits(int(1.2 * SMALL.chunk_bytes), spare_bytes=int(2.6 * SMALL.chunk_bytes))
CONFIGS["spare"] = CacheConfig(limits=SPARE, rewind_chunks=3)
CONFIGS["beside"] = CacheConfig(limits=dataclasses.replace(SPARE, spare_device="cpu"), rewind_chunks=3)
CONFIGS["spare, forgets"] = CacheConfig(
    limits=dataclasses.replace(SPARE, disk_bytes=3 * SMALL.chunk_bytes, when_full="forget-oldest"), rewind_chunks=3
)
STEPS = 22
POLICIES = EVERY | {"prefetching": Prefetching(), "asked late": AfterFirstPass()}
RUNS = [
    (name, config)
    for number, name in enumerate(POLICIES)
    for config in (("disk", "forgets")[number % 2], *(("host",) if number % 3 == 0 else ()))
]
"""Every policy where the bank spills, a third of them where it does not, which is the simplest."""
RUNS += [
    (name, config)
    for name in ("prefetching", "asked late", "worldkv, hard", "composed, quantised")
    for config in ("spare", *(("beside",) if DEVICE == "cpu" else ()), "spare, forgets")
]
"""An accelerator's peer is another accelerator: tests/late_device/test_spare.py has two."""
ACTIONS = {"generate": 13, "snapshot": 2, "restore": 2, "rewind": 2, "fork": 1}
"""What is done to a rollout, and how often it is drawn among twenty."""


@functools.cache
def path() -> Path:
    return loop(SMALL, chunks=STEPS)


@functools.cache
def undisturbed(name: str, config: str) -> list[tuple[Tensor, Traffic]]:
    """A rollout that never stopped."""
    with open_cache(POLICIES[name], SMALL, path(), config=CONFIGS[config]) as cache:
        steps = [generate(cache, path(), step) for step in range(STEPS)]
    return [(out, record.traffic) for out, record in steps]


def window_of(cache: WorldCache) -> dict[int, list[Tensor]]:
    """The stored tokens of every chunk in the window, in their order."""
    arena = cache.backend.arena
    return {chunk: [arena.read(chunk, plane).clone() for plane in (0, 1)] for chunk in arena.chunks()}


@pytest.mark.parametrize(("name", "config"), RUNS)
def test_whatever_is_taken_back_the_steps_are_the_same(name: str, config: str) -> None:
    """Late copies, so that something taken back while it is on its way shows as NaN."""
    draw = random.Random(f"{name} {config}")
    actions = draw.choices(list(ACTIONS), list(ACTIONS.values()), k=70)
    actions[5], actions[9] = "snapshot", "fork"
    kept: list[tuple[int, Snapshot]] = []
    step, twins, snapshots = 0, 0, 0
    with open_cache(POLICIES[name], SMALL, path(), LateOps(), config=CONFIGS[config]) as cache:
        for action in actions:
            if step == STEPS and action != "snapshot":  # the path is over
                action = "restore"
            kept = [(at, snapshot) for at, snapshot in kept if snapshot.given_up is None]
            if action == "restore" and not kept:
                action = "rewind" if step < STEPS else "reset"
            match action:
                case "generate":
                    out, record = generate(cache, path(), step)
                    expected, traffic = undisturbed(name, config)[step]
                    assert torch.equal(out, expected)
                    assert record.traffic == traffic
                    step += 1
                case "snapshot":
                    kept.append((step, cache.snapshot()))
                    snapshots += 1
                case "restore":
                    step, snapshot = draw.choice(kept)  # any of them, in any order, as often as it comes
                    cache.restore(snapshot)
                case "rewind":
                    is_open = draw.random() < 0.5
                    if is_open:  # a step that is abandoned after its first layer
                        cache.begin(path().views[step])
                        cache.attend(0, *inputs(SMALL, cache.dtype, 999, 0, 0))
                    back = draw.randint(0, min(3, max(0, len(cache.engine._history) - is_open)))
                    cache.rewind(back)
                    step -= back
                case "reset":
                    cache.reset()
                    step = 0
                case "fork":
                    twin = cache.fork()
                    out, record = generate(twin, path(), step)
                    assert torch.equal(out, undisturbed(name, config)[step][0])
                    twins += 1
    assert snapshots and twins


@settings(max_examples=15)
@given(before=st.integers(1, 12), between=st.integers(1, 8), data=st.data())
def test_a_snapshot_holds_the_window_bit_for_bit(before: int, between: int, data: st.DataObject) -> None:
    policy = data.draw(st.sampled_from([WorldKV(positions=Rebased()), WorldKV(3, 6, 3, 0.5), DropOldest(18 * 4 + 5)]))
    with open_cache(policy, SMALL, path(), config=CacheConfig()) as cache:
        for step in range(before):
            generate(cache, path(), step)
        was, snapshot = window_of(cache), cache.snapshot()
        for step in range(before, before + between):
            generate(cache, path(), step)
        cache.restore(snapshot)
        now = window_of(cache)
        assert list(now) == list(was)
        assert all(torch.equal(a, b) for chunk in was for a, b in zip(was[chunk], now[chunk], strict=True))


def test_a_twin_and_its_parent_do_not_touch_each_other() -> None:
    policy = EVERY["worldkv"]
    with open_cache(policy, SMALL, path(), config=CONFIGS["disk"]) as cache:
        for step in range(8):
            generate(cache, path(), step)
        snapshot, twin = cache.snapshot(), cache.fork()
        for step in (15, 16, 17):
            generate(twin, path(), step)
        twin.restore(snapshot)  # of the parent, which still holds all of it and nobody else does
        assert torch.equal(generate(twin, path(), 8)[0], undisturbed("worldkv", "disk")[8][0])
        twin.restore(snapshot)
        for step in (15, 16, 17):  # the twin walks elsewhere
            generate(twin, path(), step)
        for step in range(8, STEPS):
            assert torch.equal(generate(cache, path(), step)[0], undisturbed("worldkv", "disk")[step][0])
        twin.restore(snapshot)  # of the parent, whose window has long gone on
        for step in range(8, STEPS):
            assert torch.equal(generate(twin, path(), step)[0], undisturbed("worldkv", "disk")[step][0])


def test_after_a_reset_it_is_as_new() -> None:
    with open_cache(EVERY["worldkv"], SMALL, path(), LateOps(), config=CONFIGS["disk"]) as cache:
        for step in range(13):
            generate(cache, path(), step)
        cache.begin(path().views[13])
        cache.reset()
        assert cache.backend.arena.chunks() == [] and not cache.backend.bank.stored
        for step in range(STEPS):
            assert torch.equal(generate(cache, path(), step)[0], undisturbed("worldkv", "disk")[step][0])


def test_a_growing_window_and_a_fixed_one_hold_the_same() -> None:
    policy, whole = WorldKV(3, 12, 6, 1.0), 8 * SMALL.chunk_tokens
    growing, fixed = (open_cache(policy, SMALL, path(), capacity_tokens=capacity) for capacity in (None, whole))
    states = []
    for step in range(STEPS):
        a, b = generate(growing, path(), step)[0], generate(fixed, path(), step)[0]
        assert torch.equal(a, b)
        states.append((step, a, growing.snapshot()))  # from before and after the window grew
    for step, _, snapshot in states[::-3]:
        if step + 1 < STEPS:
            growing.restore(snapshot)
            assert torch.equal(generate(growing, path(), step + 1)[0], states[step + 1][1])


def test_attention_received_is_taken_back_too() -> None:
    measured = frozenset({Signal.ATTENTION_MASS})
    straight, back = (
        open_cache(EVERY["sliding-window"], SMALL, path(), config=CONFIGS["host"], extra_signals=measured)
        for _ in range(2)
    )
    for step in range(9):
        generate(straight, path(), step)
        generate(back, path(), step)
        if step % 3 == 2:
            back.rewind(2)
            generate(back, path(), step - 1)
            generate(back, path(), step)
    for chunk in straight.backend.arena.chunks():
        once, again = (cache.backend.arena.read_mass(chunk) for cache in (straight, back))
        assert once is not None and again is not None and torch.equal(once, again)


def test_going_back_while_chunks_are_written_keeps_none_of_them_in_memory() -> None:
    config = CONFIGS["disk"]
    with open_cache(EVERY["worldkv"], SMALL, path(), config=config) as cache:
        for step in range(STEPS):
            generate(cache, path(), step)
            if step % 2:
                cache.rewind(1)
                generate(cache, path(), step)
        cache.backend.drain()
        stored = cache.backend.bank.stored.values()
        on_host = sum(stored.elements * 4 for stored in stored if stored.host is not None)
        assert on_host <= (config.limits.host_bytes or 0) < sum(stored.elements * 4 for stored in stored)


WAYS = ("generate", "rewind", "snapshot", "restore")
DRAWN = st.tuples(st.sampled_from((*WAYS, *["generate"] * 6)), st.integers(0, 99))


def most_on_disk(limits: TierLimits, rewind_chunks: int, actions: list[tuple[str, int]]) -> dict[str, int]:
    """Do what `actions` say, hold every buffer and every file against the limits; how often it went to the limit.

    Every buffer lent by the pool is counted between steps, every byte in the folder whenever a file is written.
    """
    lent: list[weakref.ref[HostBuffer]] = []
    told = {"taken back": 0, "given up": 0, "most on disk": 0}
    take, write = HostPool.take, chunk_file.write_file
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = FilePath(name)

        def taken(pool: HostPool, elements: int, *, host_writes: bool = False) -> HostBuffer:
            buffer = take(pool, elements, host_writes=host_writes)
            lent.append(weakref.ref(buffer))
            return buffer

        def written(path: FilePath, chunk: int, data: Any) -> int:
            crc32 = write(path, chunk, data)
            held = sum(file.stat().st_size for file in folder.iterdir())
            told["most on disk"] = max(told["most on disk"], held)
            return crc32

        patch.setattr(HostPool, "take", taken)
        patch.setattr(disk, "write_file", written)
        config = CacheConfig(limits=limits, rewind_chunks=rewind_chunks)
        kept: list[tuple[int, Snapshot]] = []
        step = 0
        with open_cache(WorldKV(3, 6, 3, 1.0), SMALL, path(), config=config) as cache:
            cache.backend.bank._folder = folder
            outputs: dict[int, Tensor] = {}
            for action, number in actions:
                if action == "rewind":
                    back = number % (cache.engine.rewindable_chunks + 1)
                    cache.rewind(back)
                    step, told["taken back"] = step - back, told["taken back"] + back
                elif action == "snapshot":
                    kept.append((step, cache.snapshot()))
                elif action == "restore" and kept:
                    at, snapshot = kept[number % len(kept)]
                    if snapshot.given_up is None:
                        cache.restore(snapshot)
                        step = at
                    else:
                        told["given up"] += 1
                        with pytest.raises(
                            PolicyError, match=r"no room beside it within (disk|host)_bytes = \d+; give"
                        ):
                            cache.restore(snapshot)
                elif action == "generate" and step < STEPS:
                    out = generate(cache, path(), step)[0]
                    assert torch.equal(out, outputs.setdefault(step, out))
                    step += 1
                cache.backend.drain()
                cache.backend.bank._worker().submit(int).result()  # the thread has let go of what it wrote
                held = sum(buffer.tensor.nbytes for buffer in (ref() for ref in lent) if buffer is not None)
                tiers, beside = cache.engine.state.tiers, cache.engine.remembered()
                assert held == tiers.host.held + beside.host <= (limits.host_bytes or 0)
                files = [file.stat().st_size for file in folder.iterdir()]
                assert sum(files) == tiers.disk.held + FILE_BYTES * (len(files) - beside.files) + beside.disk
                assert told["most on disk"] <= (limits.disk_bytes or 0)
    return told


@settings(max_examples=20)
@given(
    rewind_chunks=st.integers(0, 4),
    host_chunks=st.integers(0, 4),
    disk_chunks=st.integers(1, 9),
    actions=st.lists(DRAWN, min_size=20, max_size=60),
)
def test_no_file_and_no_buffer_ever_goes_over_a_limit(
    rewind_chunks: int, host_chunks: int, disk_chunks: int, actions: list[tuple[str, int]]
) -> None:
    whole = SMALL.chunk_bytes
    most_on_disk(
        TierLimits(host_chunks * whole, disk_chunks * (whole + FILE_BYTES), "forget-oldest"), rewind_chunks, actions
    )


@pytest.mark.parametrize(("rewind_chunks", "disk_chunks", "snapshots"), [(0, 3, 1), (2, 9, 0), (3, 4, 1)])
def test_the_limits_are_gone_up_to_and_what_has_no_room_is_refused(
    rewind_chunks: int, disk_chunks: int, snapshots: int
) -> None:
    draw = random.Random(rewind_chunks)
    ways = draw.choices(WAYS, [8, 2, snapshots, snapshots], k=60)
    limits = TierLimits(3 * SMALL.chunk_bytes, disk_chunks * (SMALL.chunk_bytes + FILE_BYTES), "forget-oldest")
    told = most_on_disk(limits, rewind_chunks, [(way, draw.randrange(99)) for way in ways])
    assert told["most on disk"] > 0.7 * (limits.disk_bytes or 0)
    assert (told["taken back"] > 0) == (rewind_chunks > 0)
    assert (told["given up"] > 0) == (snapshots > 0)


def test_no_file_is_left_of_what_could_have_been_taken_back(tmp_path: FilePath) -> None:
    """A chunk's file goes with the last that holds it: those that only `rewind` held go with `close`."""
    with open_cache(WorldKV(3, 6, 3, 1.0), SMALL, path(), config=CONFIGS["forgets"]) as cache:
        cache.backend.bank._folder = tmp_path
        for step in range(STEPS):
            generate(cache, path(), step)
        cache.backend.drain()
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())
