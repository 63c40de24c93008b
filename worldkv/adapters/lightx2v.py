"""LightX2V's autoregressive models under a WorldCache: a pool for its registry of KV caches.

Read against ModelTC/LightX2V of 2026-08-21 (commit f8aee98), `lightx2v/common/kvcache/manager.py` and
`models/networks/wan/infer/self_forcing/transformer_infer.py`. A duck type: LightX2V is not imported. The registry is an
open door of the engine:

    register_self_attn_kv_cache("worldkv", Pool, kwargs_builder=pool_kwargs(cache, viewpoint_of))

and `ar_config.kv_cache_scheme = "worldkv"` chooses it. `kv_quant` would overrule that choice inside the engine: leave
it out. For sequence parallelism (heads split over ranks) register `class P(Pool, BaseKVCachePool)`, which adds the
engine's `sp_kvcache_attn_head_shard`. There is no batch axis; the pool is of one branch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from worldkv.adapters.chunk_starts import ChunkStarts, ViewpointOf
from worldkv.errors import PolicyError, SpecError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from worldkv.backends.cache import WorldCache


class Pool:
    """All layers' self-attention cache; the methods of LightX2V's `RollingKVCachePool`.

    The engine works out its own rolling window from `get_global_end` and `get_local_end`. Both stay 0, so that the
    start it stores at is the token's number in the rollout, and it never rolls.
    """

    def __init__(
        self,
        num_layers: int,
        cache_size: int,
        num_heads: int,
        head_dim: int,
        dtype: torch.dtype,
        device: torch.device | str,
        *,
        cache: WorldCache,
        viewpoint_of: ViewpointOf,
    ) -> None:
        """The engine's arguments, and ours by `pool_kwargs`.

        Args:
            num_layers: transformer layers.
            cache_size: tokens of the engine's own window; not used.
            num_heads: heads on this rank.
            head_dim: channels a head.
            dtype: of keys and values.
            device: where they are.
            cache: of the same shape.
            viewpoint_of: the viewpoint of a chunk by its number.

        Raises:
            SpecError: the cache's shape or dtype is not the engine's.
        """
        geometry = cache.geometry
        own = (geometry.layers, geometry.kv_heads, geometry.head_dim, geometry.branches, cache.dtype)
        if own != (num_layers, num_heads, head_dim, 1, dtype):
            raise SpecError(
                f"the engine caches {num_layers} layers, {num_heads} heads of {head_dim} channels and one branch in "
                f"{dtype}, the cache is of {own[0]}, {own[1]} of {own[2]} and {own[3]} in {own[4]}; make its geometry "
                "of this rank's heads"
            )
        self._starts = ChunkStarts(cache, viewpoint_of)
        self._num_layers, self._cache_size, self._num_heads, self._head_dim = (
            num_layers,
            cache_size,
            num_heads,
            head_dim,
        )
        self._dtype, self._device = dtype, device
        self._window: tuple[int, Tensor, Tensor] | None = None

    def store_kv(self, k: Tensor, v: Tensor, start_idx: int, end_idx: int, layer_id: int) -> None:
        """Keys and values of one layer of the chunk at tokens `start_idx` to `end_idx`, `(tokens, heads, head_dim)`.

        Raises:
            PolicyError: the range is not the tokens', and as for `WorldCache.window`.
        """
        if end_idx - start_idx != len(k):
            raise PolicyError(f"the engine stores {len(k)} tokens at {start_idx} to {end_idx}; turn padding off")
        if layer_id == 0:
            self._starts.at_token(start_idx)
        keys, values = self._starts.cache.window(layer_id, k[None], v[None])
        self._window = layer_id, keys, values

    def k_cache(self, layer_id: int, attn_start: int | None = None, local_end: int | None = None) -> Tensor:
        """Keys that the chunk attends, `(tokens, heads, head_dim)`; the engine's own range is not asked.

        Raises:
            PolicyError: another layer was stored last.
        """
        return self._of(layer_id)[0][0]

    def v_cache(self, layer_id: int, attn_start: int | None = None, local_end: int | None = None) -> Tensor:
        """Values, likewise."""
        return self._of(layer_id)[1][0]

    def _of(self, layer_id: int) -> tuple[Tensor, Tensor]:
        if self._window is None or self._window[0] != layer_id:
            raise PolicyError(f"layer {layer_id} is read before it is stored; each layer is stored, then read")
        return self._window[1:]

    def reset(self) -> None:
        """A new rollout."""
        self._window = None
        self._starts.reset()

    # ------------------------------------------------------------------ what the engine's own pool keeps account of

    def get_global_end(self, layer_id: int) -> int:
        """0, so that the engine counts from the rollout's start."""
        return 0

    def get_local_end(self, layer_id: int) -> int:
        """0, likewise."""
        return 0

    def set_ends(self, layer_id: int, global_end: int, local_end: int) -> None:
        """Nothing to note."""

    def roll_window(self, layer_id: int, sink_tokens: int, num_evicted: int) -> None:
        """Nothing to do: the policy says what leaves."""

    def _init_kv_buffer(self) -> None:
        """Nothing to allocate: the cache has its own window."""

    def prefetch_initial(self, layer_ids: list[int]) -> None:
        """Nothing to do: the cache prefetches whole chunks."""

    def begin_layer(self, layer_id: int) -> None:
        """Nothing to wait for."""

    def end_layer(self, layer_id: int, next_prefetch: int | None = None) -> None:
        """Nothing to fetch."""

    def sync_all(self) -> None:
        """Nothing to wait for."""


def pool_kwargs(
    cache: WorldCache, viewpoint_of: ViewpointOf
) -> Callable[[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]:
    """The registry's `kwargs_builder`.

    Args:
        cache: of this rank's heads.
        viewpoint_of: the viewpoint of a chunk by its number.

    Returns:
        A function of the engine's `config`, `ar_config` and `kv_quant`, which raises SpecError where `ar_config` moves
        keys between host and device itself.
    """

    def kwargs(config: Mapping[str, Any], ar_config: Mapping[str, Any], kv_quant: Mapping[str, Any]) -> dict[str, Any]:
        if ar_config.get("kv_offload"):
            raise SpecError("ar_config.kv_offload moves keys to the host, as the cache does itself; turn it off")
        return {"cache": cache, "viewpoint_of": viewpoint_of}

    return kwargs
