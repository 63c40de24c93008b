"""Record the questions put to a policy: the views shown and the answers given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from worldkv.answers import Eviction, Ids, Keep, RaggedKeep, Retrieval
from worldkv.geometry import CacheGeometry
from worldkv.policy import CachePolicy, Positions
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


OnQuestion = Callable[[Question], None]
Instrument = Callable[..., tuple[Any, ...]]


@dataclass(frozen=True)
class RecordingPolicy(CachePolicy):
    """Hands every question on to `inner` and reports it; made by `recording_policy`, which gives it the inner name.

    Attributes:
        inner: the policy.
        on_question: called with every question once it is answered.
        instrument: changes what is shown before the policy sees it.
    """

    inner: CachePolicy
    on_question: OnQuestion = field(compare=False)
    instrument: Instrument | None = field(compare=False)

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
    def positions(self) -> Positions:
        """See `CachePolicy.positions`."""
        return self.inner.positions

    def _ask(self, kind: Kind, ask: Callable[..., Any], step: int, *shown: Any) -> Any:
        if self.instrument is not None:
            shown = self.instrument(*shown)
        answer = ask(*shown)
        self.on_question(Question(kind, step, shown, answer))
        return answer


def recording_policy(policy: CachePolicy, on_question: OnQuestion, instrument: Instrument | None = None) -> CachePolicy:
    """`policy`, its questions recorded; the engine's messages name the policy, not the recording.

    Args:
        policy: the policy that answers.
        on_question: called with every question once it is answered.
        instrument: takes the views and returns those that the policy is shown in their place.
    """
    lent = {"asked_at": policy.asked_at, "ragged": policy.ragged, "__module__": __name__}
    kind: type[RecordingPolicy] = type(type(policy).__name__, (RecordingPolicy,), lent)
    return kind(policy, on_question, instrument)
