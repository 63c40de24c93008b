"""Every policy at its defaults in chunks of 1 to 8 latent frames: simulated, and some on tensors."""

from __future__ import annotations

import dataclasses

import pytest

import worldkv
from worldkv.experiments.compared_policies import default_policies
from worldkv.experiments.progress import SILENT
from worldkv.experiments.promotion_stages import PromoteRequest, read
from worldkv.geometry import PRESETS, CacheGeometry
from worldkv.parity.run import run_both
from worldkv.sim.baselines import BASELINES, missing_baselines
from worldkv.sim.candidate import Candidate
from worldkv.specs.names import policy_classes
from worldkv.specs.parse import parse_policy, spec_of
from worldkv.testing import Back, MotionScript, Move, Scenario, Trial
from worldkv.testing.policy_under_test import GEOMETRIES, PolicyUnderTest
from worldkv.trajectory import cut, load_trajectory

LENGTHS = (1, 2, 4, 5, 7, 8)
LOOK_BACK = MotionScript((*(Move(1.0, 20.0),) * 8, *(Back(5),) * 3))
SMALL = CacheGeometry(1, 1, 1, 2, 1, 2, itemsize=4, rope_frames=1 << 16)


def chunks_of(frames: int, shape: CacheGeometry = SMALL) -> CacheGeometry:
    return dataclasses.replace(shape, frames_per_chunk=frames, name=f"{shape.name}:frames_per_chunk={frames}")


@pytest.mark.parametrize("frames", LENGTHS)
def test_every_policy_runs_at_its_defaults(frames: int) -> None:
    geometry = chunks_of(frames)
    for name, cls in policy_classes().items():
        policy = cls()
        assert isinstance(policy, worldkv.CachePolicy)
        trial = Trial(policy, Scenario(LOOK_BACK, geometry, has_keys=True)).run()
        assert len(trial.records) == len(LOOK_BACK), name
        sizes = {
            field.name: getattr(policy, field.name)
            for field in dataclasses.fields(policy)  # type: ignore[arg-type]
            if field.name in ("sink_frames", "recent_frames")
        }
        if sizes.keys() == {"sink_frames", "recent_frames"} and trial.engine.policy.pinned(1, geometry).size:
            _holds_the_frames(trial, sizes["sink_frames"], sizes["recent_frames"])


def _holds_the_frames(trial: Trial, sink_frames: int, recent_frames: int) -> None:
    """Every step attends the chunks that the default's first and last frames lie in, judged frame by frame."""
    per_chunk = trial.engine.geometry.frames_per_chunk
    for step, record in enumerate(trial.records):
        now = step * per_chunk
        wanted = {*range(min(sink_frames, now)), *range(max(0, now - recent_frames), now)}
        attended = {
            frame for chunk in record.plan.attended for frame in range(chunk * per_chunk, (chunk + 1) * per_chunk)
        }
        assert wanted <= attended, step


@pytest.mark.parametrize(
    ("spec", "frames"),
    [("worldkv", 1), ("worldkv", 5), ("h2o", 4), ("streaming-llm", 4), ("memflow-prototypes", 7), ("snapkv", 8)],
)
def test_tensors_agree_with_the_simulator(spec: str, frames: int) -> None:
    geometry = chunks_of(frames, PRESETS["tiny"])
    path = cut(load_trajectory("generate:loop:chunks=50,laps=2"), geometry).first(10)
    found = run_both(path, parse_policy(spec, geometry), geometry, denoise_passes=1)
    assert found.difference is None
    assert len(found.simulated) == 10


@pytest.mark.parametrize("frames", LENGTHS)
def test_the_default_comparison_has_all_its_rows(frames: int) -> None:
    geometry = chunks_of(frames)
    compared = worldkv.compare("generate:loop:chunks=60", geometry=geometry, chunks=12, recall=False)
    specs = [str(one) for one in default_policies(None, recall=False, baselines=True)]
    assert [row["policy"] for row in compared.rows] == [spec.partition(":")[0] for spec in specs]
    rows = {row["policy"]: row for row in compared.rows}
    for spec in BASELINES:
        row = rows[spec.partition(":")[0]]
        assert row["is_matched"]
        assert 0 <= compared.to_dict()["matched_tokens"] - row["window_tokens_peak"] < geometry.chunk_tokens
    given = worldkv.compare(
        "generate:loop:chunks=60",
        [worldkv.WorldKV(), worldkv.RandomRetrieval()],
        geometry=geometry,
        chunks=12,
        recall=False,
    )
    assert [row["is_matched"] for row in given.rows] == [False, True, True], "rounded is not set by hand"
    for row in compared.rows:
        again = parse_policy(row["spec"], geometry)
        assert spec_of(again) == row["spec"], "a row's spec is one that runs"


@pytest.mark.parametrize("frames", LENGTHS)
def test_a_baseline_that_was_given_is_not_added_again(frames: int) -> None:
    geometry = chunks_of(frames)
    taken = spec_of(Candidate.parsed("random", "random", geometry).policy)
    assert missing_baselines([taken, "worldkv"], geometry) == BASELINES[:1]
    assert missing_baselines([parse_policy("random"), *BASELINES], geometry) == ()


def test_the_kit_draws_these_lengths() -> None:
    assert {shape.frames_per_chunk for shape in GEOMETRIES} == {3, *LENGTHS}
    for cls in (worldkv.WorldKV, worldkv.StreamingLLM, worldkv.H2O, worldkv.ReferenceWindow):
        assert PolicyUnderTest(cls()).geometries == GEOMETRIES
    typed = PolicyUnderTest(worldkv.SlidingWindow(recent_frames=8))
    assert {shape.frames_per_chunk for shape in typed.geometries} == {1, 2, 4, 8}
    assert typed.fitted(GEOMETRIES[0]) is typed.fitted(GEOMETRIES[0])


def test_every_door_takes_the_rounded_defaults() -> None:
    geometry = chunks_of(4, PRESETS["tiny"])
    loop, whole = "generate:loop:chunks=30", "worldkv:sink_frames=4,retrieved_frames=20,recent_frames=8"
    with worldkv.WorldCache(worldkv.WorldKV(), geometry) as cache:
        assert spec_of(cache.policy) == whole
        assert cache.policy is cache.engine.policy
    assert worldkv.simulate(loop, worldkv.WorldKV, geometry, chunks=3, recall=False).rows[0]["spec"] == whole
    window = worldkv.explain(loop, "worldkv", 9, geometry=geometry).to_dict()["window"]
    assert [(row["chunk"], row["role"]) for row in window] == [(0, "sink"), (7, "recent"), (8, "recent")]
    assert worldkv.check_parity(loop, "worldkv", geometry=geometry, chunks=3).to_dict()["rows"][0]["equal"]
    request = PromoteRequest(trajectory=loop, spec="worldkv", geometry=geometry, chunks=3)
    assert spec_of(read(request, SILENT)[1]) == whole
    swept = worldkv.sweep(
        loop, ["pose-nms", "worldmem"], budgets="60%", seeds="0", geometry="tiny:frames_per_chunk=4", baselines=False
    )
    assert swept.to_dict()["notes"][0] == (
        "pose-nms and worldmem's defaults sink_frames=3 and recent_frames=6 are not whole chunks of 4 latent frames; "
        "taken as 4 and 8."
    )
