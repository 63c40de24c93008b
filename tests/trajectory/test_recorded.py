"""Recordings: round trips, and every way a file may be unfit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from safetensors.numpy import load_file, save_file

from worldkv.errors import OutputError, TrajectoryError
from worldkv.trajectory import RecordedSignals, Trajectory, load_trajectory
from worldkv.trajectory.formats import recorded

SUMMARY = np.arange(24.0).reshape(2, 3, 2, 2).astype(np.float32)
SIGNALS = RecordedSignals(
    kept_tokens=np.array([5, 6]),
    attention_mass=np.ones((4, 2), dtype=np.float32),
    query_summary=np.zeros((4, 3, 2, 2), dtype=np.float16),
    key_mean=SUMMARY,
    key_min=SUMMARY - 1,
    key_max=SUMMARY + 1,
    geometry="tiny",
    policy="h2o:recent_frames=6",
)


def full() -> Trajectory:
    return Trajectory(
        "walk",
        np.arange(15.0).reshape(5, 3),
        np.tile(np.eye(3), (5, 1, 1)),
        frames_per_second=12.5,
        field_of_view=(80.0, 50.0),
        action_positions=np.ones((5, 3)),
        action_rotations=np.tile(np.diag([1.0, -1, -1]), (5, 1, 1)),
        walls=np.zeros((2, 2, 2)),
        signals=SIGNALS,
    )


def test_round_trip(tmp_path: Path) -> None:
    recorded.write(full(), tmp_path / "a.bin")
    path = load_trajectory(str(tmp_path / "a.bin"))
    for name in ("positions", "rotations", "action_positions", "action_rotations", "walls"):
        assert_array_equal(getattr(path, name), getattr(full(), name))
    assert (path.name, path.frames_per_second, path.field_of_view) == ("walk", 12.5, (80.0, 50.0))
    assert path.signals is not None and path.signals.geometry == "tiny" and path.signals.num_chunks == 2
    assert path.signals.policy == "h2o:recent_frames=6"
    for name in ("kept_tokens", "attention_mass", "query_summary", "key_mean", "key_min", "key_max"):
        saved, read = getattr(SIGNALS, name), getattr(path.signals, name)
        assert saved.dtype == read.dtype
        assert_array_equal(read, saved)
    assert [file.name for file in tmp_path.iterdir()] == ["a.bin"]


def test_bare_path(tmp_path: Path) -> None:
    recorded.write(Trajectory("x", np.zeros((2, 3)), np.tile(np.eye(3), (2, 1, 1))), tmp_path / "a")
    path = load_trajectory(str(tmp_path / "a"))
    assert path.signals is None and path.walls is None and path.frames_per_second is None


def test_unwritable(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        recorded.write(full(), tmp_path / "missing" / "a")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        recorded.write(full(), tmp_path / "folder")
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]


META = {"format": "worldkv-recorded", "version": "2", "policy": "h2o"}


@pytest.mark.parametrize(
    ("metadata", "changes", "message"),
    [
        ({**META, "version": "3"}, {}, "version '3'.*update worldkv"),
        ({**META, "version": "1"}, {}, "version '1', this worldkv reads version 2; .*record it again"),
        ({"format": "worldkv-recorded", "version": "2"}, {}, "kept_tokens: .* nobody says whose; .* record it again"),
        ({"format": "other"}, {}, "no recorded path"),
        (META, {"rotations": None}, "no array 'rotations'"),
        (META, {"positions": np.zeros((5, 2))}, r"positions: shape \(5, 2\) must be \(frames, 3\)"),
        (META, {"positions": np.zeros((4, 3))}, "4 frames where action_positions has 5"),
        (META, {"positions": np.full((5, 3), np.nan)}, "positions: values must be finite"),
        (META, {"rotations": np.tile(np.diag([1.0, 1, -1]), (5, 1, 1))}, "frame 0.*mirrored"),
        (META, {"action_positions": None}, "rotations only"),
        (META, {"action_rotations": np.zeros((5, 3, 3))}, "action poses.*off orthonormal"),
        (META, {"kept_tokens": np.ones(3)}, "chunks where"),
        (META, {"kept_tokens": np.array([0.5, 1])}, "whole numbers"),
        (META, {"key_min": np.zeros((2, 3, 2, 4))}, "head_dim where"),
        (META, {"attention_mass": np.ones(2)}, r"attention_mass: shape \(2,\)"),
        ({**META, "frames_per_second": "fast"}, {}, "frames_per_second"),
        ({**META, "frames_per_second": "nan"}, {}, "frames_per_second"),
        ({**META, "field_of_view": "[90]"}, {}, "field_of_view"),
        ({**META, "field_of_view": "[90, 200]"}, {}, "field_of_view"),
    ],
)
def test_unfit_files(metadata: dict[str, str], changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    recorded.write(full(), tmp_path / "a")
    arrays: dict[str, Any] = {**load_file(tmp_path / "a"), **changes}
    save_file({name: values for name, values in arrays.items() if values is not None}, tmp_path / "b", metadata)
    with pytest.raises(TrajectoryError, match=message):
        load_trajectory(str(tmp_path / "b"))


def test_cut_off_file(tmp_path: Path) -> None:
    recorded.write(full(), tmp_path / "a")
    (tmp_path / "b").write_bytes((tmp_path / "a").read_bytes()[:-20])
    with pytest.raises(TrajectoryError, match="not a readable safetensors"):
        load_trajectory(str(tmp_path / "b"))


def test_altered_numbers_are_noticed(tmp_path: Path) -> None:
    """A bit of a number that would pass for another; a file without the sum, of before there was one, is read."""
    file = tmp_path / "full.safetensors"
    recorded.write(full(), file)
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    with pytest.raises(TrajectoryError, match=r"was altered since it was recorded \(crc32 [0-9a-f]{8} and not "):
        load_trajectory(str(file))
    file.write_bytes(bytes(content).replace(b'"crc32"', b'"other"'))
    load_trajectory(str(file))


def test_unknown_arrays_are_noted(tmp_path: Path) -> None:
    save_file({"positions": np.zeros((1, 3)), "rotations": np.eye(3)[None], "extra": np.zeros(1)}, tmp_path / "b", META)
    assert load_trajectory(str(tmp_path / "b")).notes == ("arrays not read: extra",)


def test_signals_are_checked_when_made() -> None:
    with pytest.raises(TrajectoryError, match="key_max: 3 chunks where kept_tokens has 2"):
        RecordedSignals(kept_tokens=np.ones(2), key_max=np.ones((3, 1, 1, 1)), policy="h2o")
    for name, counts in (("kept_tokens", np.ones(2)), ("kept_entries", np.ones(2)), ("held_tokens", np.ones((2, 2)))):
        decisions: dict[str, Any] = {name: counts}
        with pytest.raises(TrajectoryError, match=f"{name}: these are one policy's decisions"):
            RecordedSignals(**decisions)
    assert RecordedSignals().num_chunks is None
    assert RecordedSignals(attention_mass=np.ones((3, 7))).num_chunks == 7
