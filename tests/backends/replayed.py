"""What a recorded rollout was on tensors, beside what the simulator makes of the recording."""

from __future__ import annotations

from pathlib import Path

from worldkv.engine.state import StepRecord
from worldkv.geometry import CacheGeometry
from worldkv.parity.record import ExecutedStep, SimulationObserver
from worldkv.policy import CachePolicy
from worldkv.sim import load_machine, simulate
from worldkv.trajectory import cut, load_trajectory


def simulated(policy: CachePolicy, file: Path, geometry: CacheGeometry) -> list[ExecutedStep]:
    """The steps of the simulator along a recording."""
    observer = SimulationObserver()
    chunked = cut(load_trajectory(str(file)), geometry)
    simulate(chunked, policy, geometry, load_machine("worldkv-project-page"), on_step=observer.note)
    return observer.steps


def same(steps: list[StepRecord], replayed: list[ExecutedStep]) -> bool:
    """Whether every record of the rollout is the simulator's: what was attended, fetched, stored, moved and lost."""
    rows = []
    for step in steps:
        stored = sorted(zip(step.evicted, step.kept_tokens, strict=True))
        kept = tuple(tokens for _, tokens in stored)
        retrieved, evicted, gone = (tuple(sorted(ids)) for ids in (step.plan.retrieved, step.evicted, step.discarded))
        attended = tuple(step.plan.attended.tolist()), step.plan.attended_tokens
        rows.append((*attended, retrieved, evicted, kept, step.traffic, gone))
    return rows == [(*step[:6], step.discarded) for step in replayed]
