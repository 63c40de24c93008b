"""Pinned memory comes from slabs that are there before a step needs them, no larger than they have to be."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.backends.rollouts import generate, loop, open_cache
from tests.policies.all_policies import EVERY
from worldkv.backends.bank.pinned_slabs import (
    BESIDE_CHUNKS,
    MOST_BUDGET_SLABS,
    SLAB_CHUNKS,
    PinnedSlabs,
    pinned_bytes,
    slab_bytes,
)
from worldkv.backends.bank.slab import ALIGNED_BYTES
from worldkv.backends.cache import WorldCache
from worldkv.backends.transfer.cpu_ops import CpuOps
from worldkv.backends.transfer.device_ops import Event
from worldkv.config import CacheConfig
from worldkv.errors import DeviceError
from worldkv.parts import QuantisedBank, WorldCompression
from worldkv.policies import Composed, SlidingWindow, WorldKV
from worldkv.specs.parse import parse_geometry
from worldkv.tiers import TierLimits

SMALL = parse_geometry("tiny:heads=2,kv_heads=1,frame_rows=2,frame_columns=3,head_dim=8")


class PinningOps(CpuOps):
    """Says that its host memory is pinned, and notes who allocates how much of it; refuses beyond `most`."""

    pins_host = True

    def __init__(self, most: int = 1 << 40) -> None:
        super().__init__()
        self.pinned: list[tuple[str, int]] = []
        self._most = most

    def empty(self, shape: Sequence[int], dtype: torch.dtype, *, on_host: bool = False) -> torch.Tensor:
        room = super().empty(shape, dtype)
        if on_host:
            if room.nbytes + sum(size for _, size in self.pinned) > self._most:
                raise DeviceError("there is no room")
            self.pinned.append((threading.current_thread().name, room.nbytes))
        return room


@given(st.floats(0, 40), st.integers(1000, 1 << 30))
def test_a_budget_fits_in_rooms_of_any_one_length(chunks: float, chunk_bytes: int) -> None:
    host_bytes = int(chunks * chunk_bytes)
    sizes = slab_bytes(chunk_bytes, host_bytes)
    assert all(size & (size - 1) == 0 for size in sizes)
    wanted = host_bytes + BESIDE_CHUNKS * chunk_bytes
    for room in {chunk_bytes, max(1, chunk_bytes // 2), max(1, 2 * chunk_bytes // 5), chunk_bytes // 2 + 1}:
        assert sum(size // room * room for size in sizes) >= wanted
    # By brute force: no other set of so many powers of two loses less.
    powers = [1 << at for at in range(max(0, chunk_bytes.bit_length() - 1), (wanted + chunk_bytes).bit_length() + 1)]
    usable = [power for power in powers if power > chunk_bytes]
    several = itertools.chain.from_iterable(
        itertools.combinations_with_replacement(usable, count) for count in range(1, MOST_BUDGET_SLABS + 1)
    )
    assert sum(sizes) == min(sum(some) for some in several if sum(some) - len(some) * chunk_bytes >= wanted)


def test_sizes_of_published_models() -> None:
    gib = 1 << 30
    lingbot = 3_834_396_672  # 40 layers, 2 x 4,680 tokens, 40 heads of 128 channels, bfloat16
    assert slab_bytes(lingbot, None) == [8 * gib]
    assert slab_bytes(lingbot, 48 * gib) == [64 * gib]
    assert slab_bytes(lingbot, 64 * gib) == [64 * gib, 16 * gib, 8 * gib]


@given(st.data())
def test_rooms_are_their_takers_and_say_what_may_still_use_them(data: st.DataObject) -> None:
    slabs = PinnedSlabs(PinningOps(), torch.float32, 4 * ALIGNED_BYTES, data.draw(st.sampled_from([None, 0, 9999])))
    rooms: dict[int, torch.Tensor] = {}
    last: dict[int, Event] = {}  # by address, the last event of a room that was given back there
    for number in range(1, data.draw(st.integers(2, 40))):
        if len(rooms) > 0 and data.draw(st.booleans()):
            held = data.draw(st.sampled_from(sorted(rooms)))
            room = rooms.pop(held)
            slabs.give(room, [held])
            last |= {room.data_ptr() + at: held for at in range(0, room.nbytes, 4)}
        else:
            room, busy = slabs.take(data.draw(st.integers(1, 4 * ALIGNED_BYTES)))
            here = {last[room.data_ptr() + at] for at in range(0, room.nbytes, 4) if room.data_ptr() + at in last}
            assert here <= set(busy)
            last = {at: event for at, event in last.items() if not 0 <= at - room.data_ptr() < room.nbytes}
            rooms[number] = room.fill_(number)
        assert all((room == held).all() for held, room in rooms.items())


def rollout(ops: PinningOps, config: CacheConfig, keep_ratio: float = 0.5) -> WorldCache:
    path = loop(SMALL, chunks=40)
    with open_cache(WorldKV(3, 6, 3, keep_ratio), SMALL, path, ops, config=config) as cache:
        cache.backend.ops.synchronize()
        at_start = len(ops.pinned)
        for step in range(len(path.views)):
            generate(cache, path, step)
        ops.pinned[:at_start] = [("before", size) for _, size in ops.pinned[:at_start]]
    return cache


@pytest.mark.parametrize("keep_ratio", [0.4, 1.0])
def test_a_host_budget_is_pinned_before_the_first_step(keep_ratio: float) -> None:
    ops, budget = PinningOps(), 5 * SMALL.chunk_bytes
    cache = rollout(ops, CacheConfig(limits=TierLimits(budget, None)), keep_ratio)
    assert {who for who, _ in ops.pinned} == {"before"}
    assert [size for _, size in ops.pinned] == slab_bytes(SMALL.chunk_bytes, budget)
    assert cache.backend.bank.pool.slabs is not None
    assert cache.backend.bank.pool.slabs.num_bytes == sum(size for _, size in ops.pinned)


def test_without_a_budget_slabs_are_pinned_ahead_by_a_thread() -> None:
    ops = PinningOps()
    cache = rollout(ops, CacheConfig())
    stored = cache.backend.traffic().device_to_host
    assert [who for who, _ in ops.pinned] == ["before"] + ["worldkv-pinning"] * (len(ops.pinned) - 1)
    slab = slab_bytes(SMALL.chunk_bytes, None)[0]
    assert slab <= SLAB_CHUNKS * SMALL.chunk_bytes
    assert {size for _, size in ops.pinned} == {slab}
    assert 5 * slab < stored <= len(ops.pinned) * slab <= 1.2 * stored + 2 * slab


def test_nothing_is_pinned_where_nothing_is_banked_or_memory_is_not_pinned() -> None:
    ops, path = PinningOps(), loop(SMALL)
    with open_cache(SlidingWindow(3, 6), SMALL, path, ops) as cache:
        generate(cache, path, 0)
        assert cache.backend.bank.pool.slabs is None
    assert ops.pinned == []
    with open_cache(WorldKV(3, 6, 3, 0.5), SMALL, path, CpuOps()) as cache:
        assert cache.backend.bank.pool.slabs is None


def test_a_thread_that_finds_no_memory_is_no_error_until_there_is_no_room() -> None:
    elements = ALIGNED_BYTES // 4
    slabs = PinnedSlabs(PinningOps(most=4 * ALIGNED_BYTES), torch.float32, elements, None)
    held = [slabs.take(elements)[0] for _ in range(4)]
    with pytest.raises(DeviceError, match="no room"):
        slabs.take(elements)
    slabs.give(held.pop(), [])
    assert slabs.take(elements)[0].shape == (elements,)


@pytest.mark.parametrize("host_chunks", [None, 5])
def test_what_is_said_to_be_pinned_is(host_chunks: int | None) -> None:
    """The room check before a rollout, what the cache says after it, and what was allocated."""
    ops, budget = PinningOps(), None if host_chunks is None else host_chunks * SMALL.chunk_bytes
    cache = rollout(ops, CacheConfig(limits=TierLimits(budget)))
    slabs = cache.backend.bank.pool.slabs
    assert slabs is not None
    slabs.finish_growing()
    banked, pinned = cache.backend.traffic().device_to_host, sum(size for _, size in ops.pinned)
    assert cache.allocated_bytes["pinned"] == pinned
    foreseen = pinned_bytes(banked, SMALL.chunk_bytes, budget)
    assert pinned <= foreseen <= (pinned if budget else 1.25 * pinned)


@pytest.mark.parametrize("quantises", [False, True])
def test_what_is_allocated_beside_the_window_is_told(quantises: bool) -> None:
    path, policy = loop(SMALL), Composed(compression=QuantisedBank(WorldCompression(0.5), "int8"))
    with open_cache(policy if quantises else EVERY["h2o"], SMALL, path, config=CacheConfig(rewind_chunks=2)) as cache:
        for step in range(8):
            generate(cache, path, step)
        told, arena, whole = cache.allocated_bytes, cache.backend.arena, SMALL.chunk_bytes
        assert told["packing"] == (whole if quantises else 0)
        per_token = SMALL.layers * SMALL.kv_heads * 4
        assert told["mass"] == (0 if quantises else arena.capacity * per_token)
        # Two states, of which each holds at least the chunk that was written since and no more than the window.
        assert whole <= told["pages"] <= 2 * (told["window"] + told["mass"])
        cache.reset()
        assert cache.allocated_bytes["pages"] == 0
