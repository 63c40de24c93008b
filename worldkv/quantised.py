"""Quantised storage: how many bytes a chunk takes in the bank at eight bits a number."""

from __future__ import annotations

from typing import Literal

from worldkv.geometry import CacheGeometry

StoredAs = Literal["int8", "fp8"]
"""Eight-bit integers, or floats of four exponent and three mantissa bits (e4m3); both with a scale a channel."""
SCALE_BYTES = 4
"""Scales are float32: at a fraction of a percent of a chunk, half precision would save nothing and could overflow."""


def stored_bytes(geometry: CacheGeometry, tokens: int) -> int:
    """Bytes of `tokens` tokens: one a number, and one scale for each channel of every layer, head, branch, K and V."""
    channels = 2 * geometry.branches * geometry.layers * geometry.kv_heads * geometry.head_dim
    return channels * (tokens + SCALE_BYTES)
