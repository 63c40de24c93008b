"""What goes wrong with disks and copies, end to end: named before anything is attended, and nothing else is lost."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path as FilePath

import pytest
import torch

from tests.backends.late_ops import LateOps
from tests.backends.rollouts import PASSES, Path, generate, inputs_of, loop, open_cache
from worldkv.backend import Forget
from worldkv.backends.bank import chunk_file, disk
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
        bank.finish_writing()  # whatever else was on its way fails too, and all of it is still on the host
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


def test_a_rollout_goes_on_without_a_chunk_that_could_not_be_stored() -> None:
    """The second copy stores chunk 3 or so; nobody may find NaN in the bank for it."""
    path = loop(SMALL)
    cache = open_cache(WHOLE, SMALL, path, LateOps(failing={2: 2}), config=CacheConfig(when_lost="go-on"))
    discarded: list[int] = []
    for step in range(len(path.views)):
        out, record = generate(cache, path, step)
        assert torch.isfinite(out).all()
        discarded += record.discarded
    assert len(discarded) == 1 and discarded[0] not in cache.backend.bank.stored


def test_a_store_that_failed_is_named_until_it_is_taken_back() -> None:
    path = loop(SMALL)
    with open_cache(WHOLE, SMALL, path) as cache:
        undisturbed = [generate(cache, path, step)[0] for step in range(len(path.views))]
    cache = open_cache(WHOLE, SMALL, path, LateOps(failing={2: 2}), config=CacheConfig(rewind_chunks=3))
    step, named = 0, 0
    while step < len(path.views):
        try:
            out = generate(cache, path, step)[0]
        except TransferError as error:
            assert "could not be stored: a copy of" in str(error) and "rewind to before it was evicted" in str(error)
            for _ in range(2):
                with pytest.raises(TransferError, match="could not be stored"):
                    cache.begin(path.views[step])
            named += 1
            cache.rewind(1)
            step -= 1
            continue
        assert torch.equal(out, undisturbed[step])
        step += 1
    assert named == 1


# ---------------------------------------------------------------------- a full disk and the one way on

FULL = os.strerror(errno.ENOSPC)


class Disk:
    """The disk under every store: no chunk after the `room`-th is written while `is_full`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int = 2) -> None:
        self.is_full, self.room = True, room
        write = chunk_file.write_file

        def limited(part: FilePath, chunk: int, data: chunk_file.Bytes) -> int:
            if self.is_full and len(list(part.parent.glob("*.safetensors"))) >= self.room:
                raise OSError(errno.ENOSPC, FULL)
            return write(part, chunk, data)

        monkeypatch.setattr(disk, "write_file", limited)


def run_on(cache: WorldCache, path: Path, start: int) -> list[torch.Tensor]:
    return [generate(cache, path, step)[0] for step in range(start, len(path.views))]


def passes(cache: WorldCache, step: int) -> torch.Tensor:
    """The step between begin and commit."""
    outs = []
    for number in range(PASSES):
        for layer in range(SMALL.layers):
            outs.append(cache.attend(layer, *inputs_of(cache, step, number, layer), clean=number == PASSES - 1))
    return torch.stack(outs)


def wait_for_the_disk(cache: WorldCache) -> None:
    """So that what happened there is known at the next call, and in that one."""
    for stored in cache.backend.bank.stored.values():
        if stored.writing is not None:
            stored.writing.exception()


@pytest.mark.parametrize("call", ["begin", "commit"])
def test_once_there_is_room_the_call_that_failed_is_made_again(monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    path, refused = loop(SMALL), 0
    with open_cache(WHOLE, SMALL, path, config=spilling()) as cache:
        undisturbed = run_on(cache, path, 0)
    full = Disk(monkeypatch)

    def again(name: str, act: Callable[[], object]) -> None:
        nonlocal refused
        if name == call:
            wait_for_the_disk(cache)
        try:
            act()
        except OutputError as error:
            assert name == call and FULL in str(error)
            with pytest.raises(OutputError, match="free space there and make the same call again"):
                act()
            full.is_full, refused = False, refused + 1
            act()

    with open_cache(WHOLE, SMALL, path, config=spilling()) as cache:
        ask = cache.backend.failed_store
        if call == "commit":  # as where the thread is not that far when the step begins
            monkeypatch.setattr(cache.backend, "failed_store", lambda wait: ask(wait=wait) if wait else None)
        for step, (view, expected) in enumerate(zip(path.views, undisturbed, strict=True)):
            again("begin", lambda view=view: cache.begin(view))  # type: ignore[misc]
            assert torch.equal(passes(cache, step).cpu(), expected)
            again("commit", cache.commit)
        assert refused == 1
        banked = cache.backend.bank.stored.values()
        assert len(on_disk(cache)) == sum(stored.is_on_disk for stored in banked) > full.room


@pytest.mark.parametrize(("when_lost", "when_full"), [("go-on", "error"), ("error", "forget-oldest")])
def test_a_disk_that_stays_full_costs_chunks_and_not_the_rollout(
    monkeypatch: pytest.MonkeyPatch, when_lost: str, when_full: str
) -> None:
    path = loop(SMALL)
    gone: list[int] = []
    full = Disk(monkeypatch)
    limits = TierLimits(int(1.5 * SMALL.chunk_bytes), None, when_full)  # type: ignore[arg-type]
    config = CacheConfig(limits=limits, when_lost=when_lost)  # type: ignore[arg-type]
    with open_cache(WHOLE, SMALL, path, config=config) as cache:
        for step in range(len(path.views)):
            out, record = generate(cache, path, step)
            assert torch.isfinite(out).all()
            wait_for_the_disk(cache)
            gone += record.discarded
            told = [*record.plan.moves, *record.moves]
            assert sorted(move.chunk for move in told if isinstance(move, Forget)) == sorted(record.discarded)
        assert len(gone) > 5 and gone == sorted(set(gone))
        cache.backend.bank.finish_writing()
        left = [chunk for chunk, stored in cache.backend.bank.stored.items() if stored.host is None]
        assert len(left) == full.room and cache.engine.state.counts.forgotten == len(gone) * SMALL.chunk_tokens
        if when_full == "forget-oldest":
            assert max(gone) < min(left), "room was made by the oldest, as the configuration says"
        else:
            assert max(left) < min(gone), "what is on disk stays, what finds no room goes"
        held = cache.engine.state.tiers.disk.held
        assert held == sum(stored.elements * 4 for stored in cache.backend.bank.stored.values() if stored.is_on_disk)


def test_a_folder_that_cannot_be_made_is_told_like_a_full_disk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: FilePath
) -> None:
    """It is made for the first chunk that spills, in the middle of a commit; that commit is not torn by it."""
    path = loop(SMALL)
    (tmp_path / "file").touch()
    with open_cache(WHOLE, SMALL, path, config=spilling()) as cache:
        cache.backend.bank._folder = tmp_path / "file" / "chunks"
        with pytest.raises(OutputError, match="cannot be made"):
            for step in range(len(path.views)):
                generate(cache, path, step)
        (tmp_path / "file").unlink()
        if cache.engine.is_open:
            cache.commit()
        for step in range(len(cache.engine.table), len(path.views)):
            assert torch.isfinite(generate(cache, path, step)[0]).all()


def test_a_torn_cache_is_neither_copied_nor_forked() -> None:
    """What it would hand out is half a step: 49 of 60 steps that followed a restore of it attended other keys."""
    path, ops = loop(SMALL), LateOps()
    with open_cache(WHOLE, SMALL, path, ops) as cache:
        for step in range(9):
            generate(cache, path, step)
        whole = cache.snapshot()

        def torn(*arguments: object) -> None:
            raise TransferError("the bus is gone")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cache.backend.arena, "update", torn)
            with pytest.raises(TransferError):
                run_on(cache, path, 9)
        refused = "is refused: step .* restore a snapshot or reset first$"
        with pytest.raises(PolicyError, match=f"^snapshot {refused}"):
            cache.snapshot()
        with pytest.raises(PolicyError, match=f"^fork {refused}"):
            cache.fork()
        with pytest.raises(PolicyError, match="rewind"):
            cache.rewind(0)
        cache.restore(whole)
        assert all(torch.isfinite(out).all() for out in run_on(cache, path, 9))


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
