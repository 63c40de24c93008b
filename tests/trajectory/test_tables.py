"""Tables of named columns, ARKitScenes, RealEstate10K's variants and TUM as CSV."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from tests.trajectory.independent import cameras, degrees, expect, xyzw
from worldkv.errors import SpecError, TrajectoryError
from worldkv.trajectory import load_trajectory
from worldkv.trajectory.formats.registry import detect_format
from worldkv.trajectory.formats.sniff import FileHead

TRUTH = cameras(1, 9)
POSITIONS, QUATERNIONS = TRUTH[:, :3, 3], xyzw(TRUTH)
COLUMNS = {
    "t": 5 + np.arange(9) / 10,
    **dict(zip(("x", "y", "z"), POSITIONS.T, strict=True)),
    **dict(zip(("qx", "qy", "qz", "qw"), QUATERNIONS.T, strict=True)),
}


def written(folder: Path, roles: str, header: str = "", *, time: float = 1.0, comma: bool = False) -> Path:
    """A table of these columns; `-` is a column of something else."""
    columns = [COLUMNS[role] if role in COLUMNS else np.arange(9.0) for role in roles.split()]
    rows = np.stack(columns, axis=1)
    if "t" in roles.split():
        rows[:, roles.split().index("t")] *= time
    separator = "," if comma else " "
    lines = [header, *(separator.join(map(repr, row)) for row in rows.tolist())]
    (folder / "a.txt").write_text("\n".join(filter(None, lines)) + "\n")
    return folder / "a.txt"


@pytest.mark.parametrize(
    ("roles", "header", "time", "format"),
    [
        ("t x y z qx qy qz qw", "# timestamp tx ty tz qx qy qz qw", 1, "tum"),
        ("t x y z qx qy qz qw", "timestamp,tx,ty,tz,qx,qy,qz,qw", 1, "tum"),
        ("t x y z qw qx qy qz", "# timestamp tx ty tz qw qx qy qz", 1, "table"),
        (
            "t x y z qw qx qy qz",
            "#timestamp [ns] p_RS_R_x [m] p_RS_R_y [m] p_RS_R_z [m] q_RS_w [] q_RS_x [] q_RS_y [] q_RS_z []",
            1e9,
            "table",
        ),
        ("t x y z qx qy qz qw", "timestamp_us,x,y,z,qx,qy,qz,qw", 1e6, "table"),
        ("x y z qw qx qy qz t", "# pos_x pos_y pos_z rot_w rot_x rot_y rot_z time", 1, "table"),
        ("- t x y z qx qy qz qw -", "frame,time(ms),tx,ty,tz,qx,qy,qz,qw,confidence", 1e3, "table"),
        (
            "t - x y z qx qy qz qw",
            "%time,field.header.seq,field.pose.position.x,field.pose.position.y,field.pose.position.z,"
            "field.pose.orientation.x,field.pose.orientation.y,field.pose.orientation.z,field.pose.orientation.w",
            1,
            "table",
        ),
    ],
)
@pytest.mark.parametrize("comma", [True, False])
def test_names_of_columns_are_obeyed(
    roles: str, header: str, time: float, format: str, comma: bool, tmp_path: Path
) -> None:
    file = written(tmp_path, roles, header, time=time, comma=comma)
    path = load_trajectory(file)
    expect(path, TRUTH, format="euroc" if comma and "p_RS" in header else format)
    assert path.frames_per_second == pytest.approx(10)


def test_euroc_keeps_its_name_under_its_header(tmp_path: Path) -> None:
    header = "#timestamp [ns], p_RS_R_x [m], p_RS_R_y [m], p_RS_R_z [m], q_RS_w [], q_RS_x [], q_RS_y [], q_RS_z []"
    assert detect_format(FileHead.of(written(tmp_path, "t x y z qw qx qy qz", header, time=1e9, comma=True))) == "euroc"


@pytest.mark.parametrize(
    ("roles", "columns"),
    [
        ("t x y z qw qx qy qz", "t,x,y,z,qw,qx,qy,qz"),
        ("qx qy qz qw - x y z", "qx,qy,qz,qw,-,x,y,z"),
        ("- t z y x qw qz qy qx", "-,t,z,y,x,qw,qz,qy,qx"),
    ],
)
def test_columns_that_the_user_names(roles: str, columns: str, tmp_path: Path) -> None:
    file = written(tmp_path, roles)
    for format in (f"table:columns={columns}", f":columns={columns}"):
        expect(load_trajectory(file, format=format), TRUTH, format="table")


def test_vectors_and_matrices_as_columns(tmp_path: Path) -> None:
    stamps = np.arange(9.0)[:, None] / 4
    vectors = Rotation.from_matrix(TRUTH[:, :3, :3]).as_rotvec()
    np.savetxt(tmp_path / "a", np.hstack([vectors, POSITIONS]))
    expect(load_trajectory(tmp_path / "a", format="table:columns=rx,ry,rz,x,y,z"), TRUTH, format="table")
    np.savetxt(tmp_path / "b", np.hstack([stamps, TRUTH[:, :3].reshape(-1, 12)]))
    path = load_trajectory(tmp_path / "b", format="table:columns=t,m12")
    expect(path, TRUTH, format="table")
    assert path.frames_per_second == pytest.approx(4)
    inverse = np.linalg.inv(TRUTH).reshape(-1, 16)
    np.savetxt(tmp_path / "c", np.hstack([inverse, stamps]))
    expect(load_trajectory(tmp_path / "c", format="table:columns=m16,-", direction="w2c"), TRUTH, format="table")


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        ("t,x,y,z", "make no pose"),
        ("t,x,y,z,qx,qy,qz", "make no pose"),
        ("t,x,y,z,qx,qy,qz,qv", "unknown column 'qv'; did you mean q"),
        ("x,x,y,z,qx,qy,qz,qw", "column x is named twice"),
    ],
)
def test_columns_that_make_no_pose(columns: str, match: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=match):
        load_trajectory(written(tmp_path, "t x y z qx qy qz qw"), format=f"table:columns={columns}")


def test_a_table_without_names(tmp_path: Path) -> None:
    file = written(tmp_path, "t x y z qx qy qz qw")
    with pytest.raises(SpecError, match="has no header.*--format table:columns="):
        load_trajectory(file, format="table")
    with pytest.raises(TrajectoryError, match="8 numbers instead of 7"):
        load_trajectory(file, format="table:columns=x,y,z,qx,qy,qz,qw")
    (tmp_path / "b").write_text("1 2 3 4 5\n")
    with pytest.raises(TrajectoryError, match="its first line has 5 numbers.*--format table:columns="):
        load_trajectory(tmp_path / "b")


def test_csv_without_a_header_is_told_by_its_stamps(tmp_path: Path) -> None:
    expect(load_trajectory(written(tmp_path, "t x y z qx qy qz qw", comma=True)), TRUTH, format="tum")
    rows = "\n".join(f"{1403636580838555648 + i * 50_000_000},{i},0,0,1,0,0,0" for i in range(9))
    (tmp_path / "b.csv").write_text(rows + "\n")
    path = load_trajectory(tmp_path / "b.csv")
    assert path.read_as is not None and path.read_as.format == "euroc"
    assert path.frames_per_second == pytest.approx(20)
    assert_allclose(path.rotations, np.tile(np.eye(3), (9, 1, 1)))


def test_arkitscenes_with_its_intrinsics(tmp_path: Path) -> None:
    inverse = np.linalg.inv(TRUTH)
    vectors = Rotation.from_matrix(inverse[:, :3, :3]).as_rotvec()
    np.savetxt(tmp_path / "lowres_wide.traj", np.column_stack([np.arange(9) / 10, vectors, inverse[:, :3, 3]]))
    (tmp_path / "lowres_wide_intrinsics").mkdir()
    (tmp_path / "lowres_wide_intrinsics" / "41_0.1.pincam").write_text("256 192 128 96 128 96\n")
    path = load_trajectory(tmp_path / "lowres_wide.traj")
    expect(path, TRUTH, format="arkitscenes")
    assert path.field_of_view == pytest.approx((90, 90))
    assert path.frames_per_second == pytest.approx(10)


@pytest.mark.parametrize("first", ["https://www.youtube.com/watch?v=x\n", "\n", "", "clip.mp4\n", "# made by hand\n"])
def test_realestate10k_with_and_without_a_url(first: str, tmp_path: Path) -> None:
    inverse = np.linalg.inv(TRUTH)[:, :3].reshape(-1, 12)
    intrinsics = np.tile([0.5, 0.25, 0.5, 0.5, 0, 0], (9, 1))
    rows = np.column_stack([np.arange(9) * 40_000, intrinsics, inverse])
    (tmp_path / "a").write_text(first + "\n".join(" ".join(map(repr, row)) for row in rows.tolist()) + "\n")
    path = load_trajectory(tmp_path / "a")
    expect(path, TRUTH, format="realestate10k")
    assert path.field_of_view == pytest.approx((90, degrees(4)))
    assert path.frames_per_second == pytest.approx(25)
