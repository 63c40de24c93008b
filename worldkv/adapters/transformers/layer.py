"""One layer of the cache that a transformers model is handed, and the attention function that shows it queries."""

from __future__ import annotations

import math
import threading
from typing import Any, NoReturn

import torch
from torch import Tensor

from worldkv.adapters.transformers.library import load
from worldkv.adapters.transformers.token_chunks import TokenChunks
from worldkv.errors import PolicyError

ATTENTION = "worldkv"
"""Name of the attention implementation: transformers' SDPA, which also hands queries to the cache."""

_handed = threading.local()
"""The layer whose `update` ran last in this thread, and the keys it handed back: how `attend` knows whose they are."""


class PolicyLayer:
    """A layer of transformers' `Cache` that returns what the policy keeps instead of everything.

    It tells the tokens *seen* (for positions) from the tokens *kept* (for masks): kept ones stand in front, so that the
    mask of `kept + new` columns begins at column `seen - kept`. Source: `CacheLayerMixin` of transformers 5.23, which
    it is registered as a kind of.

    Attributes:
        index: which layer.
    """

    is_compileable = False
    is_croppable = False
    is_sliding = False
    supports_early_init = False
    is_initialized = True
    _layer_type: str | None = None

    def __init__(self, chunks: TokenChunks, config: Any, index: int) -> None:
        """A layer over the tokens of `chunks`, of a model with that configuration."""
        self.index = index
        self._chunks, self._config = chunks, config

    def __repr__(self) -> str:
        return f"PolicyLayer({self.index})"

    # ------------------------------------------------------------------ what transformers asks

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing: room is made when a chunk begins."""

    def get_seq_length(self) -> int:
        """Tokens seen, dropped ones included: the position of the next one."""
        return self._chunks.seen_by(self.index)

    def get_max_length(self) -> int:
        """No limit."""
        return -1

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Columns of the mask of a forward of `query_length` tokens, and the position that the first stands for."""
        self._chunks.start_pass(query_length)
        kept = self._chunks.kept
        return kept + query_length, self._chunks.seen - kept

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Takes a forward's keys and values, and returns all that they attend, `(rows, kv_heads, tokens, head_dim)`.

        Under the attention implementation "worldkv" it returns them as they are; `attend` does the rest.

        Raises:
            PolicyError: more rows than the cache has, or the policy reads queries and the model does not show them.
        """
        geometry = self._chunks.cache.geometry
        if key_states.shape[0] != geometry.branches:
            raise PolicyError(
                f"the cache was opened for batch_size={geometry.branches}, got {key_states.shape[0]} rows; open it "
                "with that batch_size, and decode without beams"
            )
        if self._config._attn_implementation == ATTENTION:
            before = getattr(_handed, "layer", None)
            if before is not None and before._chunks is self._chunks and before.index == self.index - 1:
                raise PolicyError(
                    f"the keys of layer {before.index} were changed on their way from the cache to the attention "
                    "function, so this model cannot show its queries; take a policy that reads none"
                )
            _handed.layer, _handed.keys = self, key_states
            return key_states, value_states
        if self._chunks.with_queries:
            name, kind = type(self._chunks.cache.policy).__name__, self._config._attn_implementation
            raise PolicyError(
                f"{name} reads queries, which the attention implementation {kind!r} does not show; call "
                f"model.set_attn_implementation({ATTENTION!r})"
            )
        keys, values = self._chunks.window(self.index, key_states.transpose(1, 2), value_states.transpose(1, 2), None)
        return keys.transpose(1, 2), values.transpose(1, 2)

    def reset(self) -> None:
        """Forget everything, once for all layers."""
        if self.index == 0:
            self._chunks.reset()

    def offload(self) -> None:
        """Nothing: the policy decides what lies where."""

    def prefetch(self) -> None:
        """Nothing, likewise."""

    # ------------------------------------------------------------------ what it refuses

    def crop(self, tokens_to_remove: int) -> None:
        """Refused: what a policy dropped does not come back."""
        self._refuse("taking tokens back (crop, assisted decoding, prompt lookup)")

    def activate_past_recording(self) -> None:
        """Refused: it announces that tokens will be taken back."""
        self._refuse("taking tokens back (crop, assisted decoding, prompt lookup)")

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Refused: rows share every decision."""
        self._refuse("beam search")

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Refused: a cache has as many rows as it was opened for."""
        self._refuse("repeating rows")

    def batch_select_indices(self, indices: Tensor) -> None:
        """Refused: a cache has as many rows as it was opened for."""
        self._refuse("choosing rows")

    def _refuse(self, what: str) -> NoReturn:
        raise PolicyError(
            f"{what} is not possible under a cache policy, which has dropped tokens for all rows alike; decode "
            "greedily or by sampling, or use transformers' DynamicCache"
        )

    # ------------------------------------------------------------------ with queries

    def with_queries(
        self, queries: Tensor, keys: Tensor, values: Tensor, scaling: float | None
    ) -> tuple[Tensor, Tensor]:
        """All that `queries` attend, `(rows, kv_heads, tokens, head_dim)`; they go into the window with their keys."""
        shown = queries.transpose(1, 2)
        usual = 1 / math.sqrt(queries.shape[-1])
        if scaling is not None and not math.isclose(scaling, usual):
            shown = shown * (scaling / usual)  # so that attention is measured as the model pays it
        keys, values = self._chunks.window(self.index, keys.transpose(1, 2), values.transpose(1, 2), shown)
        return keys.transpose(1, 2), values.transpose(1, 2)


def attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """The attention implementation "worldkv": SDPA, over the policy's window where the keys come from a `PolicyLayer`.

    A policy that is asked after the first pass may change the window in the first layer, after transformers has made
    its mask; so the mask of such keys is made here.
    """
    sdpa = load("transformers.integrations.sdpa_attention").sdpa_attention_forward
    if getattr(_handed, "keys", None) is key:
        key, value = _handed.layer.with_queries(query, key, value, scaling)
        _handed.layer = _handed.keys = None
        attention_mask = causal_mask(query.shape[2], key.shape[2], key.device)
    result: tuple[Tensor, None] = sdpa(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    return result


def causal_mask(queries: int, keys: int, device: torch.device) -> Tensor | None:
    """Which of `keys` the last `queries` tokens see: all before them, and themselves up to each; None by default."""
    if queries in (1, keys):
        return None  # one query sees everything; with nothing before, SDPA's own causal mask is right
    mask = torch.ones((queries, keys), dtype=torch.bool, device=device)
    return mask.tril_(keys - queries)[None, None]


def register() -> None:
    """Make the attention implementation known to transformers, and `PolicyLayer` a kind of its cache layers."""
    modeling, masking = load("transformers.modeling_utils"), load("transformers.masking_utils")
    modeling.ALL_ATTENTION_FUNCTIONS.register(ATTENTION, attend)
    masking.ALL_MASK_ATTENTION_FUNCTIONS.register(ATTENTION, masking.sdpa_mask)
    load("transformers.cache_utils").CacheLayerMixin.register(PolicyLayer)
