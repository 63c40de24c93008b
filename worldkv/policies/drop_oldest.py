"""Drop oldest: a token budget; the oldest go first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from worldkv.answers import NOTHING_LEAVES, Eviction, Ids, Keep
from worldkv.errors import SpecError
from worldkv.geometry import CacheGeometry
from worldkv.parts.eviction_only import EvictionOnly
from worldkv.views import ChunkView, WindowView


@dataclass(frozen=True)
class DropOldest(EvictionOnly):
    """A step attends at most `budget_tokens`; the oldest tokens are deleted, to the token.

    Whole chunks are discarded while that is not too much, the next one is shrunk in place to its newest tokens.
    Source: the plainest budgeted cache.

    Attributes:
        budget_tokens: tokens a step attends at most, its own chunk included.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("drop-oldest",)

    budget_tokens: int = 32_760

    def __post_init__(self) -> None:
        if self.budget_tokens < 1:
            raise SpecError(f"budget_tokens must be at least one chunk's tokens, got {self.budget_tokens}")

    @classmethod
    def default_in(cls, geometry: CacheGeometry, name: str, default: Any) -> Any:
        """See `Part.default_in`: the budget holds the chunk being generated."""
        return max(default, geometry.chunk_tokens) if name == "budget_tokens" else default

    def evict(self, window: WindowView) -> Eviction:
        """See `CachePolicy.evict`."""
        tokens = window.tokens
        over = int(tokens.sum()) + window.geometry.chunk_tokens - self.budget_tokens
        if over <= 0:
            return NOTHING_LEAVES
        discard: list[int] = []
        for chunk, held in zip(window.ids.tolist(), tokens.tolist(), strict=True):
            if over < held:
                break
            discard.append(chunk)
            over -= held
        if over <= 0:
            return Eviction(discard=tuple(discard))
        chunk = int(window.ids[len(discard)])
        return Eviction(discard=tuple(discard), shrink={chunk: newest_tokens(window.chunk(chunk), over)})

    def pinned(self, step: int, geometry: CacheGeometry) -> Ids:
        """See `CachePolicy.pinned`: the budget must hold the chunk being generated, the rest may go.

        Raises:
            SpecError: the budget is smaller than one chunk.
        """
        if self.budget_tokens < geometry.chunk_tokens:
            raise SpecError(
                f"drop-oldest's budget_tokens must hold the chunk being generated ({geometry.chunk_tokens} tokens), "
                f"got {self.budget_tokens}"
            )
        return super().pinned(step, geometry)

    def resized(self, window_tokens: int, geometry: CacheGeometry) -> Self | None:
        """See `CachePolicy.resized`."""
        return replace(self, budget_tokens=window_tokens)


def newest_tokens(chunk: ChunkView, dropped: int) -> Keep:
    """The keep that drops the first `dropped` tokens of `chunk`."""
    import numpy as np

    left, kept = dropped, []
    for tokens in chunk.frame_tokens:
        gone = min(left, round(tokens))
        left -= gone
        kept.append(round(tokens) - gone)
    return Keep(sum(kept), tuple(map(float, kept)), np.arange(dropped, chunk.tokens))
