"""A rollout of random keys through a real cache, beside the naive one that is told what was decided."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.backends.naive_cache import NaiveCache, Rows
from worldkv.backends import cache as cache_module
from worldkv.backends.cache import WorldCache
from worldkv.backends.group.rank_group import Split
from worldkv.backends.transfer.device_ops import DeviceOps
from worldkv.config import CacheConfig
from worldkv.engine.state import StepRecord
from worldkv.geometry import CacheGeometry
from worldkv.parts import UnlikeAnchor, WorldCompression
from worldkv.policy import CachePolicy, Part, needs_of
from worldkv.scene import scene_of, viewpoints
from worldkv.signals import Signal, Viewpoint
from worldkv.trajectory import cut, load_trajectory
from worldkv.trajectory.chunked import ChunkedTrajectory

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}
PASSES = 2


class Path(NamedTuple):
    """A short path that comes back, actions included, and what is measured on it."""

    chunked: ChunkedTrajectory
    views: list[Viewpoint]


def loop(geometry: CacheGeometry, chunks: int = 20) -> Path:
    chunked = cut(load_trajectory(f"generate:loop:chunks={chunks},laps=3"), geometry)
    chunked = dataclasses.replace(chunked, actions=chunked.camera)
    return Path(chunked, list(viewpoints(chunked)))


def open_cache(
    policy: CachePolicy,
    geometry: CacheGeometry,
    path: Path,
    ops: DeviceOps | None = None,
    *,
    config: CacheConfig | None = None,
    dtype: torch.dtype | None = None,
    capacity_tokens: int | None = None,
    extra_signals: frozenset[Signal] = frozenset(),
    group: Any = None,
    split: Split = "heads",
) -> WorldCache:
    """A cache for the path, on `ops` where given."""
    from worldkv.metrics.landmarks import place_landmarks

    landmarks = place_landmarks(path.chunked) if Signal.LANDMARKS in needs_of(policy) else None
    scene = scene_of(path.chunked, landmarks)
    if Signal.ATTENTION_AHEAD in needs_of(policy):
        steps = path.chunked.num_chunks
        ahead = np.tril(np.random.default_rng(0).random((steps, steps), np.float32), -1)
        scene = dataclasses.replace(scene, signals=scene.signals | {Signal.ATTENTION_AHEAD}, attention_ahead=ahead)
    with pytest.MonkeyPatch.context() as patch:
        if ops is not None:
            patch.setattr(cache_module, "device_ops", lambda device: ops)
        return WorldCache(
            policy,
            geometry,
            scene=scene,
            config=config,
            dtype=dtype,
            capacity_tokens=capacity_tokens,
            extra_signals=extra_signals,
            group=group,
            split=split,
        )


def inputs(geometry: CacheGeometry, dtype: torch.dtype, *seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Random queries, keys and values of one layer and pass, `[B, S, H, D]`."""
    generator = torch.Generator().manual_seed(hash(seed) & 0xFFFFFFFF)
    shape = (geometry.branches, geometry.chunk_tokens)
    q, k, v = (
        torch.randn(*shape, heads, geometry.head_dim, generator=generator).to(dtype)
        for heads in (geometry.heads, geometry.kv_heads, geometry.kv_heads)
    )
    return q, k, v


def generate(cache: WorldCache, path: Path, step: int) -> tuple[Tensor, StepRecord]:
    """One chunk of random inputs, the same for the same step: what attention gave, all layers of all passes."""
    cache.begin(path.views[step])
    outs = []
    for number in range(PASSES):
        for layer in range(cache.geometry.layers):
            q, k, v = inputs(cache.geometry, cache.dtype, step, number, layer)
            outs.append(cache.attend(layer, q, k, v, clean=number == PASSES - 1, hidden=q.flatten(2)))
    return torch.stack(outs), cache.commit()


def retake(cache: WorldCache, path: Path, step: int, steps: int = 2) -> None:
    """Take the last `steps` steps before `step` back, and generate them again."""
    cache.rewind(steps)
    for again in range(step - steps, step):
        generate(cache, path, again)


def compressions(part: Part) -> list[WorldCompression]:
    """The World Compressions a policy is made of, as published: by likeness to the anchor alone."""
    own = [part] if isinstance(part, WorldCompression) and part.scorer == UnlikeAnchor() else []
    return own + [rule for inner in part.parts() for rule in compressions(inner)]


def follow(
    naive: NaiveCache,
    policy: CachePolicy,
    dtype: torch.dtype,
    record: StepRecord,
    out: Tensor,
    named: dict[int, NDArray[np.int64]] | None = None,
) -> None:
    """Check one step against the naive cache, then let that do what was decided.

    World Compression is done again by its text; of any other rule `named` holds the tokens it kept of each chunk.
    """
    geometry, step, plan = naive.geometry, record.plan.step, record.plan
    # Queries and keys come at the frames where they were generated; only differences to the own place count.
    own_start = step * geometry.frames_per_chunk
    shifts = {
        chunk: int(place) - chunk * geometry.frames_per_chunk + own_start - int(plan.positions[-1])
        for chunk, place in zip(plan.attended.tolist(), plan.positions, strict=False)
    }
    attended, row = plan.attended.tolist(), 0
    for number in range(PASSES):
        for layer in range(geometry.layers):
            q, k, v = inputs(geometry, dtype, step, number, layer)
            if policy.asked_at == "begin" or number > 0:
                expected = naive.attend(layer, q, k, v, attended, shifts)
                assert_close(out[row], expected, dtype)
            row += 1
    clean = [inputs(geometry, dtype, step, PASSES - 1, layer) for layer in range(geometry.layers)]
    naive.commit([(k, v) for _, k, v in clean])
    held = sum(naive.chunks[chunk][0][0].shape[2] for chunk in attended)
    assert plan.attended_tokens == held + geometry.chunk_tokens
    for chunk, kept in zip(record.evicted, record.kept_tokens, strict=True):
        rows: Rows = [list(range(kept))] * geometry.layers
        if kept < naive.chunks[chunk][0][0].shape[2]:
            if not compressions(policy):
                assert named is not None and named[chunk].shape[-1] == kept
                naive.keep_named(chunk, named[chunk])
                continue
            (rule,) = compressions(policy)
            rows = naive.least_like_anchor(chunk, rule.keep_ratio, rule.pooled)
        assert {len(row) for row in rows} == {kept}
        naive.keep(chunk, rows)


def assert_close(found: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    """max|a - b| <= tolerance x max|b|, and never NaN."""
    worst = float((found.double() - expected).abs().max())
    assert worst <= TOLERANCE[dtype] * float(expected.abs().max())
