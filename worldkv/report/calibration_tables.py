"""Tables of `worldkv calibrate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worldkv.experiments.machine_fit import Fit


def print_calibration(fit: Fit, ratio: float, output: str) -> None:
    from worldkv.report.tables import console, new_table, print_table

    out, machine = console(), fit.machine
    out.print(f"{machine.name}, {machine.fitted_geometry}\n", soft_wrap=not out.is_terminal)
    table = new_table(("", "at nothing", "rate", "fit within"), left=(0,))
    rate = f"{machine.attention_flops_per_second / 1e9:,.1f} GFLOP/s"
    table.add_row("model and attention", f"{machine.fixed_seconds * 1e3:.2f} ms", rate, _within(fit.errors["a step"]))
    table.add_row("cache, nothing moved", f"{machine.other_seconds * 1e3:.3f} ms", "", "")
    for name in ("device_to_host", "host_to_device", "host_to_disk", "disk_to_host", "storing", "landing"):
        edge = getattr(machine, name)
        words = name.replace("_", " ")
        errors = fit.errors.get(words, fit.errors["upkeep"])
        speed = f"{edge.bytes_per_second / 1e9:,.2f} GB/s" if edge.bytes_per_second < 1e15 else "no matter"
        table.add_row(words, f"{edge.latency_seconds * 1e3:.3f} ms", speed, _within(errors))
    print_table(out, table)
    print(f"\nOn a path left out of the fit it predicts {ratio:.2f} x what was measured (median of steps).")
    print(f"Written: {output}; worldkv run TRAJECTORY --machine {output} predicts with it")


def _within(errors: list[float]) -> str:
    """The middle and the worst relative error."""
    sizes = sorted(map(abs, errors))
    return f"{sizes[len(sizes) // 2]:.0%}, worst {sizes[-1]:.0%}" if sizes else "-"
