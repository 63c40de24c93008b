"""docs/architecture.png shows today's rooms and arrows, and is drawn the same every time."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.architecture_picture import PLACES, arrows_in, arrows_of, draw, rooms_of
from benchmarks.import_graph import sources_of

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "architecture.png"
SMALL = {
    "worldkv/__init__.py": "from worldkv.policy import Policy as Policy",
    "worldkv/__main__.py": "from worldkv.cli import main",
    "worldkv/errors.py": "",
    "worldkv/policy.py": "from worldkv.metrics.recall import Recall",
    "worldkv/metrics/recall.py": "from worldkv.errors import Error",
    "worldkv/backends/cache.py": "import torch\nfrom worldkv.policy import Policy",
    "worldkv/cli/__init__.py": "def main():\n    import torch\n    from worldkv.backends.cache import Cache\n",
}


def test_the_picture_is_of_today() -> None:
    today = arrows_of(rooms_of(sources_of(ROOT, "worldkv")))
    assert arrows_in(PICTURE) == today, "draw it anew: make architecture-picture"


def test_rooms_and_arrows_of_a_small_package() -> None:
    rooms = rooms_of(SMALL)
    assert arrows_of(rooms) == [
        "backends -> upper core",
        "cli -> backends",
        "metrics -> core",
        "upper core -> metrics",
    ]
    assert rooms.nodes["core"]["files"] == ["errors"] and rooms.nodes["upper core"]["files"] == ["policy"]
    assert [room for room, loads in rooms.nodes(data="loads_torch") if loads] == ["backends"]


def test_rooms_in_a_circle_are_refused() -> None:
    circle = SMALL | {"worldkv/metrics/recall.py": "def f():\n    from worldkv.policy import Policy\n"}
    with pytest.raises(SystemExit, match="metrics imports policy"):
        rooms_of(circle)


def test_a_room_without_a_place_is_refused() -> None:
    with pytest.raises(SystemExit, match="differ: .*worlds"):
        draw(rooms_of(SMALL))


def test_the_same_rooms_give_the_same_bytes_and_others_do_not(tmp_path: Path) -> None:
    rooms = rooms_of(SMALL)
    rooms.add_nodes_from(PLACES)
    first = draw(rooms)
    assert first == draw(rooms)
    (tmp_path / "rooms.png").write_bytes(first)
    assert arrows_in(tmp_path / "rooms.png") == arrows_of(rooms)
    rooms.add_edge("worlds", "trajectory")
    assert first != draw(rooms)
