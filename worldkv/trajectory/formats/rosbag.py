"""ROS bags, which are not read here: they hold many topics and need ROS's own message definitions."""

from __future__ import annotations

from pathlib import Path

from worldkv.errors import TrajectoryError
from worldkv.trajectory.format_spec import FormatSpec
from worldkv.trajectory.formats.raw import RawPath
from worldkv.trajectory.formats.sniff import FileHead

_MAGIC = {b"#ROSBAG V": "bag", b"SQLite format 3\0": "bag2", b"\x89MCAP0\r\n": "mcap"}


def looks_like(file_head: FileHead) -> bool:
    """The first bytes of a bag, of a SQLite database or of MCAP; or a folder with a `.db3` or `.mcap` file."""
    if any(name.endswith((".db3", ".mcap")) for name in file_head.entries):
        return True
    return file_head.first_bytes.startswith(tuple(_MAGIC))


def read(path: Path, spec: FormatSpec) -> RawPath:
    """Refuse a bag with the command that converts it.

    Raises:
        TrajectoryError: always.
    """
    head = FileHead.of(path)
    kind = next((kind for magic, kind in _MAGIC.items() if head.first_bytes.startswith(magic)), "bag2")
    command = "bag2" if kind != "bag" else "bag"
    folder = path if head.entries else (path if kind == "bag" else path.parent)
    raise TrajectoryError(
        f"{path} is a ROS bag, which is not read here; convert its pose topic with evo (pip install evo): "
        f"evo_traj {command} {folder} /TOPIC --save_as_tum, and give the .tum file"
    )
