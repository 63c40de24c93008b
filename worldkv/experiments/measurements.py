"""Times and memory measured in a real run, and the JSON document of `worldkv run --json`."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from worldkv.metrics.resumable import Resumable
from worldkv.stopwatch import PARTS

if TYPE_CHECKING:
    from worldkv.backends.cache import WorldCache
    from worldkv.sim import ComparisonSetup
    from worldkv.sim.clock import StepTime
    from worldkv.sim.compare import Row
    from worldkv.sim.machine import Machine
    from worldkv.trajectory.loaded import LoadedPath


@dataclass
class Measurements(Resumable):
    """Times and memory measured in a real run.

    Attributes:
        seconds: seconds of every step.
        parts: of these, seconds of every part of `PARTS`, and of the model.
        predicted: predicted time of every step.
        facts: memory and machine, once the run is over.
    """

    seconds: list[float] = field(default_factory=list)
    parts: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in (*PARTS, "model")})
    predicted: list[StepTime] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    changing: ClassVar[tuple[str, ...]] = ("seconds", "parts", "predicted")

    def take_in(self, progress: dict[str, Any]) -> None:
        """See `Resumable.take_in`."""
        from worldkv.sim.clock import StepTime

        super().take_in(progress)
        self.predicted = [StepTime(*spent) for spent in self.predicted]

    def note(self, seconds: float, parts: dict[str, float], predicted: StepTime) -> None:
        """Record a finished step."""
        self.seconds.append(seconds)
        for name in PARTS:
            self.parts[name].append(parts.get(name, 0.0))
        self.parts["model"].append(seconds - sum(parts.values()))
        self.predicted.append(predicted)

    @property
    def by_part(self) -> dict[str, list[float]]:
        """Seconds of every step: of all of it, as `step`, and of each part."""
        return {"step": self.seconds, **self.parts}

    def last_step(self) -> dict[str, float]:
        """The last step's measured milliseconds, for the log."""
        parts = {f"measured_{_key(name)}_ms": rows[-1] * 1e3 for name, rows in self.parts.items()}
        return {"measured_ms": self.seconds[-1] * 1e3, "predicted_ms": self.predicted[-1].seconds * 1e3, **parts}

    def close(self, cache: WorldCache) -> None:
        """Record memory and machine at the end of the run, while its cache is open."""
        from worldkv.backends.on_device import accelerator_name, peak_bytes

        device = str(cache.backend.ops.device)
        allocated = cache.allocated_bytes
        remembered = {
            f"{tier}_bytes_remembered": allocated.pop(f"remembered_{tier}") for tier in ("spare", "host", "disk")
        }
        self.facts = {
            "device": accelerator_name(device) or processor_name(),
            "this_machine": this_machine(device),
            "dtype": str(cache.dtype).removeprefix("torch."),
            "host_bytes_pinned": allocated.pop("pinned"),
            "device_bytes_allocated": allocated,
            **remembered,
            "device_bytes_allocator_peak": peak_bytes(device),
            "resident_bytes_peak": resident_peak(),
        }


def run_document(
    path: LoadedPath, setup: ComparisonSetup, row: Row, measured: Measurements, passes: int
) -> dict[str, Any]:
    """Make the document of a real run with `passes` denoise passes: the keys of `compare`, and the measured ones."""
    from worldkv.report.document import comparison_document
    from worldkv.sim.compare import ComparedRows

    document = comparison_document(ComparedRows(setup, [row]), path.summary)
    notes, facts = document.pop("notes"), dict(measured.facts)
    document["this_machine"] = facts.pop("this_machine")
    frames = setup.geometry.video_frames_per_chunk
    document["rows"][0] |= {
        **measured_keys(measured, frames, setup.machine),
        **facts,
        "denoise_passes": passes,
    }
    document["notes"] = notes
    return document


def measured_keys(measured: Measurements, frames: int, machine: Machine) -> dict[str, Any]:
    """Measured times of a run that generated `frames` video frames a step, and those `machine` predicts."""
    seconds = np.array(measured.seconds)
    predicted = np.array([spent.seconds for spent in measured.predicted])
    milliseconds = seconds * 1e3
    means = {f"measured_{_key(name)}_ms": _mean_ms(rows) for name, rows in measured.parts.items()}
    stall = np.array([spent.stall_seconds for spent in measured.predicted])
    attention = np.array([spent.attention_seconds for spent in measured.predicted])
    return {
        "measured_seconds": float(seconds.sum()),
        "measured_step_ms_p50": float(np.percentile(milliseconds, 50)),
        "measured_step_ms_p95": float(np.percentile(milliseconds, 95)),
        "measured_step_ms_max": float(milliseconds.max()),
        "measured_fps_first": frames / float(seconds[0]),
        "measured_fps_last": frames / float(seconds[-1]),
        "measured_fps_mean": frames * len(seconds) / float(seconds.sum()),
        "measured_mean_ms": float(milliseconds.mean()),
        **means,
        "predicted_mean_ms": float(predicted.mean() * 1e3),
        "predicted_attention_ms": float(attention.mean() * 1e3),
        "predicted_model_ms": machine.fixed_seconds * 1e3,
        "predicted_upkeep_ms": float((stall.mean() + machine.other_seconds) * 1e3),
        "predicted_over_measured": float(np.median(predicted / seconds)),
    }


def _key(name: str) -> str:
    return name.replace(" ", "_")


def _mean_ms(rows: list[float]) -> float:
    values: NDArray[np.float64] = np.array(rows)
    return float(values.mean() * 1e3)


def this_machine(device: str) -> str:
    """The name under which `worldkv calibrate` files this machine: accelerator, or processor and the threads used."""
    import torch

    from worldkv.backends.on_device import accelerator_name

    return accelerator_name(device) or f"{processor_name()}, {torch.get_num_threads()} threads"


def processor_name() -> str:
    """The processor's own name where the system tells it, its kind elsewhere."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            named = next(line for line in lines if line.startswith("model name"))
        return " ".join(named.partition(":")[2].split())
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def resident_peak() -> int | None:
    """Most bytes of memory this process has had, torch and Python included; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
