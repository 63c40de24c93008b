"""Score policies on the benchmark's suite: `benchmark` and its result."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worldkv.errors import SpecError, WorldKVError
from worldkv.experiments.benchmark_cells import Cell, CellTask, decision_seconds, run_cells
from worldkv.experiments.benchmark_suite import COURSES, MACHINES, SEEDS, SUITE, TIMED, WINDOWS, Course
from worldkv.experiments.progress import SILENT, Progress
from worldkv.experiments.result import DocumentResult
from worldkv.specs.given import PolicyLike, as_several, name_of_given, spec_of_given

if TYPE_CHECKING:
    from worldkv.report.printer import Printer

FIGURES = (
    "recall",
    "share_of_oracle",
    "psnr_rooms",
    "psnr_trained",
    "moved_chunks",
    "cache_chunks",
    "recall_per_gb",
    *(f"fps_{machine}" for machine in MACHINES),
)
"""What is averaged over courses and seeds."""


class ScoreCards(DocumentResult):
    """Score cards of policies: a row a policy and window size, and every cell that they are made of."""

    def write(self, out: Printer) -> None:
        """See `Result.write`."""
        from worldkv.report.score_tables import write_scores

        write_scores(out, self.document)


def benchmark(
    policies: Sequence[PolicyLike] | PolicyLike = "worldkv",
    *,
    data: str | os.PathLike[str] | None = None,
    jobs: int | None = None,
    progress: Progress = SILENT,
) -> ScoreCards:
    """Score policies on the suite: fixed paths, three window sizes, five seeds.

    Every figure is a mean over courses, with the half width of its 95 % interval over the five seeds (Student's t).

    Args:
        policies: spec strings, policies or classes.
        data: the folder of recorded paths (`kitti`, `tartanair`, `tum`); courses that are missing are told.
        jobs: processes at once; by default one for each core.
        progress: where progress is reported.

    Raises:
        SpecError: a policy that cannot be made, or that cannot run on any course.
        WorldKVError: a process was killed.
    """
    from worldkv import __version__
    from worldkv.experiments.measurements import processor_name

    folder = None if data is None else Path(data)
    courses, missing = _courses(folder)
    given = as_several(policies)
    named = [(name_of_given(one), spec_of_given(one)) for one in given]
    tasks = [
        CellTask(spec, label, course, seed, folder)
        for label, spec in named
        for course in courses
        for seed in range(SEEDS)
    ]
    cells: dict[str, list[Cell]] = {spec: [] for _, spec in named}
    refused: dict[tuple[str, str], str] = {}
    progress.begin(f"suite {SUITE}: {len(named)} policies", len(tasks))
    for done, (task, found, why) in enumerate(_all_run(tasks, jobs), 1):
        cells[task.spec] += found
        if why is not None:
            refused[task.spec, task.course.name] = why
        progress.reached(done)
    progress.pause()
    rows: list[dict[str, Any]] = []
    for label, spec in named:
        if not cells[spec]:
            raise SpecError(
                f"{label} runs on no course: {next(why for (one, _), why in refused.items() if one == spec)}"
            )
        timed = next(course for course in courses if course.name == TIMED)
        seconds = decision_seconds(CellTask(spec, label, timed, 0, folder))
        rows += [
            {"policy": label, "given": spec, "decision_ms": None if seconds is None else seconds * 1e3} | row
            for row in score_rows(cells[spec])
        ]
    return ScoreCards(
        {
            "suite": SUITE,
            "version": __version__,
            "machine": processor_name(),
            "seeds": SEEDS,
            "courses": [course.name for course in courses],
            "courses_missing": missing,
            "rows": rows,
            "refused": [
                {"given": spec, "course": course, "why": why} for (spec, course), why in sorted(refused.items())
            ],
            "cells": [{"given": spec} | cell for spec in cells for cell in sorted(cells[spec], key=_place)],
        }
    )


def score_rows(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """One row a window size: the mean of every figure over courses, and its interval over seeds.

    A figure is averaged over courses seed by seed, since courses differ by design; the interval is of these means.
    """
    rows: list[dict[str, Any]] = []
    for chunks in (*WINDOWS, None):
        own = [cell for cell in cells if cell["window_chunks"] == chunks]
        if not own:
            continue
        row: dict[str, Any] = {"window_chunks": chunks, "courses": len({cell["course"] for cell in own})}
        for name in FIGURES:
            row[name], row[f"{name}_pm"] = mean_and_half_width(list(_by_seed(own, name)))
        rows.append(row)
    return rows


def mean_and_half_width(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean, and half the width of its 95 % interval by Student's t; None without values, or of one alone."""
    if not values:
        return None, None
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return mean, None
    from scipy.special import stdtrit

    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
    return mean, float(stdtrit(len(values) - 1, 0.975)) * deviation / math.sqrt(len(values))


def _by_seed(cells: Sequence[Cell], name: str) -> Iterator[float]:
    for seed in sorted({cell["seed"] for cell in cells}):
        values = [cell[name] for cell in cells if cell["seed"] == seed and cell.get(name) is not None]
        if values:
            yield math.fsum(values) / len(values)


def _courses(folder: Path | None) -> tuple[list[Course], list[dict[str, str]]]:
    """Courses that can run here, and why the others cannot."""
    from importlib.util import find_spec

    found: list[Course] = []
    missing: list[dict[str, str]] = []
    for course in COURSES:
        why = None
        if course.is_recorded and (folder is None or not (folder / course.source).is_file()):
            why = f"no {course.source} in the folder of recorded paths; name it with --data"
        elif course.world is not None and find_spec("torch") is None:
            why = "needs torch: pip install 'worldkv[torch]'"
        if why is None:
            found.append(course)
        else:
            missing.append({"course": course.name, "why": why})
    return found, missing


def _all_run(tasks: Sequence[CellTask], jobs: int | None) -> Iterator[tuple[CellTask, list[Cell], str | None]]:
    """Every task with its cells, as they are done; of one that is refused none, and why."""
    from worldkv.sim.pool import num_cores, unordered

    # Long tasks first: what is left at the end is short, and no core waits for one long task.
    tasks = sorted(tasks, key=lambda task: task.course.world is None)
    killed = "a process of the benchmark was killed, as when memory runs out; give the same command with fewer --jobs"
    return unordered(_one, tasks, jobs or num_cores(), killed)


def _one(task: CellTask) -> tuple[CellTask, list[Cell], str | None]:
    if task.course.world is not None:
        import torch

        torch.set_num_threads(1)  # one process a core
    try:
        return task, run_cells(task), None
    except WorldKVError as error:
        return task, [], str(error)


def _place(cell: Cell) -> tuple[str, int, int]:
    return cell["course"], cell["window_chunks"] or 0, cell["seed"]
