"""ROS bags, which are not read here: they hold many topics and need ROS's own message definitions."""

from __future__ import annotations

from pathlib import Path

from worldkv.errors import TrajectoryError
from worldkv.trajectory.format_spec import FormatSpec
from worldkv.trajectory.formats.raw import RawPath
from worldkv.trajectory.formats.sniff import FileHead

_MAGIC = {b"#ROSBAG V": "bag", b"SQLite format 3\0": "bag2", b"\x89MCAP0\r\n": "mcap"}


def looks_like(file_head: FileHead) -> bool:
    """The first bytes of a bag or of MCAP, a `.db3` database, or a folder of those with `metadata.yaml`."""
    if "metadata.yaml" in file_head.entries:
        return any(name.endswith((".db3", ".mcap")) for name in file_head.entries)
    kind = _kind(file_head)
    return kind is not None and (kind != "bag2" or file_head.path.suffix == ".db3")


def _kind(file_head: FileHead) -> str | None:
    return next((kind for magic, kind in _MAGIC.items() if file_head.first_bytes.startswith(magic)), None)


def read(path: Path, spec: FormatSpec) -> RawPath:
    """Refuse a bag with the command that converts it.

    Raises:
        TrajectoryError: always.
    """
    command = "bag" if _kind(FileHead.of(path)) == "bag" else "bag2"
    source = path if command == "bag" or path.is_dir() else path.parent  # ROS 2 wants the folder with metadata.yaml
    raise TrajectoryError(
        f"{path} is a ROS bag, which is not read here; convert its pose topic with evo (pip install evo): "
        f"evo_traj {command} {source} /TOPIC --save_as_tum, and give the .tum file"
    )
