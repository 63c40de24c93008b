"""Chunks begun and committed as a model's start positions go by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

from worldkv.backends import WorldCache
from worldkv.engine.state import StepPlan, StepRecord
from worldkv.errors import PolicyError, SpecError
from worldkv.signals import Viewpoint

ViewpointOf = Callable[[int], Viewpoint]
"""The viewpoint of a chunk by its number; asked once for each chunk, before its first pass."""
Viewpoints = Sequence[Viewpoint] | ViewpointOf | None
"""Viewpoints by chunk; None for policies that read no poses."""

_WRITERS: WeakKeyDictionary[WorldCache, dict[int | None, object]] = WeakKeyDictionary()
"""Which of the model's lists writes into each branch of a cache's open chunk."""


class Steps:
    """Tells the cache when a chunk begins, by where the model's passes start.

    A pass that starts where the last one did is another pass of the same chunk. One that starts right behind it begins
    the next chunk, which commits the last one. Several lists of slots over one cache share these steps.

    Attributes:
        cache: the cache.
        plans: the plan of every step begun, as `begin` returned it; a prefill is one step.
        records: the record of every step committed.
    """

    def __init__(self, cache: WorldCache, viewpoints: Viewpoints = None) -> None:
        """No chunk begun."""
        self.cache = cache
        self.plans: list[StepPlan] = []
        self.records: list[StepRecord] = []
        self._viewpoints = viewpoints

    def open_pass(self, start: int, tokens: int, branch: int | None, writer: object) -> None:
        """A pass begins that generates `tokens` tokens from token `start` of the rollout on.

        Args:
            start: where its tokens start in the rollout.
            tokens: how many there are.
            branch: the cache's branch that it writes into; None for all of them.
            writer: the model's list that it is called with, by identity.

        Raises:
            PolicyError: it starts within a latent frame, behind a gap or at a chunk that is committed already, the
                chunk before was not finished, or another list has written into this branch of the chunk.
            SpecError: the viewpoints do not cover its latent frames.
        """
        cache, per_frame = self.cache, self.cache.geometry.tokens_per_frame
        start_frame, rest = divmod(start, per_frame)
        frames, part = divmod(tokens, per_frame)
        if rest or part or not frames:
            raise PolicyError(
                f"the model generates {tokens} tokens from token {start} on, not whole latent frames of {per_frame} "
                "tokens; check the geometry's frame_rows and frame_columns against the model"
            )
        is_open = cache.plan is not None
        if is_open and start_frame == cache.start_frame:
            if frames != cache.chunk_frames:
                raise PolicyError(
                    f"a pass over the chunk at latent frame {start_frame} has {frames} frames, its first one had "
                    f"{cache.chunk_frames}; every pass over a chunk generates the same frames"
                )
            self._claim(branch, writer)
            return
        expected = cache.start_frame + (cache.chunk_frames if is_open else 0)
        if start_frame != expected:
            did = "generated already" if start_frame < expected else "not the next one"
            raise PolicyError(
                f"the model starts a chunk at latent frame {start_frame}, which is {did} (the next chunk starts at "
                f"{expected}); generate every chunk once and in order, or reset the cache for another rollout"
            )
        self.commit()
        self.plans.append(cache.begin(self._viewpoints_of(frames)))
        _WRITERS[cache] = {}
        self._claim(branch, writer)

    def commit(self) -> StepRecord | None:
        """Commit the open chunk: what its last pass wrote is kept; None if no chunk is open.

        Raises:
            PolicyError: its last pass did not go through every layer.
        """
        if self.cache.plan is None:
            return None
        self.records.append(self.cache.commit())
        return self.records[-1]

    def reset(self) -> None:
        """As new, for another rollout; an open chunk is given up."""
        if self.cache.plan is not None or len(self.cache.engine.table):
            self.cache.reset()
        self.plans.clear()
        self.records.clear()

    def _claim(self, branch: int | None, writer: object) -> None:
        """Refuse a second list that writes over what the first has written."""
        if _WRITERS[self.cache].setdefault(branch, writer) is not writer:
            raise PolicyError(
                "two of the model's lists of caches write into the same keys and values of a chunk (conditional and "
                "unconditional passes, or two experts); take a geometry with a branch for each, and slots(cache, "
                "steps, branch=0) and branch=1"
            )

    def _viewpoints_of(self, frames: int) -> Viewpoint | list[Viewpoint]:
        """The viewpoints of the chunks that the next `frames` latent frames are."""
        first, whole = len(self.cache.engine.table), self.cache.geometry.frames_per_chunk
        views: list[Viewpoint] = []
        left = frames
        while left > 0:
            view = self._viewpoint(first + len(views), min(left, whole))
            views.append(view)
            left -= view.frames_of(self.cache.geometry)
        if left:
            raise SpecError(
                f"the model generates {frames} latent frames from frame {self.cache.start_frame} on, and the "
                f"viewpoints of chunks {first} to {first + len(views) - 1} have {frames - left}; hand one viewpoint a "
                "chunk with as many frames as the chunk has"
            )
        return views[0] if len(views) == 1 else views

    def _viewpoint(self, chunk: int, frames: int) -> Viewpoint:
        viewpoints = self._viewpoints
        if viewpoints is None:
            return Viewpoint(frames=frames)
        if callable(viewpoints):
            return viewpoints(chunk)
        if chunk >= len(viewpoints):
            raise SpecError(
                f"the model generates chunk {chunk} and there are {len(viewpoints)} viewpoints; hand one for each chunk"
            )
        return viewpoints[chunk]
