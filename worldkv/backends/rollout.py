"""Run a real model over a path, chunk by chunk, and time every step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from torch import Tensor

from worldkv.backends.cache import WorldCache
from worldkv.backends.models.dit import CausalVideoDiT, generate_chunk, noise_for
from worldkv.engine.state import StepPlan, StepRecord
from worldkv.signals import Viewpoint

MakeChunk = Callable[[WorldCache, int], Tensor]
"""Generates the chunk of that number through all passes and layers; the last pass is the clean one."""

OnPlan = Callable[[StepPlan], None]
"""Called with a step's plan while the window is as it was attended."""


class TimedStep(NamedTuple):
    """One generated chunk and the time it took.

    Attributes:
        plan: what was attended, as of the last pass.
        record: what was decided and moved.
        seconds: all of it.
        parts: of these, by the stopwatch's names (`attention`, `compression`, `transfer`, `policy`, ...); the model's
            own layers are what is left.
    """

    plan: StepPlan
    record: StepRecord
    seconds: float
    parts: dict[str, float]


def generate(
    model: CausalVideoDiT,
    cache: WorldCache,
    viewpoints: Iterable[Viewpoint],
    *,
    denoise_passes: int = 4,
    seed: int = 0,
    on_plan: OnPlan | None = None,
) -> Iterator[TimedStep]:
    """Denoise one chunk a viewpoint; the caller may do anything between two.

    Args:
        model: the model.
        cache: its cache; may hold chunks already.
        viewpoints: where the camera stands.
        denoise_passes: passes before the clean one.
        seed: of the noise that chunks start from.
        on_plan: see `roll_out`.

    Raises:
        WorldKVError: see `WorldCache`.
    """
    return roll_out(denoiser(model, denoise_passes, seed), cache, viewpoints, on_plan=on_plan)


def denoiser(model: CausalVideoDiT, denoise_passes: int, seed: int) -> MakeChunk:
    """A `MakeChunk` that denoises by `model`; arguments as for `generate`."""

    def denoise(cache: WorldCache, chunk: int) -> Tensor:
        noise = noise_for(
            cache.geometry,
            chunk,
            seed,
            latent_channels=model.latent_channels,
            dtype=cache.dtype,
            device=cache.backend.ops.device,
        )
        return generate_chunk(model, cache, noise, denoise_passes)

    return denoise


def roll_out(
    make_chunk: MakeChunk, cache: WorldCache, viewpoints: Iterable[Viewpoint], *, on_plan: OnPlan | None = None
) -> Iterator[TimedStep]:
    """Make one chunk a viewpoint, by any model.

    Args:
        make_chunk: the model's part of a step.
        cache: its cache; may hold chunks already.
        viewpoints: where the camera stands.
        on_plan: told of every step's last plan after its last pass, while the window is as it was attended; its time
            is not counted.

    Raises:
        WorldKVError: see `WorldCache`.
    """
    for viewpoint in viewpoints:
        started = time.perf_counter()
        cache.stopwatch.lap()
        chunk_number = len(cache.engine.table)
        cache.begin(viewpoint)
        chunk = make_chunk(cache, chunk_number)
        chunk.flatten()[0].item()  # the device has computed it, whatever copies are still on their way
        if on_plan is not None and cache.plan is not None:
            seconds = time.perf_counter() - started
            on_plan(cache.plan)
            started = time.perf_counter() - seconds
        record = cache.commit()
        yield TimedStep(record.plan, record, time.perf_counter() - started, cache.stopwatch.lap())
