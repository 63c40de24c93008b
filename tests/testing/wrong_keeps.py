"""Wrong policies and compressions: they keep the wrong tokens, or say that they keep others."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tests.testing.right import Right
from worldkv import Compression, Eviction, Keep, RaggedKeep
from worldkv.views import ChunkView, WindowView


@dataclass(frozen=True)
class Strongest(Compression):
    """Right: the anchor frame, and of each later frame the tokens whose keys are longest, averaged over heads.

    Attributes:
        keep_ratio: kept share of each frame but the first.
    """

    keeps_anchor: ClassVar[bool] = True

    keep_ratio: float = 0.5

    def counts(self, chunk: ChunkView) -> tuple[int, ...]:
        anchor, *later = (round(tokens) for tokens in chunk.frame_tokens)
        return anchor, *(math.ceil(self.keep_ratio * tokens) for tokens in later)

    def kept_tokens(self, chunk: ChunkView) -> Keep:
        counts = self.counts(chunk)
        return Keep(sum(counts), tuple(map(float, counts)))

    def keep(self, chunk: ChunkView) -> Keep | RaggedKeep:
        return self.chosen(chunk, np.sort)

    def chosen(self, chunk: ChunkView, order: Callable[[Any], NDArray[np.int64]]) -> Keep:
        """The longest keys of each frame in the `order` given."""
        counts, start = self.counts(chunk), 0
        length = np.linalg.norm(chunk.keys, axis=-1).mean(axis=1)
        parts = []
        for number, (tokens, count) in enumerate(zip(map(round, chunk.frame_tokens), counts, strict=True)):
            best = np.argsort(-length[:, start : start + tokens], axis=1, kind="stable")[:, :count]
            whole = np.broadcast_to(np.arange(tokens), (len(length), tokens))
            parts.append((order(best) if number else whole) + start)
            start += tokens
        return Keep(sum(counts), tuple(map(float, counts)), np.concatenate(parts, axis=1).astype(np.int64))


@dataclass(frozen=True)
class InScoreOrder(Strongest):
    """Leaves the positions in the order of their scores."""

    def keep(self, chunk: ChunkView) -> Keep:
        return self.chosen(chunk, np.asarray)


@dataclass(frozen=True)
class NamesTokensTwice(Strongest):
    """Takes the best of every head, which may be the same token."""

    def keep(self, chunk: ChunkView) -> Keep:
        keep = self.chosen(chunk, np.sort)
        assert keep.tokens is not None
        keep.tokens[..., -1] = keep.tokens[..., -2]
        return keep


@dataclass(frozen=True)
class OutOfTheChunk(Strongest):
    """Counts positions from one."""

    def keep(self, chunk: ChunkView) -> Keep:
        keep = self.chosen(chunk, np.sort)
        assert keep.tokens is not None
        return Keep(keep.count, keep.frame_tokens, keep.tokens + 1)


@dataclass(frozen=True)
class KeepsNothing(Strongest):
    """Prunes a chunk away instead of discarding it."""

    def keep(self, chunk: ChunkView) -> Keep:
        return Keep(0, (0.0,) * len(chunk.frame_tokens))

    kept_tokens = keep


@dataclass(frozen=True)
class NamesNoTokens(Strongest):
    """Gives the count where there are keys to choose by."""

    def keep(self, chunk: ChunkView) -> Keep:
        return self.kept_tokens(chunk)


@dataclass(frozen=True)
class RaggedUnsaid(Strongest):
    """Keeps other numbers of tokens for other heads and does not say so."""

    def keep(self, chunk: ChunkView) -> RaggedKeep:
        counts = np.full((chunk.geometry.layers, chunk.geometry.kv_heads), chunk.tokens)
        return RaggedKeep(counts, chunk.frame_tokens)


@dataclass(frozen=True)
class AnswersAMask(Right):
    """Answers which tokens stay as booleans."""

    def compress(self, chunk: ChunkView) -> Any:
        return np.ones(chunk.tokens, np.bool_)


@dataclass(frozen=True)
class ShrinksToMore(Right):
    """Shrinks a chunk in place to more tokens than it has."""

    def evict(self, window: WindowView) -> Eviction:
        newest = window.chunk(int(window.ids[-1]))
        return Eviction(super().evict(window).bank, shrink={newest.id: Keep(newest.tokens + 1, newest.frame_tokens)})


@dataclass(frozen=True)
class RoundsDown(Strongest):
    """The closed form rounds down where the choice rounds up."""

    keep_ratio: float = 0.3

    def kept_tokens(self, chunk: ChunkView) -> Keep:
        anchor, *later = (round(tokens) for tokens in chunk.frame_tokens)
        counts = (anchor, *(math.floor(self.keep_ratio * tokens) for tokens in later))
        return Keep(sum(counts), tuple(map(float, counts)))


@dataclass(frozen=True)
class CountsOtherFrames(Strongest):
    """Names its frames in reverse."""

    def keep(self, chunk: ChunkView) -> Keep:
        keep = self.chosen(chunk, np.sort)
        return Keep(keep.count, keep.frame_tokens[::-1], keep.tokens)


@dataclass(frozen=True)
class ForgetsHeads(Strongest):
    """Takes keys to be (layers, tokens, head_dim)."""

    def keep(self, chunk: ChunkView) -> Keep:
        length = np.linalg.norm(chunk.keys, axis=-1)
        return Keep(chunk.tokens, chunk.frame_tokens, np.argsort(length[:, chunk.keys.shape[1] + 1], axis=-1))


@dataclass(frozen=True)
class PrunesTheAnchor(Strongest):
    """Prunes all frames alike and calls the first one whole."""

    def counts(self, chunk: ChunkView) -> tuple[int, ...]:
        return tuple(math.ceil(self.keep_ratio * tokens) for tokens in chunk.frame_tokens)

    def keep(self, chunk: ChunkView) -> Keep:
        counts = self.counts(chunk)
        tokens = [np.arange(count) + round(sum(chunk.frame_tokens[:n])) for n, count in enumerate(counts)]
        return Keep(sum(counts), tuple(map(float, counts)), np.concatenate(tokens))


@dataclass(frozen=True)
class TakesEveryChunkForWhole(Strongest):
    """Counts by the geometry: right until a chunk was shrunk before it is banked."""

    def counts(self, chunk: ChunkView) -> tuple[int, ...]:
        per_frame = chunk.geometry.tokens_per_frame
        return per_frame, *(math.ceil(self.keep_ratio * per_frame),) * (chunk.geometry.frames_per_chunk - 1)

    def keep(self, chunk: ChunkView) -> Keep:
        counts = self.counts(chunk)
        frames = [np.arange(n) + number * chunk.geometry.tokens_per_frame for number, n in enumerate(counts)]
        return Keep(sum(counts), tuple(map(float, counts)), np.concatenate(frames))


@dataclass(frozen=True)
class QuantisedOnlyOnTensors(Strongest):
    """Tells the bytes of eight bits where there are keys, and full size where there are none."""

    def keep(self, chunk: ChunkView) -> Keep:
        keep = self.chosen(chunk, np.sort)
        return Keep(keep.count, keep.frame_tokens, keep.tokens, keep.count * chunk.geometry.token_bytes // 2)


@dataclass(frozen=True)
class ShrinksByKeys(Right):
    """Shrinks the newest chunk only where it has keys."""

    def evict(self, window: WindowView) -> Eviction:
        newest = window.chunk(int(window.ids[-1]))
        leaving = super().evict(window).bank
        if newest.keys is None or newest.tokens < newest.geometry.chunk_tokens:
            return Eviction(leaving)
        first = tuple(float(tokens if not number else 0) for number, tokens in enumerate(newest.frame_tokens))
        return Eviction(leaving, shrink={newest.id: Keep(round(first[0]), first, np.arange(round(first[0])))})


BUFFERS: dict[int, NDArray[np.int64]] = {}


@dataclass(frozen=True)
class ReusesItsBuffer(Strongest):
    """Writes every answer into the same array."""

    def keep(self, chunk: ChunkView) -> Keep:
        keep = self.chosen(chunk, np.sort)
        assert keep.tokens is not None
        buffer = BUFFERS.setdefault(keep.tokens.size, keep.tokens.copy())
        if buffer.shape != keep.tokens.shape:
            return keep
        buffer[:] = keep.tokens
        return Keep(keep.count, keep.frame_tokens, buffer)


WRONG_KEEPS = (
    (InScoreOrder(), "keep_is_well_formed", "sort them by position, not by score"),
    (NamesTokensTwice(), "keep_is_well_formed", "ascend without repeats"),
    (OutOfTheChunk(), "keep_is_well_formed", "tokens must lie in 0 to"),
    (KeepsNothing(), "keep_is_well_formed", "a keep must hold 1 to .* tokens, got 0; discard the chunk instead"),
    (NamesNoTokens(), "keep_is_well_formed", "of a chunk with keys without naming them"),
    (RaggedUnsaid(), "keep_is_well_formed", "answered a RaggedKeep; declare `ragged = True`"),
    (AnswersAMask(), "keep_is_well_formed", "compress answered ndarray; answer a Keep"),
    (
        ShrinksToMore(),
        "keep_is_well_formed",
        "shrinking chunk 0: a keep must hold 1 to 48 tokens, got 49; it has no more",
    ),
    (RoundsDown(), "keep_matches_closed_form", "keeps 26 with keys but says 24 without; .* closed form"),
    (CountsOtherFrames(), "keep_matches_closed_form", "says that it keeps .8, 8, 16. tokens .* name .16, 8, 8."),
    (ForgetsHeads(), "keep_is_well_formed", "with keys failed in .*IndexError.*keys are .layers, kv_heads, tokens"),
    (
        TakesEveryChunkForWhole(),
        "keep_is_well_formed",
        "compress of a chunk that was shrunk: a keep",
    ),
    (
        QuantisedOnlyOnTensors(),
        "keep_matches_closed_form",
        "bytes with keys but says .* without; give stored",
    ),
    (ShrinksByKeys(), "keys_change_no_decision", "with keys it decides differently .* it shrunk .0,. instead of"),
    (ReusesItsBuffer(), "same_views_same_answer", "gave an answer that changed afterwards"),
    (PrunesTheAnchor(), "anchor_frame_is_whole", "8 of the 16 tokens of the anchor frame"),
)
"""Policy or part, the check meant for it, what the message says."""
