"""Ragged policies: other counts in every layer and head, one run a head group, and the same attention."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

from tests.backends.late_ops import LateOps
from tests.backends.naive_cache import NaiveCache
from tests.backends.rollouts import assert_close, generate, inputs, loop, open_cache, retake
from worldkv.answers import Eviction, RaggedKeep, Retrieval
from worldkv.config import CacheConfig
from worldkv.geometry import CacheGeometry
from worldkv.parity.observer import TensorObserver
from worldkv.parts import SinkRecent
from worldkv.policies import NoveltyAdmission
from worldkv.policy import CachePolicy
from worldkv.tiers import TierLimits
from worldkv.views import BankView, ChunkView, Query, WindowView

GEOMETRY = CacheGeometry(2, 4, 2, 8, 2, 3, itemsize=4, rope_frames=1 << 16)


def kept_of(chunk: int) -> list[list[list[int]]]:
    """Tokens of every layer and head, drawn by the chunk's number alone."""
    draw = np.random.default_rng(chunk)
    return [
        [sorted(draw.choice(18, size=draw.integers(0, 19), replace=False).tolist()) for _ in range(GEOMETRY.kv_heads)]
        for _ in range(GEOMETRY.layers)
    ]


@dataclass(frozen=True)
class Ragged(CachePolicy):
    """Keeps other tokens in every head; fetches the first and the last of the bank."""

    ragged: ClassVar[bool] = True

    def evict(self, window: WindowView) -> Eviction:
        return SinkRecent(0, 6).evict(window)

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        ids = bank.ids.tolist()
        return Retrieval(tuple(dict.fromkeys([ids[-1], ids[query.step % len(ids)]])))

    def compress(self, chunk: ChunkView) -> RaggedKeep:
        tokens = tuple(tuple(np.array(head, np.int64) for head in layer) for layer in kept_of(chunk.id))
        counts = np.array([[len(head) for head in layer] for layer in tokens])
        return RaggedKeep(counts, tuple(counts.mean() / 3 for _ in range(3)), tokens)


@dataclass(frozen=True)
class Admits(NoveltyAdmission):
    """Shrinks in place what the drawn tokens above would be stored of."""

    def evict(self, window: WindowView) -> Eviction:
        newest_old = window.step - 3
        if newest_old < 0:
            return Eviction()
        return Eviction(shrink={newest_old: Ragged().compress(window.chunk(newest_old))})


def test_heads_shrunk_in_place_attend_their_own_tokens() -> None:
    path, naive = loop(GEOMETRY), NaiveCache(GEOMETRY)
    with open_cache(Admits(), GEOMETRY, path) as cache:
        for step in range(len(path.views)):
            out, _ = generate(cache, path, step)
            for row, (number, layer) in enumerate(itertools.product(range(2), range(GEOMETRY.layers))):
                q, k, v = inputs(GEOMETRY, cache.dtype, step, number, layer)
                for head in range(GEOMETRY.kv_heads):
                    parts = [
                        (held[layer][0][0, head, kept], held[layer][1][0, head, kept])
                        for chunk, held in enumerate(naive.chunks)
                        for kept in [slice(None) if chunk >= step - 2 else kept_of(chunk)[layer][head]]
                    ]
                    every_key, every_value = (
                        torch.cat([*(part[plane] for part in parts), own[0, :, head]]).double()
                        for plane, own in enumerate((k, v))
                    )
                    of_head = q[0, :, head * 2 : head * 2 + 2].double()
                    weights = torch.softmax(torch.einsum("thd,sd->hts", of_head, every_key) / 8**0.5, dim=-1)
                    expected = torch.einsum("hts,sd->thd", weights, every_value)
                    assert_close(out[row][0, :, head * 2 : head * 2 + 2], expected, torch.float32)
            clean = [inputs(GEOMETRY, cache.dtype, step, 1, layer)[1:] for layer in range(GEOMETRY.layers)]
            naive.commit([(k, v) for k, v in clean])


@pytest.mark.parametrize("late", [False, True], ids=["cpu", "late copies"])
@pytest.mark.parametrize("spills", [False, True], ids=["host", "disk"])
def test_every_head_attends_its_own_tokens(late: bool, spills: bool) -> None:
    path, naive = loop(GEOMETRY), NaiveCache(GEOMETRY)
    banked: set[int] = set()
    config = CacheConfig(limits=TierLimits(GEOMETRY.chunk_bytes if spills else None), rewind_chunks=2)
    with open_cache(Ragged(), GEOMETRY, path, LateOps() if late else None, config=config) as cache:
        for step in range(len(path.views)):
            if step % 5 == 4:
                retake(cache, path, step)
            out, record = generate(cache, path, step)
            attended, row = record.plan.attended.tolist(), 0
            for number in range(2):
                for layer in range(GEOMETRY.layers):
                    q, k, v = inputs(GEOMETRY, cache.dtype, step, number, layer)
                    for head in range(GEOMETRY.kv_heads):
                        keys, values = [], []
                        for chunk in attended:
                            held_k, held_v = naive.chunks[chunk][layer]
                            kept = kept_of(chunk)[layer][head] if chunk in banked else slice(None)
                            keys.append(held_k[0, head, kept])
                            values.append(held_v[0, head, kept])
                        every_key = torch.cat([*keys, k[0, :, head]]).double()
                        every_value = torch.cat([*values, v[0, :, head]]).double()
                        for group in (2 * head, 2 * head + 1):
                            weights = (q[0, :, group].double() @ every_key.T / 8**0.5).softmax(-1)
                            assert_close(out[row][0, :, group], weights @ every_value, torch.float32)
                    row += 1
            clean = [inputs(GEOMETRY, cache.dtype, step, 1, layer) for layer in range(GEOMETRY.layers)]
            naive.commit([(k, v) for _, k, v in clean])
            banked |= set(record.evicted)


def test_the_observer_reads_every_head() -> None:
    from worldkv.backends.cache import WorldCache
    from worldkv.backends.models import CausalVideoDiT
    from worldkv.backends.rollout import generate as generate_with
    from worldkv.scene import scene_of

    path = loop(GEOMETRY)
    with WorldCache(Ragged(), GEOMETRY, scene=scene_of(path.chunked), is_tagged=True) as cache:
        observer = TensorObserver(cache)
        for step in generate_with(CausalVideoDiT(GEOMETRY), cache, path.views, denoise_passes=1):
            observed = observer.commit()
            assert observed.faults == ()
            assert observed.attended == tuple(step.plan.attended.tolist())
            assert observed.evicted == step.record.evicted
            assert observed.kept_tokens == step.record.kept_tokens
            assert observed.traffic == step.record.traffic
