"""Make a bank of many chunks without the rollout that fills it, to ask what a question costs there."""

from __future__ import annotations

import copy
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from worldkv.chunks import ChunkTable, Tier
from worldkv.geometry import CacheGeometry
from worldkv.pose import Array, ChunkPose
from worldkv.signals import Measured, Signal, Viewpoint
from worldkv.testing.policy_under_test import PolicyUnderTest
from worldkv.views import BankView, ChunkRows, ChunkView, Query, WindowView

RECENT_CHUNKS = 2


def large_bank(
    under_test: PolicyUnderTest, chunks: int, *, is_seasoned: bool = False, seed: int = 0
) -> tuple[tuple[Query, BankView], tuple[WindowView]]:
    """What `retrieve` and `evict` are shown after `chunks` chunks on a path that wanders and often comes back.

    The bank holds all chunks but the pinned and the newest; the window of a policy without bound holds all.

    Args:
        under_test: the policy that will be asked.
        chunks: chunks committed so far.
        is_seasoned: whether something is resident, planned and was looked for before, within a budget.
        seed: of the path and of what a model would have measured.
    """
    geometry, needs = under_test.geometries[0], under_test.needs
    policy = under_test.fitted(geometry)
    path = _wandering(geometry, needs, chunks, seed)
    table, (here, summary, attention_ahead) = path.table.copy(), copy.deepcopy(path[1:])
    held = {*np.asarray(policy.pinned(chunks, geometry)).tolist(), *range(chunks - RECENT_CHUNKS, chunks)}
    window = np.arange(chunks) if not policy.is_bounded else np.array(sorted(held))
    banked = np.setdiff1d(np.arange(chunks), window)
    table.columns["tier"][banked] = Tier.HOST
    resident = tuple(banked[:: max(1, len(banked) // 6)][:6].tolist()) if is_seasoned else ()
    query = Query(
        chunks,
        geometry,
        ChunkRows(table, _rows(window), needs),
        resident,
        resident[:2],
        chunks - 9 if is_seasoned else None,
        20 * geometry.chunk_tokens if is_seasoned else None,
        (90.0, 60.0),
        2.0,
        here if Signal.POSE in needs else None,
        here if Signal.ACTION in needs else None,
        summary,
        attention_ahead=attention_ahead,
    )
    kept = geometry.chunk_tokens // 2 if under_test.is_data_dependent else None
    entries = None if kept is None else kept * geometry.layers * geometry.kv_heads

    def open_chunk(chunk: int) -> ChunkView:
        whole = (float(geometry.tokens_per_frame),) * geometry.frames_per_chunk
        return ChunkView(chunk, chunks, geometry, whole, recorded_tokens=kept, recorded_entries=entries)

    return (query, BankView(table, _rows(banked), needs)), (WindowView(table, _rows(window), needs, open_chunk),)


class _Path(NamedTuple):
    """A path that wanders and what a model would have measured along it.

    Attributes:
        table: every chunk in the window.
        here: the pose after the last chunk.
        summary: the query's summary, where it is needed.
        attention_ahead: attention to come, where it is needed.
    """

    table: ChunkTable
    here: ChunkPose
    summary: NDArray[np.float32] | None
    attention_ahead: NDArray[np.float32] | None


@lru_cache(maxsize=16)
def _wandering(geometry: CacheGeometry, needs: frozenset[Signal], chunks: int, seed: int) -> _Path:
    """Drawn once for all policies of the same needs: copy it before a policy sees it."""
    draw = np.random.default_rng(seed)
    table = ChunkTable(geometry, needs, chunks + 1)
    shape = (geometry.layers, geometry.kv_heads, geometry.head_dim)
    positions = draw.normal(size=(chunks + 1, 3)) * chunks**0.5 / 10  # as dense, however many they are
    poses = _poses(positions, draw.uniform(-np.pi, np.pi, chunks + 1), geometry.frames_per_chunk)
    for pose in poses[:-1]:
        measured = None
        if Signal.KEY_SUMMARY in needs:
            mean, spread = draw.standard_normal((2, *shape)).astype(np.float32)
            measured = Measured(mean, mean - abs(spread), mean + abs(spread))
        table.append(Viewpoint(pose, pose), measured)
    if Signal.ATTENTION_MASS in needs:
        table.columns["attention_mass"][:chunks] = draw.random(chunks)
    summary = draw.standard_normal(shape).astype(np.float32) if Signal.QUERY_SUMMARY in needs else None
    ahead = draw.random((9, chunks + 9), np.float32) if Signal.ATTENTION_AHEAD in needs else None
    return _Path(table, poses[-1], summary, ahead)


def _poses(positions: Array, headings: Array, frames: int) -> list[ChunkPose]:
    """Poses that stand still for `frames` latent frames, turned about the y axis."""
    sine, cosine, zero, one = np.sin(headings), np.cos(headings), np.zeros(len(headings)), np.ones(len(headings))
    turned = np.stack([cosine, zero, sine, zero, one, zero, -sine, zero, cosine], axis=-1).reshape(-1, 3, 3)
    still, facing = np.repeat(positions[:, None], frames, 1), np.repeat(turned[:, None], frames, 1)
    return [ChunkPose(*parts) for parts in zip(still, facing, positions, turned, turned, strict=True)]


def _rows(ids: Any) -> Any:
    """One run of ids as a slice, as the engine shows it."""
    if not len(ids):
        return slice(0, 0)
    return slice(int(ids[0]), int(ids[-1]) + 1) if ids[-1] - ids[0] + 1 == len(ids) else ids
