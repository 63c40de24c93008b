"""A policy seen from between it and the engine: every question, what was shown, what was answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from worldkv.answers import Eviction, Ids, Keep, RaggedKeep, Retrieval
from worldkv.geometry import CacheGeometry
from worldkv.policy import CachePolicy
from worldkv.views import BankView, ChunkView, Query, WindowView

Kind = Literal["evict", "retrieve", "compress"]


@dataclass(frozen=True)
class Question:
    """One question put to a policy, before the engine has judged the answer.

    Attributes:
        kind: which of the three.
        step: chunks committed so far.
        shown: the views: `(window,)`, `(query, bank)` or `(chunk,)`.
        answer: what the policy said.
    """

    kind: Kind
    step: int
    shown: tuple[Any, ...]
    answer: Any

    @property
    def name(self) -> str:
        """For sentences: `evict at step 5`."""
        return f"{self.kind} at step {self.step}"


Watch = Callable[[Question], None]


@dataclass(frozen=True)
class Probe(CachePolicy):
    """Hands every question on and tells `watch`; made by `probed`, which lends it the policy's own name.

    Attributes:
        inner: the policy.
        watch: told of every question, answered.
        lens: changes what is shown before the policy sees it.
    """

    inner: CachePolicy
    watch: Watch = field(compare=False)
    lens: Callable[..., tuple[Any, ...]] = field(compare=False)

    def evict(self, window: WindowView) -> Eviction:
        """See `CachePolicy.evict`."""
        answer: Eviction = self._ask("evict", self.inner.evict, window.step, window)
        return answer

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        """See `CachePolicy.retrieve`."""
        answer: Retrieval = self._ask("retrieve", self.inner.retrieve, query.step, query, bank)
        return answer

    def compress(self, chunk: ChunkView) -> Keep | RaggedKeep:
        """See `CachePolicy.compress`."""
        answer: Keep | RaggedKeep = self._ask("compress", self.inner.compress, chunk.step, chunk)
        return answer

    def pinned(self, step: int, geometry: CacheGeometry) -> Ids:
        """See `CachePolicy.pinned`."""
        return self.inner.pinned(step, geometry)

    @property
    def is_bounded(self) -> bool:
        """See `CachePolicy.is_bounded`."""
        return self.inner.is_bounded

    @property
    def positions(self) -> Literal["absolute", "rebased"]:
        """See `CachePolicy.positions`."""
        return self.inner.positions

    def _ask(self, kind: Kind, ask: Callable[..., Any], step: int, *shown: Any) -> Any:
        shown = self.lens(*shown)
        answer = ask(*shown)
        self.watch(Question(kind, step, shown, answer))
        return answer


def _as_they_are(*shown: Any) -> tuple[Any, ...]:
    return shown


def probed(policy: CachePolicy, watch: Watch, lens: Callable[..., tuple[Any, ...]] = _as_they_are) -> CachePolicy:
    """`policy` under watch; the engine's messages name it, not the probe.

    Args:
        policy: who answers.
        watch: told of every question after it was answered.
        lens: takes the views, gives the views that the policy is shown in their place.
    """
    lent = {"asked_at": policy.asked_at, "ragged": policy.ragged, "__module__": __name__}
    kind: type[Probe] = type(type(policy).__name__, (Probe,), lent)
    return kind(policy, watch, lens)
