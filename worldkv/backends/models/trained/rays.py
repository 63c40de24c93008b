"""Where the rays of a chunk's tokens start and go, as angles that channel pairs are turned by."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from worldkv.backends.models.trained.config import GEOMETRY, TrainedConfig
from worldkv.backends.rotary import Rotary
from worldkv.pose import frustum_tangents
from worldkv.worlds.textured import FIELD_OF_VIEW

HEADINGS = ((1, 2, 4, 7, 11, 17), (1, 3, 5, 8, 13, 20), (2, 3, 6, 10, 15, 24))
"""Whole turns of channel pairs to one of the ray's heading, for each head."""
ELEVATIONS = ((3, 7, 13), (2, 6, 14), (4, 9, 18))
PLACES = ((0.4, 1.2, 3.0), (0.5, 1.6, 4.0), (0.3, 1.0, 2.5))
"""Radians to a metre in x, and in z."""
VALUE_HEADINGS, VALUE_ELEVATIONS, VALUE_PLACES = (3, 6, 10, 15, 22), (4, 9, 16), (0.6, 2.0)

FEATURE_HEADINGS, FEATURE_ELEVATIONS = (1, 2, 3, 4, 6, 8, 11, 14, 18, 23), (2, 4, 7, 11, 16)
FEATURE_PLACES = (0.4, 0.8, 1.5, 2.6, 4.5)
RAY_FEATURES = 2 * (len(FEATURE_HEADINGS) + len(FEATURE_ELEVATIONS) + 2 * len(FEATURE_PLACES))
"""Cosines and sines that describe a ray where nothing is turned by it."""


class Turned(NamedTuple):
    """Cosines and sines that a chunk's channel pairs are turned by, and what describes its rays.

    Attributes:
        keys: of queries and keys, `(2, ..., tokens, heads, head_dim / 2)`.
        values: of values, likewise; None where they stay as they are.
        features: `(..., tokens, RAY_FEATURES)`; None where rays are no features.
    """

    keys: Tensor
    values: Tensor | None
    features: Tensor | None

    def part(self, chunks: slice) -> Turned:
        """Of some chunks, which the second axis from the front of `features` (the third of `keys`) counts."""
        keep = (self.keys[:, :, chunks], None if self.values is None else self.values[:, :, chunks])
        return Turned(*keep, None if self.features is None else self.features[:, chunks])


def turned_by(places: Tensor, start_frames: Tensor, config: TrainedConfig) -> Turned:
    """What the tokens of chunks are turned by.

    Args:
        places: x, z and heading of every latent frame `(..., frames, 3)`, float64.
        start_frames: the latent frame that each chunk starts at `(...)`; read for `rotary` only.
        config: the model's.
    """
    heading, elevation, x, z = _rays(places)
    if config.positions == "rotary":
        features = _angles(
            (heading, FEATURE_HEADINGS), (elevation, FEATURE_ELEVATIONS), (x, FEATURE_PLACES), (z, FEATURE_PLACES)
        )
        described = torch.cat([features.cos(), features.sin()], dim=-1).float()
        return Turned(_both(_ordinary(start_frames)[..., None, :]), None, described)
    keys: list[Tensor] = []
    values: list[Tensor] = []
    for head in range(GEOMETRY.heads):
        asked = _angles((heading, HEADINGS[head]), (elevation, ELEVATIONS[head]), (x, PLACES[head]), (z, PLACES[head]))
        told = _angles((heading, VALUE_HEADINGS), (elevation, VALUE_ELEVATIONS), (x, VALUE_PLACES), (z, VALUE_PLACES))
        for angles, into in ((asked, keys), (told, values)):
            still = angles.new_zeros(*angles.shape[:-1], GEOMETRY.head_dim // 2 - angles.shape[-1])
            into.append(torch.cat([angles, still], dim=-1))
    return Turned(_both(torch.stack(keys, dim=-2)), _both(torch.stack(values, dim=-2)), None)


def turn(x: Tensor, by: Tensor, *, back: bool = False) -> Tensor:
    """Adjacent channel pairs of `x` `(..., tokens, heads, head_dim)` turned by the cosines and sines `by`."""
    cosine, sine = by
    sine = -sine if back else sine
    first, second = x[..., 0::2], x[..., 1::2]
    return torch.stack([first * cosine - second * sine, first * sine + second * cosine], dim=-1).flatten(-2)


def _both(angles: Tensor) -> Tensor:
    return torch.stack([angles.cos(), angles.sin()]).float()


def _rays(places: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Heading, elevation, x and z of every token's middle ray `(..., frames x tokens)`."""
    tangents = frustum_tangents(FIELD_OF_VIEW)
    columns, rows = (
        torch.as_tensor(((np.arange(count) + 0.5) / count * 2 - 1) * tangent)
        for count, tangent in zip((GEOMETRY.frame_columns, GEOMETRY.frame_rows), tangents, strict=True)
    )
    across = columns.repeat(GEOMETRY.frame_rows)
    down = rows.repeat_interleave(GEOMETRY.frame_columns)
    heading = places[..., 2:3] + across.atan()
    elevation = (down / (1 + across**2).sqrt()).atan().expand(heading.shape)
    x, z = (places[..., axis, None].expand(heading.shape) for axis in (0, 1))
    return heading.flatten(-2), elevation.flatten(-2), x.flatten(-2), z.flatten(-2)


def _angles(*parts: tuple[Tensor, tuple[float, ...]]) -> Tensor:
    """`(..., angles)`: each quantity times each of its frequencies."""
    return torch.cat([each[..., None] * torch.tensor(times, dtype=each.dtype) for each, times in parts], dim=-1)


def _ordinary(start_frames: Tensor) -> Tensor:
    """Angles of `Rotary` for whole chunks that start at latent frames `(...)`: `(..., tokens, head_dim / 2)`."""
    rotary = Rotary(GEOMETRY)
    time, space = rotary.ladders()
    frames = start_frames.double()[..., None] + torch.arange(GEOMETRY.frames_per_chunk, dtype=torch.float64)
    timed = (frames[..., None] * time)[..., None, :].expand(*frames.shape, len(space), -1)
    return torch.cat([timed, space.expand(*frames.shape, *space.shape)], dim=-1).flatten(-3, -2)
