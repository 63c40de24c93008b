"""Run a setup's trajectory on tensors, step by step, with measured and predicted times."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

from worldkv.experiments.measurements import Measurements

if TYPE_CHECKING:
    from worldkv.backends.cache import WorldCache
    from worldkv.backends.rollout import MakeChunk, OnPlan, TimedStep
    from worldkv.exports.timeline import Timeline
    from worldkv.sim import ComparisonSetup
    from worldkv.sim.clock import StepTime
    from worldkv.sim.rollout import RolloutRecorder


def measured_steps(
    make_chunk: MakeChunk,
    cache: WorldCache,
    setup: ComparisonSetup,
    recorder: RolloutRecorder,
    measured: Measurements,
    timeline: Timeline | None = None,
) -> Iterator[tuple[TimedStep, StepTime]]:
    """Generate along a setup's trajectory, record and measure; yield every step with its predicted time.

    A cache that holds chunks already goes on behind them.

    Raises:
        WorldKVError: see `WorldCache`.
    """
    from worldkv.backends.rollout import roll_out
    from worldkv.scene import viewpoints

    on_plan: OnPlan = recorder.begin
    if timeline is not None:
        on_plan = timeline.aside(recorder.begin)
        timeline.begin()
    ahead = itertools.islice(viewpoints(setup.chunked), len(cache.engine.table), None)
    for step in roll_out(make_chunk, cache, ahead, on_plan=on_plan):
        if timeline is not None:
            timeline.finish(step.record, step.seconds)
        spent = recorder.commit(step.record)
        measured.note(step.seconds, step.parts, spent)
        yield step, spent
        if timeline is not None:
            timeline.begin()
