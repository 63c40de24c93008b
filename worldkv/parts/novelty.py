"""Novelty: a utility between 0 and 1 without training, by how unlike the chunk's mean key a token is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from worldkv.parts.key_diff import KeyDiff
from worldkv.policy import TokenScorer
from worldkv.views import ChunkView


@dataclass(frozen=True)
class Novelty(TokenScorer):
    """Utility = (1 - cosine with the mean key's direction) / 2, per layer and head.

    Source: this project, a training-free stand-in for the trained utility of arXiv 2605.14037.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("novelty",)

    def token_scores(self, chunk: ChunkView) -> Any:
        """See `TokenScorer.token_scores`: 0 to 1."""
        return 0.5 + 0.5 * KeyDiff().token_scores(chunk)
