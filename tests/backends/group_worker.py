"""Four processes that hold the parts of rollouts: `python -m tests.backends.group_worker FOLDER`.

They are forked from one that has imported everything, which is most of what starting them costs.
"""

from __future__ import annotations

import dataclasses
import datetime
import multiprocessing
import os
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed

from tests.backends.group_rollouts import (
    BY_BRANCH,
    ON_TWO,
    WHOLE,
    Share,
    generate,
    opened,
    path,
    policies,
    prefilled,
    steps_of,
)
from worldkv.answers import Keep
from worldkv.backends.cache import WorldCache
from worldkv.config import CacheConfig
from worldkv.errors import WorldKVError
from worldkv.parts import ScoredTokens
from worldkv.policies import H2O, MeanKeyRetrieval, SlidingWindow, SnapKV, WorldKV
from worldkv.policy import CachePolicy
from worldkv.signals import Signal
from worldkv.tiers import TierLimits
from worldkv.views import ChunkView

RANKS = 4
SECONDS = 60
"""What torch waits for a rank before it says that it is gone: more than a slow machine needs, less than for ever."""
Told = list[str]
"""The class and sentence of an error, or nothing."""


@dataclasses.dataclass(frozen=True)
class ForgetsToReduce(WorldKV):
    """Tokens by the mean over the heads that this rank happens to have."""

    def compress(self, chunk: ChunkView) -> Keep:
        tokens = ScoredTokens(keep_ratio=0.5).keep(chunk).tokens
        assert tokens is not None
        return Keep(9, (3.0, 3.0, 3.0), tokens[:, 0])


@dataclasses.dataclass(frozen=True)
class FailsOnOne(WorldKV):
    """Divides by nothing on the second rank, before its heads have been compared with the others'."""

    def compress(self, chunk: ChunkView) -> Keep:
        if chunk.id == 2 and torch.distributed.get_rank() == 1:
            raise ZeroDivisionError("by nothing")
        keep = WorldKV.compress(self, chunk)
        assert isinstance(keep, Keep)
        return keep


def told(act: Callable[[], object]) -> Told:
    try:
        act()
    except WorldKVError as error:
        return [type(error).__name__, str(error)]
    return []


def rolled(policy: CachePolicy, share: Share, steps: int = 8, config: CacheConfig | None = None) -> Told:
    def run() -> None:
        with opened(policy, share, config) as cache:
            for step in range(steps):
                generate(cache, share, step)

    return told(run)


# ------------------------------------------------------------------ what goes wrong


def lost_on_one(share: Share, folder: Path) -> Told:
    """The last rank's files of the bank are gone before they are fetched."""

    def run() -> None:
        config = CacheConfig(limits=TierLimits(host_bytes=share.geometry.chunk_bytes))
        with opened(WorldKV(sink_frames=0, recent_frames=3, retrieved_frames=6), share, config) as cache:
            for step in range(8):
                cache.backend.drain()
                if step == 5 and share.rank == share.size - 1:
                    store = cache.backend.bank._store
                    assert store is not None
                    for file in store._store(0).folder.iterdir():
                        file.unlink()
                generate(cache, share, step)

    return told(run)


def table_differs(share: Share) -> Told:
    def run() -> None:
        with opened(WorldKV(), share) as cache:
            for step in range(3):
                if step == 2 and share.rank == 1:
                    cache.engine.table.write("last_used", 0, 7)
                generate(cache, share, step)

    return told(run)


def calls_differ(share: Share) -> Told:
    """The second rank begins its step again while the others go through theirs and commit it."""

    def run() -> None:
        with opened(WorldKV(), share, CacheConfig(rewind_chunks=1)) as cache:
            generate(cache, share, 0)
            if share.rank == 1:
                cache.begin(path().views[1])
                cache.rewind(0)
            generate(cache, share, 1)

    return told(run)


def another_view(share: Share) -> Told:
    """The second rank looks elsewhere than the others."""

    def run() -> None:
        with opened(WorldKV(sink_frames=0, recent_frames=3, retrieved_frames=3), share) as cache:
            views = list(path().views)
            if share.rank == 1:
                views[7] = views[2]
            for step in range(8):
                cache.begin(views[step])
                for layer in range(WHOLE.layers):
                    part = torch.ones(1, WHOLE.chunk_tokens, share.geometry.heads, WHOLE.head_dim)
                    kv = part[:, :, : share.geometry.kv_heads]
                    cache.attend(layer, part, kv, kv, clean=True)
                cache.commit()

    return told(run)


def commits_too_early(share: Share) -> Told:
    def run() -> None:
        with opened(MeanKeyRetrieval(), share) as cache:
            generate(cache, share, 0)
            cache.begin(path().views[1])
            for layer in range(WHOLE.layers - (share.rank == 1)):
                part = torch.ones(1, WHOLE.chunk_tokens, share.geometry.heads, WHOLE.head_dim)
                kv = part[:, :, : share.geometry.kv_heads]
                cache.attend(layer, part, kv, kv, clean=True)
            cache.commit()

    return told(run)


def goes_on_after(share: Share) -> dict[str, Any]:
    """An error of one rank in the middle; all go back to a snapshot, and on: what attention gives then."""
    with opened(FailsOnOne(sink_frames=0, recent_frames=3), share, CacheConfig(rewind_chunks=2)) as cache:
        for step in range(3):
            generate(cache, share, step)
        before = cache.snapshot()
        error = told(lambda: generate(cache, share, 3))
        cache.restore(before)
        cache.policy = cache.engine.policy = WorldKV(sink_frames=0, recent_frames=3)
        cache.engine._caller = cache.engine._make_caller(cache.backend)
        outs = [generate(cache, share, step)[0] for step in range(3, 8)]
        twin = cache.fork()
        outs += [generate(one, share, 8)[0] for one in (cache, twin)]
        twin.close()
    return {"error": error, "outs": outs}


def refused(share: Share) -> dict[str, Told]:
    """Ranks that are made differently."""
    odd = share.rank == 1
    layers = dataclasses.replace(share.geometry, layers=3 if odd else 2)
    return {
        "policy": told(lambda: opened(WorldKV(keep_ratio=0.5 if odd else 0.25), share)),
        "class": told(lambda: opened(H2O() if odd else SnapKV(), share)),
        "geometry": told(lambda: WorldCache(SlidingWindow(), layers, group=share.group)),
        "config": told(lambda: opened(SlidingWindow(), share, CacheConfig(staging_chunks=1 if odd else 2))),
        "split": told(
            lambda: WorldCache(SlidingWindow(), share.geometry, group=share.group, split=("heads", "branches")[odd])
        ),
        "reduce": told(lambda: WorldCache(SlidingWindow(), WHOLE, group=share.group, reduce=lambda sums: sums)),
        "go-on": told(lambda: opened(SlidingWindow(), share, CacheConfig(when_lost="go-on"))),
        "no split": told(lambda: WorldCache(SlidingWindow(), WHOLE, group=share.group, split="tokens")),  # type: ignore[arg-type]
        "no group": told(lambda: WorldCache(SlidingWindow(), WHOLE, group="gloo")),  # type: ignore[arg-type]
    }


def reduces_arrays(share: Share) -> list[float]:
    """Sums of torch and of numpy, and the arguments are left as they were; and heads of what is measured beside."""
    with opened(WorldKV(), share) as cache:
        cache.measure(frozenset({Signal.KEY_SUMMARY}))
        generate(cache, share, 0)
        assert cache.measured is not None
        reduce = cache.backend.reduce
        assert reduce is not None
        own = torch.full((2,), float(share.rank + 1))
        sums = [*reduce(own).tolist(), *reduce(np.array([1.0])).tolist(), *own.tolist()]
        assert isinstance(reduce(np.ones(1)), np.ndarray)
        return [*sums, cache.measured.key_mean.shape[1]]


def leaves(share: Share) -> Told:
    """The second rank ends in the middle of a step."""

    def run() -> None:
        with opened(WorldKV(), share) as cache:
            generate(cache, share, 0)
            if share.rank == 1:
                os._exit(0)
            generate(cache, share, 1)

    return told(run)


# ------------------------------------------------------------------ all of it


def save_rollouts(folder: Path, kind: str, share: Share, names: Collection[str]) -> None:
    """The rollouts of the policies of these names, in one file a rank."""
    every = policies(folder)
    found = {name: [step._asdict() for step in steps_of(every[name], share)] for name in names}
    torch.save(found, folder / f"{kind}-{share.rank}.pt")


def main(folder: Path, rank: int) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=RANKS,
        timeout=datetime.timedelta(seconds=SECONDS),
    )
    pairs = [torch.distributed.new_group([0, 1]), torch.distributed.new_group([2, 3])]
    pair = pairs[rank // 2]
    if rank < 2:
        save_rollouts(folder, "heads on 2", Share(rank, 2, "heads", pair), ON_TWO)
    else:  # whose ranks in the group are not those in the world, which a broadcast must know
        save_rollouts(folder, "branches on 2", Share(rank - 2, 2, "branches", pair), BY_BRANCH)
    share = Share(rank, RANKS, "heads", torch.distributed.group.WORLD)
    save_rollouts(folder, "heads on 4", share, policies(folder))
    wrong = {
        "forgets to reduce": rolled(ForgetsToReduce(sink_frames=0, recent_frames=3), share),
        "fails on one": rolled(FailsOnOne(sink_frames=0, recent_frames=3), share),
        "lost on one": lost_on_one(share, folder),
        "table differs": table_differs(share),
        "calls differ": calls_differ(share),
        "another view": another_view(share),
        "commits too early": commits_too_early(share),
        "refused": refused(share),
        "sums": reduces_arrays(share),
        "goes on": goes_on_after(share),
        "prefill": prefilled(share),
    }
    torch.save(wrong, folder / f"wrong-{rank}.pt")
    torch.distributed.barrier()
    if rank < 2:
        torch.save(leaves(Share(rank, 2, "heads", pair)), folder / f"left-{rank}.pt")


if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    ranks = [context.Process(target=main, args=(Path(sys.argv[1]), rank), daemon=True) for rank in range(RANKS)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    sys.exit(any(process.exitcode for process in ranks))
