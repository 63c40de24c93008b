"""Adapters take only caches whose form they follow, and ask for the viewpoint of the chunk that begins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from worldkv import CacheGeometry, FullKV, Rotary, SpecError, Viewpoint, WorldCache
from worldkv.adapters import flashdreams, sglang
from worldkv.adapters.chunk_starts import ChunkStarts
from worldkv.adapters.self_forcing import slots

GEOMETRY = CacheGeometry(2, 2, 2, 8, 2, 2, itemsize=4)


def nowhere(chunk: int) -> Viewpoint:
    return Viewpoint()


@pytest.mark.parametrize(
    "adapter", [slots, sglang.layers, ChunkStarts, flashdreams.layers], ids=lambda one: one.__name__
)
def test_padding_and_unrotated_keys_are_refused(adapter: Callable[..., Any]) -> None:
    with WorldCache(FullKV(), GEOMETRY, pad_to=120) as cache, pytest.raises(SpecError, match="leave pad_to out"):
        adapter(cache, nowhere)
    with (
        WorldCache(FullKV(), GEOMETRY, keys="unrotated", rotary=Rotary(GEOMETRY)) as cache,
        pytest.raises(SpecError, match="would turn them again"),
    ):
        adapter(cache, nowhere)


def test_viewpoints_are_counted_by_chunks_behind_a_prefill_and_a_rewind() -> None:
    asked: list[int] = []

    def viewpoint_of(chunk: int) -> Viewpoint | list[Viewpoint]:
        asked.append(chunk)
        return [Viewpoint()] * 3 if chunk == 0 else Viewpoint()

    with WorldCache(FullKV(), GEOMETRY) as cache:
        starts = ChunkStarts(cache, viewpoint_of)
        for first in (0, 9, 12):
            starts.at_token(first * GEOMETRY.tokens_per_frame)
            some = torch.randn(1, cache.chunk_frames * GEOMETRY.tokens_per_frame, 2, 8)
            for layer in range(2):
                cache.window(layer, some, some)
    assert asked == [0, 3, 4]
