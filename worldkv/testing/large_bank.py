"""Make a bank of many chunks without the rollout that fills it, to ask what a question costs there."""

from __future__ import annotations

from typing import Any

import numpy as np

from worldkv.chunks import ChunkTable, Tier
from worldkv.geometry import CacheGeometry
from worldkv.pose import ChunkPose
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
    geometry, needs, policy = under_test.geometries[0], under_test.needs, under_test.policy
    draw = np.random.default_rng(seed)
    table = ChunkTable(geometry, needs, chunks + 1)
    shape = (geometry.layers, geometry.kv_heads, geometry.head_dim)
    has_keys = Signal.KEY_SUMMARY in needs
    positions = draw.normal(size=(chunks + 1, 3)) * chunks**0.5 / 10  # as dense, however many they are
    headings = draw.uniform(-np.pi, np.pi, chunks + 1)
    for chunk in range(chunks):
        measured = None
        if has_keys:
            mean, spread = draw.standard_normal((2, *shape)).astype(np.float32)
            measured = Measured(mean, mean - abs(spread), mean + abs(spread))
        table.append(_viewpoint(positions[chunk], headings[chunk], geometry), measured)
    if Signal.ATTENTION_MASS in needs:
        table.columns["attention_mass"][:chunks] = draw.random(chunks)
    held = {*np.asarray(policy.pinned(chunks, geometry)).tolist(), *range(chunks - RECENT_CHUNKS, chunks)}
    window = np.arange(chunks) if not policy.is_bounded else np.array(sorted(held))
    banked = np.setdiff1d(np.arange(chunks), window)
    table.columns["tier"][banked] = Tier.HOST
    resident = tuple(banked[:: max(1, len(banked) // 6)][:6].tolist()) if is_seasoned else ()
    here = _viewpoint(positions[chunks], headings[chunks], geometry)
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
        here.camera if Signal.POSE in needs else None,
        here.action if Signal.ACTION in needs else None,
        draw.standard_normal(shape).astype(np.float32) if Signal.QUERY_SUMMARY in needs else None,
        attention_ahead=draw.random((9, chunks + 9), np.float32) if Signal.ATTENTION_AHEAD in needs else None,
    )
    kept = geometry.chunk_tokens // 2 if under_test.is_data_dependent else None
    entries = None if kept is None else kept * geometry.layers * geometry.kv_heads

    def open_chunk(chunk: int) -> ChunkView:
        whole = (float(geometry.tokens_per_frame),) * geometry.frames_per_chunk
        return ChunkView(chunk, chunks, geometry, whole, recorded_tokens=kept, recorded_entries=entries)

    return (query, BankView(table, _rows(banked), needs)), (WindowView(table, _rows(window), needs, open_chunk),)


def _viewpoint(position: Any, heading: float, geometry: CacheGeometry) -> Viewpoint:
    frames = geometry.frames_per_chunk
    turned = np.array([[np.cos(heading), 0, np.sin(heading)], [0, 1, 0], [-np.sin(heading), 0, np.cos(heading)]])
    pose = ChunkPose(np.tile(position, (frames, 1)), np.tile(turned, (frames, 1, 1)), position, turned, turned)
    return Viewpoint(pose, pose)


def _rows(ids: Any) -> Any:
    """One run of ids as a slice, as the engine shows it."""
    if not len(ids):
        return slice(0, 0)
    return slice(int(ids[0]), int(ids[-1]) + 1) if ids[-1] - ids[0] + 1 == len(ids) else ids
