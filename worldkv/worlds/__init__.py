"""Worlds for trajectories to lead through, and the fidelity with which a rollout returns to them."""

from worldkv.worlds.building import housed as housed
from worldkv.worlds.doom import doom_world as doom_world
from worldkv.worlds.doom import staged as staged
from worldkv.worlds.fidelity import Fidelity as Fidelity
from worldkv.worlds.fidelity import measure as measure
from worldkv.worlds.surface_points import SurfacePoints as SurfacePoints
from worldkv.worlds.surface_points import picture_shape as picture_shape
from worldkv.worlds.textured import TexturedBuilding as TexturedBuilding
from worldkv.worlds.textured_world import levelled as levelled
from worldkv.worlds.textured_world import textured_world as textured_world
from worldkv.worlds.world import PaintedWorld as PaintedWorld
from worldkv.worlds.world import painted_world as painted_world
from worldkv.worlds.world import rooms_world as rooms_world
