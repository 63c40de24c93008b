"""Language models of few channels and random weights, and which tokens they attended under a policy."""

from __future__ import annotations

import functools
import importlib
from typing import Any

import torch
from torch import Tensor

from worldkv import parse_policy
from worldkv.adapters.transformers import PolicyCache, open_cache

CHUNK = 16
TEXT = 150
"""Tokens of the test's text: nine chunks and six tokens more."""
BY_CHUNKS = {
    "sliding-window": "sliding-window:recent_frames=2,sink_frames=1",
    "h2o": "h2o:recent_frames=2,heavy_frames=2",
    "quest-bounds": "quest-bounds:sink_frames=1,recent_frames=2,retrieved_frames=2",
    "arkvale": "arkvale:sink_frames=1,recent_frames=2,retrieved_frames=2",
    "mean-key": "mean-key:sink_frames=1,recent_frames=2,retrieved_frames=2",
    "random": "random:sink_frames=1,recent_frames=2,retrieved_frames=2",
}
"""Policies whose layers and heads all attend the same tokens."""
_PRUNED = "index=mean-key,keep_ratio=0.25,sink_frames=1,recent_frames=2,retrieved_frames=99"
BY_HEADS = {"snapkv": f"snapkv:{_PRUNED}", "keydiff": f"keydiff:{_PRUNED}"}
"""Rules by which every layer and head keeps tokens of its own."""


@functools.cache
def tiny(layers: int = 2, kv_heads: int = 2, kind: str = "Llama", **more: Any) -> Any:
    """A model of random weights with few channels, four query heads."""
    transformers = importlib.import_module("transformers")
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=kv_heads,
        vocab_size=97,
        max_position_embeddings=4096,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
        **more,
    )
    return getattr(transformers, f"{kind}ForCausalLM")(config).eval()


def text(rows: int = 1) -> Tensor:
    return torch.randint(0, 97, (rows, TEXT), generator=torch.Generator().manual_seed(1))


def opened(model: Any, spec: str = "full-kv", **options: Any) -> PolicyCache:
    return open_cache(model, parse_policy(spec), **{"chunk_tokens": CHUNK} | options)


def logits_of(model: Any, cache: Any, parts: list[int], ids: Tensor) -> Tensor:
    """The logits of a text handed over in forwards of `parts` tokens."""
    assert sum(parts) == ids.shape[1]
    pieces = torch.split(ids, parts, dim=1)
    return torch.cat([model(piece, past_key_values=cache, use_cache=True).logits for piece in pieces], dim=1)


def layer_0_keys(model: Any, ids: Tensor) -> Tensor:
    """Keys of the first layer, which depend on each token and its position alone `(kv_heads, tokens, head_dim)`."""
    from transformers import DynamicCache

    cache = DynamicCache()
    model(ids, past_key_values=cache)
    keys: Tensor = cache.layers[0].keys[0]
    return keys


def distances(some: Tensor, others: Tensor) -> Tensor:
    """Euclidean, between every two rows `(some, others)`."""
    return torch.cdist(some, others, compute_mode="donot_use_mm_for_euclid_dist")


class Attended:
    """Notes which tokens each query attended, told from the first layer's keys: a mask `(kv_heads, tokens, tokens)`."""

    def __init__(self, model: Any, ids: Tensor) -> None:
        self.known = layer_0_keys(model, ids)
        self.mask = torch.zeros((self.known.shape[0], ids.shape[1], ids.shape[1]), dtype=torch.bool)
        self.seen = 0

    def __call__(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor) -> None:
        if layer:
            return
        new = queries.shape[1]
        for head in range(len(self.known)):
            distance = distances(keys[0, :, head], self.known[head])
            found = distance.argmin(dim=1)
            assert float(distance.amin(dim=1).max()) < 1e-4, "an attended key is none of the text's"
            assert len(set(found.tolist())) == len(found), "a token is attended twice"
            for row in range(self.seen, self.seen + new):
                self.mask[head, row, found[found <= row]] = True
        self.seen += new


def masked(model: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """The whole text in one forward, each head under its own explicit mask."""
    groups = model.config.num_attention_heads // mask.shape[0]
    additive = torch.zeros(mask.shape).masked_fill(~mask, float("-inf")).repeat_interleave(groups, dim=0)
    logits: Tensor = model(ids, attention_mask=additive[None], use_cache=False).logits
    return logits
