"""Ranks that run one rollout together: each asks its own policy, and all carry out one answer."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from worldkv.answers import Eviction, Ids, Keep, RaggedKeep, Retrieval
from worldkv.chunks import ChunkTable
from worldkv.engine.policy_calls import PolicyCaller
from worldkv.engine.state import EngineState
from worldkv.policy import Positions
from worldkv.signals import Viewpoint
from worldkv.views import AttendedChunks

Answer = TypeVar("Answer", Retrieval, Eviction, Keep | RaggedKeep)
_COLUMNS = (
    "tier",
    "tokens",
    "frame_tokens",
    "stored_bytes",
    "window_bytes",
    "last_used",
    "times_retrieved",
    "attention_mass",
)


class Ranks(ABC):
    """The processes that share one rollout, of which each holds some heads or branches of every chunk.

    Attributes:
        key_heads: KV heads that a measured key or query summary has: those of all ranks where heads are split.
    """

    key_heads: int

    @abstractmethod
    def agree(self, question: str, step: int, answer: Answer) -> Answer:
        """The answer that every rank carries out.

        Args:
            question: which question it answers, for the error.
            step: chunks committed so far.
            answer: what this rank's policy said.

        Raises:
            GroupError: on every rank, where one answered otherwise or failed.
        """


class AgreedCaller:
    """Calls a policy on every rank and hands on what all of them agree on."""

    def __init__(self, caller: PolicyCaller, ranks: Ranks) -> None:
        """The agreement of `ranks` on what `caller` hears."""
        self._caller, self._ranks = caller, ranks

    def retrieval(self, table: ChunkTable, state: EngineState, viewpoint: Viewpoint) -> Retrieval:
        """See `PolicyCaller.retrieval`."""
        return self._ranks.agree("retrieve", len(table), self._caller.retrieval(table, state, viewpoint))

    def positions(self, rule: Positions, attended: AttendedChunks) -> Ids:
        """See `PolicyCaller.positions`; it reads only what all ranks have in common."""
        return self._caller.positions(rule, attended)

    def eviction(self, table: ChunkTable, state: EngineState) -> Eviction:
        """See `PolicyCaller.eviction`."""
        return self._ranks.agree("evict", len(table), self._caller.eviction(table, state))

    def keep(self, table: ChunkTable, state: EngineState, chunk: int) -> Keep | RaggedKeep:
        """See `PolicyCaller.keep`."""
        return self._ranks.agree(f"compress chunk {chunk}", len(table), self._caller.keep(table, state, chunk))


def state_facts(table: ChunkTable, state: EngineState) -> dict[str, Any]:
    """What must be the same on every rank between two answers, as JSON has it; long columns as digests.

    Poses are left out: what follows from them is compared. So are key summaries, which are gathered.
    """
    columns = {name: digest(table.columns[name][: len(table)]) for name in _COLUMNS if name in table.columns}
    return {
        "step": len(table),
        **columns,
        "chunks in the window": digest(state.window_ids),
        "resident": list(state.resident),
        "planned": list(state.planned),
        "staged": list(state.staged),
        "leaving": list(state.leaving),
        "last_refresh": state.last_refresh,
        "pinned": list(state.pinned),
        "scene": state.scene,
        "bytes on host": state.tiers.host.held,
        "bytes on disk": state.tiers.disk.held,
        "bytes in spare memory": state.tiers.spare.held,
    }


def digest(array: NDArray[Any]) -> str:
    """A short name for an array's shape and content; starts with `#`."""
    content = str(array.shape).encode() + np.ascontiguousarray(array).tobytes()
    return "#" + hashlib.blake2b(content, digest_size=8).hexdigest()
