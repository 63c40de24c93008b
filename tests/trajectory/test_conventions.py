"""What a user says goes before the file: axes, direction, units, field of view; from paths, streams and arrays."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tests.trajectory.independent import FLIPPED, cameras, expect, walk, xyzw
from worldkv.errors import SpecError, TrajectoryError
from worldkv.sim.sweep_key import trajectory_digest
from worldkv.trajectory import AXES, FORMATS, Trajectory, load_trajectory
from worldkv.trajectory.axes import check_axes
from worldkv.trajectory.format_spec import format_spec, parse_format

TRUTH = cameras(1, 8)


def relative(path: Trajectory) -> np.ndarray:
    matrices = np.tile(np.eye(4), (path.num_frames, 1, 1))
    matrices[:, :3, :3], matrices[:, :3, 3] = path.rotations, path.positions
    return np.linalg.inv(matrices[0]) @ matrices


def pointing(letters: str) -> np.ndarray:
    """The camera's x, y, z in OpenCV's, as columns: a camera point is this times a point in `letters`."""
    words = {"r": (1, 0, 0), "l": (-1, 0, 0), "d": (0, 1, 0), "u": (0, -1, 0), "f": (0, 0, 1), "b": (0, 0, -1)}
    return np.array([words[letter] for letter in letters], dtype=float).T


@pytest.mark.parametrize("name", [*AXES, "lub", "rfu", "bld"])
def test_axes(name: str) -> None:
    """A point that the camera sees lies where it lay, whatever the camera's axes are called."""
    change = np.eye(4)
    change[:3, :3] = pointing(AXES.get(name, name))
    world = change if np.linalg.det(change) < 0 else np.eye(4)  # a left-handed camera stands in a left-handed world
    theirs = np.linalg.inv(world) @ TRUTH @ change
    path = load_trajectory(theirs, axes=name)
    assert_allclose(relative(path), np.linalg.inv(TRUTH[0]) @ TRUTH, atol=1e-9)
    assert np.linalg.det(path.rotations) == pytest.approx(1)
    assert path.read_as is not None and path.read_as.axes == check_axes(name)


def test_the_world_of_opengl_stays_where_it_is() -> None:
    assert_allclose(load_trajectory(TRUTH @ FLIPPED, axes="opengl").positions, TRUTH[:, :3, 3])


def test_direction_units_and_view(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "a.txt", np.linalg.inv(TRUTH)[:, :3].reshape(-1, 12))
    path = load_trajectory(tmp_path / "a.txt", direction="w2c", fov=(80, 50))
    expect(path, TRUTH, format="kitti")
    assert path.field_of_view == (80, 50)
    assert path.read_as is not None and path.read_as.direction == "w2c" and path.read_as.field_of_view == "given"
    spec = load_trajectory(tmp_path / "a.txt", format="kitti:direction=w2c,fov=80x50,units=cm")
    assert_allclose(spec.positions, TRUTH[:, :3, 3] / 100, atol=1e-12)
    assert spec.read_as is not None and spec.read_as.told_by == "--format" and "cm" in spec.read_as.units
    stamped = np.column_stack([np.arange(8) * 40.0, TRUTH[:, :3, 3], xyzw(TRUTH)])
    np.savetxt(tmp_path / "b.txt", stamped)
    path = load_trajectory(tmp_path / "b.txt", units="mm,ms")
    expect(
        path,
        np.concatenate([TRUTH[:, :, :3], TRUTH[:, :, 3:] * [[0.001], [0.001], [0.001], [1]]], axis=2),
        format="tum",
    )
    assert path.frames_per_second == pytest.approx(25)


def test_files_streams_and_arrays_are_read_alike(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "walk.txt", TRUTH.reshape(-1, 16))
    np.save(tmp_path / "walk.npy", TRUTH)
    from_path = load_trajectory(tmp_path / "walk.txt")
    with (tmp_path / "walk.txt").open() as text, (tmp_path / "walk.npy").open("rb") as binary:
        for stream, format in ((text, "replica"), (binary, "matrices")):
            path = load_trajectory(stream)
            expect(path, TRUTH, format=format)
            assert path.name == from_path.name == "walk"
    path = load_trajectory(io.BytesIO((tmp_path / "walk.txt").read_bytes()))
    expect(path, TRUTH, format="replica")
    assert path.name == "stream"
    for array in (TRUTH, TRUTH[:, :3], TRUTH.tolist(), TRUTH.astype(np.float32)):
        expect(load_trajectory(array), TRUTH, format="matrices", atol=1e-5)
    # A sweep knows a path again by its content, whatever file it was read from.
    assert trajectory_digest(load_trajectory(TRUTH)) == trajectory_digest(from_path)
    assert trajectory_digest(load_trajectory(TRUTH)) != trajectory_digest(load_trajectory(TRUTH[1:]))
    with pytest.raises(TrajectoryError, match=r"^stream, line 1: the last row"):
        load_trajectory(io.StringIO("1 " * 16 + "\n"))


def test_tensors_are_read_like_arrays() -> None:
    torch = pytest.importorskip("torch")
    expect(load_trajectory(torch.tensor(TRUTH, requires_grad=True)), TRUTH, format="matrices")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda m: m.transpose(0, 2, 1), "frame 0: the last row.*transpose"),
        (lambda m: m * [[[2], [2], [2], [1]]], r"frame \d: the rotation is off orthonormal"),
        (lambda m: m * [[[1], [1], [-1], [1]]], "frame 0: the rotation is mirrored"),
        (lambda m: m + [[[np.nan], [0], [0], [0]]], "NaN"),
    ],
)
@pytest.mark.parametrize("inverted", [False, True])
def test_unfit_matrices_are_refused_from_memory_and_files(change, match: str, inverted: bool, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    matrices = change(TRUTH)
    direction = "w2c" if inverted else "c2w"
    np.save(tmp_path / "poses.npy", matrices)
    for source in (matrices, tmp_path):
        with pytest.raises(TrajectoryError, match=match if source is matrices else match.replace("NaN", "frame 0")):
            load_trajectory(source, direction=direction)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"axes": "blender"}, "unknown axes 'blender'"),
        ({"axes": "rld"}, "three letters"),
        ({"direction": "c2c"}, "direction must be c2w"),
        ({"units": "yards"}, "units must be one of length"),
        ({"units": "m,cm"}, "units must be"),
        ({"fov": "90"}, "fov must be"),
        ({"fov": (190, 60)}, "fov must be"),
        ({"format": "tum:axis=ros"}, "no option 'axis'; did you mean axes"),
        ({"format": "tum:axes=ros", "axes": "ned"}, "axes is given twice"),
        ({"format": "tum:w2c"}, "expected key=value"),
        ({"format": "kitti:columns=x"}, "format kitti takes no columns"),
        ({"format": "kitti:degrees=-"}, "degrees must be"),
    ],
)
def test_options_that_say_nothing(options: dict[str, str], match: str, tmp_path: Path) -> None:
    np.savetxt(tmp_path / "a.txt", TRUTH[:, :3].reshape(-1, 12))
    with pytest.raises(SpecError, match=match):
        load_trajectory(tmp_path / "a.txt", **options)  # type: ignore[arg-type]


def test_options_have_nothing_to_say_of_what_is_made_or_loaded() -> None:
    with pytest.raises(SpecError, match="is made here"):
        load_trajectory("script:R90_100", axes="ros")
    with pytest.raises(SpecError, match="is loaded already"):
        load_trajectory(load_trajectory(TRUTH), direction="w2c")
    with pytest.raises(SpecError, match="in memory have no format"):
        load_trajectory(TRUTH, format="kitti")
    assert load_trajectory("script:R90_100").read_as is None


def test_one_spec_of_all_options() -> None:
    assert format_spec("tum") == "tum" and format_spec(None) is None
    assert format_spec(None, axes="ros") == ":axes=ros"
    text = format_spec("table:columns=x,y,z,qx,qy,qz,qw", units="cm,ns", fov=(90, 60))
    spec = parse_format(text)
    assert spec.name == "table" and spec.columns == ("x", "y", "z", "qx", "qy", "qz", "qw")
    assert (spec.length_unit, spec.time_unit, spec.fov) == ("cm", "ns", (90.0, 60.0))


def test_every_row_of_the_table_is_whole() -> None:
    for name, known in FORMATS.items():
        assert known.written_by and known.detected_by and known.rate and known.field_of_view, name
        assert known.direction in ("c2w", "w2c", "actions")
        assert check_axes(known.axes) == known.axes


def test_the_walk_s_own_notes_are_none(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "a.txt", walk()[:, :3].reshape(-1, 12))
    assert load_trajectory(tmp_path / "a.txt").notes == ("no times file beside it, so the frame rate is unknown",)
