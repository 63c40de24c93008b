"""Novelty: a utility between 0 and 1 without training, by how unlike the chunk's mean key a token is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from worldkv.parts.scorer.key_diff import KeyDiff
from worldkv.policy import TokenScorer
from worldkv.views import ChunkView


@dataclass(frozen=True)
class Novelty(TokenScorer):
    """Utility = (1 - cosine with the mean key's direction) / 2, per layer and head.

    Source: this project, a training-free stand-in for the trained utility of arXiv 2605.14037.

    0 is a key that points where the chunk's keys point on average, 0.5 one at right angles to that, 1 the opposite. It
    is `KeyDiff` moved into the range that thresholds are written in, so a threshold of 0.5 admits what KeyDiff scores
    above 0. A trained utility knows what later steps will attend to; this one only knows what a chunk says twice, and
    which share of tokens a threshold admits depends on the model's keys: look at the window's size first.

    It is a scorer like any other: `composed:compression=scored-tokens,scorer=novelty` keeps equally many of every
    chunk by the same order. Where hidden states and a trained network are at hand, `learned-utility` takes its place
    in the same policy, and nothing else changes.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("novelty",)

    def token_scores(self, chunk: ChunkView) -> Any:
        """See `TokenScorer.token_scores`.

        Args:
            chunk: the chunk that leaves the window; its keys are read.

        Returns:
            Utilities from 0 to 1 `(layers, heads, tokens)`, in the array type of the keys.
        """
        return 0.5 + 0.5 * KeyDiff().token_scores(chunk)
