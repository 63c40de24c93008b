"""R-SWA: declared reference frames and the newest ones."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from worldkv.answers import NOTHING_LEAVES, Eviction, Ids
from worldkv.errors import SpecError
from worldkv.geometry import CacheGeometry
from worldkv.parts.eviction.sink_recent import recent_chunks
from worldkv.parts.eviction_only import EvictionOnly
from worldkv.policy import LATE_STEP
from worldkv.views import WindowView

MOST_FRAMES = 1_000_000
"""Of a reference set; a path of that many latent frames lasts for days."""
_RANGE = re.compile(r"(?P<first>\d+)(-(?P<last>\d+))?")


@dataclass(frozen=True)
class ReferenceWindow(EvictionOnly):
    """The frames the user declares as references are attended at every step, beside the newest ones.

    Unlike a sink the set may lie anywhere and be of any length; what is neither in it nor recent is discarded. The
    model is trained for it. Published in tokens (the newest 128); in video the references are the first image and
    prompt frames, and frames count. Source: arXiv 2606.23050.

    Attributes:
        references: latent frames of the reference set, counted from 0: ranges joined by +, as in 0-2+30-35; none for
            none. A chunk counts as a whole, so ranges are whole chunks.
        recent_frames: newest latent frames kept beside the chunk being generated.
    """

    spec_names: ClassVar[tuple[str, ...]] = ("r-swa",)

    references: str = "0-2"
    recent_frames: int = 18

    def __post_init__(self) -> None:
        if self.recent_frames < 0:
            raise SpecError(f"recent_frames must be at least 0 latent frames, got {self.recent_frames}")
        frame_ranges(self.references)  # refuses what is no list of ranges

    @classmethod
    def default_in(cls, geometry: CacheGeometry, name: str, default: Any) -> Any:
        """See `Part.default_in`: every range of references grows to whole chunks."""
        if name != "references":
            return super().default_in(geometry, name, default)
        frames = geometry.frames_per_chunk
        ranges = frame_ranges(default)
        whole = [(first // frames * frames, geometry.whole_frames(end)) for first, end in ranges]
        return default if whole == [*ranges] else "+".join(f"{first}-{end - 1}" for first, end in whole)

    def _references(self, geometry: CacheGeometry) -> Ids:
        """Ids of the reference chunks, ascending."""
        frames = geometry.frames_per_chunk
        ids: set[int] = set()
        for first, end in frame_ranges(self.references):
            if first % frames or end % frames:
                raise SpecError(
                    f"r-swa's references must be whole chunks of {frames} latent frames, got {first}-{end - 1}; "
                    f"nearest: {first // frames * frames}-{-(-end // frames) * frames - 1}"
                )
            ids.update(range(first // frames, end // frames))
        return np.array(sorted(ids), np.int64)

    def evict(self, window: WindowView) -> Eviction:
        """See `CachePolicy.evict`: what is neither a reference nor recent is discarded."""
        stays = self.pinned(window.step, window.geometry)
        gone = window.ids[~np.isin(window.ids, stays)]
        return Eviction(discard=tuple(gone.tolist())) if len(gone) else NOTHING_LEAVES

    def pinned(self, step: int, geometry: CacheGeometry) -> Ids:
        """See `CachePolicy.pinned`.

        Raises:
            SpecError: a range of references is not whole chunks of `geometry`.
        """
        references = self._references(geometry)
        return np.union1d(references[references < step], recent_chunks(self.recent_frames, step, geometry))

    def resized(self, window_tokens: int, geometry: CacheGeometry) -> Self | None:
        """See `CachePolicy.resized`: the recent frames take what the references leave."""
        taken = len(replace(self, recent_frames=0).pinned(LATE_STEP, geometry)) + 1
        chunks = window_tokens // geometry.chunk_tokens - taken
        return replace(self, recent_frames=chunks * geometry.frames_per_chunk) if chunks >= 0 else None


@functools.lru_cache(maxsize=64)
def frame_ranges(references: str) -> tuple[tuple[int, int], ...]:
    """First frame and the one behind the last of every range.

    Raises:
        SpecError: a range is none, or lies too far out.
    """
    found = []
    for text in filter(None, references.split("+")):
        match = _RANGE.fullmatch(text.strip())
        if text.strip() == "none":
            continue
        first = int(match["first"]) if match else 1
        last = int(match["last"] or match["first"]) if match else 0
        if last < first:
            raise SpecError(f"references must be ranges of latent frames such as 0-2+30-35, got {text!r}")
        if last >= MOST_FRAMES:
            raise SpecError(f"references must be latent frames under {MOST_FRAMES:,}, got {text!r}")
        found.append((first, last + 1))
    return tuple(found)
