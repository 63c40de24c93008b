"""Wrappers: what they add to scores, when they ask the index, and for which view."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tests.parts.bank import Array, bank_of
from worldkv.answers import Retrieval
from worldkv.engine.engine import CacheEngine
from worldkv.engine.state import StepRecord
from worldkv.errors import SpecError
from worldkv.geometry import PRESETS
from worldkv.parts import AgePenalty, Hysteresis, PoseIndex, PredictedPose, RefreshInterval
from worldkv.parts.wrapper.predicted_pose import moved_on
from worldkv.policies import Composed
from worldkv.policy import Index, Wrapper
from worldkv.pose import ChunkPose
from worldkv.scene import scene_of, viewpoints
from worldkv.sim.backend import SimBackend
from worldkv.trajectory import cut, load_trajectory
from worldkv.views import BankView, Query

TINY = PRESETS["tiny"]


@dataclass(frozen=True)
class Wanted(Index):
    """Wants two chunks by a fixed pattern of the step, and notes when it is asked."""

    asked: ClassVar[list[int]] = []

    def scores(self, query: Query, bank: BankView) -> Array:
        self.asked.append(query.step)
        return -np.abs(bank.ids - (query.step * 7) % max(1, len(bank))).astype(float)


def rollout(
    wrappers: tuple[Wrapper, ...], index: Index, path: str = "generate:loop:chunks=30,laps=2"
) -> list[StepRecord]:
    chunked = cut(load_trajectory(path), TINY)
    Wanted.asked.clear()
    policy = Composed(index, retrieved_frames=6, wrappers=wrappers)
    engine = CacheEngine(policy, TINY, SimBackend(frozenset()), scene=scene_of(chunked))
    records = []
    for view in viewpoints(chunked):
        engine.begin(view)
        records.append(engine.commit())
    return records


def test_age_and_residence_by_their_formulas() -> None:
    ids = [1, 2, 4, 7, 8]
    query, bank = bank_of(np.zeros((11, 3, 3)), np.tile(np.eye(3), (11, 3, 1, 1)), banked=ids)
    query = dataclasses.replace(query, resident=(7, 2))
    assert AgePenalty(0.3).added(query, bank).tolist() == pytest.approx([-0.3 * (10 - chunk) / 10 for chunk in ids])
    assert Hysteresis(0.25).added(query, bank).tolist() == [0, 0.25, 0, 0.25, 0]


def test_hysteresis_keeps_what_is_nearly_as_good() -> None:
    fetched = [sum(r.traffic.host_to_device for r in rollout(w, PoseIndex())) for w in ((), (Hysteresis(0.5),))]
    assert fetched[1] < fetched[0]
    stuck = rollout((Hysteresis(1e9),), Wanted())
    first = next(record.plan.retrieved for record in stuck if len(record.plan.retrieved) == 2)
    assert set(stuck[-1].plan.retrieved) == set(first), "nobody beats a margin without end"


@pytest.mark.parametrize("every", [1, 3, 5])
def test_an_interval_asks_every_so_many_steps_and_repeats_in_between(every: int) -> None:
    plain = {r.plan.step: r.plan.retrieved for r in rollout((), Wanted())}
    first = min(Wanted.asked)
    kept = rollout((RefreshInterval(every),), Wanted())
    assert Wanted.asked == list(range(first, len(kept), every))
    for record in kept[first:]:
        looked = record.plan.step - (record.plan.step - first) % every
        assert record.plan.retrieved == plain[looked]


@pytest.mark.parametrize("every", [1, 3])
def test_stale_by_one_takes_the_last_look_and_waits_for_nothing(every: int) -> None:
    plain = {r.plan.step: r.plan.retrieved for r in rollout((), Wanted())}
    first = min(Wanted.asked)
    stale = rollout((RefreshInterval(every, is_stale=True),), Wanted())
    for record in stale[first + every :]:
        looked = record.plan.step - (record.plan.step - first) % every
        assert record.plan.retrieved == plain[looked - every], "what was found one interval ago"
        assert record.plan.fetched_bytes == 0, "it travelled during the interval"
    assert sum(record.traffic.host_to_device for record in stale) > 0


def test_the_camera_goes_on_as_it_did_by_powers_of_one_turn() -> None:
    turn = Rotation.from_rotvec([0.1, 0.2, -0.05])
    start = Rotation.from_rotvec([0.4, -0.3, 0.9])
    step = np.array([0.3, 0.0, 1.0])
    poses = [np.eye(4)]
    poses[0][:3, :3], poses[0][:3, 3] = start.as_matrix(), (5.0, 6.0, 7.0)
    move = np.eye(4)
    move[:3, :3], move[:3, 3] = turn.as_matrix(), step
    for _ in range(5):
        poses.append(poses[-1] @ move)
    ahead = moved_on(ChunkPose.of(np.stack(poses[:3])))
    assert np.allclose(ahead.frame_positions, np.stack(poses[3:])[:, :3, 3])
    for frame in range(3):
        expected = (start * turn ** (3 + frame)).as_matrix()
        assert np.allclose(ahead.frame_rotations[frame], expected)
    standing = ChunkPose.of(poses[0][None])
    assert moved_on(standing) is standing, "one frame says nothing of motion"


def test_only_the_last_motion_of_a_chunk_goes_on() -> None:
    turns = [Rotation.from_rotvec(vector) for vector in ([0.0, 0.5, 0.1], [0.2, -0.1, 0.0])]
    steps = [np.array([0.0, 0.0, 2.0]), np.array([0.5, -0.2, 1.0])]
    place, facing = np.array([1.0, 2.0, 3.0]), Rotation.from_rotvec([0.3, 0.0, -0.4])
    places, facings = [place], [facing]
    for number in (0, 1, 1, 1, 1):
        place, facing = place + facing.apply(steps[number]), facing * turns[number]
        places.append(place)
        facings.append(facing)
    here = ChunkPose.of(_matrices(places[:3], facings[:3]))
    ahead = moved_on(here)
    assert np.allclose(ahead.frame_positions, places[3:])
    assert np.allclose(ahead.frame_rotations, [one.as_matrix() for one in facings[3:]])


def _matrices(places: list[Array], facings: list[Rotation]) -> Array:
    poses = np.tile(np.eye(4), (len(places), 1, 1))
    poses[:, :3, 3], poses[:, :3, :3] = places, [one.as_matrix() for one in facings]
    return poses


def test_a_forecast_is_a_second_question_with_the_answer_resident() -> None:
    query, bank = bank_of(np.arange(21.0).reshape(7, 1, 3) + np.arange(3.0)[:, None], np.tile(np.eye(3), (7, 3, 1, 1)))
    query = dataclasses.replace(query, resident=(0, 5))
    asked: list[Query] = []

    def ask(query: Query, bank: BankView) -> Retrieval:
        asked.append(query)
        return Retrieval(((4, 2), (1, 4))[len(asked) - 1])

    found = PredictedPose().retrieve(query, bank, ask)
    assert found == Retrieval((4, 2), next_ids=(1, 4))
    first, second = asked
    assert first is query and second.resident == (4, 2)
    assert second.pose is not None and query.pose is not None
    assert np.allclose(second.pose.frame_positions, query.pose.frame_positions[-1] + [[1.0] * 3, [2.0] * 3, [3.0] * 3])


def test_a_forecast_is_what_the_next_step_wants_and_changes_nothing() -> None:
    path = "script:RRRRRRRR_576"  # turns at one rate and passes every view twice
    plain, told = rollout((), PoseIndex(), path), rollout((PredictedPose(),), PoseIndex(), path)
    assert [r.plan.attended.tolist() for r in plain] == [r.plan.attended.tolist() for r in told]
    waited = [sum(r.plan.fetched_bytes for r in records[20:]) for records in (plain, told)]
    assert waited[1] < 0.5 * waited[0], "most of what was waited for is there beforehand"


def test_parameters_out_of_range_are_refused() -> None:
    for make in (lambda: AgePenalty(np.inf), lambda: Hysteresis(-1.0), lambda: RefreshInterval(0)):
        with pytest.raises(SpecError):
            make()
