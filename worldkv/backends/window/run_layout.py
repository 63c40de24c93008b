"""Lay out chunks in one contiguous run of tokens, and name the copies that keep it contiguous."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MOST_EXTENTS = 4
"""A chunk in more pieces than this is put together again."""


class Extent(NamedTuple):
    """`tokens` neighbouring places of the run from `start` on."""

    start: int
    tokens: int

    @property
    def end(self) -> int:
        """The first place behind it."""
        return self.start + self.tokens


class Copy(NamedTuple):
    """Tokens to copy inside the run, `source` to `target`, `tokens` of them; the two never overlap."""

    target: int
    source: int
    tokens: int


class RunLayout:
    """A table of chunks and their extents; together they fill `[0, length)` without gaps.

    Attention over a set of keys does not ask for their order, so a hole is filled with the run's last tokens and
    nothing else moves. Arrivals take holes of the same step first. It decides and holds no tensor: the same calls give
    the same places, whatever finishes when.

    Attributes:
        length: tokens in the run.
        extents: extents of every chunk in the order of the chunk's own tokens.
    """

    def __init__(self) -> None:
        """An empty run."""
        self.length = 0
        self.extents: dict[int, list[Extent]] = {}

    def copy(self) -> RunLayout:
        """An independent twin."""
        twin = RunLayout()
        twin.length = self.length
        twin.extents = {chunk: list(pieces) for chunk, pieces in self.extents.items()}
        return twin

    def tokens(self, chunk: int) -> int:
        """Tokens of `chunk` in the run."""
        return sum(piece.tokens for piece in self.extents[chunk])

    def places(self, chunk: int) -> NDArray[np.int64]:
        """The place of each of the chunk's tokens, in their order `(tokens,)`."""
        pieces = self.extents[chunk]
        if not pieces:
            return np.empty(0, np.int64)
        return np.concatenate([np.arange(piece.start, piece.end) for piece in pieces])

    def append(self, chunk: int, tokens: int) -> None:
        """A chunk whose tokens stand right behind the run belongs to it from now on."""
        self.extents[chunk] = [Extent(self.length, tokens)]
        self.length += tokens

    def update(self, gone: Iterable[int], cut: Mapping[int, int], arriving: Mapping[int, int]) -> list[Copy]:
        """Let chunks go, shorten some, find places for others, and close what is left open.

        Args:
            gone: chunks that leave.
            cut: tokens that remain of each shortened chunk; they are its first places already.
            arriving: tokens of each chunk that comes; its places are filled after the copies.

        Returns:
            The copies that close the holes, in order.
        """
        # Invariant from here to the return: extents and holes together tile [0, length), each place once.
        holes: list[Extent] = []
        for chunk in gone:
            holes += self.extents.pop(chunk)
        for chunk, tokens in cut.items():
            self.extents[chunk], rest = _split(self.extents[chunk], tokens)
            holes += rest
        # Arrivals are written anyway, so a hole they fill costs no copy; what they leave open does.
        holes = _joined(holes)
        for chunk, tokens in arriving.items():
            self.extents[chunk] = self._take(holes, tokens)
        # The last hole first: no other is behind it then, so what fills it are the run's own last tokens.
        return [copy for hole in reversed(_joined(holes)) for copy in self._close(hole)]

    def scattered(self) -> list[int]:
        """Chunks in more than `MOST_EXTENTS` pieces."""
        return [chunk for chunk, pieces in self.extents.items() if len(pieces) > MOST_EXTENTS]

    def gather(self, chunk: int) -> tuple[list[Copy], list[Copy], list[Copy]]:
        """Put a scattered chunk together at the run's end.

        Returns:
            Copies of its tokens to the free places behind the run, copies that close the holes it leaves, and the copy
            from behind the old run to the end of the new one (empty where that is the same place).
        """
        # The pieces lie in any order, so none can be moved next to another in place: they go behind the run in the
        # chunk's order, the holes they leave are closed as in `update`, and what is behind the run moves up to its end.
        # The caller has room for `tokens` behind the run. New end + tokens = old end, so the last copy cannot overlap.
        behind, out = self.length, []
        for piece in self.extents[chunk]:
            out.append(Copy(behind, piece.start, piece.tokens))
            behind += piece.tokens
        old_length, tokens = self.length, behind - self.length
        closing = self.update((chunk,), {}, {})
        back = [Copy(self.length, old_length, tokens)] if tokens else []
        self.append(chunk, tokens)
        return out, closing, back

    def _take(self, holes: list[Extent], tokens: int) -> list[Extent]:
        """Places for an arrival: the hole it fits best, else the largest ones, else the end; `holes` shrinks."""
        taken: list[Extent] = []
        while tokens and holes:
            fitting = [hole for hole in holes if hole.tokens >= tokens]
            hole = min(fitting, key=lambda hole: hole.tokens) if fitting else max(holes, key=lambda hole: hole.tokens)
            holes.remove(hole)
            part = min(tokens, hole.tokens)
            taken.append(Extent(hole.start, part))
            if part < hole.tokens:
                holes.append(Extent(hole.start + part, hole.tokens - part))
            tokens -= part
        if tokens:
            taken.append(Extent(self.length, tokens))
            self.length += tokens
        return _merged(taken)

    def _close(self, hole: Extent) -> list[Copy]:
        """Fill the last open hole with the run's last tokens."""
        # Never more than stands behind the hole: so source >= hole.end, and the copy does not overlap.
        moved = min(hole.tokens, self.length - hole.end)
        source = self.length - moved
        if moved:
            self._relocate(source, hole.start)
        self.length -= hole.tokens
        return [Copy(hole.start, source, moved)] if moved else []

    def _relocate(self, source: int, target: int) -> None:
        """Everything from `source` to the end stands from `target` on now."""
        for chunk, pieces in self.extents.items():
            if any(start + tokens > source for start, tokens in pieces):
                after: list[Extent] = []
                for start, tokens in pieces:
                    # A piece that `source` falls into is split; its second part keeps its place in the chunk's order.
                    stays = min(tokens, max(0, source - start))
                    if stays:
                        after.append(Extent(start, stays))
                    if stays < tokens:
                        after.append(Extent(target + start + stays - source, tokens - stays))
                self.extents[chunk] = _merged(after)


def _split(pieces: list[Extent], tokens: int) -> tuple[list[Extent], list[Extent]]:
    """The first `tokens` places of `pieces`, and the rest."""
    first: list[Extent] = []
    rest: list[Extent] = []
    for start, count in pieces:
        kept = min(tokens, count)
        if kept:
            first.append(Extent(start, kept))
        if kept < count:
            rest.append(Extent(start + kept, count - kept))
        tokens -= kept
    return first, rest


def _merged(pieces: list[Extent]) -> list[Extent]:
    """Neighbours in the chunk's order that are neighbours in the run become one."""
    merged: list[Extent] = []
    for piece in pieces:
        if merged and merged[-1].end == piece.start:
            merged[-1] = Extent(merged[-1].start, merged[-1].tokens + piece.tokens)
        else:
            merged.append(piece)
    return merged


def _joined(holes: list[Extent]) -> list[Extent]:
    """Holes ascending, neighbours joined."""
    return _merged(sorted(holes))
