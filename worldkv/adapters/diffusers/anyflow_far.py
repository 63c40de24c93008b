"""diffusers' AnyFlow-FAR transformer under a WorldCache, its source unedited.

Read against diffusers 0.42.1 (`transformer_anyflow_far.py`). The model hands each block's `attn1` a cache of its own,
`{"full_cache", "compressed_cache"}`, which it fills anew from the whole sequence after every chunk. Here each block
gets an attention processor over the WorldCache, and the clean pass over a finished chunk is a call like every other:

    model(latents, t, r, text, partition[: i + 1], kv_cache=attached.kv_cache, kv_cache_flag=attached.flag(i))

Only chunks in full resolution: past `full_chunk_limit` chunks (3 by default, what released weights are trained with)
the model wants older ones encoded again with coarser patches, and those are other tokens than the cached ones. Such a
call is refused; `model.register_to_config(full_chunk_limit=...)` above the number of chunks keeps all in full.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from worldkv.adapters.diffusers.geometry import check_geometry
from worldkv.adapters.diffusers.removable import Removable
from worldkv.errors import PolicyError, SpecError, WorldKVError

if TYPE_CHECKING:
    from torch import Tensor

    from worldkv.backends.cache import WorldCache


def apply_worldkv_far(transformer: Any, cache: WorldCache) -> FarAttachment:
    """Put the transformer's self attention under `cache`, until `remove` of what is returned.

    Args:
        transformer: an `AnyFlowFARTransformer3DModel`; guidance runs on the batch axis.
        cache: of the model's geometry (`geometry_of`).

    Raises:
        WorldKVError: diffusers is not installed.
        SpecError: another model class, or a geometry that is not the model's.
    """
    try:
        from diffusers import AnyFlowFARTransformer3DModel
    except ImportError as missing:
        raise WorldKVError(
            "the adapter of AnyFlow-FAR needs diffusers, which is not installed; pip install 'worldkv[diffusers]'"
        ) from missing
    if not isinstance(transformer, AnyFlowFARTransformer3DModel):
        raise SpecError(f"this adapter takes an AnyFlowFARTransformer3DModel, got {type(transformer).__name__}")
    check_geometry(transformer, cache.geometry)
    return FarAttachment(transformer, cache)


class FarAttachment(Removable):
    """A transformer under a cache; as a context manager it removes itself.

    Attributes:
        cache: the rollout's cache; set another of the same geometry for the next rollout.
        kv_cache: what to hand the model as `kv_cache`: one empty entry a block.
    """

    def __init__(self, transformer: Any, cache: WorldCache) -> None:
        """Sets the processors."""
        self.cache = cache
        self.kv_cache: list[dict[str, Tensor]] = [{} for _ in transformer.blocks]
        super().__init__()
        for layer, block in enumerate(transformer.blocks):
            self._undo.append(partial(block.attn1.set_processor, block.attn1.processor))
            block.attn1.set_processor(FarSelfAttention(self, layer))

    def flag(self, chunk: int) -> dict[str, Any]:
        """What to hand the model as `kv_cache_flag` for chunk `chunk`, counted from 0."""
        return {"num_cached_chunks": chunk, "is_cache_step": False}


class FarSelfAttention:
    """The attention processor of one block's `attn1`: the cache's keys and values, the model's own rotary positions.

    Attributes:
        attachment: whose cache.
        layer: number of the block.
    """

    _parallel_config = None
    _attention_backend = None

    def __init__(self, attachment: FarAttachment, layer: int) -> None:
        """For block `layer`; `transformer.set_attention_backend` changes the kernel, flex attention is not needed."""
        from diffusers.models.attention_dispatch import dispatch_attention_fn
        from diffusers.models.transformers.transformer_anyflow_far import apply_rotary_emb

        self.attachment, self.layer = attachment, layer
        self._dispatch, self._rotate = dispatch_attention_fn, apply_rotary_emb

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Any = None,
        rotary_emb: dict[str, Tensor] | None = None,
        kv_cache: dict[str, Tensor] | None = None,
        kv_cache_flag: dict[str, Any] | None = None,
    ) -> Any:
        """Attention of the chunk over the window and itself; shapes as in diffusers' own processor.

        Raises:
            PolicyError: the call is not one of inference over chunks in full resolution, and as for
                `WorldCache.window`.
        """
        cache = self.attachment.cache
        if kv_cache_flag is None or kv_cache_flag["is_cache_step"] or rotary_emb is None:
            raise PolicyError(
                "a training or cache-filling call recomputes the whole sequence; call the model with this attachment's "
                "kv_cache and flag(chunk), also in the clean pass"
            )
        if kv_cache_flag["num_cached_compressed_tokens"]:
            raise PolicyError(
                "the model wants its older chunks encoded again with coarser patches, which are no cached tokens; "
                "raise full_chunk_limit above the number of chunks by model.register_to_config(full_chunk_limit=...)"
            )
        before = cache.start_frame * cache.geometry.tokens_per_frame
        if kv_cache_flag["num_cached_full_tokens"] != before:
            raise PolicyError(
                f"chunk_partition puts {kv_cache_flag['num_cached_full_tokens']} tokens before this chunk, the cache "
                f"{before}; hand over the lengths of all chunks up to this one"
            )
        heads, dtype = (attn.heads, -1), hidden_states.dtype
        queries, keys, values = attn.to_q(hidden_states), attn.to_k(hidden_states), attn.to_v(hidden_states)
        queries = queries if attn.norm_q is None else attn.norm_q(queries)
        keys = keys if attn.norm_k is None else attn.norm_k(keys)
        queries, keys = queries.to(dtype).unflatten(2, heads), keys.to(dtype).unflatten(2, heads)
        values = values.unflatten(2, heads)
        if cache.keys == "rotated":
            turned = (self._rotate(x.transpose(1, 2), rotary_emb["query"]).transpose(1, 2) for x in (queries, keys))
            queries, keys = turned
        keys, values = cache.window(self.layer, keys, values, queries=queries)
        if cache.keys == "unrotated":
            queries = cache.rotate(queries)
        mask = None if cache.valid_tokens is None else cache.valid_tokens[None, None, None]
        attended = self._dispatch(queries, keys, values, attn_mask=mask, backend=self._attention_backend)
        return attn.to_out[1](attn.to_out[0](attended.flatten(2, 3).type_as(queries)))
