"""What goes wrong with disks and copies, end to end: named before anything is attended, and nothing else is lost."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path as FilePath

import pytest
import torch

from tests.backends.late_ops import LateOps
from tests.backends.rollouts import Path, generate, inputs_of, loop, open_cache
from worldkv.backends.bank import disk
from worldkv.backends.bank.bank import MOST_WRITING
from worldkv.backends.cache import WorldCache
from worldkv.config import CacheConfig
from worldkv.errors import LostChunkError, OutputError, PolicyError, TransferError
from worldkv.geometry import CacheGeometry
from worldkv.parts import Absolute, Rebased
from worldkv.policies import RandomRetrieval, WorldKV
from worldkv.tiers import TierLimits

SMALL = CacheGeometry(2, 2, 1, 8, 2, 3, itemsize=4, rope_frames=1 << 16)
WHOLE = WorldKV(3, 6, 3, 1.0)


def spilling(when_lost: str = "error", host_chunks: float = 1.5, rewind_chunks: int = 0) -> CacheConfig:
    limits = TierLimits(int(host_chunks * SMALL.chunk_bytes))
    return CacheConfig(limits=limits, when_lost=when_lost, rewind_chunks=rewind_chunks)  # type: ignore[arg-type]


def file_of(cache: WorldCache, chunk: int) -> FilePath:
    cache.backend.drain()
    writing = cache.backend.bank.stored[chunk].writing
    assert writing is not None
    return writing.result().path


def on_disk(cache: WorldCache) -> list[int]:
    cache.backend.drain()
    return [chunk for chunk, stored in cache.backend.bank.stored.items() if stored.host is None]


# ---------------------------------------------------------------------- what returns is what left


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("host_chunks", [100, 0], ids=["host", "disk"])
def test_what_returns_is_bit_for_bit_what_left(dtype: torch.dtype, host_chunks: int) -> None:
    geometry = CacheGeometry(2, 2, 2, 8, 2, 3, itemsize=dtype.itemsize, rope_frames=1 << 16, branches=2)
    path, left, returned = loop(geometry), {}, 0
    config = CacheConfig(limits=TierLimits(host_chunks * geometry.chunk_bytes))
    with open_cache(RandomRetrieval(0, 9, 3), geometry, path, config=config, dtype=dtype) as cache:
        arena = cache.backend.arena
        for step in range(len(path.views)):
            _, record = generate(cache, path, step)
            planes = arena.buffer[:, :, :, :, arena.groups[0].layout.places(step)]
            left[step] = planes.clone()
            for chunk in record.plan.retrieved:
                assert torch.equal(arena.buffer[:, :, :, :, arena.groups[0].layout.places(chunk)], left[chunk])
                returned += chunk in record.plan.entered
    assert returned > 10


# ---------------------------------------------------------------------- files that are no longer what was written


def remove(path: FilePath) -> None:
    path.unlink()


def truncate(path: FilePath) -> None:
    os.truncate(path, path.stat().st_size - 5)


def alter(path: FilePath) -> None:
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)


BREAKS = [remove, truncate, alter]


def until_it_comes_back(cache: WorldCache, path: Path, spoil: Callable[[FilePath], None], step: int) -> set[int]:
    """Spoil every file there is."""
    lost = set(on_disk(cache))
    for chunk in lost:
        spoil(file_of(cache, chunk))
    return lost


@pytest.mark.parametrize("spoil", BREAKS)
def test_a_lost_chunk_is_named_before_it_is_attended(spoil: Callable[[FilePath], None]) -> None:
    path = loop(SMALL)
    with open_cache(WHOLE, SMALL, path, config=spilling(rewind_chunks=1)) as cache:
        for step in range(9):
            generate(cache, path, step)
        lost = until_it_comes_back(cache, path, spoil, 9)
        attended: list[int] = []
        cache.on_attend = lambda layer, keys, values: attended.append(layer)
        with pytest.raises(LostChunkError) as caught:
            for step in range(9, len(path.views)):
                attended.clear()
                generate(cache, path, step)
        assert caught.value.chunk in lost
        assert f"chunk {caught.value.chunk} is lost" in str(caught.value)
        assert not attended
        assert cache.plan is None
        stopped = step
        with pytest.raises(LostChunkError):  # nothing is inconsistent: the same question gets the same answer
            cache.begin(path.views[stopped])


@pytest.mark.parametrize("spoil", BREAKS)
def test_a_rollout_goes_on_without_a_lost_chunk(spoil: Callable[[FilePath], None]) -> None:
    path = loop(SMALL)
    discarded: set[int] = set()
    with open_cache(WHOLE, SMALL, path, config=spilling("go-on")) as cache:
        for step in range(9):
            generate(cache, path, step)
        lost = until_it_comes_back(cache, path, spoil, 9)
        for step in range(9, len(path.views)):
            out, record = generate(cache, path, step)
            assert torch.isfinite(out).all()
            assert not set(record.plan.attended.tolist()) & (discarded | set(record.discarded))
            discarded |= set(record.discarded)
            counts = cache.engine.state.counts
            assert counts.produced == counts.window + counts.banked + counts.pruned + counts.discarded
        assert discarded and discarded <= lost
        tiers = cache.engine.state.tiers
        held = [stored.elements * 4 for stored in cache.backend.bank.stored.values() if stored.host is None]
        cache.backend.drain()
        assert tiers.disk.held + tiers.host.held == sum(p.elements * 4 for p in cache.backend.bank.stored.values())
        assert sum(held) <= tiers.disk.held


def test_without_rewinding_a_run_stops_and_can_be_restored() -> None:
    path = loop(SMALL)
    with open_cache(WHOLE, SMALL, path, config=spilling()) as cache:
        for step in range(9):
            generate(cache, path, step)
        snapshot = cache.snapshot()
        files = {file_of(cache, chunk): file_of(cache, chunk).read_bytes() for chunk in on_disk(cache)}
        for file in files:
            file.unlink()
        with pytest.raises(LostChunkError):
            for step in range(9, len(path.views)):
                generate(cache, path, step)
        with pytest.raises(PolicyError, match="restore"):
            cache.begin(path.views[step])
        for file, content in files.items():
            file.write_bytes(content)
        cache.restore(snapshot)
        for step in range(9, len(path.views)):
            generate(cache, path, step)


# ---------------------------------------------------------------------- disks that are full, copies that fail


def test_a_full_disk_is_reported_and_earlier_chunks_stay_readable(monkeypatch: pytest.MonkeyPatch) -> None:
    path, room = loop(SMALL), 4
    write = disk.DiskStore.write

    def limited(store: disk.DiskStore, chunk: int, content: torch.Tensor) -> disk.DiskChunk:
        if len(list(store.folder.glob("*.safetensors"))) >= room:
            raise OutputError(f"chunk {chunk} cannot be written ({os.strerror(errno.ENOSPC)}); make room")
        return write(store, chunk, content)

    monkeypatch.setattr(disk.DiskStore, "write", limited)
    with open_cache(RandomRetrieval(3, 3, 3), SMALL, path, config=spilling()) as cache:
        with pytest.raises(OutputError, match="cannot be written"):
            for step in range(len(path.views)):
                generate(cache, path, step)
            cache.backend.drain()
        bank = cache.backend.bank
        while True:  # whatever else was on its way fails too, and all of it is still on the host
            try:
                bank.finish_writing()
                break
            except OutputError:
                pass
        stored = [chunk for chunk, stored in bank.stored.items() if stored.host is None]
        assert len(stored) == room
        for chunk in bank.stored:
            content = bank.content(chunk).tensor
            assert torch.isfinite(content).all()


@pytest.mark.parametrize(("times", "is_noticed"), [(1, False), (2, True)])
def test_a_copy_that_fails_is_tried_once_more_then_named(times: int, is_noticed: bool) -> None:
    path = loop(SMALL)
    with open_cache(WHOLE, SMALL, path) as cache:
        undisturbed = [generate(cache, path, step)[0] for step in range(10)]
    cache = open_cache(WHOLE, SMALL, path, LateOps(failing={3: times}))
    if is_noticed:
        with pytest.raises(TransferError, match="failed twice"):
            for step in range(10):
                generate(cache, path, step)
            cache.backend.drain()
    else:
        assert all(torch.equal(generate(cache, path, step)[0], out) for step, out in enumerate(undisturbed))


def test_a_store_that_fails_is_named_and_its_chunk_never_attended() -> None:
    """The second copy stores chunk 3 or so; nobody may find NaN in the bank for it."""
    path = loop(SMALL)
    ops = LateOps(failing={2: 2})
    cache = open_cache(WHOLE, SMALL, path, ops, config=CacheConfig(rewind_chunks=2, when_lost="go-on"))
    step, named = 0, 0
    while step < len(path.views):
        try:
            out, record = generate(cache, path, step)
        except TransferError as error:
            assert "could not be stored: a copy of" in str(error)
            named += 1
            cache.rewind(0)  # the open step alone; the chunk that was not stored stays in the books
            continue
        assert torch.isfinite(out).all()
        step += 1
    assert named == 1


def test_what_a_full_disk_refused_is_still_there_after_a_restore(monkeypatch: pytest.MonkeyPatch) -> None:
    path, is_full = loop(SMALL), True
    write = disk.DiskStore.write

    def limited(store: disk.DiskStore, chunk: int, content: torch.Tensor) -> disk.DiskChunk:
        if is_full:
            raise OutputError(f"chunk {chunk} cannot be written (no space); make room")
        return write(store, chunk, content)

    monkeypatch.setattr(disk.DiskStore, "write", limited)
    with open_cache(RandomRetrieval(3, 3, 3), SMALL, path, config=spilling()) as cache:
        snapshots = []
        with pytest.raises(OutputError):
            for step in range(len(path.views)):
                snapshots.append((step, cache.snapshot()))
                generate(cache, path, step)
        is_full = False
        first, snapshot = snapshots[-1]
        cache.restore(snapshot)
        for step in range(first, len(path.views)):
            assert torch.isfinite(generate(cache, path, step)[0]).all()


def test_a_refused_rewind_leaves_the_step_open() -> None:
    path = loop(SMALL)
    with open_cache(WHOLE, SMALL, path) as cache:
        generate(cache, path, 0)
        cache.begin(path.views[1])
        with pytest.raises(PolicyError, match="rewind_chunks"):
            cache.rewind(0)
        for number in range(2):
            for layer in range(SMALL.layers):
                cache.attend(layer, *inputs_of(cache, 1, number, layer), clean=number == 1)
        assert cache.commit().plan.step == 1


def test_a_closed_cache_says_so() -> None:
    path = loop(SMALL)
    cache = open_cache(WHOLE, SMALL, path)
    generate(cache, path, 0)
    cache.close()
    cache.close()
    with pytest.raises(PolicyError, match="closed"):
        cache.begin(path.views[1])


def test_what_fails_in_a_thread_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(file: FilePath, chunk: int, content: object) -> int:
        raise ZeroDivisionError("in a worker thread")

    monkeypatch.setattr(disk, "write_file", broken)
    path = loop(SMALL)
    with open_cache(WHOLE, SMALL, path, config=spilling()) as cache:
        with pytest.raises(TransferError, match="writing chunk . to disk failed twice: in a worker thread"):
            for step in range(len(path.views)):
                generate(cache, path, step)


# ---------------------------------------------------------------------- memory


@pytest.mark.parametrize("rebase", [False, True])
def test_nothing_is_allocated_after_the_first_step(rebase: bool) -> None:
    policy, path = WorldKV(3, 12, 6, 0.5, positions=Rebased() if rebase else Absolute()), loop(SMALL, chunks=30)
    config = spilling(host_chunks=2)
    with open_cache(policy, SMALL, path, config=config, capacity_tokens=7 * SMALL.chunk_tokens) as cache:
        backend = cache.backend
        buffers = (backend.arena.buffer, backend.staging.waiting, backend.staging.transit)
        where, said = [buffer.data_ptr() for buffer in buffers], cache.allocated_bytes
        most_on_host = 0
        for step in range(len(path.views)):
            generate(cache, path, step)
            hosts = {id(p.host): p.elements * 4 for p in backend.bank.stored.values() if p.host is not None}
            most_on_host = max(most_on_host, sum(hosts.values()))
            now = (backend.arena.buffer, backend.staging.waiting, backend.staging.transit)
            assert [buffer.data_ptr() for buffer in now] == where
        assert cache.allocated_bytes == said
        banked = sum(stored.elements * 4 for stored in backend.bank.stored.values())
        assert banked > 5 * config.limits.host_bytes  # type: ignore[operator]
        largest = max(stored.elements * 4 for stored in backend.bank.stored.values())
        assert most_on_host <= config.limits.host_bytes + MOST_WRITING * largest  # type: ignore[operator]
        planes = 2 * SMALL.layers * SMALL.kv_heads * SMALL.head_dim * 4
        assert said["window"] == 7 * SMALL.chunk_tokens * planes
        assert said["staging"] == 3 * SMALL.chunk_bytes
        assert said["rotated"] == (said["window"] // 2 if rebase else 0)


def test_a_window_that_is_too_small_is_refused_by_its_numbers() -> None:
    path = loop(SMALL)
    cache = open_cache(WorldKV(3, 12, 6, 1.0), SMALL, path, capacity_tokens=3 * SMALL.chunk_tokens)
    with pytest.raises(PolicyError, match="allocated for 54 tokens and the step needs 72"):
        for step in range(10):
            generate(cache, path, step)


def test_host_buffers_are_used_again() -> None:
    """How many are under way at a time depends on the disk, how many there ever are does not grow with the path."""
    path, taken = loop(SMALL, chunks=40), []
    with open_cache(WorldKV(3, 6, 3, 0.5), SMALL, path, config=spilling(host_chunks=1)) as cache:
        empty = cache.backend.ops.empty

        def counted(shape: Sequence[int], dtype: torch.dtype, *, on_host: bool = False) -> torch.Tensor:
            if on_host:
                taken.append(shape)
            return empty(shape, dtype, on_host=on_host)

        cache.backend.ops.empty = counted  # type: ignore[method-assign]
        stored = sum(len(generate(cache, path, step)[1].evicted) for step in range(len(path.views)))
        assert stored > 30
        assert len(taken) <= 10
