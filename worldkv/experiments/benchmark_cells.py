"""Run one course of the benchmark at one seed: a policy at every window size, its figures one by one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worldkv.experiments.benchmark_suite import MACHINES, WINDOWS, Course
from worldkv.experiments.inputs import as_geometry, as_path

if TYPE_CHECKING:
    from worldkv.engine.engine import CacheEngine
    from worldkv.engine.state import StepRecord
    from worldkv.sim import ComparisonSetup, RolloutRecord
    from worldkv.sim.at_budgets import Watch
    from worldkv.sim.budgets import Budget
    from worldkv.sim.candidate import Candidate
    from worldkv.sim.clock import Clock, StepTime
    from worldkv.sim.compare import Execute
    from worldkv.sim.rollout import OnStep

Cell = dict[str, Any]
"""Figures of one policy on one course at one seed and window; None where it has none there."""


@dataclass(frozen=True)
class CellTask:
    """One policy on one course at one seed, which a process runs at every window size.

    Attributes:
        spec: the policy as a spec string.
        label: its name.
        course: the course.
        seed: the seed.
        folder: where recorded paths are; None without.
    """

    spec: str
    label: str
    course: Course
    seed: int
    folder: Path | None


def run_cells(task: CellTask) -> list[Cell]:
    """The cells of every window size that the policy can be made as small as.

    Raises:
        WorldKVError: the policy cannot run on the course.
    """
    from worldkv.sim.at_budgets import compare_at_budgets
    from worldkv.sim.budgets import parse_budgets
    from worldkv.sim.candidate import Candidate
    from worldkv.sim.reseed import reseeded

    setup, execute = _entered(task)
    candidate = Candidate.parsed(task.label, task.spec, setup.geometry, on_tensors=task.course.world is not None)
    clocks = _Clocks(setup)
    budgets = parse_budgets(",".join(f"{chunks}chunks" for chunks in WINDOWS))
    found = compare_at_budgets(
        setup, [reseeded(candidate, task.seed)], budgets, on_step=clocks.watch, execute=execute.carry_out
    )
    from worldkv.sim.document import row_document

    cells: list[Cell] = []
    for row in found.rows:
        document = row_document(setup, row)
        chunks = None if row.budget_tokens is None else row.budget_tokens // setup.geometry.chunk_tokens
        steps, key = document["steps"], None if row.budget is None else row.budget.word
        cache = document["device_bytes_peak"] + document["host_bytes_peak"] + document["disk_bytes_peak"]
        moved = sum(value for name, value in document.items() if name.startswith("bytes_"))
        recall = document["revisit_recall"]
        cell: Cell = {
            "course": task.course.name,
            "seed": task.seed,
            "window_chunks": chunks,
            "spec": document["spec"],
            "recall": recall,
            "share_of_oracle": document["share_of_oracle"],
            "psnr_rooms": None,
            "psnr_trained": None,
            "moved_chunks": moved / steps / setup.geometry.chunk_bytes,
            "cache_chunks": cache / setup.geometry.chunk_bytes,
            "recall_per_gb": None,
        }
        if task.course.world is None:  # a world's cache is tiny, and no machine file is of its geometry
            cell["recall_per_gb"] = None if recall is None else recall / (cache / 1e9)
            for machine, seconds in clocks.seconds[key].items():
                cell[f"fps_{machine}"] = setup.geometry.video_frames_per_chunk * steps / seconds
        else:
            cell[f"psnr_{task.course.world}"] = execute.psnr(row.rollout)
        cells.append(cell)
    return cells


def decision_seconds(task: CellTask) -> float | None:
    """Seconds a step of the policy and the engine, without recall; None where the simulator cannot run it so."""
    from worldkv.errors import WorldKVError
    from worldkv.sim.candidate import Candidate
    from worldkv.sim.compare import simulated

    setup, _ = _entered(task, recall=False)
    candidate = Candidate.parsed(task.label, task.spec, setup.geometry)
    sized = candidate.resized(WINDOWS[1] * setup.geometry.chunk_tokens, setup.geometry) or candidate
    try:
        rollout = simulated(setup, sized.policy)
    except WorldKVError:
        return None
    return rollout.wall_seconds / len(rollout.seconds)


class _Simulated:
    """Runs rows without tensors, and has no pictures."""

    def __init__(self) -> None:
        from worldkv.sim.compare import simulated

        self.carry_out: Execute = simulated

    def psnr(self, rollout: RolloutRecord) -> float | None:
        """No picture, no dB."""
        return None


class _Painted:
    """Runs rows in a world, painted or trained."""

    def __init__(self, world: str, built: Any, seed: int) -> None:
        from worldkv.experiments.worlds import Painters

        self._painters = Painters(world, built, "cpu", seed)
        self.carry_out: Execute = self._painters.carry_out

    def psnr(self, rollout: RolloutRecord) -> float | None:
        """Mean dB against the truth over steps that come back."""
        return self._painters.of(rollout).fidelity.means()["psnr_truth"]


def _entered(task: CellTask, *, recall: bool = True) -> tuple[ComparisonSetup, _Simulated | _Painted]:
    """The course at the task's seed, and who runs policies on it."""
    from worldkv.config import CacheConfig
    from worldkv.experiments.setup import make_setup
    from worldkv.experiments.worlds import enter, world_geometry
    from worldkv.geometry import DEFAULT_GEOMETRY
    from worldkv.sim.machine import load_machine

    course = task.course
    geometry = as_geometry(DEFAULT_GEOMETRY if course.world is None else world_geometry(course.world))
    path = as_path(course.at(task.seed, task.folder), geometry)
    runs: _Simulated | _Painted = _Simulated()
    if course.world is not None:
        path, built = enter(course.world, path, view_distance=None, seed=task.seed)
        runs = _Painted(course.world, built, task.seed)
    return make_setup(path, load_machine(MACHINES[0]), CacheConfig(), recall=recall, seed=task.seed), runs


class _Clocks:
    """Predicted seconds of every row on all machines of the suite.

    Attributes:
        seconds: by budget, then by machine.
    """

    def __init__(self, setup: ComparisonSetup) -> None:
        from worldkv.sim.clock import Clock
        from worldkv.sim.machine import load_machine

        self._clocks: dict[str, Clock] = {}
        for name in MACHINES:
            self._clocks[name] = Clock(load_machine(name), setup.geometry)
        self.seconds: dict[str | None, dict[str, float]] = {}

    @property
    def watch(self) -> Watch:
        """Makes the callback of a row's steps."""
        return self._watch_row

    def _watch_row(self, candidate: Candidate, budget: Budget | None) -> OnStep:
        total = self.seconds.setdefault(None if budget is None else budget.word, dict.fromkeys(self._clocks, 0.0))

        def step(engine: CacheEngine, record: StepRecord, spent: StepTime) -> None:
            plan = record.plan
            for name, clock in self._clocks.items():
                told = clock.step(plan.attended_tokens, plan.fetched_bytes, plan.fetched_disk_bytes, record.traffic)
                total[name] += told.seconds

        return step
