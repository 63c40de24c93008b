"""The attention processor that diffusers' Wan blocks get: the cache's keys and values, the model's own kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worldkv.errors import PolicyError

if TYPE_CHECKING:
    from torch import Tensor

    from worldkv.backends.cache import WorldCache


class CallUnderWay:
    """What a call of the transformer cannot carry to its attention processors.

    Attributes:
        cache: the rollout's cache.
        branch: branch of the call; None where the batch axis carries all of them.
        is_clean: whether calls are marked as the clean pass.
    """

    def __init__(self, cache: WorldCache) -> None:
        """No call yet."""
        self.cache = cache
        self.branch: int | None = None
        self.is_clean = False


class WanSelfAttention:
    """The attention processor of one block's `attn1`: the cache's keys and values, the model's own kernel.

    Attributes:
        call: whose cache, and which branch of it.
        layer: number of the block.
    """

    _parallel_config = None

    def __init__(self, call: CallUnderWay, layer: int, backend: Any) -> None:
        """`backend` is the kernel that was set for the block; `transformer.set_attention_backend` changes it."""
        from diffusers.models.attention_dispatch import dispatch_attention_fn

        self.call, self.layer, self._attention_backend = call, layer, backend
        self._dispatch = dispatch_attention_fn

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Any:
        """Attention of the chunk over the window and itself; shapes as in diffusers' own processor.

        Raises:
            PolicyError: an attention mask came along, and as for `WorldCache.window`.
        """
        if attention_mask is not None:
            raise PolicyError("an attention mask cannot be laid over a window that changes; leave it out")
        cache, clean, branch = self.call.cache, self.call.is_clean, self.call.branch
        if getattr(attn, "fused_projections", False):
            queries, keys, values = attn.to_qkv(hidden_states).chunk(3, dim=-1)
        else:
            queries, keys, values = attn.to_q(hidden_states), attn.to_k(hidden_states), attn.to_v(hidden_states)
        heads = (attn.heads, -1)
        queries, keys = attn.norm_q(queries).unflatten(2, heads), attn.norm_k(keys).unflatten(2, heads)
        values = values.unflatten(2, heads)
        if rotary_emb is not None and cache.keys == "rotated":
            queries, keys = rotate(queries, *rotary_emb), rotate(keys, *rotary_emb)
        hidden = hidden_states if clean else None
        if cache.policy.ragged:
            attended = cache.attend(self.layer, queries, keys, values, clean, hidden, branch=branch)
        else:
            keys, values = cache.window(
                self.layer, keys, values, branch=branch, queries=queries, clean=clean, hidden=hidden
            )
            if cache.keys == "unrotated":
                queries = cache.rotate(queries)
            mask = None if cache.valid_tokens is None else cache.valid_tokens[None, None, None]
            attended = self._dispatch(queries, keys, values, attn_mask=mask, backend=self._attention_backend)
        attended = attended.flatten(2, 3).type_as(queries)
        return attn.to_out[1](attn.to_out[0](attended))


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Adjacent channel pairs of `x` `(batch, tokens, heads, head_dim)` turned by the model's table.

    Args:
        x: queries or keys.
        cosine: `(1, tokens, 1, head_dim)`, every value twice.
        sine: likewise.
    """
    turned = x.new_empty(x.shape)
    first, second, cosine, sine = x[..., 0::2], x[..., 1::2], cosine[..., 0::2], sine[..., 0::2]
    turned[..., 0::2] = first * cosine - second * sine
    turned[..., 1::2] = first * sine + second * cosine
    return turned
