"""FlashMemory step by step: which chunks pass, from how many pages, one interval late, beside sink and tail."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from tests.parts.bank import Array
from worldkv.engine.engine import CacheEngine
from worldkv.geometry import PRESETS
from worldkv.policies import FlashMemory
from worldkv.policy import Index
from worldkv.scene import scene_of, viewpoints
from worldkv.sim.backend import SimBackend
from worldkv.trajectory import cut, load_trajectory
from worldkv.views import BankView, Query

TINY = PRESETS["tiny"]


@dataclass(frozen=True)
class Drawn(Index):
    """Scores drawn from the step."""

    def scores(self, query: Query, bank: BankView) -> Array:
        return np.array([drawn(query.step, chunk) for chunk in bank.ids.tolist()])


def drawn(step: int, chunk: int) -> float:
    return float(np.random.default_rng((step, chunk)).random())


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("pages", [1, 2, 9])
def test_threshold_pages_interval_and_lateness(every: int, pages: int) -> None:
    chunked = cut(load_trajectory("generate:loop:chunks=26,laps=2"), TINY)
    policy = FlashMemory(3, 12, 6, every, 0.7, pages, Drawn())
    engine = CacheEngine(policy, TINY, SimBackend(frozenset()), scene=scene_of(chunked))
    first = 4  # the first step at which something is banked: sink 0, recent 2 and 3
    looks: dict[int, list[int]] = {}
    for step, view in enumerate(viewpoints(chunked)):
        plan = engine.begin(view)
        engine.commit()
        assert {0, *range(max(0, step - 2), step)} - {step} <= {*plan.attended.tolist(), step}, "sink and tail"
        if step < first:
            continue
        if (step - first) % every == 0:
            passing = [chunk for chunk in range(1, step - 2) if drawn(step, chunk) >= 0.7]
            counts: dict[int, int] = {}
            for chunk in passing:
                counts[chunk // 2] = counts.get(chunk // 2, 0) + 1
            chosen = sorted(counts, key=lambda page: (-counts[page], page))[:pages]
            able = [chunk for chunk in passing if chunk // 2 in chosen]
            looks[step] = sorted(able, key=lambda chunk: -drawn(step, chunk))[:4]
        looked = step - (step - first) % every
        wanted = looks.get(looked - every, looks[first] if looked == first else [])
        assert list(plan.retrieved) == wanted
