"""`run --plan`: window and bank hold the kept tokens that it names, and the simulator writes the same plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from tests.core.plan_replay import PlanReplay, rollouts
from worldkv import compare, run
from worldkv.backends.cache import WorldCache
from worldkv.backends.window.arena import KEYS
from worldkv.engine.state import StepRecord

LOOP = "generate:loop:chunks=16,laps=2"

Held = dict[tuple[int, int, int], Tensor]
"""Keys by chunk, layer and head `(tokens, head_dim)`."""


class Spy:
    """Reads keys off a running cache: those of every generated chunk, and what window and bank hold after a commit."""

    def __init__(self) -> None:
        self.generated: Held = {}
        self.steps: list[tuple[Held, Held]] = []

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        attend, commit = WorldCache.attend, WorldCache.commit

        def watched_attend(
            cache: WorldCache, layer: int, queries: Tensor, keys: Tensor, *rest: Any, **named: Any
        ) -> Any:
            step = len(cache.engine.table)
            for head in range(cache.geometry.kv_heads):
                self.generated[step, layer, head] = keys[0, :, head].clone()
            return attend(cache, layer, queries, keys, *rest, **named)

        def watched_commit(cache: WorldCache) -> StepRecord:
            record = commit(cache)
            cache.backend.drain()
            self.steps.append((window_of(cache), bank_of(cache)))
            return record

        monkeypatch.setattr(WorldCache, "attend", watched_attend)
        monkeypatch.setattr(WorldCache, "commit", watched_commit)


def window_of(cache: WorldCache) -> Held:
    arena, held = cache.backend.arena, {}
    for layer in range(cache.geometry.layers):
        for head in range(cache.geometry.kv_heads):
            for chunk, extents in arena.group(layer, head).layout.extents.items():
                places = np.concatenate([np.arange(start, start + tokens) for start, tokens in extents])
                held[chunk, layer, head] = arena.buffer[layer, KEYS, 0, head, places].clone()
    return held


def bank_of(cache: WorldCache) -> Held:
    arena, bank, held = cache.backend.arena, cache.backend.bank, {}
    for chunk, stored in bank.stored.items():
        parts = arena.views_by_group(bank.inspect(chunk), stored.counts)
        for group, part in zip(arena.groups, parts, strict=True):
            if group.place is not None:
                held[chunk, *group.place] = part[KEYS, 0].clone()
                continue
            for layer in range(cache.geometry.layers):
                for head in range(cache.geometry.kv_heads):
                    held[chunk, layer, head] = part[layer, KEYS, 0, head].clone()
    return held


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("worldkv", {"host_budget": "60kB"}),
        ("worldkv:pooled=true,rebase=true", {}),
        ("h2o:recent_frames=3,heavy_frames=6", {}),
        ("snapkv:retrieved_frames=6,recent_frames=3", {}),
        ("novelty-admission:recent_frames=3,least_utility=0.3", {}),
    ],
)
def test_the_kept_tokens_it_names_are_those_held(
    policy: str, words: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy, file = Spy(), tmp_path / "plan.jsonl"
    spy.install(monkeypatch)
    run(LOOP, policy, passes=1, recall=False, plan=file, **words)  # type: ignore[arg-type]
    ((header, lines),) = rollouts(file.read_text().splitlines())
    assert header["executor"] == "torch" and len(lines) == len(spy.steps) == 16
    replay, cut = PlanReplay(header["geometry"]), 0
    for line, (window, bank) in zip(lines, spy.steps, strict=True):
        replay.step(line)
        told = {"window": replay.in_window, "bank": replay.in_bank}
        places = {
            "window": replay.places["window"],
            "bank": replay.places["host"] | replay.places["disk"] | replay.places["spare"],
        }
        for where, held in (("window", window), ("bank", bank)):
            assert {chunk for chunk, _, _ in held} == set(places[where])
            for (chunk, layer, head), keys in held.items():
                kept = told[where][chunk][layer, head]
                assert keys.equal(spy.generated[chunk, layer, head][kept]), (line["step"], where, chunk, layer, head)
                cut += len(kept) < 48
    assert cut, "something was cut"


def test_the_simulator_writes_the_same_plan_but_for_the_kept_tokens(tmp_path: Path) -> None:
    files = tmp_path / "real.jsonl", tmp_path / "simulated.jsonl"
    budgets = {"host_budget": "60kB", "disk_budget": "100kB", "when_full": "forget-oldest"}
    for policy in ("worldkv:rebase=true", "sliding-window", "streaming-llm"):
        run(LOOP, policy, passes=1, recall=False, plan=files[0], **budgets)  # type: ignore[arg-type]
        compare(
            LOOP,
            policy,
            geometry="tiny",
            baselines=False,
            match="none",
            recall=False,
            plan=files[1],
            **budgets,  # type: ignore[arg-type]
        )
        real, simulated = ([json.loads(line) for line in file.read_text().splitlines()] for file in files)
        assert [real[0].pop("executor"), simulated[0].pop("executor")] == ["torch", "simulator"]
        named = [move.pop("kept", None) for line in real[1:] for move in line["moves"]]
        assert any(kept is not None for kept in named) == (policy == "worldkv:rebase=true")
        assert not any("kept" in move for line in simulated[1:] for move in line["moves"])
        assert real == simulated and len(real) == 17
        if policy != "worldkv:rebase=true":
            continue
        # Sink and the two recent chunks stand where they were generated, the retrieved ones before the recent, by id.
        for line in real[5:]:
            step, places = line["step"], dict(zip(line["attended"], line["positions"], strict=False))
            back = sorted(line["retrieved"])
            assert {chunk: places.pop(chunk) for chunk in back} == {
                chunk: 3 * (step - 2 - len(back) + rank) for rank, chunk in enumerate(back)
            }
            assert places == {0: 0, step - 2: 3 * (step - 2), step - 1: 3 * (step - 1)}
            assert line["positions"][-1] == 3 * step
