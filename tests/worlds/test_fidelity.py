"""What pictures are worth, where the answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.worlds.small_building import TURNS, world
from worldkv.worlds import measure
from worldkv.worlds.fidelity import LEAST_SHARE, MOST_DB, first_visit, psnr
from worldkv.worlds.seen_before import NEVER


def test_decibels_are_those_of_the_formula() -> None:
    grey = np.full((5, 7, 3), 0.5, np.float32)
    assert psnr(grey, grey) == MOST_DB
    assert psnr(grey + np.float32(0.1), grey) == pytest.approx(20.0, abs=1e-4)
    assert psnr(grey + np.float32(0.01), grey) == pytest.approx(40.0, abs=1e-3)


def test_a_perfect_memory_shows_the_truth() -> None:
    given = world(TURNS)
    found = measure(given.truth, np.ones_like(given.surface.depth), given)
    revisits = np.isfinite(found.psnr_truth)
    assert found.num_revisits == revisits.sum() > 3
    assert (found.psnr_truth[revisits] == MOST_DB).all()
    assert found.ssim_truth[revisits] == pytest.approx(1.0)
    assert (found.mass[revisits] == 1).all()
    assert found.psnr_visit[revisits].min() > 30, "the first visit's picture, moved to this view, is nearly that"
    assert found.means()["drift"] == 0


def test_noise_costs_what_it_costs() -> None:
    given = world(TURNS)
    noise = np.random.default_rng(0).normal(0, 0.1, given.truth.shape).astype(np.float32)
    found = measure(given.truth + noise, np.zeros_like(given.surface.depth), given)
    revisits = np.isfinite(found.psnr_truth)
    assert found.psnr_truth[revisits] == pytest.approx(20.0, abs=0.5)
    assert found.means()["psnr_truth"] == pytest.approx(20.0, abs=0.2)
    assert (found.ssim_truth[revisits] < 0.95).all()
    assert found.means()["mass"] == 0


def test_only_chunks_that_come_back_are_revisits() -> None:
    given = world(TURNS)
    found = measure(given.truth, np.ones_like(given.surface.depth), given)
    share = given.seen_before.counted.reshape(given.surface.num_chunks, -1).mean(axis=1)
    assert np.array_equal(np.isfinite(found.psnr_truth), share >= LEAST_SHARE)
    assert math.isnan(found.psnr_truth[0]) and math.isnan(found.drift[0])


def test_an_equal_view_is_the_first_visit_s_own_picture() -> None:
    given = world(TURNS)
    pictures = np.random.default_rng(1).random(given.truth.shape, np.float32)
    exact = 0
    for frame in np.flatnonzero(given.seen_before.visit != NEVER):
        visit, inside = given.seen_before.visit[frame], given.seen_before.is_compared[frame]
        same = np.allclose(given.surface.rotations[visit], given.surface.rotations[frame], atol=1e-9)
        if same and np.allclose(given.surface.positions[visit], given.surface.positions[frame], atol=1e-9):
            exact += 1
            assert first_visit(pictures, given, int(frame))[inside] == pytest.approx(pictures[visit][inside], abs=1e-2)
    assert exact >= 3
    never = int(np.flatnonzero(given.seen_before.visit == NEVER)[0])
    assert np.array_equal(first_visit(pictures, given, never), pictures[never])
