"""The trail of a rollout against the engine as it stood at every step."""

from __future__ import annotations

from typing import Any

import pytest

from worldkv import simulate
from worldkv.config import CacheConfig
from worldkv.tiers import TierLimits

PATH = "generate:loop"
CHUNKS = 40
SPECS = (
    "full-kv",
    "sliding-window:sink_frames=3",
    "worldkv",
    "frugal-coverage",
    "r-swa",
    "composed:index=frustum,eviction=never,wrappers=hysteresis",
)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("when_full", ["error", "forget-oldest"])
def test_every_step_is_as_the_engine_had_it(spec: str, when_full: Any) -> None:
    """Attended chunks, the bank, tiers, traffic: copied from the engine step by step, and read from the trail."""
    limits = TierLimits(100_000, 100_000 if when_full == "forget-oldest" else None, when_full)
    seen: list[dict[str, Any]] = []
    banks: list[list[int]] = [[]]

    def note(engine: Any, record: Any, spent: Any) -> None:
        tiers = engine.state.tiers
        seen.append(
            {
                "attended": record.plan.attended.tolist(),
                "retrieved": list(record.plan.retrieved),
                "evicted": list(zip(record.evicted, record.kept_tokens, strict=True)),
                "discarded": list(record.discarded),
                "moved": record.traffic._asdict(),
                "held": {"host": tiers.host.held, "disk": tiers.disk.held},
                "attention": spent.attention_seconds,
            }
        )
        tier = engine.table.columns["tier"][: len(engine.table)]
        banks.append(
            [chunk for chunk, place in enumerate(tier.tolist()) if engine.state.bank_count and place in (1, 2)]
        )

    rollout = simulate(PATH, spec, "tiny", chunks=CHUNKS, config=CacheConfig(limits=limits), recall=False, on_step=note)
    trail = rollout.record.trail
    assert len(trail) == CHUNKS
    for step, (attended, had, bank) in enumerate(zip(trail.steps(), seen, banks, strict=False)):
        assert attended.step == step
        assert attended.ids.tolist() == had["attended"]
        assert attended.retrieved == had["retrieved"]
        assert sorted({*attended.window.tolist(), *attended.retrieved}) == had["attended"]
        assert attended.bank.tolist() == bank
        assert trail.evicted(step) == had["evicted"]
        assert trail.discarded(step) == had["discarded"]
        assert {edge: moved[step] for edge, moved in trail.moved_bytes.items()} == had["moved"]
        held = {tier: int(values[step]) for tier, values in trail.held_bytes.items()}
        assert {tier: held[tier] for tier in had["held"]} == had["held"]
        assert trail.attention_seconds[step] == had["attention"]
