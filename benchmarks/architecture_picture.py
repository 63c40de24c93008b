"""Draw docs/architecture.png: the rooms of the package, one above another by what they import.

    python -m benchmarks.architecture_picture docs/architecture.png

Levels and arrows come from the imports of today; columns and words are chosen here.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.import_graph import circles, imports_of, module_graph, module_of, room_graph, sources_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from networkx import DiGraph

ROOT = Path(__file__).resolve().parents[1]
CORE, UPPER_CORE = "core", "upper core"
"""The files at the top of the package: those that import no room, and those that do, directly or not."""
PLACES = {
    "cli": (1.5, "commands and options"),
    "experiments": (1.5, "from request to result"),
    "plots": (0.0, "figures"),
    "report": (2.7, "tables, notes, documents"),
    "exports": (0.0, "pages, timelines"),
    "adapters": (0.5, "models of other libraries"),
    "parity": (1.5, "both backends compared"),
    "testing": (3.2, "the conformance kit"),
    "sim": (2.0, "the simulator"),
    "backends": (0.9, "torch: window and bank"),
    "specs": (2.5, "text to policies"),
    "policies": (3.5, "one policy a file"),
    "engine": (1.7, "asks, checks, moves"),
    "parts": (2.8, "what policies share"),
    UPPER_CORE: (2.15, ""),
    "metrics": (2.15, "landmarks, recall"),
    "worlds": (0.0, "what a camera sees"),
    "trajectory": (1.1, "camera paths in chunks"),
    CORE: (1.5, ""),
}
"""By room its column and a few words; core's words are its files."""
COLUMN, ROW = 2.05, 0.76
"""Inches from one column or level to the next."""
HEIGHT, HALF_WIDTH = 0.48, 0.92
INK, GREY, PLAIN, TORCH, TOP = "#222222", "#666666", "#e8eef5", "#fbe3c8", "#dddddd"


def rooms_of(sources: Mapping[str, str]) -> DiGraph[str]:
    """The rooms and their arrows; a room's `files` are its names at the top, its `loads_torch` says what it costs.

    Args:
        sources: the package's files by path.

    Raises:
        SystemExit: rooms import one another in a circle, so that none of them lies above.
    """
    import networkx as nx

    graph = room_graph(module_graph(sources))
    for circle in circles(graph):
        raise SystemExit(f"no picture of rooms that lie above one another: {circle}")
    folders = {path.split("/")[1] for path in sources if path.count("/") > 1}
    reached = nx.transitive_closure(graph)
    room_by_node = {}
    for node in graph:
        core = CORE if folders.isdisjoint(reached.successors(node)) else UPPER_CORE
        room_by_node[node] = node if node in folders else core
    if "__main__" in graph:
        room_by_node["__main__"] = "cli"
    rooms: DiGraph[str] = nx.DiGraph()
    for node, room in sorted(room_by_node.items()):
        rooms.add_node(room)
        if node not in folders and room != "cli" and not node.startswith("_"):
            rooms.nodes[room].setdefault("files", []).append(node)
    rooms.add_edges_from(
        (room_by_node[importer], room_by_node[target])
        for importer, target in graph.edges
        if room_by_node[importer] != room_by_node[target]
    )
    for path, source in sources.items():
        loads = any(entry.module.split(".")[0] == "torch" and not entry.deferred for entry in imports_of(path, source))
        if loads and module_of(path).split(".")[1] in rooms:
            rooms.nodes[module_of(path).split(".")[1]]["loads_torch"] = True
    return rooms


def arrows_of(rooms: DiGraph[str]) -> list[str]:
    """Every arrow in a line of its own, also those that the picture leaves out."""
    return sorted(f"{importer} -> {target}" for importer, target in rooms.edges)


def arrows_in(picture: Path) -> list[str]:
    """The arrows that a written picture was drawn from."""
    from PIL import Image

    with Image.open(picture) as image:
        return str(image.info["Arrows"]).splitlines()


def draw(rooms: DiGraph[str]) -> bytes:
    """The picture as PNG, the same bytes for the same rooms; its text `Arrows` holds every arrow.

    Raises:
        SystemExit: a room has no place, or a place no room.
    """
    import networkx as nx
    from matplotlib.figure import Figure

    if set(rooms) != PLACES.keys():
        odd = ", ".join(sorted(PLACES.keys() ^ set(rooms.nodes)))
        raise SystemExit(f"PLACES and the rooms of the package differ: {odd}")
    level: dict[str, int] = {}
    for room in reversed(list(nx.topological_sort(rooms))):
        level[room] = max((level[target] + 1 for target in rooms.successors(room)), default=0)
    width = (max(column for column, _ in PLACES.values()) + 1) * COLUMN
    height = (max(level.values()) + 1.45) * ROW
    figure = Figure((width, height), dpi=180)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-COLUMN / 2, width - COLUMN / 2), ylim=(-ROW * 0.95, height - ROW * 0.95))
    axes.set_axis_off()
    halves = {room: _box(axes, room, level[room], rooms.nodes[room]) for room in rooms}
    for importer, target in nx.transitive_reduction(rooms).edges:
        _arrow(axes, importer, target, level, halves)
    axes.text(
        -COLUMN / 2 + 0.1,
        -ROW * 0.9,
        "An arrow points to what a room imports; orange rooms load torch.\n"
        "Arrows that a longer way implies are left out: every room imports core.",
        size=9,
        color=GREY,
        va="bottom",
    )
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None, "Arrows": "\n".join(arrows_of(rooms))})
    return content.getvalue()


def _box(axes: Axes, room: str, level: int, facts: Mapping[str, object]) -> float:
    """Draw a room and answer with half its width."""
    from matplotlib.patches import FancyBboxPatch

    column, words = PLACES[room]
    files = facts.get("files")
    if isinstance(files, Iterable):
        words = ", ".join(files)
    half = max(HALF_WIDTH, 0.034 * len(words))
    x, y = column * COLUMN, level * ROW
    axes.add_patch(
        FancyBboxPatch(
            (x - half, y - HEIGHT / 2),
            2 * half,
            HEIGHT,
            boxstyle="round,pad=0,rounding_size=0.07",
            facecolor=TOP if files else TORCH if facts.get("loads_torch") else PLAIN,
            edgecolor=INK,
            linewidth=0.8,
        )
    )
    axes.text(x, y + 0.1, room, size=12, weight="bold", color=INK, ha="center", va="center")
    axes.text(x, y - 0.115, words, size=9, color=INK, ha="center", va="center")
    return half


def _arrow(axes: Axes, importer: str, target: str, level: Mapping[str, int], halves: Mapping[str, float]) -> None:
    start, end = PLACES[importer][0] * COLUMN, PLACES[target][0] * COLUMN
    reach = min(0.6 * halves[importer], 0.25 * abs(end - start))
    leave = start + (reach if end > start else -reach)
    arrive = end + max(-0.7 * halves[target], min(0.7 * halves[target], 0.3 * (start - end)))
    axes.annotate(
        "",
        (arrive, level[target] * ROW + HEIGHT / 2),
        (leave, level[importer] * ROW - HEIGHT / 2),
        arrowprops={"arrowstyle": "-|>", "color": GREY, "linewidth": 1.1, "shrinkA": 0, "shrinkB": 0},
    )


def main() -> None:
    """Read the package's imports and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path, help="the PNG to write")
    picture = parser.parse_args().picture
    picture.write_bytes(draw(rooms_of(sources_of(ROOT, "worldkv"))))
    print(f"Written: {picture}")


if __name__ == "__main__":
    main()
