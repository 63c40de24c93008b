"""A model of real width over a path that comes back: bytes as simulated, memory as told."""

from __future__ import annotations

from collections.abc import Iterator

from worldkv.experiments.gpu_check.check import Figure, Setting
from worldkv.experiments.gpu_check.workload import LARGE, PATH, REHEARSED_PATH, SMALL

SPEC = "worldkv"
MOST_PEAK = 1.15
"""Of what cache and model are said to take."""
EDGES = ("device_to_host", "host_to_device", "host_to_disk", "disk_to_host")


def run(setting: Setting) -> Iterator[Figure]:
    """`worldkv run` in bfloat16, beside the simulator's counts of the same rollout."""
    from worldkv.experiments.memory import model_bytes
    from worldkv.experiments.real_run import run as real_run
    from worldkv.report.format import amount
    from worldkv.specs.parse import parse_geometry

    path, spec = (REHEARSED_PATH, SMALL) if setting.is_rehearsal else (PATH, LARGE)
    simulated = _simulated(path, f"{spec},itemsize=2")
    result = real_run(path, SPEC, geometry=spec, dtype="bfloat16", device=setting.device, recall=False)
    (row,) = result.rows
    found = {edge: row[f"bytes_{edge}"] for edge in EDGES}
    yield Figure(
        "bytes over every edge",
        ", ".join(f"{edge} {number:,}" for edge, number in simulated.items()),
        "the same" if found == simulated else ", ".join(f"{edge} {number:,}" for edge, number in found.items()),
        found == simulated,
        "Other chunks were moved than planned: run parity.",
    )
    yield Figure(
        "a step, median and slowest", "", f"{row['measured_step_ms_p50']:.1f} and {row['measured_step_ms_max']:.1f} ms"
    )
    parts = {name[9:-3]: row[name] for name in row if name.startswith("measured_") and name.endswith("_ms")}
    told = ", ".join(
        f"{name} {value:.1f}" for name, value in parts.items() if name != "mean" and not name.startswith("step")
    )
    yield Figure("of its mean", "", f"{told} ms")
    peak = row["device_bytes_allocator_peak"]
    if peak is None:
        return
    cache, model = sum(row["device_bytes_allocated"].values()), model_bytes(parse_geometry(f"{spec},itemsize=2"))
    yield Figure(
        "the allocator's peak over cache and model",
        f"at most {MOST_PEAK:g} times ({amount(cache)} and about {amount(model)})",
        f"{peak / (cache + model):.2f} times, {amount(peak)}",
        setting.judged(peak <= MOST_PEAK * (cache + model)),
        "Something holds memory that allocated_bytes does not tell: room checks let runs begin that do not fit.",
    )


def _simulated(path: str, spec: str) -> dict[str, int]:
    """The simulator's bytes over every edge."""
    from worldkv.sim import load_machine, simulate
    from worldkv.specs.parse import parse_geometry, parse_policy
    from worldkv.trajectory import cut, load_trajectory

    geometry = parse_geometry(spec)
    chunked = cut(load_trajectory(path), geometry)
    done = simulate(chunked, parse_policy(SPEC, geometry), geometry, load_machine("worldkv-project-page"))
    traffic = done.engine.backend.traffic()
    return {edge: getattr(traffic, edge) for edge in EDGES}
