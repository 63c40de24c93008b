"""Paint: the same for the same seed, smooth, and other paint after a while."""

from __future__ import annotations

import numpy as np
import pytest

from worldkv.worlds.paint import EPOCH_CHUNKS, SPREAD, Paint

POINTS = np.random.default_rng(0).uniform(-40, 40, (4000, 3))


def alike(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def test_the_same_seed_paints_the_same_and_another_another() -> None:
    assert np.array_equal(Paint(3).at(POINTS, 2.5), Paint(3).at(POINTS, 2.5))
    assert abs(alike(Paint(3).at(POINTS), Paint(4).at(POINTS))) < 0.1


def test_colours_are_colours_and_vary() -> None:
    colours = Paint(0).at(POINTS.reshape(40, 100, 3))
    assert colours.shape == (40, 100, 3) and colours.dtype == np.float32
    assert 0 < colours.min() < 0.1 and 0.9 < colours.max() < 1
    assert colours.std() > 0.2


def test_places_near_each_other_look_alike() -> None:
    paint = Paint(1)
    assert alike(paint.at(POINTS), paint.at(POINTS + [0.05, 0, 0])) > 0.98
    paints = [Paint(seed) for seed in range(12)]
    assert abs(np.mean([alike(p.at(POINTS), p.at(POINTS + [30.0, 0, 0])) for p in paints])) < 0.1


@pytest.mark.parametrize("time", [0.0, 0.7, 2.0, 5.3])
def test_times_join_and_after_two_epochs_nothing_is_left(time: float) -> None:
    paint = Paint(2)
    now = paint.at(POINTS, time)
    assert alike(now, paint.at(POINTS, time + 0.1)) > 0.98
    assert abs(alike(now, paint.at(POINTS, time + 2 * EPOCH_CHUNKS))) < 0.1
    assert abs(alike(now, paint.at(POINTS, time + 2 * EPOCH_CHUNKS + 0.9))) < 0.1


def test_each_point_has_its_own_time() -> None:
    times = np.random.default_rng(1).uniform(0, 9, len(POINTS))
    together = Paint(5).at(POINTS, times)
    for at in (0, 17, 1999):
        assert together[at] == pytest.approx(Paint(5).at(POINTS[at : at + 1], float(times[at]))[0], abs=1e-6)


def test_its_spread_is_what_it_says() -> None:
    spread = np.mean([Paint(seed).at(POINTS, time).std() for seed in range(4) for time in (0.0, 2.5, 23.0)])
    assert spread == pytest.approx(SPREAD, rel=0.05)
