"""The generator `rounds`: from room to room in turn, looking all round in each, over and over."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from worldkv.pose import Array
from worldkv.trajectory.generators.floor_plan import FloorPlan, draw_plan
from worldkv.trajectory.generators.generator import VIDEO_FRAMES_PER_CHUNK, Generator
from worldkv.trajectory.generators.walk import walk
from worldkv.trajectory.trajectory import Trajectory

_TURN_DEGREES = 3.0
_DOOR_REACH = 0.6


@dataclass(frozen=True)
class Rounds(Generator):
    """A guard goes round a building: every view of a look round comes back exactly in the next round.

    In each room the camera stands at one place, turns to heading 0 and all round in ten chunks, which start with a
    chunk. Between rooms it walks through the doors, facing the way. A round goes through all rooms in order of their
    numbers and back to the first by the shortest ways.

    Attributes:
        rooms: rooms of the building.
        seed: of plan and places.
        doors: probability of a door that no room needs to be reached.
    """

    ranges: ClassVar[dict[str, tuple[float, float]]] = {"rooms": (2, 400), "seed": (0, 2**63), "doors": (0, 1)}

    rooms: int = 4
    seed: int = 0
    doors: float = 1.0

    def generate(self) -> Trajectory:
        """The trajectory; `walls` holds the building."""
        import networkx as nx

        random = np.random.default_rng(self.seed)
        plan = draw_plan(self.rooms, self.doors, random)
        places = [plan.middle(room) + random.uniform(-0.4, 0.4, 2) for room in range(self.rooms)]
        guard = _Guard(places[0], self.step)
        room = 0
        while len(guard.poses) < self.num_frames:
            guard.look_round()
            goal = (room + 1) % self.rooms
            visited = nx.dijkstra_path(plan.graph, room, goal, weight="length")
            for point in [*_doorways(plan, visited), places[goal]]:
                guard.walk_to(point)
            room = goal
        poses = np.array(guard.poses[: self.num_frames])
        return walk(poses[:, :2], poses[:, 2], walls=plan.walls)


class _Guard:
    """A camera on its rounds.

    Attributes:
        poses: x, z and heading in degrees of every frame so far.
    """

    def __init__(self, place: Array, step: float) -> None:
        self._place, self._heading, self._step = place, 0.0, step
        self.poses: list[tuple[float, float, float]] = []

    def look_round(self) -> None:
        """To heading 0, to the start of a chunk, and all round."""
        self._turn_to(0.0)
        while len(self.poses) % VIDEO_FRAMES_PER_CHUNK:
            self._stand(0.0)
        for turned in range(1, round(360 / _TURN_DEGREES) + 1):
            self._stand(_TURN_DEGREES * turned)
        self._heading = 0.0

    def walk_to(self, point: Array) -> None:
        """Face `point` and walk there."""
        way = point - self._place
        far = float(np.hypot(*way))
        self._turn_to(math.degrees(math.atan2(way[0], way[1])))
        start, count = self._place, math.ceil(far / self._step)
        for walked in range(1, count + 1):
            self._place = start + way * (walked / count)
            self._stand(self._heading)
        self._place = point

    def _turn_to(self, heading: float) -> None:
        turn = math.remainder(heading - self._heading, 360.0)
        count = math.ceil(abs(turn) / _TURN_DEGREES)
        for turned in range(1, count + 1):
            self._stand(self._heading + turn * turned / count)
        self._heading = heading

    def _stand(self, heading: float) -> None:
        self.poses.append((float(self._place[0]), float(self._place[1]), heading))


def _doorways(plan: FloorPlan, visited: list[int]) -> list[Array]:
    """Points before and behind every door between `visited` rooms, which are crossed straight on."""
    points = []
    for a, b in zip(visited, visited[1:], strict=False):
        door = np.array(plan.graph.edges[a, b]["door"])
        across = 0 if plan.rooms[max(a, b), 0, 0] == plan.rooms[min(a, b), 1, 0] else 1
        reach = np.zeros(2)
        reach[across] = _DOOR_REACH if b > a else -_DOOR_REACH
        points += [door - reach, door + reach]
    return points
