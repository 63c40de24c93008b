"""The table of recorded formats, and their detection by content."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from worldkv.trajectory.formats import (
    bench76,
    euroc,
    kitti,
    lingbot,
    matrix_game,
    realestate10k,
    recorded,
    tartanair,
    tum,
)
from worldkv.trajectory.formats.sniff import FileHead
from worldkv.trajectory.trajectory import Trajectory


@dataclass(frozen=True)
class Format:
    """One recorded format: how to tell it and how to read it.

    Attributes:
        looks_like: judges the head of a file.
        read: the trajectory of a file or folder; raises TrajectoryError.
    """

    looks_like: Callable[[FileHead], bool]
    read: Callable[[Path], Trajectory]


FORMATS: dict[str, Format] = {
    "recorded": Format(recorded.looks_like, recorded.read),
    "lingbot": Format(lingbot.looks_like, lingbot.read),
    "matrix-game": Format(matrix_game.looks_like, matrix_game.read),
    "bench76": Format(bench76.looks_like, bench76.read),
    "realestate10k": Format(realestate10k.looks_like, realestate10k.read),
    "euroc": Format(euroc.looks_like, euroc.read),
    "kitti": Format(kitti.looks_like, kitti.read),
    "tum": Format(tum.looks_like, tum.read),
    "tartanair": Format(tartanair.looks_like, tartanair.read),
}
"""Recorded formats by name, in the order they are tried."""


def detect_format(file_head: FileHead) -> str | None:
    """The name of the format that `file_head` looks like, None where it looks like none."""
    return next((name for name, known in FORMATS.items() if known.looks_like(file_head)), None)
