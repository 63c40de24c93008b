"""What a recording may be replayed for, and who is refused, by name and before anything runs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from worldkv.errors import SignalError
from worldkv.geometry import PRESETS
from worldkv.sim import Candidate, load_machine, simulate
from worldkv.sim.replay import check_can_simulate
from worldkv.specs.parse import parse_policy
from worldkv.trajectory import RecordedSignals, cut, load_trajectory
from worldkv.trajectory.chunked import ChunkedTrajectory

TINY = PRESETS["tiny"]
CHUNKS = 12


def recorded(policy: str | None, kept: int = 24) -> ChunkedTrajectory:
    """A loop, and `kept` tokens of every chunk as `policy` decided; attention and decisions of nobody for None."""
    mass = np.tril(np.ones((CHUNKS, CHUNKS), np.float32), -1)
    signals = RecordedSignals(attention_mass=mass, query_summary=np.zeros((CHUNKS, 2, 2, 16), np.float32))
    if policy is not None:
        counts = np.full(CHUNKS, kept)
        signals = dataclasses.replace(signals, kept_tokens=counts, kept_entries=4 * counts, policy=policy)
    chunked = cut(load_trajectory(f"generate:loop:chunks={CHUNKS}"), TINY)
    return dataclasses.replace(chunked, trajectory=dataclasses.replace(chunked.trajectory, signals=signals))


@pytest.mark.parametrize(
    ("spec", "whose"),
    [
        ("h2o", "full-kv"),
        ("novelty-admission", "h2o"),
        ("deep-forcing", "h2o"),
        ("h2o", "h2o:recent_frames=6"),
        ("h2o:heavy_frames=6", "h2o"),
        ("sp-kv", "novelty-admission"),
    ],
)
def test_another_policys_decisions_are_refused_by_name(spec: str, whose: str) -> None:
    with pytest.raises(SignalError) as refused:
        check_can_simulate(parse_policy(spec), recorded(whose), TINY, has_landmarks=False)
    said = str(refused.value)
    assert said.startswith(f"what {spec} keeps") and f"this recording is of {whose};" in said
    assert f"worldkv run PATH --policy {spec} --record FILE" in said


def test_nobodys_decisions_are_refused_too() -> None:
    bare = cut(load_trajectory(f"generate:loop:chunks={CHUNKS}"), TINY)
    for chunked in (recorded(None), bare):
        with pytest.raises(SignalError, match="what novelty-admission keeps .* nothing is recorded on this path"):
            check_can_simulate(parse_policy("novelty-admission"), chunked, TINY, has_landmarks=False)
    with pytest.raises(SignalError, match="H2O needs attention mass"):
        check_can_simulate(parse_policy("h2o"), bare, TINY, has_landmarks=False)


def test_ones_own_decisions_and_those_of_no_consequence_pass() -> None:
    check_can_simulate(parse_policy("novelty-admission"), recorded("novelty-admission"), TINY, has_landmarks=False)
    check_can_simulate(parse_policy("h2o:recent_frames=9"), recorded("h2o"), TINY, has_landmarks=False)
    for spec in ("full-kv", "worldkv", "snapkv", "attention-oracle", "belady:need=attention-need"):
        check_can_simulate(parse_policy(spec), recorded("h2o"), TINY, has_landmarks=False)
    with pytest.raises(SignalError, match="Oracle needs landmarks"):
        check_can_simulate(parse_policy("oracle"), recorded("h2o"), TINY, has_landmarks=False)
    check_can_simulate(parse_policy("oracle"), recorded("h2o"), TINY, has_landmarks=True)


def test_attention_with_gaps_is_none_of_full_kv() -> None:
    chunked = recorded("h2o")
    assert chunked.trajectory.signals is not None and chunked.trajectory.signals.attention_mass is not None
    chunked.trajectory.signals.attention_mass[8, 3] = 0
    for spec in ("attention-oracle", "belady:need=attention-need"):
        with pytest.raises(SignalError, match="record full KV on this path"):
            check_can_simulate(parse_policy(spec), chunked, TINY, has_landmarks=True)


def test_the_simulator_refuses_before_its_first_step() -> None:
    steps: list[int] = []
    with pytest.raises(SignalError, match="this recording is of full-kv"):
        simulate(
            recorded("full-kv"),
            parse_policy("novelty-admission"),
            TINY,
            load_machine("worldkv-project-page"),
            on_step=lambda engine, record, spent: steps.append(record.plan.step),
        )
    assert steps == []


def test_a_policy_that_is_replayed_is_of_the_size_that_was_recorded() -> None:
    for spec in ("h2o", "deep-forcing"):
        replayed, measured = (Candidate.parsed(spec, spec, TINY, on_tensors=on) for on in (False, True))
        for chunks in (8, 20):
            assert replayed.resized(chunks * TINY.chunk_tokens, TINY) is None
            assert measured.resized(chunks * TINY.chunk_tokens, TINY) is not None
        assert not replayed.takes_budgets(TINY) and measured.takes_budgets(TINY)
    assert Candidate.parsed("keydiff", "keydiff", TINY).takes_budgets(TINY), "how many it keeps is known"


@pytest.mark.parametrize("spec", ["novelty-admission", "mean-key", "composed:index=key-bounds"])
def test_what_was_recorded_in_another_geometry_is_refused(spec: str) -> None:
    chunked = recorded("novelty-admission")
    means = np.zeros((CHUNKS, 2, 2, 16), np.float32)
    assert chunked.trajectory.signals is not None
    signals = dataclasses.replace(chunked.trajectory.signals, key_mean=means, key_min=means, key_max=means)
    policy, lingbot = parse_policy(spec), PRESETS["lingbot-world-fast-480p"]

    def path(geometry: str | None) -> ChunkedTrajectory:
        known = dataclasses.replace(signals, geometry=geometry)
        return dataclasses.replace(chunked, trajectory=dataclasses.replace(chunked.trajectory, signals=known))

    check_can_simulate(policy, path("tiny"), TINY, has_landmarks=False)
    with pytest.raises(SignalError, match=r"in geometry tiny, and this run is in lingbot-.*\(--geometry tiny\)"):
        check_can_simulate(policy, path("tiny"), lingbot, has_landmarks=False)
    with pytest.raises(SignalError, match=r"the recorded query_summary is \(2, 2, 16\) a chunk"):
        check_can_simulate(policy, path(None), lingbot, has_landmarks=False)
    check_can_simulate(parse_policy("worldkv"), path("tiny"), lingbot, has_landmarks=False)
