"""Run policies at several budgets, trajectories and seeds, over all cores or a cluster: `sweep` and its result."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worldkv.errors import SpecError
from worldkv.experiments.cluster.place import LOCAL, check_place
from worldkv.experiments.defaults import SWEPT_BUDGETS, SWEPT_POLICIES, SWEPT_SEEDS
from worldkv.experiments.inputs import GeometryLike, MachineLike, as_geometry, as_machine, joined
from worldkv.experiments.outputs import check_written
from worldkv.experiments.progress import SILENT, Progress
from worldkv.experiments.result import Result
from worldkv.experiments.seeds import parse_seeds
from worldkv.experiments.sweep_file import SweepFile
from worldkv.files import write_bytes
from worldkv.geometry import DEFAULT_GEOMETRY, CacheGeometry
from worldkv.sim.machine import DEFAULT_MACHINE, Machine
from worldkv.specs.given import PolicyLike, as_policy, as_several, spec_of_given

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from worldkv.experiments.inputs import TrajectoryLike
    from worldkv.report.printer import Printer
    from worldkv.sim.sweep import SweepRow
    from worldkv.sim.sweep_plan import SweepPlan


@dataclass(frozen=True, repr=False, eq=False)
class SweepResult(Result):
    """Policies at every budget on every trajectory with every seed.

    Attributes:
        plan: trajectories, candidates and rows as they were planned.
        done: every row that has run, in the plan's order.
        geometry: the model's cache shape.
        machine: rates of the time model.
        told: what happened on the way: workers of a cluster that died.
    """

    plan: SweepPlan
    done: Sequence[SweepRow]
    geometry: CacheGeometry
    machine: Machine
    told: tuple[str, ...] = ()

    @property
    def has_failures(self) -> bool:
        """Whether a row ended in an error; its status says which."""
        return any(row["status"].startswith("failed") for row in self.done)

    @property
    def num_new(self) -> int:
        """Rows that ran now; the others were found in the file."""
        return len(self.plan.rows) - self.plan.num_done

    def to_dict(self) -> dict[str, Any]:
        """The rows under the columns of the file, and the notes."""
        return {"rows": [dict(row) for row in self.done], "notes": self._notes()}

    def write(self, out: Printer) -> None:
        """See `Result.write`."""
        from worldkv.report.sweep_tables import write_sweep

        write_sweep(out, self.plan, self.done, self._notes())

    def plot(self, file: str | os.PathLike[str] | None = None) -> Figure:
        """The figure of `worldkv sweep --plot`: recall against window tokens and against bytes moved.

        Args:
            file: where it is saved too; the suffix says png, svg or pdf.

        Raises:
            OutputError: it cannot be written.
        """
        from worldkv.plots.pareto import Point, draw_pareto
        from worldkv.plots.style import saved

        points = [Point.of(row["trajectory"], row) for row in self.done if row["status"] == "ok"]
        figure = draw_pareto(points, f"Recall by what it costs, on {self.geometry.name}")
        return saved(figure, file)

    def report(self, file: str | os.PathLike[str]) -> None:
        """Write one self-contained page for the browser: all rows, and recall against what it costs.

        Args:
            file: an `.html` file.

        Raises:
            OutputError: another suffix, or it cannot be written.
        """
        from worldkv.exports.page_file import sweep_page
        from worldkv.policy import is_oracle

        check_written(None, report=file)
        policies = {one.label: one.policy for one in self.plan.candidates}
        beside = [label for label, policy in policies.items() if is_oracle(policy) or not policy.is_bounded]
        write_bytes(os.fspath(file), sweep_page(self.to_dict(), self.geometry.name, beside))

    def _notes(self) -> list[str]:
        from worldkv.report.sweep_tables import sweep_notes

        told = Counter(self.told)
        times = (f" ({count} times)" if count > 1 else "" for count in told.values())
        said = [f"{sentence[0].upper()}{sentence[1:]}{often}." for sentence, often in zip(told, times, strict=True)]
        return [*said, *sweep_notes(self.plan, self.done, self.geometry, self.machine)]

    def __repr__(self) -> str:
        budgets, seeds = ({row[name] for row in self.done} for name in ("budget", "seed"))
        return (
            f"SweepResult of {len(self.plan.candidates)} policies at {len(budgets)} budgets on "
            f"{len(self.plan.paths)} trajectories with {len(seeds)} seeds: {len(self.done):,} rows"
        )


def sweep(
    trajectories: Sequence[TrajectoryLike] | TrajectoryLike,
    policies: Sequence[PolicyLike] | PolicyLike = SWEPT_POLICIES,
    *,
    budgets: str | int | Sequence[str | int] = SWEPT_BUDGETS,
    seeds: str | int | Sequence[int] = SWEPT_SEEDS,
    baselines: bool = True,
    out: str | os.PathLike[str] | None = None,
    jobs: int | None = None,
    on: str = LOCAL,
    geometry: GeometryLike = DEFAULT_GEOMETRY,
    machine: MachineLike = DEFAULT_MACHINE,
    view_distance: float | None = None,
    fps: float | None = None,
    format: str | None = None,
    progress: Progress = SILENT,
    on_note: Callable[[str], None] | None = None,
) -> SweepResult:
    """Run every policy at every budget on every trajectory with every seed, over all cores.

    Args:
        trajectories: one or several, each as `compare` takes them.
        policies: spec strings, or objects whose class other processes can import.
        budgets: window sizes, such as `"5%,7chunks,32760"`.
        seeds: of the landmarks, and of policies that draw and were given none: `"0-2"` or numbers.
        baselines: whether `random` and a window with a sink are added.
        out: a `.csv` or `.parquet` file that is whole at every moment; what it has already is not run again. None
            keeps the rows in memory alone.
        jobs: tasks at once; one a core where None, of this machine or of the cluster.
        on: `"local"`, or a cluster: `"ray://HOST:10001"`, `"dask:HOST:8786"`.
        geometry: the model's cache shape, a preset's name or an object.
        machine: the machine whose time is predicted.
        view_distance: how far the camera sees; by default from each trajectory.
        fps: resample to this rate.
        format: of the files; detected where None.
        progress: where progress is reported.
        on_note: called with a sentence when a worker of the cluster dies; the result's notes have it too.

    Raises:
        WorldKVError: anything a caller can mend, in one sentence.
        KeyboardInterrupt: stopped; `out` has what was done, and the exception's note says how much.
    """
    from worldkv.sim.budgets import parse_budgets
    from worldkv.sim.sweep_plan import plan_sweep

    check_place(on)
    sources = _several(trajectories)
    for source in sources:
        check_written(source, out=out)
    shape, rates = as_geometry(geometry), as_machine(machine)
    file = None if out is None else SweepFile(os.fspath(out))
    rows: dict[str, SweepRow] = {} if file is None else dict(file.rows)
    progress.begin("reading the paths")
    plan = plan_sweep(
        sources,
        [_spec(one) for one in as_several(policies)],
        parse_budgets(joined(budgets)),
        parse_seeds(joined(seeds)),
        rows,
        geometry=shape,
        machine=rates,
        baselines=baselines,
        format=format,
        fps=fps,
        view_distance=view_distance,
    )
    named = ("trajectory", "policy")  # labels depend on what else is in the sweep
    found = [rows[key] | {name: row[name] for name in named} for key, row in plan.rows.items() if key in rows]

    told: list[str] = []

    def tell(sentence: str) -> None:
        told.append(sentence)
        if on_note is not None:
            on_note(sentence)

    def keep(more: Sequence[SweepRow], *, is_last: bool = False) -> None:
        rows.update({row["key"]: row for row in more})
        if file is not None and is_last:
            file.save(more, plan.rows)
        elif file is not None:
            file.add(more, plan.rows)

    keep(found, is_last=True)
    progress.begin(f"sweeping {len(plan.rows) - plan.num_done} of {len(plan.rows)} rows", len(plan.tasks))
    try:
        with closing(_run(plan, on, jobs, tell)) as done:
            try:
                for place, more in enumerate(done):
                    keep(more)
                    progress.reached(place)
            finally:
                keep((), is_last=True)
    except KeyboardInterrupt as stop:
        if file is not None:
            there = sum(key in file.rows for key in plan.rows)
            stop.add_note(
                f"stopped; {file.name} has {there:,} of {len(plan.rows):,} rows, and the same command goes on "
                "from there"
            )
        raise
    return SweepResult(plan, [rows[key] for key in plan.rows], shape, rates, tuple(told))


def _run(plan: SweepPlan, on: str, jobs: int | None, tell: Callable[[str], None]) -> Generator[list[SweepRow]]:
    """The rows of the plan's tasks as they are done, here or on a cluster."""
    from worldkv.sim.pool import num_cores
    from worldkv.sim.sweep import run_tasks

    if on == LOCAL or not plan.tasks:
        yield from run_tasks(plan.tasks, jobs or num_cores())
        return
    from worldkv.experiments.cluster.connect import opened
    from worldkv.experiments.cluster.driver import run_on_cluster
    from worldkv.experiments.cluster.luggage import Luggage, travelling_files

    files = travelling_files((swept.typed, swept.candidate.policy) for swept in plan.swept)
    paths = {path.digest: path.chunked.trajectory for path in plan.paths}
    yield from run_on_cluster(
        plan.tasks, lambda digest: Luggage(paths[digest], files).packed(), opened(on), jobs=jobs, tell=tell
    )


def _several(trajectories: Any) -> list[Any]:
    """The trajectories; matrices `(frames, 4, 4)` are one, and so is a name. One that is cut already is cut anew."""
    from worldkv.trajectory import ChunkedTrajectory

    is_one = isinstance(trajectories, str | os.PathLike) or not isinstance(trajectories, Sequence)
    several = [trajectories] if is_one else list(trajectories)
    return [one.trajectory if isinstance(one, ChunkedTrajectory) else one for one in several]


def _spec(given: PolicyLike) -> str:
    """The spec string from which another process makes the same policy.

    Raises:
        SpecError: the policy's class cannot be imported elsewhere.
    """
    from worldkv.specs.parse import parse_policy

    if isinstance(given, str):
        return given
    spec = spec_of_given(given)
    if "__main__" in spec or parse_policy(spec) != as_policy(given):
        raise SpecError(
            f"a sweep runs in other processes, which cannot make {given!r} anew; put its class into a file and name it "
            "file.py:Class"
        )
    return spec
