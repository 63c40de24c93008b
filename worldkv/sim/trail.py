"""What a rollout attended, banked, moved and waited for at every step, packed as numbers for reports."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from worldkv.backend import Traffic
from worldkv.tiers import TierLedger, Tiers

if TYPE_CHECKING:
    from worldkv.engine.state import StepRecord
    from worldkv.sim.clock import StepTime

Ids = NDArray[np.int64]

_LISTS = 5
"""Lists of numbers kept a step: entered, left, retrieved, evicted (with the tokens kept), discarded."""


class Attended(NamedTuple):
    """What one step attends beside the chunk it generates.

    Attributes:
        step: the chunk being generated.
        window: ids at home in the window, ascending `(chunks,)`.
        retrieved: banked ids, best first.
        entered: ids attended now and not at the last step.
        left: ids attended at the last step and not now.
        bank: banked ids when the step began, ascending `(chunks,)`.
    """

    step: int
    window: Ids
    retrieved: list[int]
    entered: list[int]
    left: list[int]
    bank: Ids

    @property
    def ids(self) -> Ids:
        """All that is attended, ascending `(chunks,)`."""
        return np.sort(np.concatenate([self.window, np.array(self.retrieved, np.int64)]))


class Trail:
    """A rollout step by step, in a quarter of a kilobyte a step whatever the window's size.

    What a step attends is kept as its difference from the last one, as `StepPlan` tells it.
    """

    def __init__(self) -> None:
        """No steps yet."""
        self._ids, self._ends = array("q"), array("q")
        self._moved, self._held = array("q"), array("q")
        self._attention = array("d")
        self._tiers: tuple[str, ...] = ()

    def note(self, record: StepRecord, tiers: Tiers, spent: StepTime) -> None:
        """Record a finished step; `tiers` are as they stand after it."""
        plan, ids, ends = record.plan, self._ids, self._ends
        for part in (plan.entered, plan.left, plan.retrieved, (*record.evicted, *record.kept_tokens), record.discarded):
            if part:
                ids.extend(part)
            ends.append(len(ids))
        self._moved.extend(record.traffic)
        self._attention.append(spent.attention_seconds)
        if not self._tiers:
            kept = vars(tiers).items()
            self._tiers = tuple(name for name, one in kept if isinstance(one, TierLedger) and name != "device")
        for name in self._tiers:
            self._held.append(getattr(tiers, name).held)

    def __len__(self) -> int:
        return len(self._attention)

    @property
    def attention_seconds(self) -> NDArray[np.float64]:
        """Predicted seconds of attention at each step `(steps,)`."""
        return np.array(self._attention, np.float64)

    @property
    def held_bytes(self) -> dict[str, NDArray[np.int64]]:
        """Bytes that each tier of the bank holds after each step, by the tier's name `(steps,)`."""
        held = np.array(self._held, np.int64).reshape(len(self), len(self._tiers))
        return {name: held[:, place] for place, name in enumerate(self._tiers)}

    @property
    def moved_bytes(self) -> dict[str, NDArray[np.int64]]:
        """Bytes copied at each step, by the edge's name `(steps,)`."""
        moved = np.array(self._moved, np.int64).reshape(len(self), len(Traffic._fields))
        return {edge: moved[:, place] for place, edge in enumerate(Traffic._fields)}

    def evicted(self, step: int) -> list[tuple[int, int]]:
        """Chunks that went to the bank at the end of a step, and the tokens stored of each."""
        both = self._list(step, 3)
        return list(zip(both[: len(both) // 2], both[len(both) // 2 :], strict=True))

    def discarded(self, step: int) -> list[int]:
        """Chunks gone for good at the end of a step, forgotten ones included."""
        return self._list(step, 4)

    def steps(self) -> Iterator[Attended]:
        """What every step attends, and what the bank held when it began."""
        attended, banked = _SortedIds(), _SortedIds()
        for step in range(len(self)):
            entered, left, retrieved = (self._list(step, part) for part in range(3))
            attended.remove(left)
            attended.add(entered)
            window = _without(attended.array, retrieved)
            yield Attended(step, window, retrieved, entered, left, banked.array)
            banked.add([chunk for chunk, _ in self.evicted(step)])
            banked.remove(self.discarded(step))

    def _list(self, step: int, part: int) -> list[int]:
        place = _LISTS * step + part
        return self._ids[self._ends[place - 1] if place else 0 : self._ends[place]].tolist()


class _SortedIds:
    """A set of ids as an ascending array; one that was handed out keeps its content."""

    def __init__(self) -> None:
        self.array: Ids = np.empty(0, np.int64)

    def add(self, ids: Sequence[int]) -> None:
        if len(ids):
            self.array = np.sort(np.concatenate([self.array, np.array(ids, np.int64)]))

    def remove(self, ids: Sequence[int]) -> None:
        self.array = _without(self.array, ids)


def _without(ascending: Ids, ids: Sequence[int]) -> Ids:
    """Ascending ids without a few of them, which need not be there."""
    if not len(ids) or not len(ascending):
        return ascending
    wanted = np.array(ids, np.int64)
    places = np.searchsorted(ascending, wanted)
    there = places < len(ascending)
    places = places[there][ascending[places[there]] == wanted[there]]
    return np.delete(ascending, places)
