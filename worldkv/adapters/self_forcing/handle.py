"""A model under a cache, as its user holds it: plans and records of the rollout, and the end of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from worldkv.adapters.self_forcing.steps import Steps
from worldkv.backends import WorldCache
from worldkv.engine.state import StepPlan, StepRecord


class Handle(ABC):
    """A model under a cache, until `close` or the end of a `with` statement."""

    @property
    @abstractmethod
    def steps(self) -> Steps:
        """The chunks begun and committed."""

    @abstractmethod
    def close(self) -> None:
        """Give the model its own back, and close the cache; a chunk that is not committed yet is given up."""

    @property
    def cache(self) -> WorldCache:
        """The cache."""
        return self.steps.cache

    @property
    def plans(self) -> list[StepPlan]:
        """The plan of every chunk begun in this rollout."""
        return self.steps.plans

    @property
    def records(self) -> list[StepRecord]:
        """The record of every chunk committed in this rollout."""
        return self.steps.records

    def commit(self) -> StepRecord | None:
        """Commit the rollout's last chunk, which no next one commits; None if none is open."""
        return self.steps.commit()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
