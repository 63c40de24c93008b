"""The stand-in for SGLang's causal cache, called as LingBot's attention calls it, against attention over lists."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.adapters.toy_engine import (
    CHANNELS,
    HEADS,
    LAYERS,
    TOKENS,
    WINDOW,
    assert_takes_the_calls_of,
    cache_for,
    full,
    kernel,
    naive,
    roll_out,
    viewpoint_of,
    windowed,
)
from worldkv import Viewpoint, WorldCache
from worldkv.adapters.sglang import KVView, Layer, layers
from worldkv.errors import PolicyError, SpecError


class Published:
    """SGLang at commit 10ea7c8; the last two arguments are minWM's."""

    def update_and_get_attention_kv(
        self,
        *,
        key: Any,
        value: Any,
        current_chunk_start: Any,
        cache_head_start: Any = None,
        recent_window_tokens: Any = None,
        debug_name: Any = "causal KV cache",
        position_ids: Any = None,
        sink_protected_rewrite: Any = False,
    ) -> None: ...

    def can_direct_current_attention(self, num_new_tokens: Any) -> None: ...
    def reset_indices(self) -> None: ...
    def pin_current_chunk(self, current_num_tokens: Any) -> None: ...


def test_signature() -> None:
    assert_takes_the_calls_of(Layer, Published)


def rolled(cache: WorldCache, branches: int = 1, **extra: Any) -> Tensor:
    """The rollout as the engine makes it: lists of layers for each branch, the start of a chunk in tokens."""
    by_branch = layers(cache, viewpoint_of)
    for of_branch in by_branch:
        for layer in of_branch:
            layer.reset_indices()

    def attend(chunk: int, layer: int, branch: int, own: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        queries, key, value = own
        kv_cache = by_branch[branch][layer]
        assert not kv_cache.can_direct_current_attention(TOKENS)
        view: KVView = kv_cache.update_and_get_attention_kv(
            key=key, value=value, current_chunk_start=chunk * TOKENS, debug_name="LingBot KV cache", **extra
        )
        assert torch.equal(view.k[:, view.local_start_index : view.local_end_index], key)
        assert view.visible_local_end == view.k.shape[1] == view.v.shape[1]
        assert view.visible_global_end == (chunk + 1) * TOKENS
        return kernel(queries, view.k, view.v)

    return roll_out(attend, branches)


@pytest.mark.parametrize("branches", [1, 2])
def test_full_kv_is_every_chunk(branches: int) -> None:
    with cache_for(branches=branches) as cache:
        want = naive(full, branches)
        assert torch.equal(rolled(cache, branches, cache_head_start=0, sink_protected_rewrite=True), want)
        assert torch.equal(rolled(cache, branches), want)  # the next rollout starts over


def test_a_sliding_window() -> None:
    with cache_for(WINDOW) as cache:
        torch.testing.assert_close(rolled(cache), naive(windowed), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["recent_window_tokens", "position_ids"])
def test_what_the_policy_would_not_honour_is_refused(name: str) -> None:
    with cache_for() as cache, pytest.raises(PolicyError, match=f"LingBot KV cache: {name}"):
        rolled(cache, 1, **{name: torch.zeros(3)})


def call(cache: WorldCache, layer: Layer, start: int) -> None:
    own = torch.zeros(1, TOKENS, HEADS, CHANNELS)
    layer.update_and_get_attention_kv(key=own, value=own, current_chunk_start=start)


def test_a_rewrite_of_committed_chunks_is_refused() -> None:
    """A prompt switch in SGLang caches the last window anew, in one call."""
    with cache_for() as cache:
        (of_branch,) = layers(cache, viewpoint_of)
        for start in (0, TOKENS):
            for layer in of_branch:
                call(cache, layer, start)
        with pytest.raises(PolicyError, match="writes at token 0"):
            call(cache, of_branch[0], 0)
        with pytest.raises(PolicyError, match=f"the next one at {2 * TOKENS}"):
            call(cache, of_branch[0], 3 * TOKENS)


def test_a_first_chunk_of_one_frame() -> None:
    with cache_for() as cache:
        frame = cache.geometry.tokens_per_frame
        (of_branch,) = layers(
            cache, lambda chunk: viewpoint_of(chunk) if chunk else Viewpoint.of(torch.eye(4).numpy()[None])
        )
        for start, tokens in ((0, frame), (frame, TOKENS), (frame + TOKENS, TOKENS)):
            for layer in of_branch:
                own = torch.zeros(1, tokens, HEADS, CHANNELS)
                view = layer.update_and_get_attention_kv(key=own, value=own, current_chunk_start=start)
                assert view.visible_global_end == view.k.shape[1] == start + tokens


def test_a_pinned_scene_cut_is_refused() -> None:
    with cache_for() as cache, pytest.raises(PolicyError, match="pinned"):
        layers(cache, viewpoint_of)[0][0].pin_current_chunk(TOKENS)


def test_a_padded_window_is_refused() -> None:
    with cache_for() as cache:
        cache.valid_tokens = torch.ones(4, dtype=torch.bool)
        with pytest.raises(SpecError, match="pad_to"):
            layers(cache, viewpoint_of)


def test_a_policy_that_reads_queries_is_refused_by_name() -> None:
    with cache_for("quest-bounds:sink_frames=3,retrieved_frames=3,recent_frames=3") as cache:
        with pytest.raises(PolicyError, match=r"queries"):
            rolled(cache)


def test_one_rank_s_heads() -> None:
    with cache_for(kv_heads=1, heads=1) as cache:
        (of_branch,) = layers(cache, viewpoint_of)
        assert of_branch[0].num_cache_heads == 1 and len(of_branch) == LAYERS
        with pytest.raises(PolicyError):
            call(cache, of_branch[0], 0)  # all heads, where the cache holds one


class Sum:
    """The sum over two ranks, each of them a thread."""

    def __init__(self) -> None:
        self.parts: dict[int, Any] = {}
        self.barrier = threading.Barrier(2, timeout=60)

    def of(self, rank: int) -> Callable[[Any], Any]:
        def reduce(part: Any) -> Any:
            self.parts[rank] = part
            self.barrier.wait()
            total = self.parts[0] + self.parts[1]
            self.barrier.wait()  # before anybody's next part
            return total

        return reduce


def test_heads_split_over_ranks_keep_the_same_tokens() -> None:
    """Every rank has all tokens of its heads; as many are kept on each, and the same ones where they sum."""
    policy = "worldkv:sink_frames=3,retrieved_frames=6,recent_frames=3,keep_ratio=0.5"
    with cache_for(policy) as cache:
        want = rolled(cache)
    for is_summed in (True, False):
        total, counts = Sum(), [list[int](), list[int]()]

        def on_rank(rank: int, reduce: Callable[[Any], Any] | None, counts: list[list[int]] = counts) -> Tensor:
            with cache_for(policy, reduce=reduce, heads=1, kv_heads=1) as cache:
                (of_branch,) = layers(cache, viewpoint_of)

                def attend(chunk: int, layer: int, branch: int, own: tuple[Tensor, Tensor, Tensor]) -> Tensor:
                    queries, key, value = (part[:, :, rank : rank + 1] for part in own)
                    view = of_branch[layer].update_and_get_attention_kv(
                        key=key, value=value, current_chunk_start=chunk * TOKENS, cache_head_start=rank
                    )
                    counts[rank].append(view.k.shape[1])
                    return kernel(queries, view.k, view.v)

                return roll_out(attend)

        with ThreadPoolExecutor(2) as ranks:
            heads = list(ranks.map(on_rank, (0, 1), [total.of(rank) if is_summed else None for rank in (0, 1)]))
        assert counts[0] == counts[1]
        difference = (torch.cat(heads, dim=3) - want).abs().max()
        assert difference < 1e-5 if is_summed else difference > 1e-3
