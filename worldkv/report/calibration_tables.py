"""Tables of `worldkv calibrate`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from worldkv.report.printer import Printer, new_table

if TYPE_CHECKING:
    from worldkv.sim.machine import Machine


def write_calibration(
    out: Printer, machine: Machine, fit_errors: Mapping[str, list[float]], ratio: float, file: str | None
) -> None:
    """Write the rates of a fitted machine, how well they fit, and how to use its file."""
    out.line(f"{machine.name}, {machine.fitted_geometry}\n")
    table = new_table(("", "at nothing", "rate", "fit within"), left=(0,))
    rate = f"{machine.attention_flops_per_second / 1e9:,.1f} GFLOP/s"
    table.add_row("model and attention", f"{machine.fixed_seconds * 1e3:.2f} ms", rate, _within(fit_errors["a step"]))
    table.add_row("cache, nothing moved", f"{machine.other_seconds * 1e3:.3f} ms", "", "")
    edges = ("device_to_host", "host_to_device", "host_to_disk", "disk_to_host")
    spare = ("device_to_spare", "spare_to_device", "spare_to_host")
    for name in (*edges, *spare, "storing", "landing"):
        edge = getattr(machine, name)
        if edge is None:  # no other device was named
            continue
        words = name.replace("_", " ")
        errors = fit_errors.get(words, fit_errors["upkeep"])
        speed = f"{edge.bytes_per_second / 1e9:,.2f} GB/s" if edge.bytes_per_second < 1e15 else "no matter"
        table.add_row(words, f"{edge.latency_seconds * 1e3:.3f} ms", speed, _within(errors))
    out.table(table)
    out.line(f"\nOn a path left out of the fit it predicts {ratio:.2f} x what was measured (median of steps).")
    if file is not None:
        out.line(f"Written: {file}; worldkv run TRAJECTORY --machine {file} predicts with it")


def _within(errors: list[float]) -> str:
    """The median and the worst relative error."""
    sizes = sorted(map(abs, errors))
    return f"{sizes[len(sizes) // 2]:.0%}, worst {sizes[-1]:.0%}" if sizes else "-"
