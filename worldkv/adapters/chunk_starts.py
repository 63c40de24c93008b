"""When an engine's start position moves on, the next chunk begins: what the shells of engines share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from worldkv.adapters.cache_form import check_form
from worldkv.errors import PolicyError
from worldkv.signals import Viewpoint

if TYPE_CHECKING:
    from worldkv.backends.cache import WorldCache

L = TypeVar("L")
"""An engine's layer."""
ViewpointOf = Callable[[int], Viewpoint | Sequence[Viewpoint]]
"""The viewpoint of a chunk by its number, counted from 0; several, where one pass is a prefill of several chunks."""


class ChunkStarts:
    """Begins a chunk when the first layer is called for a new start, which commits the chunk before it.

    Engines mark neither the clean pass nor the commit: the last pass of a chunk is what is kept, and the last chunk of
    a rollout is only committed by `cache.commit()`.

    Attributes:
        cache: the rollout's cache.
        viewpoint_of: the viewpoint of a chunk by its number.
        chunk: number of the engine's block that is open; -1 before the first.
    """

    def __init__(self, cache: WorldCache, viewpoint_of: ViewpointOf) -> None:
        """Nothing has begun yet.

        Raises:
            SpecError: the cache pads its windows, or wants keys before their rotation.
        """
        check_form(cache)
        self.cache, self.viewpoint_of = cache, viewpoint_of
        self.chunk = -1

    def at_token(self, start: int) -> None:
        """A call for the chunk whose first token has number `start` in the rollout.

        Raises:
            PolicyError: `start` is neither the open chunk's nor the next one's.
        """
        cache, frame = self.cache, self.cache.geometry.tokens_per_frame
        own = cache.start_frame * frame
        if self._is_open and start == own:
            return
        following = own + cache.chunk_frames * frame if self._is_open else own
        if start != following:
            raise PolicyError(
                f"the engine writes at token {start}, the open chunk starts at {own} and the next one at {following}; "
                "what is committed does not change, reset the cache to start over"
            )
        self.begin(self.chunk + 1)

    def begin(self, chunk: int) -> None:
        """Begin the engine's block `chunk`, the next one; the open one again is no news.

        A block may be a prefill of several chunks: viewpoints are asked for by the cache's own count of chunks.

        Raises:
            PolicyError: it is neither.
        """
        if chunk == self.chunk and self._is_open:
            return
        if chunk != self.chunk + 1:
            raise PolicyError(f"the engine begins chunk {chunk} after chunk {self.chunk}; chunks come one by one")
        if self._is_open:
            self.cache.commit()
        self.cache.begin(self.viewpoint_of(len(self.cache.engine.table)))
        self.chunk = chunk

    @property
    def _is_open(self) -> bool:
        return self.cache.plan is not None

    def reset(self) -> None:
        """A new rollout in the same cache."""
        self.cache.reset()
        self.chunk = -1


def layers_of(
    make: Callable[[ChunkStarts, int, int | None], L], cache: WorldCache, viewpoint_of: ViewpointOf
) -> tuple[list[L], ...]:
    """One list of an engine's layers for each branch of the cache's geometry, all over the same starts.

    Args:
        make: makes the shell of a layer, by its number and what `window` calls its branch.
        cache: the rollout's cache.
        viewpoint_of: the viewpoint of a chunk by its number.
    """
    starts, geometry = ChunkStarts(cache, viewpoint_of), cache.geometry
    branches: Sequence[int | None] = [None] if geometry.branches == 1 else range(geometry.branches)
    return tuple([make(starts, layer, branch) for layer in range(geometry.layers)] for branch in branches)
