"""Where retrieved chunks stand in time when they are rebased: right before the recent window."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from worldkv.backends.rotary import Rotary
from worldkv.backends.window.arena import Arena
from worldkv.engine.state import StepPlan


def rebased_places(plan: StepPlan) -> dict[int, int]:
    """The place in time, in chunks, of every retrieved chunk.

    The recent window is the run of chunks at home in the window that ends with the newest; retrieved chunks stand
    before it without gaps, in the order of their ids. Source: arXiv 2605.22718 (RoPE correction).
    """
    retrieved = sorted(plan.retrieved)
    at_home = set(plan.attended.tolist()).difference(retrieved)
    recent = plan.step
    while recent - 1 in at_home:
        recent -= 1
    return {chunk: recent - len(retrieved) + rank for rank, chunk in enumerate(retrieved)}


def rebase(arena: Arena, rotary: Rotary, plan: StepPlan) -> None:
    """Rotate every retrieved chunk's attended keys to its place, from its stored ones."""
    frames = arena.form.geometry.frames_per_chunk
    for chunk, place in rebased_places(plan).items():
        arena.rotate(chunk, partial(_shift, rotary, (place - chunk) * frames))


def _shift(rotary: Rotary, delta_frames: int, stored: Tensor, attended: Tensor) -> None:
    rotary.shift_time(stored, delta_frames, attended)
