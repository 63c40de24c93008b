"""Rows and steps of a comparison as JSON; the keys of `worldkv compare --json` and `--log` are kept stable."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from worldkv.engine.state import StepRecord
from worldkv.geometry import CacheGeometry
from worldkv.sim.clock import Clock
from worldkv.sim.compare import ComparisonSetup, Row
from worldkv.sim.rollout import RolloutRecord
from worldkv.specs.parse import spec_or_repr

OWN_SIZE = "own"
"""The budget of a policy that has a size of its own."""


BANK_EDGES = ("device_to_host", "host_to_device", "device_to_spare", "spare_to_device")
"""Edges between window and bank, as in `bytes_device_to_host`."""


def budget_word(row: Row) -> str:
    """A row's budget as the user wrote it; `own` where the policy has a size of its own."""
    return OWN_SIZE if row.budget is None else row.budget.word


def geometry_document(geometry: CacheGeometry) -> dict[str, Any]:
    """A geometry's fields and the two sizes derived from them."""
    sizes = {"chunk_tokens": geometry.chunk_tokens, "chunk_bytes": geometry.chunk_bytes}
    return {**dataclasses.asdict(geometry), "tokens_per_frame": geometry.tokens_per_frame, **sizes}


def row_document(setup: ComparisonSetup, row: Row) -> dict[str, Any]:
    """One row of `worldkv compare --json`."""
    rollout = row.rollout
    engine, counts, tiers = rollout.engine, rollout.engine.state.counts, rollout.engine.state.tiers
    traffic = engine.backend.traffic()
    frames = setup.geometry.video_frames_per_chunk
    seconds = rollout.seconds
    over = engine.state.over_budget_at
    milliseconds = seconds * 1e3
    return {
        "policy": row.candidate.label,
        "spec": spec_or_repr(row.candidate.policy),
        "is_matched": row.is_matched,
        "status": "ok" if over is None else "over-budget",
        "over_budget_at_chunk": over,
        "steps": len(seconds),
        "window_tokens_peak": int(rollout.attended_tokens.max()),
        "device_bytes_peak": int(rollout.window_bytes.max()),
        "host_bytes_peak": tiers.host.peak,
        "disk_bytes_peak": tiers.disk.peak,
        "spare_bytes_peak": tiers.spare.peak,
        "bank_chunks": engine.state.bank_count,
        "tokens_produced": counts.produced,
        "tokens_window": counts.window,
        "tokens_replicated": replicated_tokens(rollout),
        "tokens_banked": counts.banked,
        "tokens_pruned": counts.pruned,
        "tokens_discarded": counts.discarded,
        "tokens_forgotten": counts.forgotten,
        "bytes_device_to_host": traffic.device_to_host,
        "bytes_host_to_device": traffic.host_to_device,
        "bytes_host_to_disk": traffic.host_to_disk,
        "bytes_disk_to_host": traffic.disk_to_host,
        "bytes_device_to_spare": traffic.device_to_spare,
        "bytes_spare_to_device": traffic.spare_to_device,
        "bytes_spare_to_host": traffic.spare_to_host,
        "revisit_recall": rollout.recall,
        "share_of_oracle": row.share_of_oracle,
        "retrieval_precision": rollout.precision,
        "fps_first": frames / float(seconds[0]),
        "fps_last": frames / float(seconds[-1]),
        "fps_mean": frames * len(seconds) / float(seconds.sum()),
        "step_ms_p50": float(np.percentile(milliseconds, 50)),
        "step_ms_p95": float(np.percentile(milliseconds, 95)),
        "step_ms_max": float(milliseconds.max()),
        "stall_share": float(rollout.stall_seconds.sum() / seconds.sum()),
        "speedup_vs_full": full_kv_seconds(setup) / float(seconds.sum()),
        "predicted_seconds": float(seconds.sum()),
        "rope_overrun_at_chunk": rope_overrun(rollout),
        "wall_seconds": rollout.wall_seconds,
    }


def step_document(label: str, geometry: CacheGeometry, record: StepRecord, seconds: float) -> dict[str, Any]:
    """One step as a line of `--log`."""
    plan = record.plan
    return {
        "policy": label,
        "step": plan.step,
        "fps": geometry.video_frames_per_chunk / seconds,
        "attended_tokens": plan.attended_tokens,
        "attended": plan.attended.tolist(),
        "retrieved": list(plan.retrieved),
        "evicted": list(record.evicted),
        "kept_tokens": list(record.kept_tokens),
        "discarded": list(record.discarded),
        "shrunk": list(record.shrunk),
        **{f"bytes_{edge}": moved for edge, moved in record.traffic._asdict().items()},
    }


def replicated_tokens(rollout: RolloutRecord) -> int:
    """Tokens in the window at the end whose home is the bank."""
    tokens = rollout.engine.table.columns["tokens"]
    return sum(int(tokens[chunk]) for chunk in rollout.engine.state.replicas)


def full_kv_seconds(setup: ComparisonSetup) -> float:
    """Predicted seconds of full KV on this trajectory: every step attends all chunks so far, nothing moves."""
    clock, steps = Clock(setup.machine, setup.geometry), setup.chunked.num_chunks
    mean_tokens = setup.geometry.chunk_tokens * (steps + 1) / 2
    return (
        clock.compute_seconds(0) * steps + (clock.compute_seconds(1) - clock.compute_seconds(0)) * mean_tokens * steps
    )


def rope_overrun(rollout: RolloutRecord) -> int | None:
    """Chunks generated when a step first attends keys farther away than the model's rotary table; None if none does."""
    too_far = rollout.reach_frames > rollout.engine.geometry.rope_frames
    return int(too_far.argmax()) + 1 if too_far.any() else None
