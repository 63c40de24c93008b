"""Generators of synthetic trajectories, one a file."""

from worldkv.trajectory.generators.generator import Generator as Generator
from worldkv.trajectory.generators.loop import Loop as Loop
from worldkv.trajectory.generators.out_and_back import OutAndBack as OutAndBack
from worldkv.trajectory.generators.random_walk import RandomWalk as RandomWalk
from worldkv.trajectory.generators.rounds import Rounds as Rounds
from worldkv.trajectory.generators.spiral import Spiral as Spiral
from worldkv.trajectory.generators.tour import Tour as Tour

GENERATORS: dict[str, type[Generator]] = {
    "loop": Loop,
    "out-and-back": OutAndBack,
    "spiral": Spiral,
    "random-walk": RandomWalk,
    "tour": Tour,
    "rounds": Rounds,
}
"""Generators by the name users type."""
