"""The time model against the figures published for full KV, and what it says of WorldKV without being fitted to it."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.published_figures import FULL_KV_FPS, WORLDKV_FPS, still_path
from worldkv.config import CacheConfig
from worldkv.geometry import PRESETS
from worldkv.policies import FullKV, WorldKV
from worldkv.policy import CachePolicy
from worldkv.sim.machine import load_machine
from worldkv.sim.rollout import simulate

LINGBOT = PRESETS["lingbot-world-fast-480p"]


def fps(policy: CachePolicy, machine: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    rollout = simulate(still_path(90), policy, LINGBOT, load_machine(machine))
    return LINGBOT.video_frames_per_chunk / rollout.seconds


def test_full_kv_is_within_two_percent_of_the_fitted_series_everywhere() -> None:
    ratio = fps(FullKV(), "worldkv-project-page") / np.array(FULL_KV_FPS)
    assert np.abs(ratio - 1).max() < 0.02


def test_both_readings_of_the_worldkv_plateau() -> None:
    whole = fps(WorldKV(keep_ratio=1.0), "worldkv-project-page")
    assert abs(whole[-1] / WORLDKV_FPS[-1] - 1) < 0.03
    assert whole[-1] == pytest.approx(7.71, abs=0.01)
    half = fps(WorldKV(keep_ratio=0.25), "worldkv-project-page")
    assert half[-1] == pytest.approx(8.05, abs=0.01)
    with_overhead = fps(WorldKV(keep_ratio=0.25), "worldkv-project-page-overhead")
    assert abs(with_overhead[-1] / WORLDKV_FPS[-1] - 1) < 0.01


def test_full_kv_leaves_80_gb_at_chunk_21_and_goes_on() -> None:
    config = CacheConfig(window_budget_bytes=80_000_000_000, over_budget="flag")
    rollout = simulate(still_path(30), FullKV(), LINGBOT, load_machine("worldkv-project-page"), config=config)
    assert rollout.engine.state.over_budget_at == 21
    assert len(rollout.seconds) == 30
    assert rollout.window_bytes[19] <= 80_000_000_000 < rollout.window_bytes[20]
