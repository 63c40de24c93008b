"""RELIC subsample: everything stays, older frames thinned."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from worldkv.answers import NOTHING_LEAVES, Eviction, Ids, Keep
from worldkv.errors import SpecError
from worldkv.geometry import CacheGeometry
from worldkv.parts.eviction_only import EvictionOnly
from worldkv.views import ChunkView, WindowView

FACTORS = (1, 4, 2, 4, 4, 4, 2, 4, 4, 2, 4, 4, 4, 2, 4, 4, 2, 4)
"""Of every n-th token of a latent frame one is kept; the schedule repeats after these frames."""


@dataclass(frozen=True)
class RelicSubsample(EvictionOnly):
    """Everything is remembered, most of it at a half or a quarter of its tokens: the window grows, but slowly.

    When a chunk leaves the recent window it is thinned in place: of each latent frame the tokens at equal strides.
    RELIC downsamples them spatially, merging tokens; merging is left out here, so this is a strided subset and its
    name says so. The schedule keeps 0.36 of the tokens (RELIC speaks of a quarter). Source: the schedule of arXiv
    2512.04040.

    Attributes:
        recent_frames: newest latent frames left whole beside the chunk being generated.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("relic-subsample",)

    recent_frames: int = 6

    def __post_init__(self) -> None:
        if self.recent_frames < 0:
            raise SpecError(f"recent_frames must be at least 0 latent frames, got {self.recent_frames}")

    @property
    def is_bounded(self) -> bool:
        """See `CachePolicy.is_bounded`: nothing ever leaves."""
        return False

    def evict(self, window: WindowView) -> Eviction:
        """See `CachePolicy.evict`: no chunk leaves; the one that is no longer recent is thinned."""
        geometry = window.geometry
        old = window.ids[window.ids < window.step - self.recent_frames // geometry.frames_per_chunk]
        shrink = {}
        for chunk in old[::-1].tolist():
            keep = thinned(window.chunk(chunk))
            if keep is None:
                break  # this one and all before it are thin already
            shrink[chunk] = keep
        return Eviction(shrink=shrink) if shrink else NOTHING_LEAVES

    def pinned(self, step: int, geometry: CacheGeometry) -> Ids:
        """See `CachePolicy.pinned`: every chunk so far, which no budget can be asked to hold for ever."""
        geometry.chunks_of(self.recent_frames, "recent_frames")
        return super().pinned(step, geometry)


def thinned(chunk: ChunkView) -> Keep | None:
    """What the schedule keeps of a whole chunk; None if it is no longer whole."""
    geometry = chunk.geometry
    per_frame, frames = geometry.tokens_per_frame, geometry.frames_per_chunk
    if chunk.tokens != geometry.chunk_tokens:
        return None
    strides = [FACTORS[frame % len(FACTORS)] for frame in range(chunk.id * frames, (chunk.id + 1) * frames)]
    starts = range(0, geometry.chunk_tokens, per_frame)
    kept = [np.arange(start, start + per_frame, stride) for start, stride in zip(starts, strides, strict=True)]
    tokens = np.fromiter(itertools.chain.from_iterable(kept), np.int64)
    return Keep(len(tokens), tuple(float(len(of_frame)) for of_frame in kept), tokens)
