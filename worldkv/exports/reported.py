"""What the files of this room are made from: rows along one trajectory, their document, measured times and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worldkv.sim.compare import ComparisonSetup, Row
    from worldkv.trajectory.loaded import LoadedPath
    from worldkv.worlds import Fidelity, PaintedWorld
    from worldkv.worlds.paint import Colours


@dataclass(frozen=True, eq=False)
class ReportedWorld:
    """A world that the rows were generated in.

    Attributes:
        world: along the trajectory.
        pictures: of every row `(frames, rows, columns, 3)`, unlit.
        fidelity: their PSNR and SSIM, step by step, of every row.
    """

    world: PaintedWorld
    pictures: Sequence[Colours]
    fidelity: Sequence[Fidelity]


@dataclass(frozen=True, eq=False)
class Reported:
    """Rows along one trajectory, for a viewer.

    Attributes:
        document: what `--json` writes: `rows` in the order of `rows`, `trajectory`, `geometry`, `machine`, `notes`.
        path: the true trajectory.
        setup: what the rows share.
        rows: one a policy, or a policy and budget.
        world: their pictures; None where nothing is generated that can be looked at.
        measured: measured seconds of every step, by part, of every row; `step` is all of it. Empty where nothing was
            measured.
    """

    document: Mapping[str, Any]
    path: LoadedPath
    setup: ComparisonSetup
    rows: Sequence[Row]
    world: ReportedWorld | None = None
    measured: Sequence[Mapping[str, Sequence[float]]] = ()

    @property
    def names(self) -> list[str]:
        """A name for each row, with its budget where rows have one."""
        return [
            row.candidate.label if row.budget is None else f"{row.candidate.label} at {row.budget.word}"
            for row in self.rows
        ]
