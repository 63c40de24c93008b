"""Write step plans as JSONL: a header for every rollout, then a line a step; docs/step-plans.md tells every key."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from worldkv.engine.engine import CacheEngine
    from worldkv.engine.state import StepRecord
    from worldkv.trajectory.chunked import ChunkedTrajectory

PLAN_FORMAT = "worldkv-step-plan"
PLAN_VERSION = 1
"""Raised when a key changes its meaning or goes; a new key alone does not raise it."""

Executor = Literal["simulator", "torch"]
"""What carried the moves out; only tensors tell which tokens of a chunk are kept."""


class Written(Protocol):
    """A text file as it is written."""

    def write(self, text: str, /) -> object:
        """Write `text` behind what is there."""


@dataclass(frozen=True)
class PlanFile:
    """An open file of step plans.

    Attributes:
        stream: where lines go.
        chunked: the trajectory, named in every header.
        executor: what carries out the moves.
    """

    stream: Written
    chunked: ChunkedTrajectory
    executor: Executor

    def rollout(
        self, label: str, budget: str | None = None, *, goes_on: bool = False
    ) -> Callable[[CacheEngine, StepRecord], None]:
        """What to call after every step of a rollout; the first call writes its header.

        Args:
            label: the policy's name in tables, repeated in each line.
            budget: the size it runs at, likewise; None where rows have one size.
            goes_on: whether the header, and the steps so far, are in the file already.
        """
        named = {"policy": label} if budget is None else {"policy": label, "budget": budget}
        is_new = not goes_on

        def note(engine: CacheEngine, record: StepRecord) -> None:
            nonlocal is_new
            if is_new:
                self._write({"record": "header", **named, **self._header(engine)})
                is_new = False
            self._write({"record": "step", **named, **record.to_dict()})

        return note

    def _header(self, engine: CacheEngine) -> dict[str, Any]:
        from worldkv.sim.document import geometry_document
        from worldkv.specs.parse import spec_or_repr

        config, chunked = engine.config, self.chunked
        return {
            "format": PLAN_FORMAT,
            "version": PLAN_VERSION,
            "spec": spec_or_repr(engine.policy),
            "executor": self.executor,
            "trajectory": {
                "name": chunked.trajectory.name,
                "frames": chunked.video_frames,
                "chunks": chunked.num_chunks,
            },
            "geometry": {**geometry_document(engine.geometry), "token_bytes": engine.geometry.token_bytes},
            "device_budget_bytes": config.window_budget_bytes,
            "staging_chunks": config.staging_chunks,
            "host_budget_bytes": config.limits.host_bytes,
            "disk_budget_bytes": config.limits.disk_bytes,
            "spare_budget_bytes": config.limits.spare_bytes,
            "spare_device": config.limits.spare_device,
        }

    def _write(self, line: dict[str, Any]) -> None:
        self.stream.write(json.dumps(line, allow_nan=False) + "\n")
