"""One small rollout whose every JSON number is worked out here by hand."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from worldkv.answers import Eviction, Keep, Retrieval
from worldkv.config import CacheConfig
from worldkv.geometry import PRESETS
from worldkv.parts import Relative
from worldkv.policies import FullKV, SlidingWindow
from worldkv.policy import CachePolicy
from worldkv.pose import Poses
from worldkv.sim.compare import Candidate, ComparisonSetup, Row
from worldkv.sim.document import rope_overrun, row_document
from worldkv.sim.machine import Edge, Machine
from worldkv.sim.rollout import simulate
from worldkv.tiers import TierLimits
from worldkv.trajectory.chunked import ChunkedTrajectory
from worldkv.trajectory.trajectory import Trajectory
from worldkv.views import BankView, ChunkView, Query, WindowView

GEOMETRY = PRESETS["tiny"]
CHUNK, TOKENS = GEOMETRY.chunk_bytes, GEOMETRY.chunk_tokens
PASS = 4 * TOKENS * GEOMETRY.heads * GEOMETRY.head_dim * GEOMETRY.layers
MACHINE = Machine(
    "by hand",
    "a test",
    fixed_seconds=1.0,
    passes=2,
    attention_flops_per_second=float(PASS * TOKENS),  # one second a pass and chunk attended
    overlap=False,
    device_to_host=Edge(float(CHUNK)),
    host_to_device=Edge(float(CHUNK) / 2),
    host_to_disk=Edge(float(CHUNK) / 4),
    disk_to_host=Edge(float(CHUNK) / 8),
)


@dataclass(frozen=True)
class BanksHalves(CachePolicy):
    """Banks every chunk at half size at once; step 3 fetches chunk 0, step 4 nothing."""

    def evict(self, window: WindowView) -> Eviction:
        return Eviction(bank=tuple(window.ids.tolist()))

    def retrieve(self, query: Query, bank: BankView) -> Retrieval:
        return Retrieval((0,) if query.step == 3 else ())

    def compress(self, chunk: ChunkView) -> Keep:
        return Keep.counted((8, 8, 8))


def still(chunks: int) -> ChunkedTrajectory:
    eye = np.tile(np.eye(3), (chunks, 3, 1, 1))
    track = Poses.of(np.zeros((chunks, 3, 3)), eye)
    return ChunkedTrajectory(
        Trajectory("still", np.zeros((9, 3)), eye.reshape(-1, 3, 3)), track, None, 1.0, chunks * 12
    )


def test_every_number_of_a_row() -> None:
    chunked = still(5)
    config = CacheConfig(limits=TierLimits(host_bytes=CHUNK))  # two halves; the rest spills
    setup = ComparisonSetup(chunked, GEOMETRY, MACHINE, config)
    rollout = simulate(chunked, BanksHalves(), GEOMETRY, MACHINE, config=config)
    row = row_document(setup, Row(Candidate("mine", BanksHalves()), rollout))
    # Steps attend 1 chunk, step 3 one and a half: 1 s fixed, 2 s a chunk attended. Each commit stores half a chunk
    # (0.5 s). From the third on one half spills (2 s). Step 3 fetches chunk 0 from disk: 1 s over the bus, 4 s off it.
    assert rollout.seconds.tolist() == pytest.approx([3.5, 3.5, 5.5, 3 + 1 + 0.5 + 2 + 5, 5.5])
    half = CHUNK // 2
    expected = {
        "policy": "mine",
        "status": "ok",
        "over_budget_at_chunk": None,
        "steps": 5,
        "window_tokens_peak": TOKENS * 3 // 2,
        "device_bytes_peak": CHUNK * 3 // 2,
        "host_bytes_peak": CHUNK,
        "disk_bytes_peak": 3 * half,
        "bank_chunks": 5,
        "tokens_produced": 5 * TOKENS,
        "tokens_window": 0,
        "tokens_replicated": 0,
        "tokens_banked": 5 * TOKENS // 2,
        "tokens_pruned": 5 * TOKENS // 2,
        "tokens_discarded": 0,
        "tokens_forgotten": 0,
        "bytes_device_to_host": 5 * half,
        "bytes_host_to_device": half,
        "bytes_host_to_disk": 3 * half,
        "bytes_disk_to_host": half,
        "revisit_recall": None,
        "share_of_oracle": None,
        "retrieval_precision": None,
    }
    assert {key: row[key] for key in expected} == expected
    total = sum([3.5, 3.5, 5.5, 11.5, 5.5])
    numbers = {
        "fps_first": 12 / 3.5,
        "fps_last": 12 / 5.5,
        "fps_mean": 60 / total,
        "step_ms_p50": 5500.0,
        "step_ms_p95": float(np.percentile(np.array([3.5, 3.5, 5.5, 11.5, 5.5]) * 1e3, 95)),
        "step_ms_max": 11500.0,
        "stall_share": (total - 5 - 2 * 5.5) / total,
        "speedup_vs_full": (5 + 2 * (1 + 2 + 3 + 4 + 5)) / total,
        "predicted_seconds": total,
    }
    assert {key: row[key] for key in numbers} == pytest.approx(numbers)


def test_replicas_are_counted_beside() -> None:
    chunked = still(4)
    config = CacheConfig(limits=TierLimits(host_bytes=CHUNK))
    rollout = simulate(chunked, BanksHalves(), GEOMETRY, MACHINE, config=config)
    setup = ComparisonSetup(chunked, GEOMETRY, MACHINE, config)
    row = row_document(setup, Row(Candidate("mine", BanksHalves()), rollout))
    assert row["tokens_replicated"] == TOKENS // 2, "chunk 0, fetched at the last step"


def test_the_rotary_table_fits_exactly_and_not_one_frame_more() -> None:
    def overrun(chunks: int, rope_frames: int, policy: CachePolicy) -> int | None:
        return rope_overrun(simulate(still(chunks), policy, replace(GEOMETRY, rope_frames=rope_frames), MACHINE))

    assert overrun(5, 15, FullKV()) is None
    assert overrun(6, 15, FullKV()) == 6
    assert overrun(5, 14, FullKV()) == 5
    assert overrun(9, 9, SlidingWindow(6)) is None, "the index in the rollout does not count"
    assert overrun(9, 9, SlidingWindow(6, 3)) == 4, "the sink drifts away"
    assert overrun(9, 12, SlidingWindow(6, 3, positions=Relative())) is None
