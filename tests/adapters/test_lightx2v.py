"""The pool for LightX2V's registry, called as its self-forcing inference calls a pool, against attention over lists."""

from __future__ import annotations

from collections.abc import Callable
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
from worldkv import WorldCache
from worldkv.adapters.lightx2v import Pool, pool_kwargs
from worldkv.errors import PolicyError, SpecError


class Published:
    """LightX2V at commit f8aee98: `BaseKVCachePool` and `RollingKVCachePool`, and what inference calls on them."""

    def __init__(
        self, num_layers: Any, cache_size: Any, num_heads: Any, head_dim: Any, dtype: Any, device: Any
    ) -> None: ...
    def _init_kv_buffer(self) -> None: ...
    def store_kv(self, k: Any, v: Any, start_idx: Any, end_idx: Any, layer_id: Any) -> None: ...
    def k_cache(self, layer_id: Any, attn_start: Any = None, local_end: Any = None) -> None: ...
    def v_cache(self, layer_id: Any, attn_start: Any = None, local_end: Any = None) -> None: ...
    def get_global_end(self, layer_id: Any) -> None: ...
    def get_local_end(self, layer_id: Any) -> None: ...
    def set_ends(self, layer_id: Any, global_end: Any, local_end: Any) -> None: ...
    def roll_window(self, layer_id: Any, sink_tokens: Any, num_evicted: Any) -> None: ...
    def prefetch_initial(self, layer_ids: Any) -> None: ...
    def begin_layer(self, layer_id: Any) -> None: ...
    def end_layer(self, layer_id: Any, next_prefetch: Any = None) -> None: ...
    def sync_all(self) -> None: ...
    def reset(self) -> None: ...


def test_signature() -> None:
    assert_takes_the_calls_of(Pool, Published)


REGISTRY: dict[str, tuple[type[Pool], Callable[..., dict[str, Any]]]] = {}
"""As the engine's `register_self_attn_kv_cache(scheme, cache_cls, *, kwargs_builder)` keeps it."""


def built(cache: WorldCache, ar_config: dict[str, Any] | None = None, **changes: Any) -> Pool:
    """The pool as the engine's manager builds it."""
    REGISTRY["worldkv"] = Pool, pool_kwargs(cache, viewpoint_of)
    pool, kwargs = REGISTRY["worldkv"]
    shape = {"num_layers": LAYERS, "num_heads": HEADS, "head_dim": CHANNELS, "dtype": torch.float32}
    made = pool(**{**shape, "cache_size": 6 * TOKENS, "device": "cpu", **changes}, **kwargs({}, ar_config or {}, {}))
    made._init_kv_buffer()
    return made


def rolled(pool: Pool, kv_size: int = 3 * TOKENS) -> Tensor:
    """The rollout as the engine makes it, with its own arithmetic of a rolling window of `kv_size` tokens."""

    def attend(chunk: int, layer: int, branch: int, own: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        queries, keys, values = own
        end = (chunk + 1) * TOKENS
        global_end, local_end = pool.get_global_end(layer), pool.get_local_end(layer)
        evicted = max(0, TOKENS + local_end - kv_size) if end > global_end else 0
        if evicted:
            pool.roll_window(layer, 0, evicted)
        last = local_end - evicted + end - global_end
        pool.begin_layer(layer)
        pool.store_kv(keys[0], values[0], last - TOKENS, last, layer)
        pool.set_ends(layer, end, last)
        k, v = (read(layer, max(0, last - kv_size), last) for read in (pool.k_cache, pool.v_cache))
        pool.end_layer(layer, next_prefetch=None)
        return kernel(queries, k[None], v[None])

    def open_pass(chunk: int) -> None:
        pool.prefetch_initial([0])
        pool.sync_all()

    return roll_out(attend, open_pass=open_pass)


def test_full_kv_is_every_chunk() -> None:
    with cache_for() as cache:
        pool = built(cache)
        assert torch.equal(rolled(pool), naive(full))
        pool.reset()
        assert torch.equal(rolled(pool), naive(full))


def test_a_sliding_window() -> None:
    with cache_for(WINDOW) as cache:
        torch.testing.assert_close(rolled(built(cache)), naive(windowed), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("changes", [{"num_layers": 3}, {"num_heads": 1}, {"head_dim": 16}, {"dtype": torch.bfloat16}])
def test_another_shape_is_refused(changes: dict[str, Any]) -> None:
    with cache_for() as cache, pytest.raises(SpecError, match="this rank's heads"):
        built(cache, **changes)


def test_several_branches_are_refused() -> None:
    with cache_for(branches=2) as cache, pytest.raises(SpecError, match="one branch"):
        built(cache)


def test_the_engine_s_own_offload_is_refused() -> None:
    with cache_for() as cache, pytest.raises(SpecError, match="kv_offload"):
        built(cache, {"kv_offload": True})


def test_a_layer_is_stored_before_it_is_read() -> None:
    own = torch.zeros(TOKENS, HEADS, CHANNELS)
    with cache_for() as cache:
        pool = built(cache)
        with pytest.raises(PolicyError, match="layer 0 is read before"):
            pool.k_cache(0)
        pool.store_kv(own, own, 0, TOKENS, 0)
        assert pool.k_cache(0).shape == pool.v_cache(0).shape == own.shape
        with pytest.raises(PolicyError, match="layer 1 is read before"):
            pool.v_cache(1)


def test_padded_tokens_are_refused() -> None:
    own = torch.zeros(TOKENS + 1, HEADS, CHANNELS)
    with cache_for() as cache, pytest.raises(PolicyError, match="turn padding off"):
        built(cache).store_kv(own, own, 0, TOKENS, 0)


def test_the_engine_s_head_shard_comes_from_its_own_base() -> None:
    class Base:
        def __init__(self, *args: object) -> None:
            raise AssertionError("nothing of the engine's is allocated")

        def sp_kvcache_attn_head_shard(self) -> str:
            return "theirs"

    class Both(Pool, Base): ...

    with cache_for() as cache:
        both = Both(LAYERS, 0, HEADS, CHANNELS, torch.float32, "cpu", cache=cache, viewpoint_of=viewpoint_of)
        assert both.sp_kvcache_attn_head_shard() == "theirs"
        assert torch.equal(rolled(both), naive(full))
