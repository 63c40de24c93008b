"""What an engine is told once: the rollout's scene, and how much room its cache has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from worldkv.landmarks import Landmarks
from worldkv.signals import Signal
from worldkv.tiers import TierLimits
from worldkv.trajectory.trajectory import DEFAULT_FIELD_OF_VIEW


@dataclass(frozen=True)
class Scene:
    """What is true of a whole rollout.

    Attributes:
        field_of_view: full horizontal and vertical angle in degrees.
        view_distance: how far the camera is taken to see, in the path's unit.
        signals: signals the path carries with every chunk.
        landmarks: the metric's landmarks, for oracles; None where nobody judges.
        recorded_tokens: tokens a recorded run kept of each chunk `(chunks,)`, or that each chunk held after each of its
            steps `(steps, chunks)`, for rules whose count depends on the keys; None without a recording.
        recorded_entries: tokens it kept of each chunk, summed over layers and heads `(chunks,)`; None likewise.
        attention_ahead: attention that each chunk receives at each step of a recorded run of full KV
            `(steps, chunks)`, for oracles; None where nobody knows.
    """

    field_of_view: tuple[float, float] = DEFAULT_FIELD_OF_VIEW
    view_distance: float = 1.0
    signals: frozenset[Signal] = frozenset({Signal.POSE})
    landmarks: Landmarks | None = None
    recorded_tokens: NDArray[np.int64] | None = None
    recorded_entries: NDArray[np.int64] | None = None
    attention_ahead: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class CacheConfig:
    """How much room the cache has.

    Attributes:
        window_budget_bytes: most the window may hold, the current chunk included; None for no budget.
        over_budget: "error" refuses a plan over it, "flag" lets it pass and notes the first step.
        limits: capacities of host and disk.
        staging_chunks: whole chunks of device memory kept for prefetching.
        rewind_chunks: how many of the last chunks `rewind` can take back.
        when_lost: what happens when a banked chunk cannot be read back: "error" stops, "go-on" discards it and asks
            the policy again.
    """

    window_budget_bytes: int | None = None
    over_budget: Literal["error", "flag"] = "error"
    limits: TierLimits = TierLimits()
    staging_chunks: int = 2
    rewind_chunks: int = 0
    when_lost: Literal["error", "go-on"] = "error"
