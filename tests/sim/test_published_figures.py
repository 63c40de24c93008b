"""The time model against the figures published for full KV, and what it says of WorldKV without being fitted to it."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.published_figures import FULL_KV_FPS, READINGS, WORLDKV_FPS, Reading, fps, still_path
from worldkv.config import CacheConfig
from worldkv.geometry import PRESETS
from worldkv.policies import FullKV
from worldkv.sim.machine import load_machine
from worldkv.sim.rollout import simulate

LINGBOT = PRESETS["lingbot-world-fast-480p"]


FULL_KV = Reading("", "full KV", FullKV())
BY_NAME = {reading.name: reading for reading in READINGS}


def off(name: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Model over published series of a reading, less one."""
    share: np.ndarray[tuple[int], np.dtype[np.float64]] = fps(BY_NAME[name]) / np.array(WORLDKV_FPS) - 1
    return share


def test_full_kv_is_within_two_percent_of_the_fitted_series_everywhere() -> None:
    ratio = fps(FULL_KV) / np.array(FULL_KV_FPS)
    assert np.abs(ratio - 1).max() < 0.02


@pytest.mark.parametrize(
    ("name", "frames", "work", "starts"),
    [
        ("A", 30, 0.0, 1),
        ("B", 21, 0.0, 1),
        ("C", 21, 0.067, 1),
        ("D", 27, 0.0, 1),
        ("E", 21, 0.0, 1),
        ("F", 18, 0.0, 1),
        ("G", 18, 0.089, 5),
    ],
)
def test_each_reading_is_the_fitted_line_at_the_frames_it_attends(
    name: str, frames: int, work: float, starts: int
) -> None:
    """Sink 3, six retrieved chunks as stored, and the recent frames with those of the chunk itself."""
    series, chunks = fps(BY_NAME[name]), np.arange(1, 91)
    fitted = 12 / (1.3368 + 0.02202 * np.minimum(chunks, frames / 3) + work * (chunks >= starts))
    np.testing.assert_allclose(series[:4], fitted[:4], rtol=1e-4)
    np.testing.assert_allclose(series[9:], fitted[9:], rtol=1e-4)
    assert (np.diff(series[4:10]) < 0).all()


def test_which_readings_fit_the_worldkv_series() -> None:
    """The plateau alone: A, C, G and nearly D. The way to it as well: only G, to the precision of the fit itself."""
    plateau = {name: abs(off(name)[-1]) for name in BY_NAME}
    assert {name for name, share in plateau.items() if share < 0.002} == {"A", "C", "G"}
    assert plateau["D"] == pytest.approx(0.015, abs=0.001)
    largest = {name: np.abs(off(name)).max() for name in BY_NAME}
    assert {name for name, share in largest.items() if share < 0.02} == {"G"}
    assert largest["G"] < 0.015
    slower = 12 / (12 / fps(BY_NAME["D"]) + 0.0235)  # D with as much other work as brings its plateau to 7.7
    assert np.abs(slower[4:] / np.array(WORLDKV_FPS[4:]) - 1).max() > 0.035


def test_full_kv_leaves_80_gb_at_chunk_21_and_goes_on() -> None:
    config = CacheConfig(window_budget_bytes=80_000_000_000, over_budget="flag")
    rollout = simulate(still_path(30), FullKV(), LINGBOT, load_machine("worldkv-project-page"), config=config)
    assert rollout.engine.state.over_budget_at == 21
    assert len(rollout.seconds) == 30
    assert rollout.window_bytes[19] <= 80_000_000_000 < rollout.window_bytes[20]
