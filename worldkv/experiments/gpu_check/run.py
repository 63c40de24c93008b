"""Run the checks one after the other within a budget of time: `gpu_check` and its result."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worldkv.errors import DeviceError, OutputError, SpecError
from worldkv.experiments.gpu_check.check import BAD, NO_TIME, NOT_HERE, Check, Outcome, Setting
from worldkv.experiments.gpu_check.checks import CHECKS, check_of
from worldkv.experiments.gpu_check.worker import run_apart
from worldkv.experiments.outputs import check_folder
from worldkv.experiments.require_torch import require_torch
from worldkv.experiments.result import DocumentResult
from worldkv.files import finite, write_atomically

if TYPE_CHECKING:
    from worldkv.report.printer import Printer

Start = Callable[[Check, Setting], Outcome]
"""Runs one check."""
BUDGET_MINUTES = 9.0
LEAST_SECONDS = 3.0
"""A check that has less is not begun: torch alone takes as long to load."""
NAME = "gpu-check"
"""Of the files, before `.json` and `.md`."""


@dataclass(frozen=True, repr=False, eq=False)
class GpuCheck(DocumentResult):
    """What the checks found, with what was expected and what to conclude."""

    @property
    def is_well(self) -> bool:
        """Whether every check that ran holds."""
        return all(row["status"] not in BAD for row in self.document["rows"])

    def write(self, out: Printer) -> None:
        """See `Result.write`."""
        from worldkv.report.gpu_check_page import write_gpu_check

        write_gpu_check(out, self.document)

    def __repr__(self) -> str:
        rows = self.document["rows"]
        held = sum(row["status"] == "holds" for row in rows)
        return f"GpuCheck on {self.document['device']}: {held} of {len(rows)} checks hold"


def gpu_check(
    device: str | None = None,
    *,
    budget_minutes: float = BUDGET_MINUTES,
    only: Sequence[str] = (),
    rehearsal: bool = False,
    out: str | os.PathLike[str] = NAME,
    tell: Callable[[str], None] = lambda line: None,
    start: Start = run_apart,
) -> GpuCheck:
    """Ask a device the questions of a first day, most important first, and write one JSON file and one page.

    Args:
        device: torch's name of it; its current accelerator where None.
        budget_minutes: what all checks may take together.
        only: names of the checks to run; all where empty.
        rehearsal: small sizes, and times are not judged; always so on a CPU.
        out: the folder for `gpu-check.json` and `gpu-check.md`, which are written anew after every check.
        tell: told a line before and after every check.
        start: runs one check; each in a process of its own by default.

    Raises:
        WorldKVError: the device is not there, a check's name is unknown, the folder cannot be written.
    """
    require_torch("gpu-check")
    if not budget_minutes > 0:
        raise SpecError(f"budget_minutes must be above 0, got {budget_minutes:g}; the checks are made for 9")
    checks = [check_of(name) for name in only] or list(CHECKS)
    check_folder("--out", os.fspath(out), "")
    device = device_of(device)
    rehearsal = rehearsal or device == "cpu"
    document = _head(device, rehearsal, budget_minutes, only)
    folder, began = Path(out), time.monotonic()
    for number, check in enumerate(checks, 1):
        left = 60 * budget_minutes - (time.monotonic() - began)
        where = f"[{number}/{len(checks)}] {check.name}"
        outcome = _without_running(check, device, left)
        if outcome is None:
            setting = Setting(device, rehearsal, min(check.seconds, left))
            tell(f"{where}: {check.question} (at most {setting.seconds:.0f} s, {left:.0f} s left)")
            outcome = start(check, setting)
        document["rows"].append(_row(check, outcome))
        document["seconds"] = time.monotonic() - began
        _write(folder, document)
        tell(f"{where}: {outcome.status} after {outcome.seconds:.0f} s" + f"; {outcome.why}" * bool(outcome.why))
    return GpuCheck(document)


def device_of(name: str | None) -> str:
    """The device that is checked, which is there.

    Raises:
        DeviceError: it is not.
    """
    import torch

    from worldkv.backends.transfer.open_device import device_ops

    if name is None:
        here = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        if here is None:
            raise DeviceError("torch sees no accelerator here; take --device cpu to rehearse the checks without one")
        name = here.type
    device_ops(name)
    return name


def _head(device: str, rehearsal: bool, minutes: float, only: Sequence[str]) -> dict[str, Any]:
    import torch

    from worldkv.backends.on_device import accelerator_name

    return {
        "device": device,
        "device_name": accelerator_name(device),
        "is_rehearsal": rehearsal,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "budget_minutes": minutes,
        "only": list(only),
        "seconds": 0.0,
        "rows": [],
    }


def _without_running(check: Check, device: str, left: float) -> Outcome | None:
    """Why a check is not begun; None where it is."""
    kind = device.partition(":")[0]
    if kind in check.not_on:
        return Outcome(NOT_HERE, check.not_on[kind])
    if left < LEAST_SECONDS:
        return Outcome(NO_TIME, f"the budget is spent; worldkv gpu-check --only {check.name}")
    return None


def _row(check: Check, outcome: Outcome) -> dict[str, Any]:
    return {
        "check": check.name,
        "question": check.question,
        "status": outcome.status,
        "why": outcome.why,
        "seconds": outcome.seconds,
        "most_seconds": check.seconds,
        "conclusion": check.conclusion,
        "figures": [figure._asdict() for figure in outcome.figures],
    }


def _write(folder: Path, document: dict[str, Any]) -> None:
    from worldkv.report.gpu_check_page import page

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made ({error.strerror}); name another folder with --out") from None
    text = json.dumps(finite(document), indent=2, allow_nan=False) + "\n"
    write_atomically(folder / f"{NAME}.json", text.encode())
    write_atomically(folder / f"{NAME}.md", page(document).encode())
