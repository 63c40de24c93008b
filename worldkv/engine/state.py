"""State of an engine beside the chunk table, small enough to copy whole for snapshots; plans and records of steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from worldkv.answers import Ids, Keep, RaggedKeep
from worldkv.backend import Move, Traffic
from worldkv.chunks import ChunkTable
from worldkv.engine.move_document import commit_document, move_document
from worldkv.tiers import Tiers, banked_rows


@dataclass
class TokenCounts:
    """Where every token ever produced is: `produced == window + banked + pruned + discarded`, always.

    Attributes:
        produced: tokens of all committed chunks.
        window: tokens at home in the window.
        banked: tokens at home in the bank.
        pruned: tokens dropped by compression or by shrinking in place.
        discarded: tokens of chunks that are gone, those the bank forgot included.
        forgotten: of the discarded, those the bank forgot because it was full.
    """

    produced: int = 0
    window: int = 0
    banked: int = 0
    pruned: int = 0
    discarded: int = 0
    forgotten: int = 0


@dataclass
class EngineState:
    """Everything that changes during a rollout and is not a row of the table.

    Attributes:
        tiers: the ledgers.
        counts: the token ledger.
        window_ids: chunks at home in the window, ascending `(chunks,)`; the table's own ids where they are one run.
        home_bytes: bytes of the chunks at home in the window.
        replicas: bytes in the window of each banked chunk that is also there.
        staged: bytes in staging of each prefetched chunk.
        leaving: chunks no longer at home in the window whose tokens are still there until the next begin: the bytes
            there, and the keep of those that went to the bank (None for the discarded).
        resident: the last retrieval's ids that are still banked, best first.
        planned: the last retrieval's `next_ids`.
        last_refresh: step of the last retrieval that looked afresh.
        summary: the last query summary.
        shrunk: chunks shrunk in place since the last begin.
        lost: chunks of the bank that could not be stored or read back since the last commit.
        forgets: the moves for them that no plan or record has told yet.
        pinned: chunks that a caller has pinned, ascending: attended at every step, never discarded or forgotten.
        scene: the scene that is generated; the bank shows the policy chunks of this one only.
        is_cut: whether there was another scene before.
        ragged: what is left of each chunk at home that was cut to other counts in every head.
        told_traffic: bytes copied so far, as far as records tell them.
        told_late: chunks banked between steps that no record has told yet: id, tokens, bytes.
        bank_first: least banked id; meaningless while `bank_count` is 0.
        bank_last: greatest banked id, likewise.
        bank_count: banked chunks.
        over_budget_at: chunks generated when the window first went over its budget, that one included.
    """

    tiers: Tiers
    counts: TokenCounts = field(default_factory=TokenCounts)
    window_ids: Ids = field(default_factory=lambda: np.empty(0, np.int64))
    home_bytes: int = 0
    replicas: dict[int, int] = field(default_factory=dict)
    staged: dict[int, int] = field(default_factory=dict)
    leaving: dict[int, tuple[int, Keep | RaggedKeep | None]] = field(default_factory=dict)
    resident: tuple[int, ...] = ()
    planned: tuple[int, ...] = ()
    last_refresh: int | None = None
    summary: Any = None
    shrunk: tuple[int, ...] = ()
    lost: tuple[int, ...] = ()
    forgets: tuple[Move, ...] = ()
    pinned: tuple[int, ...] = ()
    scene: int = 0
    is_cut: bool = False
    ragged: dict[int, RaggedKeep] = field(default_factory=dict)
    told_traffic: Traffic = Traffic()
    told_late: tuple[tuple[int, int, int], ...] = ()
    bank_first: int = 0
    bank_last: int = 0
    bank_count: int = 0
    over_budget_at: int | None = None

    def copy(self) -> EngineState:
        """An independent twin; answers and arrays inside are never written, so they are shared."""
        return dataclasses.replace(
            self,
            tiers=self.tiers.copy(),
            counts=dataclasses.replace(self.counts),
            replicas=dict(self.replicas),
            staged=dict(self.staged),
            leaving=dict(self.leaving),
            ragged=dict(self.ragged),
        )

    def bank_add(self, chunk: int) -> None:
        """A chunk's home is now the bank."""
        self.bank_first = chunk if self.bank_count == 0 else min(self.bank_first, chunk)
        self.bank_last = chunk if self.bank_count == 0 else max(self.bank_last, chunk)
        self.bank_count += 1

    def bank_remove(self, chunk: int, table: ChunkTable) -> None:
        """A chunk left the bank; its row in `table` says so already."""
        self.bank_count -= 1
        if self.bank_count and chunk in (self.bank_first, self.bank_last):
            rows = banked_rows(table)
            self.bank_first, self.bank_last = int(rows[0]), int(rows[-1])

    def bank_rows(self, table: ChunkTable) -> slice | Ids:
        """The bank's rows of this scene: a slice where they are one run, so that views copy nothing."""
        if self.bank_count == 0:
            return slice(0, 0)
        if self.is_cut:
            rows = banked_rows(table)
            of_scene: Ids = rows[table.columns["scene"][rows] == self.scene]
            return of_scene
        if self.bank_last - self.bank_first + 1 == self.bank_count:
            return slice(self.bank_first, self.bank_last + 1)
        return banked_rows(table)

    def has_choice(self, table: ChunkTable) -> bool:
        """Whether the bank holds anything that the policy may choose from."""
        if not self.is_cut:
            return self.bank_count > 0
        return bool((table.columns["scene"][banked_rows(table)] == self.scene).any())

    def window_rows(self) -> slice | Ids:
        """The window's rows, likewise."""
        ids = self.window_ids
        count = len(ids)
        if count == 0:
            return slice(0, 0)
        first = ids.item(0)
        return slice(first, first + count) if ids.item(-1) - first + 1 == count else ids

    def admit(self, chunk: int, table: ChunkTable) -> None:
        """The newest chunk is at home in the window."""
        rows = self.window_rows()
        if isinstance(rows, slice) and (rows.stop in (0, chunk)):
            self.window_ids = table.columns["ids"][rows.start if rows.stop else chunk : chunk + 1]
        else:
            self.window_ids = np.append(self.window_ids, chunk)
        self.home_bytes += table.columns["window_bytes"].item(chunk)

    def release(self, gone: tuple[int, ...]) -> None:
        """Chunks are no longer at home in the window."""
        for chunk in gone if self.ragged else ():
            self.ragged.pop(chunk, None)
        ids, count = self.window_ids, len(gone)
        if ids.item(count - 1) == max(gone):
            self.window_ids = ids[count:]
        else:
            self.window_ids = ids[ids != gone[0]] if count == 1 else ids[~np.isin(ids, gone)]


class StepPlan(NamedTuple):
    """What one step attends.

    Attributes:
        step: the chunk being generated.
        attended: ids attended beside the chunk itself, ascending `(chunks,)`.
        attended_tokens: their tokens, plus the chunk's own.
        window_bytes: bytes of keys and values on the device: attended, the chunk's own, staging.
        retrieved: banked ids among them, best first.
        entered: ids attended now and not at the last step.
        changed: ids attended at both, with fewer tokens now.
        left: ids attended at the last step and not now.
        fetched_bytes: host-to-device bytes that this step has to wait for.
        fetched_disk_bytes: of these, bytes that come from disk first.
        over_budget: whether the step goes over the window budget.
        frames: latent frames of the chunk being generated.
        positions: latent frame at which every attended chunk, and last the chunk being generated, starts
            `(chunks + 1,)`, as the policy's positions say.
        moves: what was moved for it, in order; where the policy is asked after the first pass, from there on.
        first: what the first pass attends, where the policy is asked after it; None where it is asked at begin.
        fetched_spare_bytes: bytes that come from spare device memory, beside `fetched_bytes`.
        pinned: chunks attended because a caller pinned them.
        scene: the scene that the chunk is of.
    """

    step: int
    attended: Ids
    attended_tokens: int
    window_bytes: int
    retrieved: tuple[int, ...]
    entered: tuple[int, ...]
    changed: tuple[int, ...]
    left: tuple[int, ...]
    fetched_bytes: int
    fetched_disk_bytes: int
    over_budget: bool
    frames: int
    positions: Ids
    moves: Sequence[Move] = ()
    first: StepPlan | None = None
    fetched_spare_bytes: int = 0
    pinned: tuple[int, ...] = ()
    scene: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The plan in plain JSON types: the part of a line of `--plan` that is known before the chunk is generated.

        docs/step-plans.md says what every key means.
        """
        document: dict[str, Any] = {"step": self.step, "frames": self.frames, **self._attended()}
        if self.pinned:
            document["pinned"] = list(self.pinned)
        if self.scene:
            document["scene"] = self.scene
        if self.first is not None:
            document["first_pass"] = self.first._attended()
        document["moves"] = self._told_moves()
        return document

    def _attended(self) -> dict[str, Any]:
        return {
            "attended": self.attended.tolist(),
            "attended_tokens": self.attended_tokens,
            "retrieved": [int(chunk) for chunk in self.retrieved],
            "positions": self.positions.tolist(),
        }

    def _told_moves(self) -> list[dict[str, Any]]:
        if self.first is None:
            return [move_document(move, "begin") for move in self.moves]
        return [*self.first._told_moves(), *(move_document(move, "first_pass") for move in self.moves)]

    def __repr__(self) -> str:
        return (
            f"StepPlan(step={self.step}, attended={_ids(self.attended.tolist())}, "
            f"attended_tokens={self.attended_tokens}, retrieved={_ids(self.retrieved)}, "
            f"fetched_bytes={self.fetched_bytes})"
        )


class StepRecord(NamedTuple):
    """What happened in one step, from begin to the end of its commit.

    Attributes:
        plan: what was attended.
        evicted: ids that went to the bank.
        kept_tokens: tokens stored of each of them.
        discarded: ids gone for good, forgotten ones included.
        shrunk: ids shrunk in place.
        traffic: bytes copied over each edge.
        kept_bytes: bytes in the bank of each evicted chunk.
        shrunk_tokens: tokens left of each chunk shrunk in place.
        shrunk_bytes: bytes in the window of each of them.
        own_tokens: tokens with which the step's own chunk entered the window.
        own_bytes: their bytes.
        moves: what was moved behind that, in order.
    """

    plan: StepPlan
    evicted: tuple[int, ...]
    kept_tokens: tuple[int, ...]
    discarded: tuple[int, ...]
    shrunk: tuple[int, ...]
    traffic: Traffic
    kept_bytes: tuple[int, ...] = ()
    shrunk_tokens: tuple[int, ...] = ()
    shrunk_bytes: tuple[int, ...] = ()
    own_tokens: int = 0
    own_bytes: int = 0
    moves: Sequence[Move] = ()

    def to_dict(self) -> dict[str, Any]:
        """The step in plain JSON types: a line of `--plan` without the policy's name; see docs/step-plans.md."""
        document = self.plan.to_dict()
        document["moves"] += [
            commit_document(self.plan.step, self.own_tokens, self.own_bytes),
            *(move_document(move, "commit") for move in self.moves),
        ]
        document["discarded"] = [int(chunk) for chunk in self.discarded]
        return document

    def __repr__(self) -> str:
        return (
            f"StepRecord(step={self.plan.step}, attended={_ids(self.plan.attended.tolist())}, "
            f"retrieved={_ids(self.plan.retrieved)}, evicted={_ids(self.evicted)}, discarded={_ids(self.discarded)}, "
            f"shrunk={_ids(self.shrunk)}, {self.traffic})"
        )


def _ids(ids: Sequence[int]) -> str:
    """Chunk ids for a line: all of a few, the first and last of many."""
    if len(ids) <= 12:
        return str(list(ids))
    return f"[{', '.join(map(str, ids[:6]))}, ... {len(ids) - 9} more, {', '.join(map(str, ids[-3:]))}]"
