"""Compare policies along one trajectory: `compare` and its result."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, get_args

from worldkv.errors import SpecError, check_choice
from worldkv.experiments.compared_policies import default_policies, with_baselines
from worldkv.experiments.defaults import Match
from worldkv.experiments.inputs import GeometryLike, MachineLike, as_geometry, as_limits, as_machine, as_path, joined
from worldkv.experiments.outputs import check_written
from worldkv.experiments.plan_file import Executor, PlanFile
from worldkv.experiments.progress import SILENT, Progress
from worldkv.experiments.result import Result
from worldkv.experiments.setup import make_setup
from worldkv.experiments.step_logger import StepLogger
from worldkv.experiments.worlds import check_world, world_geometry
from worldkv.files import finite, text_file, write_bytes
from worldkv.geometry import DEFAULT_GEOMETRY
from worldkv.sim.machine import DEFAULT_MACHINE
from worldkv.specs.given import PolicyLike, as_several
from worldkv.specs.sizes import parse_size
from worldkv.tiers import WhenFull

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from worldkv.experiments.inputs import TrajectoryLike
    from worldkv.experiments.worlds import Painters
    from worldkv.exports.reported import Reported
    from worldkv.plots.filmstrip import PolicyPictures
    from worldkv.report.printer import Printer
    from worldkv.sim.compare import ComparedRows
    from worldkv.sim.rollout import RolloutRecord
    from worldkv.trajectory.loaded import LoadedPath


@dataclass(frozen=True, repr=False, eq=False)
class Comparison(Result):
    """Policies side by side along one trajectory.

    Attributes:
        path: the true trajectory, cut into chunks, and its summary.
        compared: the rows as objects: candidates, rollouts, shares of the oracle's recall.
        painters: the rollouts in a painted world, with their pictures; None where rows were simulated.
    """

    path: LoadedPath
    compared: ComparedRows
    painters: Painters | None = None

    @cached_property
    def _document(self) -> dict[str, Any]:
        from worldkv.report.document import comparison_document

        document = comparison_document(self.compared, self.path.summary)
        if self.painters is not None:
            from worldkv.experiments.world_document import add_world

            add_world(document, self.compared, self.painters)
        return document

    @property
    def notes(self) -> list[str]:
        """Notes on the table, one sentence each."""
        return list(self._document["notes"])

    @property
    def rollouts(self) -> dict[str, RolloutRecord]:
        """Each row's rollout, step by step, by its label; the last of a label where rows are sized to budgets."""
        return {row.candidate.label: row.rollout for row in self.compared.rows}

    def to_dict(self) -> dict[str, Any]:
        """The document of `worldkv compare --json`."""
        document: dict[str, Any] = finite(self._document)
        return document

    def write(self, out: Printer) -> None:
        """See `Result.write`."""
        if self.painters is None:
            from worldkv.report.comparison_tables import write_comparison

            write_comparison(out, self._document)
        else:
            from worldkv.report.world_tables import write_painted

            write_painted(out, self._document)

    def plot(self, file: str | os.PathLike[str] | None = None) -> Figure:
        """The figure of `worldkv compare --plot`.

        Args:
            file: where it is saved too; the suffix says png, svg or pdf.

        Raises:
            OutputError: it cannot be written.
        """
        from worldkv.plots.style import saved

        if self.compared.budgets:
            from worldkv.plots.pareto import Point, draw_pareto

            path, geometry = self._document["trajectory"], self._document["geometry"]
            points = [Point.of(path["name"], row) for row in self.rows]
            figure = draw_pareto(points, f"{path['chunks']:,} chunks on {geometry['name']}")
        else:
            from worldkv.plots.comparison import draw_comparison

            figure = draw_comparison(self.path, self.compared)
        return saved(figure, file)

    def report(self, file: str | os.PathLike[str]) -> None:
        """Write one self-contained page for the browser, step by step (docs/report.md).

        Args:
            file: an `.html` file.

        Raises:
            OutputError: another suffix, or it cannot be written.
        """
        from worldkv.exports.page_file import rows_page

        check_written(None, report=file)
        write_bytes(os.fspath(file), rows_page(self.reported))

    def rerun(self, file: str | os.PathLike[str]) -> None:
        """Write a recording for the Rerun viewer; needs `worldkv[rerun]` (docs/report.md).

        Args:
            file: an `.rrd` file.

        Raises:
            OutputError: another suffix, it cannot be written, or the Rerun SDK is not installed.
        """
        from worldkv.exports.rerun_recording import recording

        check_written(None, rerun=file)
        write_bytes(os.fspath(file), recording(self.reported))

    @cached_property
    def reported(self) -> Reported:
        """The rows as the files for other viewers take them."""
        from worldkv.exports.reported import Reported, ReportedWorld

        rows = self.compared.rows
        if self.painters is None:
            return Reported(self._document, self.path, self.compared.setup, rows)
        painted = [self.painters.of(row.rollout) for row in rows]
        pictures, fidelity = [one.pictures for one in painted], [one.fidelity for one in painted]
        world = ReportedWorld(self.painters.world, pictures, fidelity)
        measured = [one.measured.by_part for one in painted]
        return Reported(self._document, self.path, self.compared.setup, rows, world, measured)

    def filmstrip(self, file: str | os.PathLike[str] | None = None) -> Figure:
        """Draw views of a painted world that come back, as every policy shows them.

        Raises:
            SpecError: the rows were simulated; there are no pictures.
            OutputError: it cannot be written.
        """
        from worldkv.plots.filmstrip import draw_filmstrip
        from worldkv.plots.style import saved

        painters, films = self._films()
        figure = draw_filmstrip(painters.world, films)
        return saved(figure, file)

    def film(self, file: str | os.PathLike[str]) -> None:
        """Write all rollouts of a painted world side by side as an animated GIF.

        Raises:
            SpecError, OutputError: see `filmstrip`.
        """
        from worldkv.plots.filmstrip import write_film

        painters, films = self._films()
        write_film(os.fspath(file), self.path, painters.world, films)

    def _films(self) -> tuple[Painters, list[PolicyPictures]]:
        from worldkv.plots.filmstrip import PolicyPictures

        if self.painters is None:
            raise SpecError("there are pictures of a painted world only; compare with world='rooms'")
        rows = [(row.candidate.label, self.painters.of(row.rollout)) for row in self.compared.rows]
        return self.painters, [PolicyPictures(label, painted.pictures, painted.fidelity) for label, painted in rows]

    def __repr__(self) -> str:
        policies = list(dict.fromkeys(row.candidate.label for row in self.compared.rows))
        path, setup = self.path, self.compared.setup
        return (
            f"Comparison of {', '.join(policies)} on {path.summary.name}, {path.chunked.num_chunks:,} chunks, "
            f"{setup.geometry.name}"
        )


def compare(
    trajectory: TrajectoryLike,
    policies: Sequence[PolicyLike] | PolicyLike | None = None,
    *,
    geometry: GeometryLike | None = None,
    machine: MachineLike = DEFAULT_MACHINE,
    budgets: str | int | Sequence[str | int] | None = None,
    match: Match = "window-tokens",
    baselines: bool = True,
    recall: bool = True,
    seed: int = 0,
    chunks: int | None = None,
    view_distance: float | None = None,
    pose_noise: float = 0.0,
    fps: float | None = None,
    format: str | None = None,
    device_budget: str | int | None = None,
    spare_budget: str | int | None = None,
    spare_device: str | None = None,
    host_budget: str | int | None = None,
    disk_budget: str | int | None = None,
    when_full: WhenFull = "error",
    world: str | None = None,
    device: str = "cpu",
    log: str | os.PathLike[str] | None = None,
    plan: str | os.PathLike[str] | None = None,
    progress: Progress = SILENT,
) -> Comparison:
    """Run policies side by side along one trajectory: what each keeps, moves, forgets and would cost.

    Args:
        trajectory: a file or folder of poses, `script:...`, `generate:...`, camera-to-world matrices
            `(frames, 4, 4)`, or a trajectory made before.
        policies: spec strings, policies or classes; by default full KV, a window, WorldKV, random and the oracle.
        geometry: the model's cache shape, a preset's name or an object; by default LingBot-World's, or the world's.
        machine: the machine whose time is predicted: a name, a file or an object.
        budgets: window sizes that every policy runs at, such as `"5%,10%,7chunks"`; None matches sizes to one another.
        match: `"window-tokens"` resizes policies to the first of fixed size; `"none"` leaves sizes alone.
        baselines: whether `random` and a window with a sink are added to rows of one size.
        recall: whether landmarks are placed and recall, precision and the oracle measured.
        seed: of landmarks and pose noise.
        chunks: only the first so many chunks.
        view_distance: how far the camera sees, in the trajectory's unit; by default from the trajectory.
        pose_noise: drift of the poses that policies see, as a share of every motion.
        fps: resample to this rate.
        format: a file's format; detected where None.
        device_budget: device memory for keys and values; a row over it is flagged and goes on.
        spare_budget: device memory for the bank, outside the window and filled before the host; the rest spills there.
        spare_device: the device it is on; that of the window where None.
        host_budget: host memory for the bank; the rest spills to disk.
        disk_budget: disk for the bank.
        when_full: what happens when no tier of the bank has room.
        world: run real attention in a world, see `worldkv.experiments.worlds.WORLDS`; needs torch.
        device: where that attention runs.
        log: a file for one JSON object a step and row.
        plan: a file for the step plans of every row, for engines that page their own cache (docs/step-plans.md).
        progress: where progress is reported.

    Raises:
        WorldKVError: anything a caller can mend, in one sentence.
    """
    from worldkv.config import CacheConfig
    from worldkv.sim.at_budgets import compare_at_budgets
    from worldkv.sim.budgets import parse_budgets
    from worldkv.sim.candidate import parse_candidates
    from worldkv.sim.compare import compare_candidates, simulated
    from worldkv.sim.replay import check_can_simulate
    from worldkv.trajectory.noise import with_pose_noise

    typed = None if budgets is None else joined(budgets)
    check_options(match, typed, world, device)
    check_written(trajectory, log=log, plan=plan)
    window_budget = parse_size(device_budget, "--device-budget")
    config = CacheConfig(
        window_budget, "flag", as_limits(host_budget, disk_budget, when_full, spare_budget, spare_device)
    )
    by_default = DEFAULT_GEOMETRY if world is None else world_geometry(world)
    shape = as_geometry(by_default if geometry is None else geometry)
    rates = as_machine(machine)
    sizes = () if typed is None else parse_budgets(typed)
    given = default_policies(world, recall, baselines) if policies is None else as_several(policies)
    if baselines:
        given = with_baselines(given, shape, at_budgets=bool(sizes), is_matched=match == "window-tokens")
    candidates = parse_candidates(given, shape, config, recall=recall, on_tensors=world is not None)
    with ExitStack() as files:
        path = as_path(
            trajectory, shape, format=format, fps=fps, view_distance=view_distance, chunks=chunks, progress=progress
        )
        painters, execute = None, simulated
        if world is not None:
            progress.begin(f"building {world}")
            path, painters = _enter(world, path, view_distance=view_distance, seed=seed, device=device)
            execute = painters.carry_out
        noisy = with_pose_noise(path.chunked, pose_noise, seed=seed)
        if painters is None:
            for candidate in candidates:
                check_can_simulate(candidate.policy, noisy, shape, has_landmarks=recall)
        setup = make_setup(
            path, rates, config, recall=recall, seed=seed, shown=noisy, pose_noise=pose_noise, progress=progress
        )
        stream = None if log is None else files.enter_context(text_file(os.fspath(log)))
        plans = None
        if plan is not None:
            executor: Executor = "simulator" if painters is None else "torch"
            plans = PlanFile(files.enter_context(text_file(os.fspath(plan))), path.chunked, executor)
        logger = StepLogger(progress, shape, path.chunked.num_chunks, stream, plans)
        if sizes:
            compared = compare_at_budgets(setup, candidates, sizes, on_step=logger.watch_at, execute=execute)
            if not compared.rows:
                raise SpecError(f"no policy can be made as small as {typed}; name larger budgets")
        else:
            compared = compare_candidates(
                setup,
                candidates,
                match_window_tokens=match == "window-tokens",
                on_step=logger.watch,
                execute=execute,
            )
    compared.retrieved = logger.retrieved
    return Comparison(path, compared, painters)


def check_options(match: str, budgets: str | None, world: str | None, device: str) -> None:
    """Refuse options that contradict one another, before anything is read.

    Raises:
        SpecError: they do.
        DeviceError: torch is missing.
    """
    check_choice("match", match, get_args(Match))
    if budgets is not None and match == "none":
        raise SpecError("--budgets sizes every policy and --match none leaves sizes alone; leave one of them out")
    if world is not None:
        check_world(world, "compare --world")
    elif device != "cpu":
        raise SpecError("--device belongs to a painted world; add --world rooms")


def _enter(
    world: str, path: LoadedPath, *, view_distance: float | None, seed: int, device: str
) -> tuple[LoadedPath, Painters]:
    from worldkv.experiments.worlds import Painters, enter

    inside, built = enter(world, path, view_distance=view_distance, seed=seed)
    return inside, Painters(world, built, device, seed)
