"""Wrong policies: they remember, draw without a seed, or write to the views."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.testing.right import Right
from worldkv import CachePolicy, Eviction, Keep, Retrieval
from worldkv.views import BankView, ChunkView, Query, WindowView


@dataclass
class CanBeChanged(CachePolicy):
    """A dataclass whose fields can be set later."""

    recent_chunks: int = 2

    def evict(self, window: WindowView) -> Eviction:
        return Eviction(bank=tuple(window.ids[: -self.recent_chunks].tolist()))

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        return Retrieval()

    def compress(self, chunk: ChunkView) -> Keep:
        return Keep(chunk.tokens, chunk.frame_tokens)


@dataclass(frozen=True)
class UnequalToItsCopy(Right):
    """Holds a fresh object that makes copies unequal."""

    marker: object = field(default_factory=object, init=False)


@dataclass(frozen=True)
class Dice(Right):
    """Breaks ties by chance, without a seed."""

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        return Retrieval(tuple(np.random.permutation(bank.ids)[:2].tolist()))


@dataclass(frozen=True)
class CountsItsCalls(Right):
    """Refreshes at every third call, by a counter of its own."""

    calls: list[int] = field(default_factory=lambda: [0], compare=False, repr=False)

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        self.calls[0] += 1
        return super().retrieve(query, bank) if self.calls[0] % 3 else Retrieval((int(bank.ids[-1]),))


LAST: list[int] = []


@dataclass(frozen=True)
class RemembersTheLast(Right):
    """Keeps the last answer in a module's variable, for hysteresis."""

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        near = super().retrieve(query, bank).ids
        kept = [chunk for chunk in LAST if chunk in bank.ids and chunk not in near]
        if not LAST or LAST[-1] != near[0]:
            LAST[:] = [*LAST[-1:], near[0]]
        return Retrieval((*near[:2], *kept[:1]))


SEEN: set[int] = set()


@dataclass(frozen=True)
class OncePerView(Right):
    """Looks afresh only at steps it has not seen, in all its rollouts together."""

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        key = hash(query.step)
        is_new = key not in SEEN
        if is_new and query.step > 4:
            SEEN.add(key)
        return super().retrieve(query, bank) if is_new else Retrieval(query.resident)


@dataclass(frozen=True)
class OrderOfASet(Right):
    """Orders chunks by the hash of a string, as iterating over a set of names does."""

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        names = {f"chunk {chunk}" for chunk in bank.ids}
        return Retrieval(tuple(int(name.split()[1]) for name in list(names)[:2]))


@dataclass(frozen=True)
class SortsInPlace(Right):
    """Centres the bank's positions in place, after having made them writable."""

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        positions = bank.poses.positions
        positions.flags.writeable = True
        positions -= positions.mean(axis=0)
        return super().retrieve(query, bank)


@dataclass(frozen=True)
class WritesToAView(Right):
    """Normalises a column in place."""

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        ages = bank.last_used
        ages -= ages.min()
        return Retrieval(tuple(bank.ids[np.argsort(ages)[:2]].tolist()))


@dataclass(frozen=True)
class NormalisesKeys(Right):
    """Scales the keys to length one where they lie: in the window."""

    def compress(self, chunk: ChunkView) -> Keep:
        if chunk.keys is not None:
            keys = chunk.keys
            keys /= np.linalg.norm(keys, axis=-1, keepdims=True)
        return super().compress(chunk)


@dataclass(frozen=True)
class ForgetsOnSpill(Right):
    """Looks only at chunks in host memory."""

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        in_memory = set(bank.ids[bank.column("tier") == 1].tolist())
        return Retrieval(tuple(chunk for chunk in super().retrieve(query, bank).ids if chunk in in_memory))


BEGUN: list[int] = [0]


@dataclass(frozen=True)
class SurvivesRestore(Right):
    """Counts chunks by itself; what a snapshot restores is not its count."""

    def evict(self, window: WindowView) -> Eviction:
        BEGUN[0] += 1
        leaving = super().evict(window).bank
        return Eviction(bank=leaving) if BEGUN[0] % 7 else Eviction(discard=leaving)


MEMO: dict[int, tuple[int, ...]] = {}


@dataclass(frozen=True)
class RemembersByStep(Right):
    """Keeps answers by step, whichever rollout asks."""

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        if query.step not in MEMO:
            MEMO[query.step] = super().retrieve(query, bank).ids
        return Retrieval(tuple(chunk for chunk in MEMO[query.step] if chunk in set(bank.ids.tolist())))


@dataclass(frozen=True)
class ScalesOpenedKeys(Right):
    """Opens a chunk of the window and scales its keys where they lie."""

    def evict(self, window: WindowView) -> Eviction:
        chunk = window.chunk(int(window.ids[-1]))
        if chunk.keys is not None:
            keys = chunk.keys
            keys *= 2.0
        return super().evict(window)


@dataclass(frozen=True)
class HoldsAnArray(Right):
    """A parameter that can be changed."""

    weights: list[float] = field(default_factory=lambda: [1.0, 2.0])


class LostItsDecorator(Right):
    """A subclass whose parameter is none, for want of a decorator."""

    decay: float = 0.5


@dataclass(frozen=True)
class BoundAsAMethod(Right):
    """Forgets that it is a property."""

    def is_bounded(self) -> bool:  # type: ignore[override]
        return False


MEMORIES: tuple[Any, ...] = (LAST, SEEN, BEGUN, MEMO)
"""What the modules of these policies remember."""

WRONG_STATE = (
    (CanBeChanged(), "is_plain_data", "CanBeChanged can be changed after it was made"),
    (UnequalToItsCopy(), "is_plain_data", "with the same parameters is not equal to it"),
    (HoldsAnArray(), "is_plain_data", "HoldsAnArray.weights is a list, which can be changed; take a tuple"),
    (LostItsDecorator(), "is_plain_data", "LostItsDecorator.decay is annotated but no parameter"),
    (BoundAsAMethod(), "is_plain_data", "is_bounded is .*; it must be True or False: is @property missing"),
    (RemembersByStep(), "same_in_another_process", "keep nothing in modules or classes between rollouts"),
    (ScalesOpenedKeys(), "views_are_left_alone", "evict at step . changed chunk.keys of chunk 0"),
    (Dice(), "same_views_same_answer", "asked twice with the same views .*default_rng"),
    (CountsItsCalls(), "same_views_same_answer", "retrieve at step . was asked twice"),
    (RemembersTheLast(), "rollouts_do_not_meet", "a policy keeps no state between questions"),
    (
        OncePerView(),
        "rollouts_do_not_meet",
        "a second rollout with the same policy object decided differently: at step",
    ),
    (OrderOfASet(), "same_in_another_process", "another process decides differently .* set or dict of strings"),
    (SortsInPlace(), "views_are_left_alone", "changed column pose.positions; copy it first"),
    (WritesToAView(), "views_are_left_alone", "writes to a view: .*read-only; copy it first"),
    (NormalisesKeys(), "views_are_left_alone", "compress at step . changed chunk.keys"),
    (ForgetsOnSpill(), "spilling_changes_no_decision", "the disk is part of the bank, do not look at tiers"),
    (SurvivesRestore(), "snapshot_goes_on_the_same", "restored from a snapshot, the rollout differs"),
    (SurvivesRestore(), "rewind_is_exact", "rewound by . chunks, the rollout differs"),
    (SurvivesRestore(), "fork_goes_on_alone", "fork.*, the rollout differs"),
    (SurvivesRestore(), "reset_is_fresh", "reset, the rollout differs"),
)
"""Policy, the check meant for it, what the message says."""
