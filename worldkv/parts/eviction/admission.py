"""Admission: a token that leaves the recent window is written to the long-term cache, or dropped for ever."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from worldkv.answers import NOTHING_LEAVES, Eviction, Ids, RaggedKeep
from worldkv.errors import SignalError, SpecError
from worldkv.geometry import CacheGeometry
from worldkv.parts.compression.scored_tokens import scores_of
from worldkv.parts.eviction.sink_recent import recent_chunks
from worldkv.parts.over_ranks import summed_over_ranks
from worldkv.parts.scorer.novelty import Novelty
from worldkv.parts.scorer.scored_by import ScoreFunction, scorer_of
from worldkv.policy import EvictionRule, Part, TokenScorer
from worldkv.views import ChunkView, WindowView


@dataclass(frozen=True)
class Admission(EvictionRule):
    """Of a chunk that is no longer recent, every layer and head keeps the tokens of at least `least_utility`.

    Decided once, when the token leaves the recent window; what is admitted stays. Counts differ between layers and
    heads and depend on the model, so the simulator replays a recording. Source: the rule of arXiv 2605.14037.

    Attributes:
        recent_frames: newest latent frames left whole.
        least_utility: least utility admitted.
        utility: utility of each token, between 0 and 1; in Python also a function of a chunk's view, see `ScoredBy`.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("admission",)
    ragged: ClassVar[bool] = True
    data_dependent: ClassVar[bool] = True
    is_bounded: ClassVar[bool] = False

    recent_frames: int = 6
    least_utility: float = 0.5
    utility: TokenScorer | ScoreFunction = Novelty()

    def __post_init__(self) -> None:
        if self.recent_frames < 0:
            raise SpecError(f"recent_frames must be at least 0 latent frames, got {self.recent_frames}")
        if not 0 <= self.least_utility <= 1:
            raise SpecError(f"least_utility must be between 0 and 1, got {self.least_utility}")
        self._make_scorer()  # refuses what is neither a scorer nor a function

    def _make_scorer(self) -> TokenScorer:
        return scorer_of(self.utility, "utility")

    def parts(self) -> tuple[Part, ...]:
        """The scorer."""
        return (self._make_scorer(),)

    def evict(self, window: WindowView) -> Eviction:
        """See `CachePolicy.evict`: the one chunk that has just ceased to be recent is judged."""
        newest_old = window.step - 1 - self.recent_frames // window.geometry.frames_per_chunk
        if newest_old not in window.ids:
            return NOTHING_LEAVES
        chunk = window.chunk(newest_old)
        keep = admitted(chunk, self._make_scorer(), self.least_utility)
        if keep is None:
            return Eviction(discard=(newest_old,))
        return Eviction(shrink={newest_old: keep})

    def pinned(self, step: int, geometry: CacheGeometry) -> Ids:
        """See `CachePolicy.pinned`: the recent chunks."""
        return recent_chunks(self.recent_frames, step, geometry)


def admitted(chunk: ChunkView, scorer: TokenScorer, least_utility: float) -> RaggedKeep | None:
    """What is admitted of a chunk, as recorded where it has no keys; None where nothing is.

    Args:
        chunk: the chunk.
        scorer: utility of each token, between 0 and 1.
        least_utility: least utility admitted.

    Raises:
        SignalError: it has neither keys nor a recording.
    """
    if chunk.keys is None:
        return _replayed(chunk)
    flags = scores_of(scorer, chunk) >= least_utility
    edges = np.cumsum([0, *(round(tokens) for tokens in chunk.frame_tokens)])
    of_frames = [flags[..., a:b].sum() for a, b in itertools.pairwise(edges)]
    sums = summed_over_ranks(np.array([*of_frames, flags.shape[0] * flags.shape[1]]), chunk)
    if not sums[:-1].any():
        return None
    frames = sums[:-1] / sums[-1]
    counts = flags.sum(axis=2).astype(np.int64)
    tokens = tuple(tuple(np.flatnonzero(head).astype(np.int64) for head in layer) for layer in flags)
    mean_count = None if chunk.reduce is None else float(frames.sum())
    return RaggedKeep(counts, tuple(frames.tolist()), tokens, mean_count)


def _replayed(chunk: ChunkView) -> RaggedKeep | None:
    entries = chunk.recorded_entries
    if entries is None or chunk.recorded_tokens is None:
        raise SignalError(
            "Admission keeps a number of tokens that depends on the model; give the simulator a recorded run, or use "
            "the torch backend"
        )
    if chunk.recorded_tokens == 0:
        return None
    shape = (chunk.geometry.layers, chunk.geometry.kv_heads)
    heads = shape[0] * shape[1]
    # Only the sum over all heads was recorded: spread it evenly, the remainder over the first.
    counts: NDArray[np.int64] = entries // heads + (np.arange(heads) < entries % heads)
    share = entries / heads / chunk.tokens
    return RaggedKeep(counts.reshape(shape), tuple(tokens * share for tokens in chunk.frame_tokens))
