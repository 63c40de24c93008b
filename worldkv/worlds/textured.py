"""A building whose walls, floor and ceiling carry textures drawn from a seed, and pictures of it by a level camera."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from worldkv.errors import SpecError
from worldkv.pose import Array, frustum_tangents
from worldkv.trajectory.generators.generator import CAMERA_HEIGHT
from worldkv.worlds.paint import Colours
from worldkv.worlds.rooms import CEILING, FAR

FIELD_OF_VIEW = (90.0, 60.0)
"""Full horizontal and vertical angle of the camera, in degrees."""

PICTURE = (32, 48)
"""Rows and columns of a picture."""

TEXEL = 0.08
"""Metres of a wall's texture element."""

TILE_TEXELS, TILE_TEXEL = 96, 0.16
"""Side of the square that floor and ceiling repeat, in texture elements, and metres of one."""

SAMPLES = 2
"""Rays down and across a picture's element, whose mean it shows."""

PANELS_A_METRE = 0.7
"""Panels of another colour on a wall."""

_RAYS_AT_ONCE = 1 << 20


class TexturedBuilding:
    """Walls with a texture on either side, a floor and a ceiling; equal seeds give equal textures.

    A side of a wall has a colour of its own, a soft gradient and panels of other colours: nothing of it follows from
    the other sides, so that a view can be known from memory alone.

    Attributes:
        walls: `(walls, 2, 2)` as x, z end points in metres.
    """

    def __init__(self, walls: Array, seed: int | list[int]) -> None:
        """Draw the textures of `walls` from `seed`.

        Raises:
            SpecError: there are no walls.
        """
        random = np.random.default_rng(seed)
        self.walls = np.asarray(walls, float).reshape(-1, 2, 2)
        if not len(self.walls):
            raise SpecError(
                "a textured building needs walls, got none; put the trajectory into one (worldkv.worlds.housed)"
            )
        along = self.walls[:, 1] - self.walls[:, 0]
        self._lengths = np.linalg.norm(along, axis=1)
        columns = np.maximum(1, np.ceil(self._lengths / TEXEL).astype(int))
        rows = round(-CEILING / TEXEL)
        facing_x = np.abs(along[:, 1]) > np.abs(along[:, 0])
        self._sides = np.zeros((len(self.walls), 2, rows, int(columns.max()), 3), np.float32)
        for wall, wide in enumerate(columns.tolist()):
            for side in range(2):
                texture = _wall_texture(rows, wide, random) * (1.0 if facing_x[wall] else 0.82)
                self._sides[wall, side, :, :wide] = texture
                self._sides[wall, side, :, wide:] = texture[:, -1:]
        self._level = np.stack([_tile(random, 0.55, 0.95), _tile(random, 0.1, 0.5)])

    def pictures(self, places: Array) -> Colours:
        """Pictures `(frames, rows, columns, 3)` in [0, 1] of a camera at `places` `(frames, 3)` = x, z, heading.

        The heading is 0 along z and grows towards x, in radians; the camera stands `CAMERA_HEIGHT` above the floor.
        """
        at_once = max(1, _RAYS_AT_ONCE // (PICTURE[1] * SAMPLES * max(1, len(self.walls))))
        parts = [self._pictures(places[start : start + at_once]) for start in range(0, len(places), at_once)]
        return np.concatenate(parts) if parts else np.zeros((0, *PICTURE, 3), np.float32)

    def _pictures(self, places: Array) -> Colours:
        rows, columns = PICTURE[0] * SAMPLES, PICTURE[1] * SAMPLES
        across, down = _slopes(rows, columns)
        sine, cosine = np.sin(places[:, 2:]), np.cos(places[:, 2:])
        ray_x, ray_z = sine + across * cosine, cosine - across * sine  # depth along the optical axis is 1
        depth, wall, side, along = self._first_walls(places[:, :2], ray_x, ray_z)
        height = depth[:, None] * down[:, None] - CAMERA_HEIGHT  # y, down from the floor (frames, rows, columns)
        top = self._sides.shape[2] - 1
        row = np.clip((height - CEILING) / TEXEL, 0, top).astype(np.intp)
        column = np.clip(along / TEXEL, 0, self._sides.shape[3] - 1).astype(np.intp)
        colours = self._sides[wall[:, None], side[:, None], row, column[:, None]]
        is_floor = down > 0
        reach = np.where(is_floor, CAMERA_HEIGHT, -CEILING - CAMERA_HEIGHT) / np.abs(down)
        x = places[:, 0, None, None] + reach[:, None] * ray_x[:, None]
        z = places[:, 1, None, None] + reach[:, None] * ray_z[:, None]
        level = np.broadcast_to(is_floor.astype(np.intp)[:, None], x.shape)
        spread = (np.floor(x / TILE_TEXEL).astype(np.intp) % TILE_TEXELS, np.floor(z / TILE_TEXEL).astype(np.intp))
        flat = self._level[level, spread[0], spread[1] % TILE_TEXELS]
        seen = np.where(((height >= CEILING) & (height <= 0))[..., None], colours, flat)
        split = (len(places), PICTURE[0], SAMPLES, PICTURE[1], SAMPLES, 3)
        return np.asarray(seen.reshape(split).mean(axis=(2, 4)), np.float32)

    def _first_walls(
        self, at: Array, ray_x: Array, ray_z: Array
    ) -> tuple[Array, NDArray[np.intp], NDArray[np.intp], Array]:
        """Of each ray `(frames, columns)` its reach, the wall it meets, which side, and how far along in metres."""
        edge = self.walls[:, 1] - self.walls[:, 0]
        start = self.walls[:, 0] - at[:, None]  # (frames, walls, 2)
        turn = ray_x[..., None] * edge[:, 1] - ray_z[..., None] * edge[:, 0]  # (frames, columns, walls)
        with np.errstate(divide="ignore", invalid="ignore"):
            reach = (start[..., 0] * edge[:, 1] - start[..., 1] * edge[:, 0])[:, None] / turn
            share = (start[:, None, :, 0] * ray_z[..., None] - start[:, None, :, 1] * ray_x[..., None]) / turn
        reach = np.where((reach > 1e-6) & (share >= 0) & (share <= 1), reach, FAR)
        wall = reach.argmin(axis=-1)
        pick = (*np.indices(wall.shape, sparse=True), wall)
        along = np.clip(np.nan_to_num(share[pick]), 0, 1) * self._lengths[wall]
        return reach[pick], wall, (turn[pick] > 0).astype(np.intp), along


def level_places(positions: Array, rotations: Array) -> Array:
    """x, z and heading `(frames, 3)` of cameras `(frames, 3)` and `(frames, 3, 3)`; pitch, roll and height go."""
    forward = rotations[:, :, 2]
    steep = np.hypot(forward[:, 0], forward[:, 2]) < 1e-6  # looks straight up or down: where its top side points
    heading = np.where(steep[:, None], -rotations[:, :, 1] * np.sign(-forward[:, 1:2] + 1e-12), forward)
    return np.stack([positions[:, 0], positions[:, 2], np.arctan2(heading[:, 0], heading[:, 2])], axis=1)


def _slopes(rows: int, columns: int) -> tuple[Array, Array]:
    """Slopes: x over z of every column and y over z of every row of the camera's picture."""
    tangent_x, tangent_y = frustum_tangents(FIELD_OF_VIEW)
    across = ((np.arange(columns) + 0.5) / columns * 2 - 1) * tangent_x
    return across, ((np.arange(rows) + 0.5) / rows * 2 - 1) * tangent_y


def _wall_texture(rows: int, columns: int, random: np.random.Generator) -> Colours:
    """`(rows, columns, 3)`: a colour, a gradient between knots 1.5 m apart, and panels."""
    knots = max(2, round(columns * TEXEL / 1.5) + 1)
    texture = random.uniform(0.15, 0.85, 3) + _smooth(random.normal(0, 0.16, (3, knots, 3)), rows, columns)
    metres = columns * TEXEL
    for _ in range(random.poisson(PANELS_A_METRE * metres)):
        high, wide = random.uniform(0.5, 1.5), random.uniform(0.4, 1.5)
        top, left = random.uniform(0, rows * TEXEL - 0.4), random.uniform(-0.3, metres - 0.1)
        down, over = (slice(max(0, round(a / TEXEL)), round((a + b) / TEXEL)) for a, b in ((top, high), (left, wide)))
        texture[down, over] = random.uniform(0, 1, 3)
    return np.asarray(texture.clip(0, 1), np.float32)


def _tile(random: np.random.Generator, darkest: float, lightest: float) -> Colours:
    """A square that fits to itself on all sides, of colours near one drawn between the two."""
    colour = random.uniform(darkest, lightest) + random.normal(0, 0.08, 3)
    knots = random.normal(0, 0.09, (7, 7, 3))
    knots = np.concatenate([knots, knots[:1]])
    knots = np.concatenate([knots, knots[:, :1]], axis=1)
    return np.asarray((colour + _smooth(knots, TILE_TEXELS, TILE_TEXELS)).clip(0, 1), np.float32)


def _smooth(knots: Array, rows: int, columns: int) -> Array:
    """`knots` `(a, b, 3)` smoothly between each other `(rows, columns, 3)`."""
    for axis, wanted in ((0, rows), (1, columns)):
        place = np.linspace(0, knots.shape[axis] - 1, wanted)
        low = np.minimum(place.astype(int), knots.shape[axis] - 2)
        share = place - low
        share = (share * share * (3 - 2 * share)).reshape([-1 if a == axis else 1 for a in range(3)])
        knots = knots.take(low, axis) * (1 - share) + knots.take(low + 1, axis) * share
    return np.asarray(knots)
