"""Size of a window: how many latent frames a number of tokens leaves to a policy."""

from __future__ import annotations

from worldkv.geometry import CacheGeometry


def frames_beside(window_tokens: int, geometry: CacheGeometry) -> int:
    """Latent frames, in whole chunks, that fit into `window_tokens` beside the chunk being generated.

    Below 0 where not even that chunk fits.
    """
    return (window_tokens // geometry.chunk_tokens - 1) * geometry.frames_per_chunk
