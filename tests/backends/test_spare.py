"""Spare device memory: its rooms, what is copied and what is not, and what a failed copy means."""

from __future__ import annotations

import pytest
import torch

from tests.backends.late_ops import LateOps
from tests.backends.retrieval_policies import Prefetching
from tests.backends.rollouts import generate, loop, open_cache
from worldkv.backend import Prefetch
from worldkv.backends.bank.spare_memory import SpareBuffer, SpareMemory
from worldkv.backends.transfer.cpu_ops import CpuOps
from worldkv.chunks import Tier
from worldkv.config import CacheConfig
from worldkv.errors import DeviceError, TransferError
from worldkv.geometry import CacheGeometry
from worldkv.policies import RandomRetrieval, SlidingWindow, WorldKV
from worldkv.tiers import TierLimits

SMALL = CacheGeometry(2, 2, 1, 8, 2, 3, itemsize=4, rope_frames=1 << 16)
WHOLE = SMALL.chunk_bytes
CHUNK = 640  # numbers, a multiple of 256 bytes


def memory(chunks: int, ops: CpuOps | LateOps | None = None) -> SpareMemory:
    ops = ops or CpuOps()
    return SpareMemory(ops, ops, torch.float32, CHUNK, chunks * CHUNK, is_peer=False)


def test_it_takes_its_budget_and_one_chunk_and_no_more() -> None:
    spare = memory(20)
    assert spare.num_bytes == 8 * CHUNK * 4, "the first slab is there before a step needs it"
    held = [spare.take(CHUNK) for _ in range(20)]
    for _ in range(50):  # one leaves, and its copy is still under way
        held.pop(0)
        held.append(spare.take(CHUNK))
    assert spare.num_bytes == 21 * CHUNK * 4
    spans = sorted((one.tensor.data_ptr(), one.tensor.data_ptr() + one.tensor.nbytes) for one in held)
    assert all(first[1] <= second[0] for first, second in zip(spans, spans[1:], strict=False))


def test_small_rooms_use_a_slab_to_its_end() -> None:
    spare = memory(8)
    held = [spare.take(CHUNK // 2) for _ in range(16)]
    assert spare.num_bytes == 8 * CHUNK * 4
    held += [spare.take(CHUNK // 2) for _ in range(2)]
    assert spare.num_bytes == 9 * CHUNK * 4
    held.append(spare.take(CHUNK // 2))
    assert spare.num_bytes == int(9.5 * CHUNK) * 4, "more than the bank may hold gets memory of its own"


def test_a_room_that_a_copy_still_reads_is_used_last() -> None:
    ops = LateOps()
    spare = memory(1, ops)
    first = spare.take(CHUNK)
    first.tensor.fill_(1.0)
    host = ops.empty((CHUNK,), torch.float32, on_host=True)
    ops.copy_async(host, first.tensor)
    first.busy[:] = [ops.record()]
    place = first.tensor.data_ptr()
    del first
    second = spare.take(CHUNK)
    assert second.tensor.data_ptr() != place and ops.pending, "there is one room more, so nobody waits"
    third = spare.take(CHUNK)
    assert third.tensor.data_ptr() == place and not ops.pending
    third.tensor.fill_(2.0)
    assert (host == 1.0).all()


def test_a_chunk_lies_in_spare_memory_and_comes_back_without_a_copy() -> None:
    """Late copies: had the bank issued one, it would be pending, or waited for."""
    ops, path = LateOps(), loop(SMALL)
    config = CacheConfig(limits=TierLimits(spare_bytes=100 * WHOLE))
    with open_cache(RandomRetrieval(0, 9, 3), SMALL, path, ops, config=config) as cache:
        for step in range(len(path.views)):
            generate(cache, path, step)
        assert ops.issued == 0 and cache.backend.traffic().spare_to_device > 10 * WHOLE
        bank = cache.backend.bank
        assert {cache.backend.tier(chunk) for chunk in bank.stored} == {Tier.SPARE}
        assert all(isinstance(stored.buffer, SpareBuffer) for stored in bank.stored.values())
        assert bank.spare is not None and cache.allocated_bytes["spare"] == bank.spare.num_bytes
        assert bank.spare.num_bytes >= cache.engine.state.tiers.spare.held


def test_only_what_lies_on_another_device_is_prefetched() -> None:
    path = loop(SMALL)
    for spare_device in (None, "cpu"):
        limits = TierLimits(spare_bytes=100 * WHOLE, spare_device=spare_device)
        with open_cache(Prefetching(), SMALL, path, config=CacheConfig(limits=limits)) as cache:
            moves = [move for step in range(len(path.views)) for move in generate(cache, path, step)[1].plan.moves]
            assert cache.backend.traffic().host_to_device == 0
        assert any(isinstance(move, Prefetch) for move in moves) == (spare_device == "cpu")


def test_a_policy_without_a_bank_takes_no_spare_memory() -> None:
    config = CacheConfig(limits=TierLimits(spare_bytes=100 * WHOLE))
    with open_cache(SlidingWindow(), SMALL, loop(SMALL), config=config) as cache:
        assert cache.backend.bank.spare is None and cache.allocated_bytes["spare"] == 0


@pytest.mark.parametrize("when_lost", ["error", "go-on"])
@pytest.mark.parametrize("spare_device", [None, "cpu"])
def test_a_chunk_whose_copy_fails_is_named_or_given_up(spare_device: str | None, when_lost: str) -> None:
    """To the other device at once, or to the host when it has to leave."""
    ops, path = LateOps(failing={2: 2}), loop(SMALL)
    limits = TierLimits(spare_bytes=3 * WHOLE, spare_device=spare_device)
    config = CacheConfig(limits=limits, when_lost=when_lost)  # type: ignore[arg-type]
    lost: list[int] = []
    with open_cache(RandomRetrieval(0, 9, 3), SMALL, path, ops, config=config) as cache:
        if when_lost == "error":
            with pytest.raises(TransferError, match="chunk 1 could not be stored: a copy of"):
                for step in range(len(path.views)):
                    generate(cache, path, step)
            return
        for step in range(len(path.views)):
            out, record = generate(cache, path, step)
            assert torch.isfinite(out).all()
            lost += record.discarded
    assert lost == [1]


def test_a_fork_and_its_original_share_spare_memory_and_spill_on_their_own() -> None:
    path, limits = loop(SMALL), TierLimits(2 * WHOLE, spare_bytes=3 * WHOLE)
    config = CacheConfig(limits=limits)
    with open_cache(RandomRetrieval(0, 9, 3), SMALL, path, LateOps(), config=config) as cache:
        first = [generate(cache, path, step)[0] for step in range(len(path.views))]
    with open_cache(RandomRetrieval(0, 9, 3), SMALL, path, LateOps(), config=config) as cache:
        for step in range(8):
            generate(cache, path, step)
        with cache.fork() as twin:
            assert twin.backend.bank.spare is cache.backend.bank.spare
            for step in range(8, len(path.views)):  # one ahead of the other
                assert torch.equal(generate(twin, path, step)[0], first[step])
            for step in range(8, len(path.views)):
                assert torch.equal(generate(cache, path, step)[0], first[step])


def test_a_spare_device_that_is_not_there_is_refused_by_name() -> None:
    for device in ("cuda:1", "meta"):
        config = CacheConfig(limits=TierLimits(spare_bytes=WHOLE, spare_device=device))
        with pytest.raises(DeviceError, match=f"spare memory was asked for on {device} and the window is on cpu"):
            open_cache(WorldKV(), SMALL, loop(SMALL), CpuOps(), config=config)
