"""A pool of old tokens: what leaves the recent window competes, token by token, for a fixed number of places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from worldkv.answers import NOTHING_LEAVES, Eviction, Ids, Keep
from worldkv.errors import SpecError
from worldkv.geometry import CacheGeometry
from worldkv.parts.compress import replayed
from worldkv.parts.compression.scored_tokens import frames_of, scores_of_each
from worldkv.parts.eviction.sink_recent import recent_chunks
from worldkv.parts.over_ranks import summed_over_ranks
from worldkv.parts.scorer.attention_received import AttentionReceived
from worldkv.policy import EvictionRule, TokenScorer
from worldkv.views import ChunkView, WindowView


@dataclass(frozen=True)
class TokenPool(EvictionRule):
    """The newest frames whole, and of everything older the `pool_frames` frames' worth of tokens that score highest.

    Chunks are shrunk in place to the tokens that are left, those with none are discarded; what is out stays out. Scores
    are summed over layers and heads (of all ranks where heads are split), so that every layer and head keeps the same
    tokens (published, each chooses its own). How many tokens each chunk has left depends on the model: the simulator
    replays a recording.
    Source: the eviction of H2O (arXiv 2306.14048).

    Attributes:
        recent_frames: newest latent frames left whole.
        pool_frames: places for older tokens, in latent frames' worth.
        scorer: what each token is worth.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("token-pool",)
    data_dependent: ClassVar[bool] = True

    recent_frames: int = 9
    pool_frames: int = 9
    scorer: TokenScorer = AttentionReceived()

    def __post_init__(self) -> None:
        for name in ("recent_frames", "pool_frames"):
            if getattr(self, name) < 0:
                raise SpecError(f"{name} must be at least 0 latent frames, got {getattr(self, name)}")

    def evict(self, window: WindowView) -> Eviction:
        """See `CachePolicy.evict`."""
        geometry = window.geometry
        old = window.ids < window.step - self.recent_frames // geometry.frames_per_chunk
        places = self.pool_frames * geometry.tokens_per_frame
        if int(window.tokens[old].sum()) <= places:
            return NOTHING_LEAVES
        chunks = [window.chunk(chunk) for chunk in window.ids[old].tolist()]
        if chunks[0].keys is None:
            keeps = [_replayed(chunk) for chunk in chunks]
        else:
            keeps = _highest(chunks, self.scorer, places)
        kept = list(zip(chunks, keeps, strict=True))
        return Eviction(
            discard=tuple(chunk.id for chunk, keep in kept if keep is None),
            shrink={chunk.id: keep for chunk, keep in kept if keep is not None and keep.count < chunk.tokens},
        )

    def pinned(self, step: int, geometry: CacheGeometry) -> Ids:
        """See `CachePolicy.pinned`: the recent chunks."""
        return recent_chunks(self.recent_frames, step, geometry)


def _highest(chunks: list[ChunkView], scorer: TokenScorer, places: int) -> list[Keep | None]:
    """What each chunk keeps of its tokens if the `places` best of all stay, of equal ones the older."""
    scores = scores_of_each(scorer, chunks)
    sums = np.concatenate([some.sum(axis=(0, 1), dtype=np.float64) for some in scores])
    order = np.argsort(-summed_over_ranks(sums, chunks[0]), kind="stable")[:places]
    stays: NDArray[np.bool_] = np.zeros(len(sums), np.bool_)
    stays[order] = True
    keeps: list[Keep | None] = []
    for chunk, flags in zip(chunks, np.split(stays, np.cumsum([chunk.tokens for chunk in chunks])[:-1]), strict=True):
        tokens = np.flatnonzero(flags)
        keeps.append(Keep(len(tokens), frames_of(tokens, chunk), tokens) if len(tokens) else None)
    return keeps


def _replayed(chunk: ChunkView) -> Keep | None:
    """What a recorded run left of the chunk; None for nothing."""
    return None if chunk.recorded_tokens == 0 else replayed(chunk, "TokenPool")
