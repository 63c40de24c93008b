"""The engine of a sweep: a task's rows, its seeds, its failures, and many tasks over processes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from worldkv.errors import TrajectoryError
from worldkv.metrics.landmarks import Landmarks, place_landmarks
from worldkv.parts import FovOverlap
from worldkv.policies import Composed, FrustumCoverage, RandomRetrieval
from worldkv.policy import CachePolicy, Index
from worldkv.pose import Array
from worldkv.sim import Candidate, load_machine, simulate
from worldkv.sim.budgets import parse_budget
from worldkv.sim.reseed import reseeded
from worldkv.sim.sweep import COLUMNS, PathAtSeed, SweepTask, run_task, run_tasks
from worldkv.sim.sweep_key import code_digest, trajectory_digest
from worldkv.specs.parse import parse_geometry, parse_policy
from worldkv.trajectory import ChunkedTrajectory, cut, load_trajectory
from worldkv.trajectory.formats.recorded import write
from worldkv.trajectory.recorded_signals import RecordedSignals
from worldkv.trajectory.trajectory import Trajectory
from worldkv.views import BankView, Query

TINY = parse_geometry("tiny")
MACHINE = load_machine("worldkv-project-page")
LOOP = "generate:loop:chunks=24"


def path_at_seed(source: str = LOOP, seed: int = 0) -> PathAtSeed:
    digest = trajectory_digest(load_trajectory(source))
    return PathAtSeed(source, None, None, None, TINY, MACHINE, seed, digest, "oracle")


def task(*specs: str, budget: str | None = "7chunks", source: str = LOOP, seed: int = 0) -> SweepTask:
    size = None if budget is None else parse_budget(budget)
    return SweepTask(path_at_seed(source, seed), size, tuple((spec, {"policy": spec, "key": spec}) for spec in specs))


def timeless(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "wall_seconds"} for row in rows]


def test_figures_are_those_of_a_rollout_by_hand() -> None:
    (row,) = run_task(task("random", seed=3))
    chunked = cut(load_trajectory(LOOP), TINY)
    policy = parse_policy("random:retrieved_frames=9,seed=3")
    alone = simulate(chunked, policy, TINY, MACHINE, landmarks=place_landmarks(chunked, seed=3))
    traffic = alone.engine.backend.traffic()
    assert list(row) == list(COLUMNS)
    assert row["spec"] == "random:retrieved_frames=9,seed=3"
    assert row["revisit_recall"] == alone.recall
    assert row["retrieval_precision"] == alone.precision
    assert row["bytes_moved"] == traffic.device_to_host + traffic.host_to_device > 0
    assert row["predicted_seconds"] == float(alone.seconds.sum())
    assert row["window_tokens_peak"] == int(alone.attended_tokens.max())
    assert (row["status"], row["policy"], row["attention_recall"]) == ("ok", "random", None)


def test_a_row_without_a_budget_keeps_its_size() -> None:
    (full,) = run_task(task("full-kv", budget=None))
    assert full["window_tokens_peak"] == 24 * TINY.chunk_tokens
    assert full["revisit_recall"] == 1.0


def test_a_policy_that_cannot_be_so_small_says_so() -> None:
    rows = run_task(task("worldkv", "oracle", budget="2chunks"))
    assert [row["status"] for row in rows] == ["too-small", "ok"]
    assert rows[0]["revisit_recall"] is None


BROKEN = '''
from dataclasses import dataclass
from worldkv.policies import SlidingWindow

@dataclass(frozen=True)
class Broken(SlidingWindow):
    """Fails at its tenth step. Source: a test."""
    def retrieve(self, query, bank):
        if query.step == 10:
            raise ZeroDivisionError("out of luck")
        return super().retrieve(query, bank)

    def evict(self, window):
        return 1 / 0 if window.step > 9 else super().evict(window)
'''


def test_a_policy_that_fails_has_a_row_and_the_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    rows = run_task(task(f"{tmp_path}/broken.py:Broken", "oracle"))
    assert rows[0]["status"].startswith("failed: ") and "\n" not in rows[0]["status"]
    assert rows[0]["revisit_recall"] is None
    assert rows[1]["status"] == "ok" and rows[1]["share_of_oracle"] == 1.0


@pytest.mark.parametrize(
    ("policy", "fixed", "expected"),
    [
        (RandomRetrieval(), frozenset(), RandomRetrieval(seed=5)),
        (RandomRetrieval(seed=2), frozenset({"seed"}), RandomRetrieval(seed=2)),
        (FrustumCoverage(), frozenset(), FrustumCoverage(seed=5)),
        (parse_policy("composed:index=frustum"), frozenset(), parse_policy("composed:index=frustum,seed=5")),
        (parse_policy("composed:index=pose"), frozenset(), parse_policy("composed:index=pose")),
        (parse_policy("sliding-window"), frozenset(), parse_policy("sliding-window")),
    ],
)
def test_seeds_go_wherever_there_is_one_to_set(
    policy: CachePolicy, fixed: frozenset[str], expected: CachePolicy
) -> None:
    assert reseeded(Candidate("it", policy, fixed), 5).policy == expected


@dataclass(frozen=True)
class Drawn(Index):
    """Scores nobody, over another that draws too."""

    spec_names: ClassVar[tuple[str, ...]] = ("drawn",)

    seed: int = 0
    other: FovOverlap = FovOverlap()

    def scores(self, query: Query, bank: BankView) -> Array:
        return np.zeros(len(bank))


@pytest.mark.parametrize(
    ("given", "seeds"),
    [
        ((), (5, 5, 5)),
        (("fov.seed",), (5, 5, 0)),
        (("drawn.seed",), (5, 0, 5)),
        (("fov.seed", "drawn.seed"), (5, 0, 0)),
        (("fov#1.seed",), (5, 5, 0)),
        (("seed",), (0, 5, 5)),
    ],
)
def test_a_seed_that_was_given_stays_whoever_has_it(given: tuple[str, ...], seeds: tuple[int, int, int]) -> None:
    @dataclass(frozen=True)
    class Root(Composed):
        seed: int = 0

    found = reseeded(Candidate("it", Root(Drawn()), frozenset(given)), 5).policy
    assert isinstance(found, Root) and isinstance(found.index, Drawn)
    assert (found.seed, found.index.seed, found.index.other.seed) == seeds


@pytest.mark.parametrize("key", ["seed", "fov.seed"])
def test_a_seed_typed_for_a_part_is_not_overwritten(key: str) -> None:
    candidate = Candidate.parsed("it", f"composed:index=fov,{key}=3", TINY)
    assert reseeded(candidate, 5).policy == candidate.policy == Composed(FovOverlap(seed=3))


def test_a_path_that_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "poses.npy"
    poses = np.tile(np.eye(4), (200, 1, 1))
    poses[:, 2, 3] = np.arange(200) * 0.1
    np.save(path, poses)
    unlike = task("oracle", source=str(path), seed=17)
    poses[:, 2, 3] *= 2
    np.save(path, poses)
    with pytest.raises(TrajectoryError, match="has changed since the sweep began"):
        run_task(unlike)


def test_the_digest_is_of_the_content() -> None:
    loop, other = load_trajectory(LOOP), load_trajectory("generate:loop:chunks=25")
    renamed = Trajectory("elsewhere", loop.positions, loop.rotations, loop.frames_per_second, loop.field_of_view)
    assert trajectory_digest(loop) == trajectory_digest(renamed) != trajectory_digest(other)
    wider = Trajectory("wider", loop.positions, loop.rotations, loop.frames_per_second, (91.0, 60.0))
    assert trajectory_digest(wider) != trajectory_digest(loop)
    heard = Trajectory(
        "heard",
        loop.positions,
        loop.rotations,
        loop.frames_per_second,
        signals=RecordedSignals(np.arange(24), policy="h2o"),
    )
    assert trajectory_digest(heard) != trajectory_digest(loop)


def test_the_code_digest_is_of_a_policy_and_its_parts() -> None:
    frustum, pose = parse_policy("composed:index=frustum"), parse_policy("composed:index=pose")
    assert code_digest(frustum) != code_digest(pose)
    assert code_digest(frustum) == code_digest(parse_policy("composed:index=frustum,points=500"))
    assert isinstance(frustum, Composed)


def test_a_helper_beside_a_policy_is_its_code_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "mine_here.py").write_text(
        "from dataclasses import dataclass\nfrom helper_here import Base\n\n"
        "@dataclass(frozen=True)\nclass Mine(Base):\n    pass\n"
    )
    (tmp_path / "helper_here.py").write_text(
        "import deeper_here\nfrom worldkv.policies import SlidingWindow\n\nclass Base(SlidingWindow):\n    pass\n"
    )
    (tmp_path / "deeper_here.py").write_text("WEIGHT = 1\n")
    (tmp_path / "another_here.py").write_text("WEIGHT = 1\n")
    policy = parse_policy(f"{tmp_path}/mine_here.py:Mine")
    before = code_digest(policy)
    (tmp_path / "another_here.py").write_text("WEIGHT = 2\n")
    assert code_digest(policy) == before
    for name in ("deeper_here", "helper_here", "mine_here"):
        file = tmp_path / f"{name}.py"
        file.write_text(file.read_text() + "# of another mind\n")
        assert code_digest(policy) != before
        before = code_digest(policy)


def test_attention_recall_is_the_mass_that_a_window_holds(tmp_path: Path) -> None:
    loop = load_trajectory(LOOP)
    mass = np.tril(np.random.default_rng(0).random((24, 24)), -1).astype(np.float32)
    recording = tmp_path / "loop.safetensors"
    write(Trajectory("loop", loop.positions, loop.rotations, signals=RecordedSignals(attention_mass=mass)), recording)
    (row,) = run_task(task("sliding-window", source=str(recording)))
    held = [sum(mass[step, max(0, step - 6) : step]) / sum(mass[step, :step]) for step in range(1, 24)]
    assert row["attention_recall"] == pytest.approx(sum(held) / 23, rel=1e-6)
    (full,) = run_task(task("full-kv", source=str(recording), budget=None))
    assert full["attention_recall"] == 1.0

    mass[20, 5] = 0.0
    write(Trajectory("loop", loop.positions, loop.rotations, signals=RecordedSignals(attention_mass=mass)), recording)
    (partial,) = run_task(task("sliding-window", source=str(recording)))
    assert partial["attention_recall"] is None


def test_landmarks_are_placed_once_a_path_and_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    placed: list[int] = []

    def counted(chunked: ChunkedTrajectory, *, seed: int) -> Landmarks:
        placed.append(seed)
        return place_landmarks(chunked, seed=seed)

    monkeypatch.setattr("worldkv.sim.sweep.place_landmarks", counted)
    tasks = [task("random", "oracle", budget=budget, seed=seed) for seed in (71, 72) for budget in ("20%", "40%")]
    assert len(list(run_tasks(tasks, 1))) == 4
    assert placed == [71, 72]


def test_processes_change_nothing() -> None:
    tasks = [task("random", "oracle", budget=budget, seed=seed) for seed in (0, 1) for budget in ("20%", "40%")]
    alone = [timeless(rows) for rows in run_tasks(tasks, 1)]
    together = [timeless(rows) for rows in run_tasks(tasks, 2)]
    assert sorted(alone, key=str) == sorted(together, key=str)
    assert len({str(rows) for rows in alone}) == 4
