"""Measure this machine and fit a machine file to it: `calibrate` and its result."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worldkv.experiments.defaults import CALIBRATED_CHUNKS
from worldkv.experiments.outputs import check_written
from worldkv.experiments.progress import SILENT, Progress
from worldkv.experiments.require_torch import require_torch
from worldkv.experiments.result import Result
from worldkv.experiments.run_request import NumberType, itemsize_of
from worldkv.files import write_bytes

if TYPE_CHECKING:
    from worldkv.backends.cache import WorldCache
    from worldkv.backends.rollout import TimedStep
    from worldkv.experiments.inputs import GeometryLike
    from worldkv.experiments.machine_fit import Fit
    from worldkv.geometry import CacheGeometry
    from worldkv.report.printer import Printer
    from worldkv.sim.machine import Machine

ROLLOUTS = {
    "full-kv": "full-kv",
    "sliding-window": "sliding-window",
    "worldkv": "worldkv",
    "worldkv, larger": "worldkv:keep_ratio=0.8,retrieved_chunks=8",
    "random": "random:retrieved_chunks=4",
}
"""Policies whose steps are timed side by side: two that move nothing, three that store and fetch more or less.

Only one of them grows without end: another large window would drive the others' out of the processor's cache."""

HELD_OUT = {"worldkv, elsewhere": "worldkv", "sliding-window, elsewhere": "sliding-window"}
"""Policies timed beside them on another path, on which the fit is tried."""

PATH = "generate:loop:chunks={chunks},laps=4"
OTHER_PATH = "generate:tour:rooms=4,seed=1,chunks={chunks}"
_PATIENCE_SECONDS = 120.0
_COPY_REPEATS = 15


@dataclass(frozen=True, repr=False, eq=False)
class Calibration(Result):
    """A machine fitted to measurements of this one.

    Attributes:
        fit: the machine, and the errors of the fit.
        ratio: predicted over measured time on a trajectory left out of the fit.
        file: the machine file that was written; None for none.
    """

    fit: Fit
    ratio: float
    file: str | None = None

    @property
    def machine(self) -> Machine:
        """The machine, as `simulate` and `compare` take it."""
        return self.fit.machine

    def to_dict(self) -> dict[str, Any]:
        """The machine's rates as one row, the errors of the fit, and the ratio."""
        return {
            "rows": [dataclasses.asdict(self.fit.machine)],
            "errors": {name: list(errors) for name, errors in self.fit.errors.items()},
            "predicted_over_measured": self.ratio,
        }

    def write(self, out: Printer) -> None:
        """See `Result.write`."""
        from worldkv.report.calibration_tables import write_calibration

        write_calibration(out, self.fit.machine, self.fit.errors, self.ratio, self.file)

    def __repr__(self) -> str:
        return f"Calibration of {self.machine.name}: predicts {self.ratio:.2f} x what was measured"


def calibrate(
    geometry: GeometryLike = "tiny",
    *,
    device: str = "cpu",
    dtype: NumberType = "auto",
    passes: int = 4,
    chunks: int = CALIBRATED_CHUNKS,
    spare_device: str | None = None,
    output: str | os.PathLike[str] | None = None,
    spill_folder: str | os.PathLike[str] | None = None,
    progress: Progress = SILENT,
) -> Calibration:
    """Time steps and copies, and fit a machine to them.

    Args:
        geometry: the model's cache shape.
        device: where the model runs.
        dtype: type of weights and cached numbers.
        passes: denoise passes a chunk, before the clean one.
        chunks: chunks of the trajectory measured on; fewer where memory is short.
        spare_device: another device whose memory may hold the bank: copies to and from it are timed too.
        output: a machine file to write, which `machine=` takes.
        spill_folder: a folder on the disk to time; a temporary folder where None.
        progress: where progress is reported.

    Raises:
        WorldKVError: anything a caller can mend, in one sentence.
    """
    require_torch("calibrate")
    check_written("", output=output)
    from worldkv.sim.machine import machine_text

    fit, ratio = measure(geometry, device, dtype, passes, chunks, spill_folder, progress, spare_device)
    if output is not None:
        write_bytes(os.fspath(output), machine_text(fit.machine).encode())
    return Calibration(fit, ratio, None if output is None else os.fspath(output))


def measure(
    given: GeometryLike,
    device: str,
    dtype: NumberType,
    passes: int,
    chunks: int,
    spill_folder: str | os.PathLike[str] | None,
    progress: Progress,
    spare_device: str | None = None,
) -> tuple[Fit, float]:
    """Measure and fit; the fit, and predicted over measured time on a trajectory left out of it.

    Raises:
        WorldKVError: anything the user can mend.
    """
    from worldkv.backends.bank.disk import DiskStore
    from worldkv.backends.calibrate import sample_copies, sample_files, sample_steps
    from worldkv.backends.transfer.incoming import num_pieces
    from worldkv.backends.transfer.open_device import device_ops
    from worldkv.experiments.machine_fit import fit_machine, predicted_over_measured
    from worldkv.experiments.measurements import this_machine
    from worldkv.experiments.prepared_run import sized_geometry

    ops = device_ops(device)
    geometry = sized_geometry(given, dtype)
    folder = None if spill_folder is None else os.fspath(spill_folder)
    chunks = _affordable(geometry, device, chunks, folder)
    sizes = copy_sizes(geometry)
    progress.begin("timing copies")
    spare_ops = None if spare_device is None else ops.peer(spare_device)
    copies = sample_copies(ops, sizes, _COPY_REPEATS, spare_ops)
    store = DiskStore(None if folder is None else Path(folder))
    try:
        progress.begin("timing the disk")
        copies += sample_files(store, sizes, _COPY_REPEATS)
    finally:
        store.close()
    progress.begin("drawing weights")
    with _Rollouts(geometry, device, dtype, passes, chunks) as rollouts:
        progress.begin("timing steps", chunks)
        steps = sample_steps(rollouts.started, _PATIENCE_SECONDS, progress.reached)
    num_rounds = max(sum(step.rollout == name for step in steps) for name in ROLLOUTS)
    source = (
        f"Measured by worldkv calibrate on {this_machine(device)}: {num_rounds} chunks of {len(ROLLOUTS)} rollouts "
        f"in {dtype if itemsize_of(dtype) else 'the default type'}, {passes} denoise passes; files as just written."
    )
    # The first steps pay for memory that is touched for the first time.
    settled = steps[2 * len(ROLLOUTS | HELD_OUT) :]
    used = [step for step in settled if step.rollout in ROLLOUTS]
    pieces = num_pieces(ops, geometry.layers, geometry.chunk_bytes // 2)
    fit = fit_machine(this_machine(device), source, geometry, passes, used, copies, pieces)
    left_out = [step for step in settled if step.rollout in HELD_OUT]
    return fit, predicted_over_measured(fit.machine, geometry, left_out)


def copy_sizes(geometry: CacheGeometry) -> list[int]:
    """Bytes to time copies of, around the size of a stored chunk."""
    most = min(4 * geometry.chunk_bytes, 1 << 30)
    return sorted({max(1024, most >> shift) for shift in range(0, 10, 2)})


def _affordable(geometry: CacheGeometry, device: str, chunks: int, folder: str | None) -> int:
    """As many of `chunks` as fit in memory; refused where 16 do not."""
    from worldkv.errors import BudgetError
    from worldkv.experiments.memory import MemoryNeed, check_room, model_bytes

    while True:
        window = 2 * chunks * geometry.chunk_bytes  # one that grows to hold everything, and some smaller ones
        staging = 3 * len(ROLLOUTS | HELD_OUT) * geometry.chunk_bytes
        try:
            need = MemoryNeed(window, staging, model_bytes(geometry), window, 0)
            check_room(need, geometry, device, () if folder is None else (folder,))
        except BudgetError:
            if chunks <= 16:
                raise
            chunks = max(16, chunks // 2)
        else:
            return chunks


class _Rollouts:
    """Rollouts of every timed policy with one model, begun and not yet run."""

    def __init__(self, geometry: CacheGeometry, device: str, dtype: NumberType, passes: int, chunks: int) -> None:
        from worldkv.backends.cache import WorldCache
        from worldkv.backends.on_device import device_stopwatch, torch_dtype, warm_model
        from worldkv.backends.rollout import generate
        from worldkv.scene import scene_of, viewpoints
        from worldkv.specs.parse import parse_policy
        from worldkv.trajectory import cut, load_trajectory

        self._caches: list[WorldCache] = []
        self.started: dict[str, Iterator[TimedStep]] = {}
        model = None
        for name, spec in (ROLLOUTS | HELD_OUT).items():
            path = OTHER_PATH if name in HELD_OUT else PATH
            chunked = cut(load_trajectory(path.format(chunks=chunks)), geometry)
            policy = parse_policy(spec, geometry)
            cache = WorldCache(
                policy,
                geometry,
                device=device,
                dtype=torch_dtype(dtype),
                scene=scene_of(chunked),
                stopwatch=device_stopwatch(device),  # as in a run: it costs a little itself
            )
            self._caches.append(cache)
            model = model or warm_model(geometry, cache, 0)
            self.started[name] = generate(model, cache, viewpoints(chunked), denoise_passes=passes)

    def __enter__(self) -> _Rollouts:
        return self

    def __exit__(self, *_: object) -> None:
        for cache in self._caches:
            cache.close()
