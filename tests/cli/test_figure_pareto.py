"""The Pareto picture: its front, its means, and that every kind of sweep can be drawn."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from worldkv.plots.pareto import Point, draw_pareto, front, is_reference, spots_of
from worldkv.plots.style import save_figure


def point(policy: str, budget: str, tokens: int, moved: int, recall: float | None, path: str = "a path") -> Point:
    return Point(path, policy, budget, policy in ("full-kv", "oracle"), tokens, tokens, moved, recall, None)


@pytest.mark.parametrize(
    ("spec", "marked"),
    [
        ("full-kv", True),
        ("oracle", True),
        ("attention-oracle", True),
        ("belady:need=attention-need", True),
        ("composed:eviction=never", True),
        ("worldkv:keep_ratio=1", False),
        ("random", False),
        ("h2o", False),
    ],
)
def test_what_nobody_can_run_at_that_price_is_a_mark(spec: str, marked: bool) -> None:
    assert is_reference(spec) == marked


@pytest.mark.parametrize("seed", range(5))
def test_the_front_is_what_nobody_beats(seed: int) -> None:
    draw = np.random.default_rng(seed)
    spots = [(float(x), float(y)) for x, y in draw.integers(0, 6, (20, 2))]
    beaten = {
        one
        for one, other in itertools.permutations(set(spots), 2)
        if other[0] <= one[0] and other[1] >= one[1] and other != one
    }
    assert front(spots) == sorted(set(spots) - beaten)


def test_a_spot_is_the_mean_over_seeds_and_budgets_ascend() -> None:
    points = [
        point("it", "20%", 20, 5, 0.75),
        point("it", "10%", 10, 9, 0.25),
        point("it", "10%", 10, 7, 0.5),
        point("it", "5%", 5, 6, None),
        point("other", "10%", 10, 1, 1.0),
    ]
    assert spots_of(points, "it", "bytes_moved", "revisit_recall") == [
        (8.0, 0.375, (7, 9, 0.25, 0.5)),
        (5.0, 0.75, (5, 5, 0.75, 0.75)),
    ]


@pytest.mark.parametrize(
    "points",
    [
        [point("it", "5%", 1, 0, 0.5)],
        [point("it", "5%", 1, 0, None)],
        [
            point("it", "5%", 100, 1, 0.0),
            point("it", "10%", 10**9, 10**15, 1.0),
            point("full-kv", "own", 10**9, 0, 1.0),
        ],
        [point("it", "5%", 7, 3, 0.5, "one"), point("it", "5%", 7, 3, 0.5, "two")],
        [],
    ],
    ids=["one", "no value", "far apart", "two paths", "none"],
)
@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_anything_can_be_drawn_and_twice_the_same(tmp_path: Path, points: list[Point], suffix: str) -> None:
    for name in ("first", "second"):
        save_figure(draw_pareto(points, "A title"), f"{tmp_path / name}.{suffix}")
    first, second = ((tmp_path / f"{name}.{suffix}").read_bytes() for name in ("first", "second"))
    assert len(first) > 5_000
    if suffix == "png":
        assert first == second
