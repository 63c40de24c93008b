"""Draw the floor plan of a building: rooms on a grid, doors between them, walls around them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from worldkv.pose import Array

if TYPE_CHECKING:
    import networkx as nx

ROOM_METRES = (4.0, 6.5)
"""Least and greatest side of a room."""

DOOR_WIDTH = 1.0
DOOR_MARGIN = 1.2
"""Metres from a door's middle to the nearest corner of the room."""


@dataclass(frozen=True)
class FloorPlan:
    """One storey.

    Attributes:
        rooms: corners of each room as `(rooms, 2, 2)`: least and greatest x, z in metres.
        graph: rooms as nodes, doors as edges with `length` between the rooms' middles and `door`, the x, z of the
            door's middle.
        walls: `(walls, 2, 2)` as x, z end points, with the door openings left out.
    """

    rooms: Array
    graph: nx.Graph[int]
    walls: Array

    def middle(self, room: int) -> Array:
        """The middle of a room `(2,)` = x, z."""
        return np.asarray(self.rooms[room].mean(axis=0))


def draw_plan(num_rooms: int, extra_doors: float, random: np.random.Generator) -> FloorPlan:
    """A plan on which every room can be reached.

    Args:
        num_rooms: rooms, laid row by row on a nearly square grid of uneven rows and columns.
        extra_doors: probability of a door in a wall that no room needs to be reached, in [0, 1].
        random: draws sizes and doors.
    """
    import networkx as nx

    columns = math.ceil(math.sqrt(num_rooms))
    x_edges = np.concatenate([[0.0], np.cumsum(random.uniform(*ROOM_METRES, columns))])
    z_edges = np.concatenate([[0.0], np.cumsum(random.uniform(*ROOM_METRES, math.ceil(num_rooms / columns)))])
    row, column = np.divmod(np.arange(num_rooms), columns)
    rooms = np.stack(
        [
            np.stack([x_edges[column], z_edges[row]], axis=1),
            np.stack([x_edges[column + 1], z_edges[row + 1]], axis=1),
        ],
        axis=1,
    )
    neighbours: nx.Graph[int] = nx.Graph()
    neighbours.add_nodes_from(range(num_rooms))
    for room in range(num_rooms):
        for other in ((room + 1) if column[room] + 1 < columns else num_rooms, room + columns):
            if other < num_rooms:
                neighbours.add_edge(room, other, weight=float(random.random()))
    tree = nx.minimum_spanning_tree(neighbours)
    graph: nx.Graph[int] = nx.Graph()
    graph.add_nodes_from(range(num_rooms))
    walls: list[list[list[float]]] = []
    for a, b in neighbours.edges:
        across, at, low, high = _shared_wall(rooms[a], rooms[b])
        if not tree.has_edge(a, b) and random.random() >= extra_doors:
            walls.append(_wall(across, at, low, high))
            continue
        middle = float(random.uniform(low + DOOR_MARGIN, high - DOOR_MARGIN))
        door = (at, middle) if across == 0 else (middle, at)
        length = sum(float(np.linalg.norm(rooms[end].mean(axis=0) - door)) for end in (a, b))
        graph.add_edge(a, b, door=door, length=length)
        walls.append(_wall(across, at, low, middle - DOOR_WIDTH / 2))
        walls.append(_wall(across, at, middle + DOOR_WIDTH / 2, high))
    walls += _outer_walls(rooms, row, column, columns)
    return FloorPlan(rooms, graph, np.array(walls))


def _shared_wall(a: Array, b: Array) -> tuple[int, float, float, float]:
    """Axis the wall is crossed along, its place on that axis, and its ends on the other."""
    across = 0 if a[1, 0] == b[0, 0] else 1
    along = 1 - across
    return across, float(a[1, across]), float(a[0, along]), float(a[1, along])


def _wall(across: int, at: float, low: float, high: float) -> list[list[float]]:
    return [[at, low], [at, high]] if across == 0 else [[low, at], [high, at]]


def _outer_walls(rooms: Array, row: Array, column: Array, columns: int) -> list[list[list[float]]]:
    """The sides of rooms on which no other room lies."""
    taken = set(zip(row.tolist(), column.tolist(), strict=True))
    walls = []
    for (low, high), r, c in zip(rooms.tolist(), row.tolist(), column.tolist(), strict=True):
        sides = (
            ((r, c - 1), 0, low[0], low[1], high[1]),
            ((r, c + 1), 0, high[0], low[1], high[1]),
            ((r - 1, c), 1, low[1], low[0], high[0]),
            ((r + 1, c), 1, high[1], low[0], high[0]),
        )
        walls += [_wall(across, at, start, end) for beside, across, at, start, end in sides if beside not in taken]
    return walls
