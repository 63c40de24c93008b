"""Staging memory: no chunk's room is written while it is in use."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.backends.retrieval_policies import UnequalSizes
from worldkv.backends.transfer.cpu_ops import CpuOps
from worldkv.backends.transfer.staging import Staging
from worldkv.config import CacheConfig
from worldkv.geometry import PRESETS
from worldkv.parity.run import run_both
from worldkv.tiers import TierLimits
from worldkv.trajectory import cut, load_trajectory

OPS = CpuOps()
CHUNK = 12


@given(st.data())
def test_waiting_chunks_keep_their_content_however_the_room_is_cut(data: st.DataObject) -> None:
    """Sizes come and go until the free room is in pieces; whatever fits in all fits."""
    staging, held, number = Staging(OPS, torch.float32, CHUNK, 2), dict[int, int](), 0
    for _ in range(data.draw(st.integers(1, 30))):
        room = 2 * CHUNK - sum(held.values())
        if held and (room == 0 or data.draw(st.booleans())):
            chunk = data.draw(st.sampled_from(sorted(held)))
            del staging.prefetched[chunk]
            del held[chunk]
        else:
            number += 1
            held[number] = data.draw(st.integers(1, min(room, CHUNK)))
            staging.add(number, held[number]).room.fill_(number)
        assert sorted(staging.prefetched) == sorted(held)
        for chunk, elements in held.items():
            assert staging.prefetched[chunk].room.tolist() == [float(chunk)] * elements


@given(st.lists(st.integers(1, CHUNK), min_size=1, max_size=30))
def test_a_chunk_in_transit_is_released_before_its_room_is_lent_again(sizes: list[int]) -> None:
    staging, used, released = Staging(OPS, torch.float32, CHUNK, 0), dict[int, torch.Tensor](), list[int]()

    def release(number: int) -> None:
        assert used.pop(number).tolist() == [float(number)] * sizes[number], "written while in use"
        released.append(number)

    for number, elements in enumerate(sizes):
        room = staging.pass_through(elements, lambda number=number: release(number))  # type: ignore[misc]
        used[number] = room.fill_(number)
    staging.drain()
    assert released == list(range(len(sizes))), "in the order of use"
    assert not used


@pytest.mark.parametrize("host_chunks", [None, 0], ids=["host", "disk"])
def test_what_waits_lands_as_itself_though_it_was_moved_together(
    host_chunks: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed: list[int] = []
    compact = Staging._compact
    monkeypatch.setattr(Staging, "_compact", lambda staging: packed.append(1) or compact(staging))  # type: ignore[func-returns-value]
    path = cut(load_trajectory("generate:loop:chunks=24,laps=3"), PRESETS["tiny"])
    config = CacheConfig(limits=TierLimits(host_chunks))
    assert run_both(path, UnequalSizes(), PRESETS["tiny"], config=config).difference is None
    assert packed, "nothing was moved together"
