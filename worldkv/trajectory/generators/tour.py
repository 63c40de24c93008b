"""The generator `tour`: through the rooms of a building, over and over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from worldkv.pose import Array
from worldkv.trajectory.generators.floor_plan import FloorPlan, draw_plan
from worldkv.trajectory.generators.generator import VIDEO_FRAMES_PER_CHUNK, Generator
from worldkv.trajectory.generators.stroll import Stroll, round_corners
from worldkv.trajectory.generators.walk import walk
from worldkv.trajectory.trajectory import Trajectory

_DOOR_REACH = 0.6
_WALL_MARGIN = 1.0


@dataclass(frozen=True)
class Tour(Generator):
    """A visitor of a building walks from room to room by the shortest way, with chosen habits of coming back.

    Rooms lie on a grid and are joined by doors; walls hide what is behind them and the camera never crosses one.
    At each goal the camera stops, sometimes looks around, turns to where it goes next and walks on. Every room on
    the way counts as visited. Once all rooms are known every goal is a revisit, whatever `revisit` says: take more
    rooms for a longer first sight.

    Attributes:
        rooms: rooms of the building.
        seed: of plan and visitor.
        revisit: probability that the next goal is a room already visited.
        gap: chunks since the last visit that a room to be revisited should have; the longest unseen one is taken
            where no room has.
        look: probability of looking around at a goal.
        doors: probability of a door that no room needs to be reached.
    """

    ranges: ClassVar[dict[str, tuple[float, float]]] = {
        "rooms": (2, 400),
        "seed": (0, 2**63),
        "revisit": (0, 1),
        "gap": (0, 1_000_000),
        "look": (0, 1),
        "doors": (0, 1),
    }

    rooms: int = 12
    seed: int = 0
    revisit: float = 0.5
    gap: int = 20
    look: float = 0.4
    doors: float = 0.3

    def generate(self) -> Trajectory:
        """The trajectory; `walls` holds the building."""
        import networkx as nx

        random = np.random.default_rng(self.seed)
        plan = draw_plan(self.rooms, self.doors, random)
        ways: dict[int, dict[int, list[int]]] = {}
        last_visits = {0: 0}
        room, stroll = 0, Stroll(plan.middle(0), self.step)
        while stroll.num_frames < self.num_frames:
            goal = self._next_goal(room, last_visits, stroll.num_frames, random)
            if room not in ways:
                ways[room] = nx.single_source_dijkstra_path(plan.graph, room, weight="length")
            visited = ways[room][goal]
            points = round_corners(_corners(plan, stroll.position, visited, random))
            stroll.turn_to(points, glance=_glance(self.look, random))
            stroll.walk(points)
            for seen in visited:
                last_visits[seen] = stroll.num_frames
            room = goal
        floor, headings = stroll.poses(self.num_frames)
        return walk(floor, headings, walls=plan.walls)

    def _next_goal(self, room: int, last_visits: dict[int, int], now: int, random: np.random.Generator) -> int:
        """A known or an unknown room, never the one the visitor is in."""
        known = [other for other in last_visits if other != room]
        unknown = [other for other in range(self.rooms) if other not in last_visits]
        wants_known = bool(random.random() < self.revisit)
        if unknown and not (wants_known and known):
            return int(random.choice(unknown))
        long_ago = [o for o in known if now - last_visits[o] >= self.gap * VIDEO_FRAMES_PER_CHUNK]
        if long_ago:
            return int(random.choice(long_ago))
        return min(known, key=lambda other: last_visits[other])


def _corners(plan: FloorPlan, start: Array, visited: list[int], random: np.random.Generator) -> Array:
    """Way points `(points, 2)` from `start` through the doors between `visited` rooms to a place in the last.

    Doors are crossed straight on, between a point before and one behind: rooms are convex, so the way between any
    two points of one room meets no wall.
    """
    points = [start]
    for a, b in zip(visited, visited[1:], strict=False):
        door = np.array(plan.graph.edges[a, b]["door"])
        # Neighbours share a side: the door's own coordinate across it is the edge of both rooms.
        across = 0 if plan.rooms[max(a, b), 0, 0] == plan.rooms[min(a, b), 1, 0] else 1
        reach = np.zeros(2)
        reach[across] = _DOOR_REACH if b > a else -_DOOR_REACH
        points += [door - reach, door + reach]
    low, high = plan.rooms[visited[-1]]
    points.append(random.uniform(low + _WALL_MARGIN, high - _WALL_MARGIN))
    return np.array(points)


def _glance(probability: float, random: np.random.Generator) -> float:
    """Degrees to look aside before turning to the way ahead; 0 for no look around."""
    looks = bool(random.random() < probability)
    angle = float(random.uniform(60, 180)) * (1 if random.random() < 0.5 else -1)
    return angle if looks else 0.0
