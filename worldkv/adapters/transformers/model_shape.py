"""The cache shape of a language model, from its configuration; what cannot be cached under a policy is refused."""

from __future__ import annotations

from typing import Any

import torch

from worldkv.adapters.transformers.library import load
from worldkv.errors import SpecError
from worldkv.geometry import MOST, CacheGeometry


def geometry_of(
    config: Any,
    chunk_tokens: int = 64,
    *,
    frames_per_chunk: int = 1,
    batch_size: int = 1,
    dtype: torch.dtype | None = None,
) -> CacheGeometry:
    """The geometry of a language model whose chunks are runs of tokens.

    A policy moves whole chunks, and its windows are given in latent frames. By default a frame is a chunk, so that
    every policy fits as it is and `sink_frames=1,recent_frames=14` reads as 1 and 14 chunks of `chunk_tokens` tokens.
    With `frames_per_chunk=4` a frame is a quarter of a chunk, and windows are multiples of 4: for rules inside a chunk,
    such as World Compression's, which leaves each chunk's first frame whole. With `frames_per_chunk=chunk_tokens` a
    frame is a token, and windows are given in tokens: `sink_frames=64,recent_frames=896`.

    Args:
        config: a transformers configuration, of the whole model or of its text part.
        chunk_tokens: tokens of a chunk.
        frames_per_chunk: latent frames of a chunk; divides `chunk_tokens`.
        batch_size: rows that go through the model together.
        dtype: of keys and values; by default the configuration's, or float32.

    Raises:
        SpecError: the model does not cache all tokens in every layer, or numbers do not fit.
    """
    cache_utils = load("transformers.cache_utils")
    text = config.get_text_config(decoder=True)
    if chunk_tokens < 1 or frames_per_chunk < 1 or chunk_tokens % frames_per_chunk:
        raise SpecError(
            f"chunk_tokens must be a multiple of frames_per_chunk, got {chunk_tokens} and {frames_per_chunk}; a chunk "
            "is whole frames"
        )
    kinds = sorted(set(cache_utils.get_layer_types_and_kwargs(text)[0]) - {"full_attention"})
    if kinds:
        raise SpecError(
            f"{text.model_type} has layers of another kind ({', '.join(kinds)}): which tokens those see is the model's "
            "own rule, and a policy's would be wrong unnoticed; take a model whose layers all attend to everything"
        )
    dtype = dtype or getattr(text, "dtype", None) or torch.float32
    tokens_per_frame = chunk_tokens // frames_per_chunk
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return CacheGeometry(
        layers=text.num_hidden_layers,
        heads=text.num_attention_heads,
        kv_heads=getattr(text, "num_key_value_heads", None) or text.num_attention_heads,
        head_dim=head_dim,
        frame_rows=1,
        frame_columns=tokens_per_frame,
        frames_per_chunk=frames_per_chunk,
        itemsize=dtype.itemsize,
        temporal_stride=1,
        rope_frames=max(1, getattr(text, "max_position_embeddings", MOST) // tokens_per_frame),
        branches=batch_size,
        name=text.model_type,
    )
