"""World Compression against a literal version in loops."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldkv.errors import SpecError
from worldkv.geometry import PRESETS, CacheGeometry
from worldkv.parts import ScoredBy, key_layers
from worldkv.parts.compress import compressed
from worldkv.parts.compression.world_compression import WorldCompression
from worldkv.parts.scorer import unlike_anchor
from worldkv.views import ChunkView

TINY = PRESETS["tiny"]
LINGBOT = PRESETS["lingbot-world-fast-480p"]


def slow_keep(keys: Any, per_frame: int, frames: int, ratio: float, pooled: bool) -> list[list[int]]:
    """Kept positions of each layer by the text of arXiv 2605.22718, in loops."""
    layers, heads, _, _ = keys.shape
    kept = []
    for layer in range(layers):
        centre = [sum(keys[layer, head, t] for t in range(per_frame)) / per_frame for head in range(heads)]
        norm_c = math.sqrt(sum(float(c @ c) for c in centre))
        similarity = {}
        for t in range(per_frame, per_frame * frames):
            dot = sum(float(keys[layer, head, t] @ centre[head]) for head in range(heads))
            norm_k = math.sqrt(sum(float(keys[layer, head, t] @ keys[layer, head, t]) for head in range(heads)))
            similarity[t] = dot / (norm_k * norm_c)
        quota = math.ceil(ratio * per_frame)
        if pooled:
            chosen = sorted(similarity, key=lambda t: similarity[t])[: quota * (frames - 1)]
        else:
            chosen = []
            for frame in range(1, frames):
                own = [t for t in similarity if t // per_frame == frame]
                chosen += sorted(own, key=lambda t: similarity[t])[:quota]
        kept.append([*range(per_frame), *sorted(chosen)])
    return kept


def view(geometry: CacheGeometry, keys: Any = None) -> ChunkView:
    return ChunkView(0, 1, geometry, (float(geometry.tokens_per_frame),) * geometry.frames_per_chunk, keys)


@given(
    seed=st.integers(0, 2**32 - 1),
    ratio=st.floats(0.01, 1.0),
    pooled=st.booleans(),
    layers=st.integers(1, 3),
    heads=st.integers(1, 3),
    rows=st.integers(1, 4),
    frames=st.integers(1, 4),
)
def test_kept_tokens_are_those_of_the_loops(
    seed: int, ratio: float, pooled: bool, layers: int, heads: int, rows: int, frames: int
) -> None:
    geometry = CacheGeometry(layers, heads, heads, 8, rows, 3, frames_per_chunk=frames)
    keys = np.random.default_rng(seed).normal(size=(layers, heads, rows * 3 * frames, 8))
    rule = WorldCompression(ratio, pooled)
    keep = rule.keep(view(geometry, keys))
    keep.check(geometry.chunk_tokens, geometry)
    assert keep.tokens is not None
    assert keep.tokens.tolist() == slow_keep(keys, rows * 3, frames, ratio, pooled)
    counted = rule.kept_tokens(view(geometry))
    assert keep.count == counted.count == compressed(rule, view(geometry)).count


@pytest.mark.parametrize("pooled", [False, True])
def test_a_scorer_that_tells_heads_apart_counts_by_their_mean(pooled: bool) -> None:
    geometry = CacheGeometry(2, 3, 3, 8, 2, 3, frames_per_chunk=3)
    worth = np.random.default_rng(1).normal(size=(2, 3, 18)).astype(np.float32)
    kept = WorldCompression(0.5, pooled, ScoredBy(lambda chunk: worth)).keep(view(geometry, np.zeros((2, 3, 18, 8))))
    assert kept.tokens is not None
    for layer, tokens in enumerate(kept.tokens.tolist()):
        mean = [sum(float(worth[layer, head, token]) for head in range(3)) for token in range(18)]
        groups = [range(6, 18)] if pooled else [range(6, 12), range(12, 18)]
        best = [sorted(group, key=lambda token: -mean[token])[: len(group) // 2] for group in groups]  # noqa: B023
        assert tokens == [*range(6), *sorted(sum(best, []))]


@pytest.mark.parametrize("at_a_time", [1, 1 << 24], ids=["layer by layer", "all layers together"])
@pytest.mark.parametrize("pooled", [False, True])
def test_torch_keys_keep_the_same_tokens_as_the_loops(
    at_a_time: int, pooled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(unlike_anchor, "_NUMBERS_FOR_NUMPY", 0)  # or small keys would be looked at by numpy
    monkeypatch.setattr(key_layers, "NUMBERS_AT_A_TIME", at_a_time)
    geometry = CacheGeometry(3, 2, 2, 8, 4, 3)
    keys = torch.from_numpy(np.random.default_rng(8).normal(size=(3, 2, 36, 8)).astype(np.float32))
    strided = torch.empty(3, 2, 50, 9)[:, :, 7:43, :8].copy_(keys)  # as they lie in a window
    keep = WorldCompression(0.5, pooled).keep(view(geometry, strided))
    assert keep.tokens is not None
    assert keep.tokens.tolist() == slow_keep(keys.double().numpy(), 12, 3, 0.5, pooled)


def test_heads_split_over_ranks_keep_the_same_tokens() -> None:
    geometry = CacheGeometry(2, 4, 4, 8, 3, 3)
    keys = np.random.default_rng(0).normal(size=(2, 4, 27, 8))
    whole = WorldCompression().keep(view(geometry, keys))
    partial: list[Any] = []

    def note(sums: Any) -> Any:
        partial.append(sums)
        return sums

    WorldCompression().keep(_with_reduce(geometry, keys[:, 2:], note))
    first = WorldCompression().keep(_with_reduce(geometry, keys[:, :2], lambda sums: sums + partial[0]))
    assert whole.tokens is not None and first.tokens is not None
    assert (whole.tokens == first.tokens).all()


@pytest.mark.parametrize("pooled", [False, True])
def test_a_frame_that_has_fewer_than_its_share_keeps_what_it_has(pooled: bool) -> None:
    """A chunk shrunk before: of nine tokens its second frame has one left, its third five."""
    geometry = CacheGeometry(2, 2, 2, 4, 3, 3, frames_per_chunk=3)
    keys = np.random.default_rng(3).standard_normal((2, 2, 15, 4)).astype(np.float32)
    keep = WorldCompression(0.4, pooled).keep(dataclasses.replace(view(geometry, keys), frame_tokens=(9.0, 1.0, 5.0)))
    assert keep.count == 9 + 1 + 4 and keep.tokens is not None and keep.tokens.shape == (2, 14)
    for layer in range(2):
        centre = keys[layer, :, :9].mean(axis=1).ravel().astype(float)
        tokens = [keys[layer, :, token].ravel().astype(float) for token in range(15)]
        likeness = [float(token @ centre) / math.sqrt(float(token @ token)) for token in tokens]
        left_out = max(range(9 if pooled else 10, 15), key=lambda token: likeness[token])
        assert keep.tokens[layer].tolist() == [token for token in range(15) if token != left_out]


@pytest.mark.parametrize(("ratio", "share"), [(0.25, (1, 2)), (0.5, (2, 3)), (1.0, (1, 1))])
def test_the_papers_points(ratio: float, share: tuple[int, int]) -> None:
    keep = WorldCompression(ratio).kept_tokens(view(LINGBOT))
    assert keep.count * share[1] == LINGBOT.chunk_tokens * share[0]
    assert keep.bytes(LINGBOT) * share[1] == LINGBOT.chunk_bytes * share[0]


@pytest.mark.parametrize("ratio", [0.0, -0.1, 1.5, math.nan])
def test_ratios_out_of_range_are_refused(ratio: float) -> None:
    with pytest.raises(SpecError, match=r"keep_ratio must be in \(0, 1\]"):
        WorldCompression(ratio)


def _with_reduce(geometry: CacheGeometry, keys: Any, reduce: Any) -> ChunkView:
    return ChunkView(0, 1, geometry, (9.0, 9.0, 9.0), keys, reduce=reduce)
