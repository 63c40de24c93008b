"""SGLang's causal video models under a WorldCache: a stand-in for its `CausalSelfAttentionKVCache`.

Read against sgl-project/sglang of 2026-09, `multimodal_gen/runtime/layers/kvcache/causal_attention_cache.py` at commit
10ea7c8 and its callers (LingBot, causal Wan, minWM). A duck type: SGLang is not imported. A denoising stage takes the
layers in place of what its `_initialize_kv_cache` allocates:

    stage.causal_kv_cache, stage.causal_kv_cache_neg = layers(cache, viewpoint_of)

What SGLang hands over beside keys and values is refused where the policy would not honour it: a recent window,
positions of its own (minWM's cache of unrotated keys), pinned scene cuts, a prompt switch that rewrites committed
chunks. Its probe of key positions cannot read these views.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worldkv.adapters.chunk_starts import ChunkStarts, ViewpointOf, layers_of
from worldkv.errors import PolicyError

if TYPE_CHECKING:
    from torch import Tensor

    from worldkv.backends.cache import WorldCache


@dataclass(slots=True)
class KVView:
    """What a chunk attends; the fields of SGLang's `CausalAttentionKVView`.

    Attributes:
        k: keys `(1, tokens, kv_heads, head_dim)`, the chunk's own last.
        v: values, likewise.
        local_start_index: where the own ones start.
        local_end_index: where they end.
        visible_local_end: the same; nothing stands behind them.
        visible_global_end: token of the rollout that comes next.
    """

    k: Tensor
    v: Tensor
    local_start_index: int
    local_end_index: int
    visible_local_end: int
    visible_global_end: int


class Layer:
    """One transformer block's cache.

    Attributes:
        layer: number of the block.
        branch: guidance branch or rider; None where there is only one.
        cache_size: 0: the engine's own limits on a buffer do not apply.
        sink_tokens: 0: the policy says what stays.
        global_sink_tokens: likewise.
    """

    cache_size = sink_tokens = global_sink_tokens = attention_window_size = 0
    allow_growth = False

    def __init__(self, starts: ChunkStarts, layer: int, branch: int | None) -> None:
        """Layer `layer` of branch `branch`."""
        self._starts, self.layer, self.branch = starts, layer, branch

    def update_and_get_attention_kv(
        self,
        *,
        key: Tensor,
        value: Tensor,
        current_chunk_start: int,
        cache_head_start: int | None = None,
        recent_window_tokens: int | None = None,
        debug_name: str = "causal KV cache",
        position_ids: Tensor | None = None,
        sink_protected_rewrite: bool = False,
    ) -> KVView:
        """Write the chunk's keys and values, and get everything that it attends.

        Args:
            key: `(1, tokens, kv_heads, head_dim)`, rotated to absolute frames.
            value: likewise, not rotated.
            current_chunk_start: token of the rollout at which the chunk starts; a new one begins the next chunk.
            cache_head_start: first of this rank's heads; the cache holds this rank's heads only.
            recent_window_tokens: must be None, the policy says what is attended.
            debug_name: how errors call the cache.
            position_ids: must be None, keys come rotated.
            sink_protected_rewrite: whether SGLang would keep a sink's first keys when they are written again; here a
                chunk keeps those of its last pass, and none after it.

        Raises:
            PolicyError: an argument that would be ignored silently, and as for `WorldCache.window`.
        """
        for name, given in (("recent_window_tokens", recent_window_tokens), ("position_ids", position_ids)):
            if given is not None:
                raise PolicyError(
                    f"{debug_name}: {name} would be ignored, for the policy says which tokens are attended and keys "
                    "come rotated; turn the option of the engine off that sets it"
                )
        if self.layer == 0:
            self._starts.at_token(current_chunk_start)
        keys, values = self._starts.cache.window(self.layer, key, value, branch=self.branch)
        end, own = keys.shape[1], key.shape[1]
        return KVView(keys, values, end - own, end, end, current_chunk_start + own)

    def can_direct_current_attention(self, num_new_tokens: int) -> bool:
        """Whether the engine may attend without asking: never, for then nothing would be cached."""
        return False

    @property
    def num_cache_heads(self) -> int:
        """Heads that are cached on this rank."""
        return self._starts.cache.geometry.kv_heads

    def reset_indices(self) -> None:
        """A new rollout; the engine calls every layer of every branch, the very first one resets the cache."""
        if self.layer == 0 and not self.branch:
            self._starts.reset()

    def pin_current_chunk(self, current_num_tokens: int) -> None:
        """Refused: a policy has no pinned chunks.

        Raises:
            PolicyError: always.
        """
        raise PolicyError(f"{current_num_tokens} tokens cannot be pinned at a scene cut; reset the cache there instead")


def layers(cache: WorldCache, viewpoint_of: ViewpointOf) -> tuple[list[Layer], ...]:
    """One list of layers for each branch of the cache's geometry: conditional, unconditional, then riders.

    Args:
        cache: of this rank's heads.
        viewpoint_of: the viewpoint of a chunk by its number.
    """
    return layers_of(Layer, cache, viewpoint_of)
