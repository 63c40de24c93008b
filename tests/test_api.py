"""The public interface: every name is there, results show themselves, and they say what the commands say."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import worldkv
from tests.cli.conftest import Worldkv as Command
from tests.cli.conftest import worldkv as command  # noqa: F401  (a fixture)
from worldkv import (
    CacheGeometry,
    Comparison,
    OutputError,
    SlidingWindow,
    SpecError,
    TrajectoryError,
    WorldKV,
    WorldKVError,
    check,
    check_parity,
    compare,
    describe,
    errors,
    explain,
    load_trajectory,
    policies,
    policy,
    simulate,
    sweep,
)
from worldkv.parts import PoseIndex

LOOP = "generate:loop:chunks=40"
TINY: dict[str, Any] = {"geometry": "tiny"}


def _classes(module: Any, kind: type) -> set[str]:
    return {name for name, cls in vars(module).items() if inspect.isclass(cls) and issubclass(cls, kind)}


def test_policies_part_kinds_and_errors_are_public() -> None:
    wanted = _classes(policies, worldkv.CachePolicy) | _classes(policy, worldkv.Part) | _classes(errors, WorldKVError)
    assert len(wanted) > 45 and wanted <= set(worldkv.__all__)


def test_every_public_name_is_there() -> None:
    for name in worldkv.__all__:
        assert getattr(worldkv, name) is not None


@pytest.mark.parametrize("package", ["metrics", "parity", "plots", "report", "sim", "specs"])
def test_every_name_of_a_package_is_there_and_no_module_takes_its_place(package: str) -> None:
    module = importlib.import_module(f"worldkv.{package}")
    modules = {found.name for found in pkgutil.iter_modules(module.__path__)}
    assert dir(module) == module.__all__ and modules.isdisjoint(module.__all__)
    for name in module.__all__:
        assert getattr(module, name) is not None


def test_importing_it_loads_next_to_nothing() -> None:
    code = "import sys, worldkv; print(sorted(n for n in sys.modules if n.startswith('worldkv.') or n == 'numpy'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['worldkv._lazy']"


def test_a_notebook_makes_the_readme_s_table_and_picture_in_four_lines(tmp_path: Path) -> None:
    from worldkv import compare

    result = compare(LOOP)
    page = result._repr_html_()
    figure = result.plot(tmp_path / "loop.png")

    assert (tmp_path / "loop.png").read_bytes()[:4] == b"\x89PNG" and len(figure.axes) == 5
    head, *body = (re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", page))
    assert head[:2] == ["policy", "status"] and "precision" in head and "speedup" in head
    printed = [line.split() for line in result.table().splitlines()]
    assert [row[0] for row in body] == ["full-kv", "sliding-window", "worldkv", "random", "oracle"]
    for row in body:
        assert row in printed  # the cells of the terminal's table, in its order
    assert all(note in page for note in result.notes) and result.notes


@pytest.mark.shared_data
def test_the_readme_s_first_table_and_picture_are_what_a_notebook_shows(shared_data_dir: Path, tmp_path: Path) -> None:
    result = compare(shared_data_dir / "kitti" / "KITTI_00_gt.txt")
    result.plot(tmp_path / "kitti.png")
    assert (tmp_path / "kitti.png").stat().st_size > 50_000
    readme = (Path(worldkv.__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    printed = result.table().splitlines()
    rows = [line for line in printed if len(line.split()) == 15]
    assert len(rows) == 6 and all(line in readme for line in rows)


@pytest.mark.parametrize(
    ("words", "call"),
    [
        (("compare", LOOP, "--geometry", "tiny"), lambda: compare(LOOP, **TINY)),
        (
            ("compare", LOOP, "--geometry", "tiny", "--budgets", "20%,8chunks", "-p", "worldkv", "--seed", "3"),
            lambda: compare(LOOP, WorldKV, budgets=["20%", "8chunks"], seed=3, **TINY),
        ),
        (
            ("compare", LOOP, "--no-recall", "--no-floor", "--host-budget", "1MB", "--pose-noise", "0.1"),
            lambda: compare(LOOP, recall=False, baselines=False, host_budget="1MB", pose_noise=0.1),
        ),
        (("explain", LOOP, "-p", "worldkv", "--step", "30"), lambda: explain(LOOP, WorldKV(), 30)),
        (("trajectory", LOOP), lambda: describe(LOOP)),
        (("parity", LOOP, "--chunks", "12", "-p", "worldkv"), lambda: check_parity(LOOP, ["worldkv"], chunks=12)),
        (("check", "worldkv", "--examples", "1", "--only", "is_pure"), None),
    ],
    ids=["compare", "budgets", "room", "explain", "describe", "parity", "check"],
)
def test_a_result_is_the_document_of_the_command(command: Command, words: tuple[str, ...], call: Any) -> None:  # noqa: F811
    if call is None:
        (name, *_) = (one.name for one in check("worldkv", examples=1).reports[0].findings)
        words = (*words[:-1], name)
        result = check("worldkv", examples=1, only=[name])
    else:
        result = call()
    expected = command(*words, "--json", "-").document
    found = json.loads(json.dumps(result.to_dict()))
    for document in (expected, found):
        for row in document.get("rows", ()):
            row.pop("wall_seconds", None)
        for report in document.get("reports", ()):
            report["checks"] = [{**one, "seconds": 0, "figures": {}} for one in report["checks"]]
    assert found == expected and list(found) == list(expected)


def test_what_a_trajectory_and_a_policy_may_be(tmp_path: Path) -> None:
    loop = load_trajectory(LOOP)
    matrices = np.tile(np.eye(4), (loop.num_frames, 1, 1))
    matrices[:, :3, :3], matrices[:, :3, 3] = loop.rotations, loop.positions
    np.savetxt(tmp_path / "kitti.txt", matrices[:, :3].reshape(-1, 12))
    recalls = [
        compare(given, [WorldKV], baselines=False, **TINY).rows[0]["revisit_recall"]
        for given in (loop, matrices, matrices[:, :3].tolist(), tmp_path / "kitti.txt", str(tmp_path / "kitti.txt"))
    ]
    assert recalls[0] is not None and max(recalls) - min(recalls) < 1e-9
    (row,) = compare(loop, PoseIndex(), baselines=False, **TINY).rows
    assert (row["policy"], row["spec"]) == ("pose", "composed")
    spec = compare(loop, ["worldkv:keep_ratio=0.5"], baselines=False, **TINY).rows
    made = compare(loop, [WorldKV(keep_ratio=0.5)], baselines=False, **TINY).rows
    assert {**spec[0], "wall_seconds": 0} == {**made[0], "wall_seconds": 0}


def test_what_an_object_sets_is_kept_and_the_rest_is_sized() -> None:
    sized, kept = compare(
        LOOP, [WorldKV(), SlidingWindow(), SlidingWindow(recent_frames=6)], baselines=False, **TINY
    ).rows[1:]
    assert sized["is_matched"] and not kept["is_matched"]


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ((np.eye(4), None), TrajectoryError, "(frames, 4, 4)"),
        ((np.full((9, 4, 4), np.nan), None), TrajectoryError, "NaN"),
        ((np.tile(np.diag([1.0, 1.0, -1.0, 1.0]), (30, 1, 1)), None), TrajectoryError, "mirrored"),
        ((np.tile(np.diag([2.0, 2.0, 2.0, 1.0]), (30, 1, 1)), None), TrajectoryError, "orthonormal"),
        ((np.tile(np.eye(4) + np.eye(4)[::-1], (30, 1, 1)), None), TrajectoryError, "last row"),
        ((object(), None), TrajectoryError, "object"),
        ((LOOP, [3]), SpecError, "no policy"),
        ((LOOP, ["wordkv"]), SpecError, "did you mean worldkv"),
    ],
)
def test_what_is_neither_is_refused_in_a_sentence(given: tuple[Any, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=re.escape(says)):
        compare(given[0], given[1], **TINY)


def test_everything_returned_is_one_readable_line() -> None:
    rollout = simulate(LOOP, WorldKV(), "tiny")
    comparison = compare(LOOP, ["worldkv"], **TINY)
    swept = sweep(LOOP, ["worldkv"], budgets="30%", seeds="0", jobs=1, **TINY)
    plan, record = rollout.engine, rollout.record
    returned = [
        rollout, record, plan, comparison, comparison.compared, comparison.compared.setup, comparison.path, swept,
        describe(LOOP, **TINY), describe(LOOP, **TINY).summary, explain(LOOP, "worldkv", 20, **TINY),
        check_parity(LOOP, ["worldkv"], chunks=8), check("never", examples=1), load_trajectory(LOOP),
        comparison.path.chunked, comparison.compared.setup.landmarks, comparison.compared.setup.machine,
        comparison.compared.setup.config, comparison.compared.setup.geometry,
    ]  # fmt: skip
    for one in returned:
        told = repr(one)
        assert "\n" not in told and " object at " not in told and 10 < len(told) < 500, told


def test_a_rollout_shows_what_it_did() -> None:
    rollout = simulate(LOOP, WorldKV(), "tiny")
    assert rollout.recall == rollout.rows[0]["revisit_recall"] == rollout.record.recall
    assert len(rollout.seconds) == len(rollout.attended_tokens) == len(rollout.window_bytes) == 40
    assert "worldkv" in rollout.table() and "<table>" in rollout._repr_html_()
    assert len(rollout.plot().axes) == 5


def test_a_sweep_without_a_file_has_its_rows() -> None:
    swept = sweep(LOOP, [WorldKV()], budgets=["30%", "40%"], seeds=[0], jobs=1, baselines=False, **TINY)
    assert [row["budget"] for row in swept.rows] == ["30%", "40%"] and not swept.has_failures
    assert swept.rows == swept.to_dict()["rows"] and "worldkv" in swept.table()
    assert len(swept.plot().axes) == 2


def test_a_trajectory_cut_for_another_geometry_is_refused() -> None:
    cut = compare(LOOP, ["worldkv"], **TINY).path.chunked
    other = CacheGeometry(
        name="mine", layers=1, heads=1, kv_heads=1, head_dim=8, frame_rows=2, frame_columns=2, frames_per_chunk=4
    )
    with pytest.raises(SpecError, match="chunks of 3 latent frames"):
        compare(cut, ["full-kv"], geometry=other, baselines=False)
    assert isinstance(compare(cut, ["worldkv"], **TINY), Comparison)


def test_an_output_never_replaces_the_trajectory_and_is_checked_before_work(tmp_path: Path) -> None:
    poses = tmp_path / "in.txt"
    np.savetxt(poses, np.tile(np.eye(4)[:3].reshape(-1), (40, 1)))
    before = poses.read_bytes()
    with pytest.raises(OutputError, match="same file as TRAJECTORY"):
        compare(poses, ["worldkv"], log=poses, **TINY)
    with pytest.raises(OutputError, match="no folder"):
        compare(LOOP, ["worldkv"], log=tmp_path / "nowhere" / "log.jsonl", **TINY)
    with pytest.raises(OutputError, match="must end in"):
        simulate(LOOP, "worldkv", "tiny").plot(tmp_path / "picture.foo")
    assert poses.read_bytes() == before and [entry.name for entry in tmp_path.iterdir()] == ["in.txt"]


def test_a_sweep_takes_matrices_and_loaded_trajectories() -> None:
    loop = load_trajectory(LOOP)
    matrices = np.tile(np.eye(4), (loop.num_frames, 1, 1))
    matrices[:, :3, :3], matrices[:, :3, 3] = loop.rotations, loop.positions
    shorter = matrices[: loop.num_frames // 2]
    options: dict[str, Any] = {"budgets": "50%", "seeds": 0, "jobs": 1, "baselines": False, **TINY}
    (one,) = sweep(loop, ["worldkv"], **options).rows
    (same,) = sweep(matrices, ["worldkv"], **options).rows
    assert len(sweep([matrices, shorter], ["worldkv"], **options).rows) == 2
    assert one["window_tokens_peak"] == same["window_tokens_peak"]
    assert one["revisit_recall"] == pytest.approx(same["revisit_recall"])
    by_tokens = sweep(loop, ["worldkv"], **{**options, "budgets": 400}).rows
    assert by_tokens[0]["budget_tokens"] == 400


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"match": "window_tokens"}, "match must be one of window-tokens, none"),
        ({"when_full": "drop-oldest"}, "when_full must be one of error, forget-oldest"),
        ({"policies": []}, "at least one policy"),
        ({"device": "cuda"}, "--world rooms"),
    ],
)
def test_a_word_that_is_no_choice_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError, match=re.escape(says)):
        compare(LOOP, **TINY, **options)


def test_a_number_type_that_is_none_is_refused() -> None:
    with pytest.raises(SpecError, match="dtype must be one of auto, float32"):
        worldkv.run(LOOP, "worldkv", dtype="float64", chunks=4)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Listed(worldkv.Index):
    """An index whose setting no spec string can hold."""

    places: tuple[int, ...] = ()

    def scores(self, query: worldkv.Query, bank: worldkv.BankView) -> Any:
        return -np.asarray(bank.ids, dtype=float)


def test_an_object_that_no_spec_string_can_hold_is_compared_all_the_same() -> None:
    rows = compare(LOOP, [_Listed((1, 2)), _Listed((3,))], baselines=False, **TINY).rows
    assert [row["policy"] for row in rows] == ["_Listed(places=(1, 2))", "_Listed(places=(3,))"]
    assert "_Listed" in repr(explain(LOOP, _Listed((1,)), 20, **TINY))
    assert simulate(LOOP, _Listed((1,)), "tiny").rows[0]["policy"] == "_Listed"


def test_a_class_is_checked_and_hypothesis_keeps_its_home() -> None:
    from hypothesis import configuration

    home = configuration.storage_directory().path
    assert check(WorldKV, examples=1).passed
    assert configuration.storage_directory().path == home


def test_results_are_compared_by_identity_and_hand_out_copies() -> None:
    result = compare(LOOP, ["worldkv"], **TINY)
    assert len({result, result}) == 1 and result != compare(LOOP, ["worldkv"], **TINY)
    result.to_dict()["rows"].clear()
    result.notes.clear()
    assert result.rows and result.notes
    parity = check_parity(LOOP, ["worldkv"], chunks=6)
    parity.to_dict()["rows"][0]["equal"] = False
    assert parity.is_equal
