"""Scored by a function: a scorer of one's own without a class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from worldkv.errors import SpecError
from worldkv.policy import TokenScorer
from worldkv.signals import Signal
from worldkv.views import ChunkView

ScoreFunction = Callable[[ChunkView], Any]
"""What `TokenScorer.token_scores` is, as a function."""


@dataclass(frozen=True)
class ScoredBy(TokenScorer):
    """A function of a chunk's view as a scorer; two are equal if they hold the same function.

    Only Python can make one: a spec string has no functions. Source: this project.

    Attributes:
        function: a pure function, see `TokenScorer.token_scores`.
        needs: signals it reads.
    """

    function: ScoreFunction
    needs: frozenset[Signal] = frozenset({Signal.HIDDEN_STATE})  # type: ignore[misc]  # one class, any function

    def token_scores(self, chunk: ChunkView) -> Any:
        """See `TokenScorer.token_scores`."""
        return self.function(chunk)


def scorer_of(scorer: TokenScorer | ScoreFunction, what: str) -> TokenScorer:
    """`scorer` itself, or the scorer made of a function, which may read hidden states.

    Args:
        scorer: the scorer or the function.
        what: the parameter's name, for the error.

    Raises:
        SpecError: it is neither.
    """
    if isinstance(scorer, TokenScorer):
        return scorer
    if isinstance(scorer, type) or not callable(scorer):
        raise SpecError(
            f"{what} must be a scorer or a function of a ChunkView, got {scorer!r}; "
            f"{'make one of the class: add ()' if isinstance(scorer, type) else 'take Novelty() for one'}"
        )
    return ScoredBy(scorer)
