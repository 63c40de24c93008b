"""Training data without end: short clips in buildings drawn afresh."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldkv.pose import Array
from worldkv.trajectory.generators.floor_plan import FloorPlan, draw_plan
from worldkv.worlds.textured import PICTURE, TexturedBuilding

FRAMES = 3
"""Latent frames of a chunk."""

EXACT, NEAR, FAR, ANEW = range(4)
"""How a chunk relates to an earlier one: its poses again, forwards or back; about the same view; the same corner of
the room; nothing of the kind."""

_MOST_ROOMS = 4
_MARGIN = 0.5  # metres between a camera and a wall


@dataclass(frozen=True)
class Clip:
    """Chunks that a camera filmed in one building.

    Attributes:
        pictures: `(chunks, frames, rows, columns, 3)`, float32.
        places: x, z and heading of each frame `(chunks, frames, 3)`, float64.
        source: the earlier chunk that each looks back at `(chunks,)`, -1 for none.
        kind: how, one of `EXACT` to `ANEW` `(chunks,)`.
    """

    pictures: Tensor
    places: Tensor
    source: Array
    kind: Array


def draw_clip(random: np.random.Generator, context: int, targets: int) -> Clip:
    """A clip of `context` chunks and `targets` that look back at them, each on its own."""
    plan = draw_plan(int(random.integers(1, _MOST_ROOMS + 1)), 0.5, random)
    building = TexturedBuilding(plan.walls, int(random.integers(1 << 62)))
    home = int(random.integers(len(plan.rooms)))
    places: list[Array] = []
    source, kind = [], []
    for chunk in range(context + targets):
        is_target = chunk >= context
        earlier = min(chunk, context)
        if earlier and random.random() < (0.75 if is_target else 0.5):
            source.append(int(random.integers(earlier)))
            kind.append(int(random.choice(3, p=(0.3, 0.45, 0.25))))
            places.append(_again(places[source[-1]], kind[-1], random))
        else:
            room = home if random.random() < 0.85 else int(random.integers(len(plan.rooms)))
            low, high = plan.rooms[room]
            middle = random.uniform(low + _MARGIN, high - _MARGIN)
            source.append(-1)
            kind.append(ANEW)
            places.append(_move(middle, random.uniform(0, 2 * np.pi), random))
    inside = np.stack([_kept_inside(each, plan) for each in places])
    pictures = building.pictures(inside.reshape(-1, 3)).reshape(len(inside), FRAMES, *PICTURE, 3)
    return Clip(torch.from_numpy(pictures), torch.from_numpy(inside), np.array(source), np.array(kind))


def _again(places: Array, kind: int, random: np.random.Generator) -> Array:
    """Places `(frames, 3)` that look back at others."""
    if kind == EXACT:
        return places[::-1].copy() if random.random() < 0.5 else places.copy()
    metres, degrees = (0.2, 20) if kind == NEAR else (0.7, 60)
    middle = places[FRAMES // 2]
    turn = np.deg2rad(random.uniform(-degrees, degrees))
    return _move(middle[:2] + random.normal(0, metres, 2), middle[2] + turn, random)


def _move(middle: Array, heading: float, random: np.random.Generator) -> Array:
    """Places `(frames, 3)` round a middle: a turn, a walk, both, or neither."""
    turns, walks = random.random(2) < (0.5, 0.5)
    turn = np.deg2rad(random.uniform(-16, 16)) if turns else 0.0
    step = random.uniform(-0.4, 0.4) if walks else 0.0
    frames = np.arange(FRAMES) - (FRAMES - 1) / 2
    x, z = (middle[axis] + frames * step * way for axis, way in enumerate((np.sin(heading), np.cos(heading))))
    return np.stack([x, z, heading + frames * turn], axis=1)


def _kept_inside(places: Array, plan: FloorPlan) -> Array:
    low, high = plan.rooms[:, 0].min(axis=0) + 0.3, plan.rooms[:, 1].max(axis=0) - 0.3
    return np.concatenate([places[:, :2].clip(low, high), places[:, 2:]], axis=1)
