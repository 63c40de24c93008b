"""What each step of a row attended and why, and which landmarks it missed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from worldkv.metrics.landmarks import Landmarks
    from worldkv.sim.compare import ComparisonSetup, Row
    from worldkv.sim.trail import Attended

Ids = NDArray[np.int64]

MOST_WOULD = 3
"""Banked chunks named that would have shown what was missed."""

_FOREVER = 1_000_000_000
"""A step so late that, of the chunks pinned there, only the sink lies in the first half."""

_NOTHING: Ids = np.empty(0, np.int64)


class StepFacts(NamedTuple):
    """One step of a row.

    Attributes:
        attended: what it attended, and the bank.
        sink: of the window, chunks that never leave `(chunks,)`.
        recent: of the window, chunks that the policy keeps at this step.
        other: the rest of the window.
        missed: landmarks that count and that no attended chunk saw `(landmarks,)`.
        would: the banked chunks that saw most of these, each with how many.
    """

    attended: Attended
    sink: Ids
    recent: Ids
    other: Ids
    missed: Ids = _NOTHING
    would: tuple[tuple[int, int], ...] = ()


def step_facts(row: Row, setup: ComparisonSetup) -> Iterator[StepFacts]:
    """The facts of every step of a row."""
    policy, geometry = row.candidate.policy, setup.geometry
    last = policy.pinned(_FOREVER, geometry)
    sink = last[last < _FOREVER // 2]
    shown = None if setup.landmarks is None else _Shown(setup.landmarks)
    for attended in row.rollout.trail.steps():
        window = attended.window
        in_sink = _among(window, sink)
        is_pinned = _among(window, policy.pinned(attended.step, geometry)) & ~in_sink
        roles = window[in_sink], window[is_pinned], window[~in_sink & ~is_pinned]
        if shown is None:
            yield StepFacts(attended, *roles)
        else:
            missed = shown.missed(attended)
            yield StepFacts(attended, *roles, missed, shown.would(attended.bank, missed))


def _among(ascending: Ids, pinned: Ids) -> NDArray[np.bool_]:
    """Which of ascending ids are pinned; the pinned are few."""
    found = np.zeros(len(ascending), np.bool_)
    places = np.searchsorted(ascending, pinned)
    there = places < len(ascending)
    found[places[there][ascending[places[there]] == pinned[there]]] = True
    return found


class _Shown:
    """Which landmarks the attended chunks show, step after step."""

    def __init__(self, landmarks: Landmarks) -> None:
        self._counted, self._num_counted = landmarks.counted.view(np.uint64), landmarks.num_counted
        self._seen = landmarks.seen.view(np.uint64)
        self._held = np.zeros_like(self._seen[0])

    def missed(self, attended: Attended) -> Ids:
        """Landmarks that count at the step and that no attended chunk saw, as `worldkv explain` counts them."""
        fresh = attended.ids.tolist() if attended.left else attended.entered
        if attended.left:
            self._held = np.zeros_like(self._held)
        if fresh:
            self._held = self._held | np.bitwise_or.reduce(self._seen[fresh], axis=0)
        if not self._num_counted[attended.step]:
            return _NOTHING
        bits = self._counted[attended.step] & ~self._held
        return np.flatnonzero(np.unpackbits(bits.view(np.uint8)))

    def would(self, bank: Ids, missed: Ids) -> tuple[tuple[int, int], ...]:
        """The banked chunks that saw most of the missed landmarks, each with how many it saw."""
        if not len(missed) or not len(bank):
            return ()
        wanted = np.zeros(8 * self._held.nbytes, np.bool_)
        wanted[missed] = True
        bits = np.packbits(wanted).view(np.uint64)
        words = np.flatnonzero(bits)
        gains = np.bitwise_count(self._seen[bank[:, None], words] & bits[words]).sum(axis=1, dtype=np.int64)
        best = np.argsort(-gains, kind="stable")[:MOST_WOULD]
        return tuple((int(bank[place]), int(gains[place])) for place in best if gains[place])
