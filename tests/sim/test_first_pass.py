"""A policy asked after the first pass is asked by the simulator too, recording or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from worldkv.geometry import PRESETS
from worldkv.metrics.landmarks import place_landmarks
from worldkv.policies import WorldKV
from worldkv.sim.machine import load_machine
from worldkv.sim.rollout import simulate
from worldkv.trajectory import cut, load_trajectory


@dataclass(frozen=True)
class LateWorldKV(WorldKV):
    """WorldKV's answers, given after the first pass."""

    asked_at: ClassVar[Literal["begin", "first_pass"]] = "first_pass"


def test_asked_late_it_retrieves_the_same_chunks() -> None:
    geometry, machine = PRESETS["tiny"], load_machine("worldkv-project-page")
    chunked = cut(load_trajectory("generate:loop"), geometry)
    landmarks = place_landmarks(chunked)
    early = simulate(chunked, WorldKV(), geometry, machine, landmarks=landmarks)
    late = simulate(chunked, LateWorldKV(), geometry, machine, landmarks=landmarks)
    assert early.recall is not None and early.recall > 0.9
    assert late.recall == early.recall
    assert (late.attended_tokens == early.attended_tokens).all()
    traffic = late.engine.backend.traffic().host_to_device
    assert traffic >= early.engine.backend.traffic().host_to_device, "what left at begin comes back over the bus"
