"""A rollout of the kit: one policy, one scenario, one engine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from worldkv.config import CacheConfig
from worldkv.engine.engine import CacheEngine
from worldkv.engine.state import StepPlan, StepRecord
from worldkv.policy import CachePolicy
from worldkv.signals import Measured, Signal, Viewpoint
from worldkv.testing.keyed_backend import keyed_backend
from worldkv.testing.recording_policy import Instrument, OnQuestion, recording_policy
from worldkv.testing.scenario import Scenario


class Trial:
    """One rollout of `policy` through `scenario`, step by step.

    Attributes:
        engine: the engine that runs it; forks and going back are its own methods.
        records: what happened at each step so far.
    """

    def __init__(
        self,
        policy: CachePolicy,
        scenario: Scenario,
        on_question: OnQuestion | None = None,
        config: CacheConfig | None = None,
        instrument: Instrument | None = None,
    ) -> None:
        """Make an engine with no chunk yet.

        Args:
            policy: the policy that decides.
            scenario: the path and the room.
            on_question: called with every question once it is answered.
            config: another room than the scenario's.
            instrument: changes what the policy is shown.
        """
        self.scenario = scenario
        self.viewpoints = scenario.viewpoints()
        if on_question is not None:
            policy = recording_policy(policy, on_question, instrument)
        backend = keyed_backend(policy, scenario.geometry, scenario.seed, scenario.has_keys)
        config = config or scenario.config()
        self.engine = CacheEngine(policy, scenario.geometry, backend, config, scenario.scene(policy))
        self.records: list[StepRecord] = []

    def run(self, steps: int | None = None) -> Trial:
        """Go on for `steps` chunks, to the end of the path where None."""
        end = len(self.viewpoints) if steps is None else min(len(self.viewpoints), len(self.records) + steps)
        for number in range(len(self.records), end):
            self.records.append(take(self.engine, self.viewpoints[number], self.scenario.seed))
        return self


def take(engine: CacheEngine, viewpoint: Viewpoint, seed: int) -> StepRecord:
    """One whole step: begin, refine where the policy is asked then, commit what a model would have measured."""
    plan = engine.begin(viewpoint)
    measured = measured_at(engine, plan, seed)
    if engine.policy.asked_at == "first_pass":
        plan = engine.refine(None if measured is None else measured.query_summary)
        measured = measured_at(engine, plan, seed)
    return engine.commit(measured)


def measured_at(engine: CacheEngine, plan: StepPlan, seed: int) -> Measured | None:
    """What a model would measure at a step, drawn from the step and the seed; None where no signal needs it."""
    if not engine.needs & {Signal.KEY_SUMMARY, Signal.QUERY_SUMMARY, Signal.ATTENTION_MASS}:
        return None
    geometry = engine.geometry
    draw = np.random.default_rng((seed, plan.step, 2))
    shape = (geometry.layers, geometry.kv_heads, geometry.head_dim)
    mean, below, above, query = draw.standard_normal((4, *shape)).astype(np.float32)
    return Measured(mean, mean - abs(below), mean + abs(above), query, draw.random(len(plan.attended)))


class Decision(NamedTuple):
    """What was decided at one step, whatever it cost to carry out; fields as in `StepPlan` and `StepRecord`."""

    attended: tuple[int, ...]
    attended_tokens: int
    retrieved: tuple[int, ...]
    evicted: tuple[int, ...]
    kept_tokens: tuple[int, ...]
    discarded: tuple[int, ...]
    shrunk: tuple[int, ...]


def decisions(records: Iterable[StepRecord]) -> list[Decision]:
    """What was decided at each step."""
    return [
        Decision(
            tuple(record.plan.attended.tolist()),
            record.plan.attended_tokens,
            record.plan.retrieved,
            record.evicted,
            record.kept_tokens,
            record.discarded,
            record.shrunk,
        )
        for record in records
    ]


def rollout_difference(expected: Sequence[StepRecord], found: Sequence[StepRecord], *, bytes_too: bool) -> str | None:
    """The first step at which two rollouts differ, in words: `at step 3 it retrieved (1,) instead of (2,)`.

    Args:
        expected: what should have happened.
        found: what did.
        bytes_too: whether what was copied over each edge counts beside what was decided.
    """
    pairs = zip(decisions(expected), decisions(found), expected, found, strict=True)
    for step, (one, other, whole, another) in enumerate(pairs):
        for name, before, after in zip(Decision._fields, one, other, strict=True):
            if before != after:
                return f"at step {step} it {name.replace('_', ' ')} {after} instead of {before}"
        if bytes_too and whole.traffic != another.traffic:
            return f"at step {step} it moved {tuple(another.traffic)} bytes instead of {tuple(whole.traffic)}"
    return None
