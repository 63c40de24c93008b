"""Time steps, copies and files on this machine, and fit a line through the samples."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldkv.backends.attention import attend
from worldkv.backends.bank.disk import DiskStore
from worldkv.backends.models.dit import CausalVideoDiT, noise_for
from worldkv.backends.rollout import TimedStep
from worldkv.backends.transfer.device_ops import DeviceOps


class Alone:
    """A cache that holds nothing: a chunk attends to itself."""

    start_frame = 0

    def attend(
        self, layer: int, q: Tensor, k: Tensor, v: Tensor, /, clean: bool = False, hidden: Tensor | None = None
    ) -> Tensor:
        """Attention of the chunk over itself; `[B, S, H, D]` each."""
        return attend(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)).transpose(1, 2)


def warm_up(model: CausalVideoDiT, dtype: torch.dtype) -> None:
    """Run one pass, so that what only a first pass costs (thread teams, kernels, page faults) is behind."""
    weight = model.head.weight
    noise = noise_for(model.geometry, 0, 0, latent_channels=model.latent_channels, dtype=dtype, device=weight.device)
    with torch.inference_mode():
        model(noise, 1.0, Alone()).flatten()[0].item()


class StepSample(NamedTuple):
    """One step of one rollout.

    Attributes:
        rollout: whose.
        tokens: tokens attended, the chunk's own included.
        stored_bytes: bytes that went to the bank.
        fetched_bytes: bytes that the step waited for.
        seconds: all of it.
        upkeep_seconds: of these, what the cache took beside attention: policy, compression, copies on the device.
    """

    rollout: str
    tokens: int
    stored_bytes: int
    fetched_bytes: int
    seconds: float
    upkeep_seconds: float


class CopySample(NamedTuple):
    """One copy over one edge, as `Traffic` names it."""

    edge: str
    num_bytes: int
    seconds: float


def sample_steps(
    rollouts: Mapping[str, Iterator[TimedStep]], patience_seconds: float, on_round: Callable[[int], None]
) -> list[StepSample]:
    """Run rollouts side by side, one step of each in turn, so that a slow moment of the machine meets them all.

    Args:
        rollouts: by name, their caches with a stopwatch; a rollout that is over is left out from then on.
        patience_seconds: no round begins after that.
        on_round: told of every round.
    """
    samples: list[StepSample] = []
    waiting = dict(rollouts)
    until = time.perf_counter() + patience_seconds
    rounds = 0
    while waiting and (time.perf_counter() < until or rounds < _LEAST_ROUNDS):
        for name in list(waiting):
            step = next(waiting[name], None)
            if step is None:
                del waiting[name]
                continue
            plan, stored = step.plan, step.record.traffic.device_to_host
            upkeep = sum(seconds for part, seconds in step.parts.items() if part != "attention")
            samples.append(StepSample(name, plan.attended_tokens, stored, plan.fetched_bytes, step.seconds, upkeep))
        on_round(rounds)
        rounds += 1
    return samples


_LEAST_ROUNDS = 8


def sample_copies(
    ops: DeviceOps, sizes: Sequence[int], repeats: int, spare_ops: DeviceOps | None = None
) -> list[CopySample]:
    """Time copies of `sizes` bytes between host and device both ways, in turn, `repeats` times.

    Where another device's ops are given (see `DeviceOps.peer`), also between the two both ways, and from there to the
    host.
    """
    host = ops.empty((max(sizes),), torch.uint8, on_host=True)
    device = ops.empty((max(sizes),), torch.uint8)
    host.zero_()
    device.zero_()
    ways = {"host_to_device": (ops, device, host), "device_to_host": (ops, host, device)}
    if spare_ops is not None:
        spare = spare_ops.empty((max(sizes),), torch.uint8)
        spare.zero_()
        ways |= {
            "device_to_spare": (ops, spare, device),
            "spare_to_device": (ops, device, spare),
            "spare_to_host": (spare_ops, host, spare),
        }
    samples = []
    for _ in range(repeats):
        for size in sizes:
            for edge, (issuing, target, source) in ways.items():
                ops.synchronize()
                if spare_ops is not None:
                    spare_ops.synchronize()
                started = time.perf_counter()
                issuing.copy_async(target[:size], source[:size])
                issuing.synchronize(issuing.record())
                samples.append(CopySample(edge, size, time.perf_counter() - started))
    return samples


def sample_files(store: DiskStore, sizes: Sequence[int], repeats: int) -> list[CopySample]:
    """Time files of `sizes` bytes, written to the disk and read back, in turn, `repeats` times.

    What was just written is read from the system's memory, as it is in a rollout whose bank fits there.
    """
    content, room = (torch.zeros(max(sizes), dtype=torch.uint8) for _ in range(2))
    samples = []
    for repeat in range(repeats):
        for size in sizes:
            started = time.perf_counter()
            stored = store.write(repeat, content[:size])
            written = time.perf_counter()
            store.read(stored, room[:size])
            read = time.perf_counter()
            samples += [
                CopySample("host_to_disk", size, written - started),
                CopySample("disk_to_host", size, read - written),
            ]
    return samples


class Line(NamedTuple):
    """A straight line through measurements, with the least sum of squared *relative* errors.

    Attributes:
        intercept: at nothing, not below 0.
        slope: a unit, not below 0.
        errors: relative error of the line at each median it was fitted to `(points,)`.
    """

    intercept: float
    slope: float
    errors: NDArray[np.float64]


def fit_line(amounts: Sequence[float], seconds: Sequence[float], points: int = 8) -> Line:
    """The line through the medians of neighbouring measurements; a few slow ones do not bend it.

    Args:
        amounts: tokens or bytes of each measurement.
        seconds: what each took.
        points: into how many groups of neighbours to put them at most; equal amounts stay together.
    """
    from scipy.optimize import nnls

    middle = np.array(_medians(np.array(amounts, np.float64), np.array(seconds, np.float64), points))
    scale = max(float(middle[:, 0].max()), 1.0)
    design = np.stack([np.ones(len(middle)), middle[:, 0] / scale], axis=1) / middle[:, 1:]
    (intercept, slope), _ = nnls(design, np.ones(len(middle)))
    return Line(float(intercept), float(slope) / scale, design @ [intercept, slope] - 1)


def _medians(amounts: NDArray[np.float64], seconds: NDArray[np.float64], points: int) -> list[tuple[float, float]]:
    """Median amount and seconds of each group of neighbours."""
    different = np.unique(amounts)
    groups = np.array_split(different, min(points, len(different)))
    members = [np.isin(amounts, group) for group in groups]
    return [(float(np.median(amounts[here])), float(np.median(seconds[here]))) for here in members]
