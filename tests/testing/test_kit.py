"""The kit itself: what it raises, what it prints, and that the code it prints runs."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import worldkv
from tests.testing.wrong_parts import NotFinite
from tests.testing.wrong_state import Dice
from worldkv.answers import Eviction
from worldkv.errors import SpecError
from worldkv.geometry import PRESETS
from worldkv.parts import FovOverlap, PoseIndex, SinkRecent, TopK, WorldCompression
from worldkv.policies import SlidingWindow, WorldKV
from worldkv.policy import Compression, Index
from worldkv.testing import (
    Back,
    CheckFailed,
    Coordinates,
    MotionScript,
    Move,
    Report,
    Scenario,
    Trial,
    check_compression,
    check_eviction,
    check_index,
    check_policy,
    examine,
    replay,
    strategies,
)
from worldkv.testing.check import CHECKS
from worldkv.testing.replay_code import code_of
from worldkv.views import ChunkView, WindowView


@dataclass(frozen=True)
class DropsTheSink(SinkRecent):
    """Promises the sink and evicts it."""

    def evict(self, window: WindowView) -> Eviction:
        return Eviction(bank=tuple(window.ids[:-2].tolist()))


class NoDataclass(Compression):
    def kept_tokens(self, chunk: ChunkView) -> worldkv.Keep:
        return worldkv.Keep(chunk.tokens, chunk.frame_tokens)

    keep = kept_tokens


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip `same_in_another_process`, which starts two for each policy; test_right.py and test_wrong.py judge it."""
    monkeypatch.setattr("worldkv.testing.checks.purity.same_elsewhere", lambda several: {})


def test_what_is_right_is_reported_and_what_is_wrong_is_raised() -> None:
    report = check_policy(SlidingWindow(), examples=1)
    assert report.passed and isinstance(report, Report) and len(report.findings) == len(CHECKS) - 2
    check_compression(WorldCompression(0.5), examples=1)
    check_index(PoseIndex(), examples=1)
    check_eviction(SinkRecent(0, 3), examples=1)
    with pytest.raises(CheckFailed, match="pinned_chunks_stay.*\n.*smallest example: . chunks"):
        check_eviction(DropsTheSink(), examples=8)
    with pytest.raises(CheckFailed, match="must be finite, chunk 1 has nan"):
        check_index(NotFinite(), examples=5)


def test_a_part_alone_gets_the_checks_of_its_kind() -> None:
    names = {finding.name for finding in examine(PoseIndex(), examples=1).findings}
    assert "scores_can_be_ranked" in names and "coverage_is_boolean" not in names
    with pytest.raises(SpecError, match="TopK is neither a policy"):
        examine(TopK())
    with pytest.raises(SpecError, match="did you mean pinned_chunks_stay"):
        examine(WorldKV(), only=["pinned_chunk_stays"])


def test_a_check_of_another_kind_is_skipped() -> None:
    for subject, check, kind in (
        (FovOverlap(), "scores_can_be_ranked", "Index"),
        (WorldKV(), "coverage_is_boolean", "CoverageIndex"),
    ):
        (finding,) = examine(subject, only=[check]).findings
        assert finding.status == "skipped" and finding.message == f"it is of every {kind}"


@pytest.mark.parametrize("subject", [DropsTheSink(), NotFinite()])
def test_the_code_it_prints_shows_the_same_fault(subject: Index) -> None:
    (finding, *_) = examine(subject, examples=10).wrong
    assert finding.replay is not None
    with pytest.raises(CheckFailed) as caught:
        exec(finding.replay, {})
    assert str(caught.value) == finding.message


def test_the_same_seed_finds_the_same_and_json_can_hold_it() -> None:
    def told(report: Report) -> list[object]:
        return [(one.name, one.status, one.message, one.example, one.replay) for one in report.findings]

    first, second = (examine(DropsTheSink(), seed=4, examples=5) for _ in range(2))
    assert told(first) == told(second)
    document = json.loads(json.dumps(first.document()))
    assert document["passed"] is False
    assert document["counts"]["failed"] + document["counts"]["blocked"] == len(first.wrong) > 0
    assert sum(document["counts"].values()) == len(document["checks"])


def test_a_policy_that_draws_without_a_seed_fails_the_same_again() -> None:
    first, *others = (examine(Dice(), only=["same_views_same_answer"]).findings[0] for _ in range(4))
    assert first.status == "failed" and first.replay is not None
    assert {(one.message, one.example) for one in others} == {(first.message, first.example)}
    with pytest.raises(CheckFailed) as caught:
        exec(first.replay, {})
    assert str(caught.value) == first.message


@settings(max_examples=50)
@given(scenario=strategies.scenarios(WorldKV()), coordinates=strategies.coordinates())
def test_a_scenario_s_code_makes_it(scenario: Scenario, coordinates: Coordinates) -> None:
    scenario = replace(scenario, coordinates=coordinates)
    names = {cls.__name__: cls for cls in (Back, MotionScript, Move, Scenario, Coordinates, worldkv.CacheGeometry)}
    assert eval(code_of(scenario), {**names, "parse_geometry": worldkv.parse_geometry}) == scenario


@given(script=strategies.motion_scripts(2, 12), coordinates=strategies.coordinates(), scale=st.sampled_from((1.0, 3.0)))
def test_other_coordinates_are_the_same_path(script: MotionScript, coordinates: Coordinates, scale: float) -> None:
    here = script.chunked(PRESETS["tiny"])
    there = replace(coordinates, scale=scale).of(here)
    distances = [np.linalg.norm(np.diff(path.camera.positions, axis=0), axis=1) for path in (here, there)]
    longest = max(1.0, float(np.abs(there.camera.positions).max()))
    assert np.allclose(distances[0] * scale, distances[1], atol=1e-9 * longest)
    turns = [path.camera.rotations[:-1].transpose(0, 2, 1) @ path.camera.rotations[1:] for path in (here, there)]
    assert np.allclose(turns[0], turns[1], atol=1e-7)
    assert there.view_distance == here.view_distance * scale


def test_back_is_exactly_where_it_was() -> None:
    path = MotionScript((Move(1.0, 30.0), Move(2.0), Back(2), Back(9), Move(1.0))).chunked(PRESETS["tiny"])
    positions = path.camera.frame_positions
    assert (positions[2] == positions[0]).all() and (positions[3] == positions[0]).all()
    assert np.allclose(positions[4, -1] - positions[0, -1], path.camera.frame_rotations[0, -1][:, 2])


def test_what_is_no_dataclass_is_told_so() -> None:
    (finding,) = examine(NoDataclass(), only=["is_plain_data"]).findings
    assert finding.status == "failed" and "NoDataclass is no dataclass" in finding.message


def test_replay_wants_a_check_and_a_rollout_where_one_is_needed() -> None:
    with pytest.raises(SpecError, match="there is no check"):
        replay("worldkv", "nothing")
    with pytest.raises(SpecError, match="give a Scenario"):
        replay("worldkv", "pinned_chunks_stay")
    replay("worldkv", "pinned_chunks_stay", Scenario(MotionScript((Move(1.0),) * 9)))


@settings(max_examples=20)
@given(policy=strategies.policies(), data=st.data())
def test_the_strategies_make_rollouts_of_every_composition(policy: worldkv.CachePolicy, data: st.DataObject) -> None:
    scenario = data.draw(strategies.scenarios(policy))
    trial = Trial(policy, scenario).run()
    assert len(trial.records) == len(scenario.script)
