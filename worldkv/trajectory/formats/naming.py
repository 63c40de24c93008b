"""Short names of recorded trajectories, for tables."""

from __future__ import annotations

import os
from pathlib import Path

from worldkv.errors import printable

# Names a data set gives to every one of its sequences; the folder is what tells them apart.
_GENERIC = frozenset(
    "poses pose pose_gt pose_left pose_right groundtruth data actions trajectory traj pred_traj transforms camera_path "
    "camera_extrinsics images poses_bounds lowres_wide".split()
)


def name_of(path: Path) -> str:
    """The file's name without its ending, or the folder's where every sequence has a file of that name."""
    whole = Path(os.path.realpath(path))  # says nothing of loops of links, which are refused where they are opened
    return printable(whole.parent.name if whole.stem in _GENERIC and whole.parent.name else whole.stem)


def label(name: str) -> str:
    """A name in a file as notes and sentences may show it: at most 40 characters of it."""
    return printable(name, 40)
