"""A chunk's keys as 32-bit floats, a few layers at a time, so that a large chunk is never copied as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

NUMBERS_AT_A_TIME = 1 << 24
"""Layers come together up to this many numbers, so that temporaries stay small."""


def key_layers(keys: Any) -> Iterator[tuple[slice, Any]]:
    """Layers, and their keys in float32; keys that are float32 already are not copied.

    Args:
        keys: `(layers, kv_heads, tokens, head_dim)`, of any floating dtype and array-API namespace.
    """
    from array_api_compat import array_namespace

    xp = array_namespace(keys)
    layers, heads, tokens, channels = keys.shape
    together = max(1, NUMBERS_AT_A_TIME // max(1, heads * tokens * channels))
    for first in range(0, layers, together):
        some = slice(first, min(first + together, layers))
        yield some, xp.astype(keys[some, ...], xp.float32, copy=False)
