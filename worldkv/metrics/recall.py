"""Meters of a rollout: revisit recall and retrieval precision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldkv.metrics.landmarks import Landmarks
from worldkv.metrics.resumable import Resumable

FrameFractions = Sequence[float] | NDArray[np.float64]
"""Kept fraction of each latent frame of a chunk `(frames,)`, 1 for a whole one."""


class RecallMeter(Resumable):
    """Revisit recall of the chunks attended, kept up to date by differences.

    A counted landmark earns the largest kept fraction among the latent frames that saw it in any attended
    chunk: 1 from a frame kept whole, 0 where no attended chunk saw it. Recall is the mean over all counted
    landmarks of all scored steps. For every distinct fraction the meter counts, landmark by landmark, how many
    attended chunks show it at that fraction; a chunk that comes or goes moves only its own bits.
    """

    changing = ("_counts", "_num_chunks", "_attended", "_credited", "_counted")

    def __init__(self, landmarks: Landmarks) -> None:
        """A meter over `landmarks` with nothing attended and nothing scored."""
        self._landmarks = landmarks
        # For every level (kept fraction) of any attended chunk: how many attended chunks show each landmark at it, how
        # many have frames at it, and which frames those are. `_counts` and `_num_chunks` have the same keys, and both
        # are what adding up `_attended` from nothing would give.
        self._counts: dict[float, NDArray[np.unsignedinteger[Any]]] = {}
        self._num_chunks: dict[float, int] = {}
        self._attended: dict[int, dict[float, tuple[int, ...]]] = {}
        # Landmarks credited at each level. Counts are exact, so the total does not depend on the order of the steps.
        self._credited: dict[float, int] = {}
        self._counted = 0

    @property
    def recall(self) -> float | None:
        """Mean credit so far; None where the trajectory never comes back, or nothing has counted yet."""
        if self._landmarks.never_returns or not self._counted:
            return None
        return self.credit / self._counted

    @property
    def credit(self) -> float:
        """Credit earned so far."""
        return float(sum(level * self._credited[level] for level in sorted(self._credited)))

    @property
    def counted(self) -> int:
        """Landmarks counted so far, once for each step."""
        return self._counted

    def enter(self, chunk_id: int, frame_fractions: FrameFractions) -> None:
        """A chunk is attended from now on.

        Args:
            chunk_id: the chunk's number.
            frame_fractions: kept fraction of each of its latent frames `(frames,)`.

        Raises:
            ValueError: the chunk is attended already, or the fractions are not one in [0, 1] for each frame.
        """
        if chunk_id in self._attended:
            raise ValueError(f"chunk {chunk_id} is attended already; say change() to prune it further")
        levels = self._levels(chunk_id, frame_fractions)
        self._attended[chunk_id] = levels
        for level, frames in levels.items():
            self._add(level, chunk_id, frames)

    def leave(self, chunk_id: int) -> None:
        """A chunk is attended no more.

        Raises:
            ValueError: the chunk is not attended.
        """
        for level, frames in self._pop(chunk_id).items():
            self._remove(level, chunk_id, frames)

    def change(self, chunk_id: int, frame_fractions: FrameFractions) -> None:
        """An attended chunk keeps other fractions of its frames from now on.

        Args:
            chunk_id: the chunk's number.
            frame_fractions: as in `enter`.

        Raises:
            ValueError: the chunk is not attended, or the fractions are wrong as in `enter`.
        """
        new = self._levels(chunk_id, frame_fractions)
        old = self._pop(chunk_id)
        self._attended[chunk_id] = new
        # A level whose frames stay the same shows the same landmarks: neither taken off nor added.
        for level, frames in old.items():
            if new.get(level) != frames:
                self._remove(level, chunk_id, frames)
        for level, frames in new.items():
            if old.get(level) != frames:
                self._add(level, chunk_id, frames)

    def score(self, step: int) -> tuple[float, int]:
        """Scores the step that generates chunk `step` with what is attended now, and adds it to the totals.

        Returns:
            The credit earned at this step, and how many landmarks it counts.
        """
        counted = int(self._landmarks.num_counted[step])
        if not counted:
            return 0.0, 0
        self._counted += counted
        wanted = np.flatnonzero(np.unpackbits(self._landmarks.counted[step]).view(np.bool_))
        credit = 0.0
        # A landmark earns the largest fraction at which it is shown: from the top, and each is left out once found.
        for level in sorted(self._counts, reverse=True):
            shown = self._counts[level][wanted] > 0
            found = int(np.count_nonzero(shown))
            if not found:
                continue
            credit += level * found
            self._credited[level] = self._credited.get(level, 0) + found
            if found == len(wanted):
                break
            wanted = wanted[~shown]
        return credit, counted

    def _levels(self, chunk_id: int, frame_fractions: FrameFractions) -> dict[float, tuple[int, ...]]:
        """The frames at each fraction above 0."""
        num_chunks, num_frames, _ = self._landmarks.seen_by_frame.shape
        if not 0 <= chunk_id < num_chunks:
            raise ValueError(f"chunk_id must be in 0 to {num_chunks - 1}, the path's chunks, got {chunk_id}")
        fractions = [float(fraction) for fraction in frame_fractions]
        if len(fractions) != num_frames or not all(0.0 <= fraction <= 1.0 for fraction in fractions):
            raise ValueError(
                f"frame_fractions of chunk {chunk_id} must be {num_frames} numbers in [0, 1], got {fractions}"
            )
        return {
            level: tuple(frame for frame, fraction in enumerate(fractions) if fraction == level)
            for level in set(fractions)
            if level > 0
        }

    def _pop(self, chunk_id: int) -> dict[float, tuple[int, ...]]:
        """The frames at each fraction of a chunk, which is forgotten."""
        if chunk_id not in self._attended:
            raise ValueError(f"chunk {chunk_id} is not attended; enter() it first")
        return self._attended.pop(chunk_id)

    def _shown(self, chunk_id: int, frames: tuple[int, ...]) -> NDArray[np.uint8]:
        """1 for each landmark that any of the `frames` of the chunk saw `(8 * bytes,)`."""
        bits = self._landmarks.seen_by_frame[chunk_id]
        if len(frames) == len(bits):
            return np.unpackbits(self._landmarks.seen[chunk_id])
        return np.unpackbits(np.bitwise_or.reduce(bits[list(frames)], axis=0))

    def _add(self, level: float, chunk_id: int, frames: tuple[int, ...]) -> None:
        """One chunk more shows what `frames` saw at this level."""
        shown, chunks = self._shown(chunk_id, frames), self._num_chunks.get(level, 0) + 1
        self._num_chunks[level] = chunks
        counts = self._counts.get(level)
        if counts is None:
            self._counts[level] = shown
            return
        # The narrowest numbers that hold as many as there are chunks: a window's counts then fit the cache.
        wide = np.min_scalar_type(chunks)
        if counts.itemsize < wide.itemsize:
            self._counts[level] = counts = counts.astype(wide)
        np.add(counts, shown.astype(counts.dtype, copy=False), out=counts)

    def _remove(self, level: float, chunk_id: int, frames: tuple[int, ...]) -> None:
        """One chunk fewer shows it; a level without chunks is dropped."""
        self._num_chunks[level] -= 1
        if not self._num_chunks[level]:
            del self._num_chunks[level], self._counts[level]
            return
        counts = self._counts[level]
        np.subtract(counts, self._shown(chunk_id, frames).astype(counts.dtype, copy=False), out=counts)


class PrecisionMeter(Resumable):
    """Retrieval precision: how much of what was fetched shows something that counts.

    The mean, over the steps that have counted landmarks and retrieved at least one chunk, of the share of
    retrieved chunks that saw at least one counted landmark.
    """

    changing = ("_sum", "_steps")

    def __init__(self, landmarks: Landmarks) -> None:
        """A meter over `landmarks` with nothing scored."""
        self._landmarks = landmarks
        self._sum = 0.0
        self._steps = 0

    @property
    def precision(self) -> float | None:
        """Mean share so far; None where no step had both something to find and something retrieved."""
        return self._sum / self._steps if self._steps else None

    def score(self, step: int, retrieved_ids: Sequence[int] | NDArray[np.integer]) -> None:
        """Adds the step that generates chunk `step` and retrieved those chunks."""
        if not len(retrieved_ids) or not self._landmarks.num_counted[step]:
            return
        words = self._landmarks.seen.view(np.uint64)[np.asarray(retrieved_ids)]
        useful = (words & self._landmarks.counted[step].view(np.uint64)).any(axis=1)
        self._sum += float(useful.mean())
        self._steps += 1
