"""Follow the rows of a comparison: progress, step log, step plans, retrieved chunks."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from worldkv.engine.engine import CacheEngine
    from worldkv.engine.state import StepRecord
    from worldkv.experiments.plan_file import PlanFile
    from worldkv.experiments.progress import Progress
    from worldkv.geometry import CacheGeometry
    from worldkv.sim import Candidate
    from worldkv.sim.budgets import Budget
    from worldkv.sim.clock import StepTime
    from worldkv.sim.rollout import OnStep


@dataclass
class StepLogger:
    """Follow the rows step by step: write log and plans, keep the retrieved chunks, report progress.

    Attributes:
        progress: where progress is reported.
        geometry: the cache shape.
        steps: steps of a row.
        log: the open log file; None for none.
        plan: the open file of step plans; None for none.
        retrieved: by label the chunks retrieved at every step; not kept for rows at budgets.
    """

    progress: Progress
    geometry: CacheGeometry
    steps: int
    log: TextIO | None
    plan: PlanFile | None = None
    retrieved: dict[str, list[tuple[int, ...]]] = field(default_factory=dict)

    def watch_at(self, candidate: Candidate, budget: Budget | None) -> OnStep:
        """The callback of a row at a budget; its lines in the log name the budget."""
        return self.watch(candidate.label, "own" if budget is None else budget.word)

    def watch(self, label: str, budget: str | None = None) -> OnStep:
        """The callback of a row named `label`, called after every step."""
        from worldkv.sim.document import step_document

        self.progress.begin(label if budget is None else f"{label} at {budget}", self.steps)
        retrieved = self.retrieved.setdefault(label, []) if budget is None else None
        write_plan = None if self.plan is None else self.plan.rollout(label, budget)

        def note(engine: CacheEngine, record: StepRecord, spent: StepTime) -> None:
            self.progress.reached(record.plan.step)
            if retrieved is not None:
                retrieved.append(record.plan.retrieved)
            if write_plan is not None:
                write_plan(engine, record)
            if self.log is not None:
                entry = step_document(label, self.geometry, record, spent.seconds)
                if budget is not None:
                    entry["budget"] = budget
                self.log.write(json.dumps(entry, allow_nan=False) + "\n")

        return note
