"""The painted world: what it remembers it has from the cache, and what a policy forgets is gone."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.backends.plain_cache import PlainCache
from tests.backends.where import accelerator
from tests.worlds.small_building import SMALL, TURNS, path, world
from worldkv.backends import WorldCache, roll_out
from worldkv.backends.models import Painter
from worldkv.errors import SpecError
from worldkv.geometry import PRESETS, CacheGeometry
from worldkv.scene import viewpoints
from worldkv.specs.parse import parse_policy
from worldkv.worlds import PaintedWorld, measure
from worldkv.worlds.paint import Colours, Paint
from worldkv.worlds.world import FRESH_CONTRAST

SCRAMBLED = np.random.default_rng(5)


class Nothing(PlainCache):
    """Forgets every chunk at once."""

    def commit(self) -> None:
        self.clean = {}


class Permuted(PlainCache):
    """Keeps every key and value, but values no longer belong to their keys: chunks have swapped them."""

    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, clean: bool = False, hidden: Tensor | None = None
    ) -> Tensor:
        kept = self.kept[layer]
        order = SCRAMBLED.permutation(len(kept))
        self.kept[layer] = [(kept[other][0], kept[at][1]) for at, other in enumerate(order)]
        answer = super().attend(layer, q, k, v, clean, hidden)
        self.kept[layer] = kept
        return answer


def painted_plainly(given: PaintedWorld, cache: PlainCache, **options: object) -> Painter:
    painter = Painter(SMALL, given, **options)  # type: ignore[arg-type]
    for chunk in range(given.surface.num_chunks):
        painter.paint(cache, chunk)
        cache.commit()
    return painter


def painted(given: PaintedWorld, spec: str, geometry: CacheGeometry = SMALL, device: str = "cpu") -> Painter:
    policy = parse_policy(spec)
    painter = Painter(geometry, given, readings=Painter.readings_for(policy), device=device)
    with WorldCache(policy, geometry, rotary=painter.rotary, device=device) as cache:
        for _ in roll_out(painter.paint, cache, viewpoints(path(TURNS, geometry))):
            pass
    return painter


def decibels(spec: str) -> float:
    """Against the first visit."""
    given = world(TURNS, geometry=ROOMS)
    painter = painted(given, spec, ROOMS)
    found = measure(painter.pictures, painter.mass, given).means()["psnr_visit"]
    assert found is not None
    return found


def among_imaginations(given: PaintedWorld) -> float:
    """DB between the truth and other paint as strong as what is imagined, where it counts."""
    counted = given.seen_before.counted
    mean, spread = given.truth.reshape(-1, 3).mean(axis=0), given.truth.reshape(-1, 3).std(axis=0)
    told = []
    for seed in range(100, 112):
        other = Paint(seed).at(given.surface.points[counted])
        other = (other - other.mean(axis=0)) / other.std(axis=0) * spread * FRESH_CONTRAST + mean
        told.append(np.square(other.clip(0, 1) - given.truth[counted]).mean())
    return -10 * math.log10(float(np.mean(told)))


ROOMS = PRESETS["rooms"]
WINDOW = "sliding-window:recent_frames=15,sink_frames=3"
"""As many tokens as `worldkv` attends."""


def test_who_remembers_on_turns_out_and_back() -> None:
    full, worldkv = decibels("full-kv"), decibels("worldkv:retrieved_frames=18,keep_ratio=0.25")
    assert full >= 30
    assert decibels(WINDOW) <= full - 10, "what left the window is forgotten"
    assert worldkv >= full - 3, "what was seen from here comes back"
    assert decibels("random:retrieved_frames=9") <= worldkv - 3, "which chunks come back matters"
    whole = decibels("worldkv:retrieved_frames=18,keep_ratio=1")
    assert whole > full, "fewer tokens dilute attention less"


def test_an_empty_cache_imagines() -> None:
    given = world(TURNS)
    painter = painted_plainly(given, Nothing(SMALL))
    assert not painter.mass.any()
    assert np.array_equal(painter.pictures, given.imagined)
    counted = given.seen_before.counted
    error = float(np.square(painter.pictures[counted] - given.truth[counted]).mean())
    assert -10 * math.log10(error) == pytest.approx(among_imaginations(given), abs=2.0)


def test_values_that_left_their_keys_are_no_memory() -> None:
    given = world(TURNS)
    plain = measure(*_told(painted_plainly(given, PlainCache(SMALL))), given).means()["psnr_truth"]
    mixed = measure(*_told(painted_plainly(given, Permuted(SMALL))), given).means()["psnr_truth"]
    assert plain is not None and mixed is not None
    assert plain >= 30 and mixed <= plain - 15


def test_the_truth_is_never_read() -> None:
    given = world(TURNS)
    poisoned = dataclasses.replace(given, truth=np.full_like(given.truth, np.nan))
    assert np.array_equal(painted(given, "worldkv").pictures, painted(poisoned, "worldkv").pictures)


@pytest.mark.parametrize("seed", range(3))
def test_what_is_imagined_is_no_greyer_than_the_truth(seed: int) -> None:
    given = world(TURNS, seed)
    forgotten = ~given.novel
    assert given.imagined[forgotten].var(axis=0).sum() >= given.truth[forgotten].var(axis=0).sum()


def test_the_cache_answers_as_plain_attention_does() -> None:
    given = world(TURNS)
    plain, cached = painted_plainly(given, PlainCache(SMALL)), painted(given, "full-kv")
    assert np.abs(plain.pictures - cached.pictures).max() < 1e-3
    assert np.abs(plain.mass - cached.mass).max() < 1e-3


@pytest.mark.accelerator
def test_a_gpu_paints_the_same() -> None:
    given = world(TURNS)
    here, there = painted(given, "worldkv"), painted(given, "worldkv", device=accelerator())
    assert measure(*_told(there), given).means()["psnr_visit"] == pytest.approx(
        measure(*_told(here), given).means()["psnr_visit"], abs=0.5
    )


def test_what_is_generated_is_what_is_kept() -> None:
    given = world(TURNS)
    cache = PlainCache(SMALL)
    painter = painted_plainly(given, cache)
    rows, columns = SMALL.layers, SMALL.heads
    for layer in range(rows):
        for head in range(columns):
            values = torch.cat([v[0, :, head] for _, v in cache.kept[layer]])
            mine = painter.pictures[:, layer::rows, head::columns].reshape(-1, 3)
            assert np.array_equal(values[:, :3].numpy(), mine)
            assert (values[:, 3] == 1).all() and not values[:, 4:].any()


def test_a_policy_that_asks_after_the_first_pass_is_asked() -> None:
    given = world(TURNS)
    painter = painted(given, "quest-bounds")
    assert painter.readings == 2
    plain = measure(*_told(painted(given, WINDOW)), given).means()["psnr_visit"]
    asked = measure(*_told(painter), given).means()["psnr_visit"]
    assert plain is not None and asked is not None and asked >= plain + 3


def test_shapes_that_cannot_be_painted_are_refused() -> None:
    wrongs: list[dict[str, Any]] = [{"branches": 2}, {"kv_heads": 1}, {"head_dim": 8}]
    for wrong in wrongs:
        with pytest.raises(SpecError, match="--geometry rooms"):
            Painter(dataclasses.replace(SMALL, **wrong), world(TURNS))
    with pytest.raises(SpecError, match="at least once"):
        Painter(SMALL, world(TURNS), readings=0)


def _told(painter: Painter) -> tuple[Colours, Colours]:
    return painter.pictures, painter.mass
