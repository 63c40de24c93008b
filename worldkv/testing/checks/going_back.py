"""Check that a rollout goes on the same after a snapshot, a rewind, a fork and a reset."""

from __future__ import annotations

from hypothesis.strategies import SearchStrategy

from worldkv.engine.state import StepRecord
from worldkv.policy import CachePolicy
from worldkv.testing.check import CheckFailed, check
from worldkv.testing.policy_under_test import PolicyUnderTest
from worldkv.testing.scenario import Scenario
from worldkv.testing.strategies import scenarios
from worldkv.testing.trial import Trial, rollout_difference, take

_CURE = "what a policy remembers is taken back only if it lies in the views; keep no state of your own"


def _rewindable(under_test: PolicyUnderTest) -> SearchStrategy[Scenario]:
    return scenarios(under_test, can_go_back=True)


@check("Snapshot, restore and go on is never having stopped.", kind=CachePolicy, scenarios=scenarios, share=0.5)
def snapshot_goes_on_the_same(under_test: PolicyUnderTest, scenario: Scenario) -> None:
    """From the middle of the rollout, twice."""
    trial = Trial(under_test.fitted(scenario.geometry), scenario).run(len(scenario.script) // 2)
    snapshot, before = trial.engine.snapshot(), len(trial.records)
    whole = list(trial.run().records)
    if snapshot.given_up is not None:  # the bank had no room for what it forgot since
        return
    for _ in range(2):
        trial.engine.restore(snapshot)
        del trial.records[before:]
        _refuse_difference(whole, trial.run().records, "restored from a snapshot")


@check("Rewinding takes back exactly what happened.", kind=CachePolicy, scenarios=_rewindable, share=0.5)
def rewind_is_exact(under_test: PolicyUnderTest, scenario: Scenario) -> None:
    """Some chunks, with a step open and without; then the rollout goes on as the first time."""
    whole = Trial(under_test.fitted(scenario.geometry), scenario).run().records
    trial = Trial(under_test.fitted(scenario.geometry), scenario).run((len(whole) + 1) // 2)
    done = len(trial.records)
    if done < len(trial.viewpoints):
        trial.engine.begin(trial.viewpoints[done])
    back = min(done, trial.engine.rewindable_chunks)
    trial.engine.rewind(back)
    del trial.records[done - back :]
    _refuse_difference(whole, trial.run().records, f"rewound by {back} chunks")


@check("A fork goes on alone.", kind=CachePolicy, scenarios=scenarios, share=0.5)
def fork_goes_on_alone(under_test: PolicyUnderTest, scenario: Scenario) -> None:
    """Both go on, in turn, as one would."""
    whole = Trial(under_test.fitted(scenario.geometry), scenario).run().records
    trial = Trial(under_test.fitted(scenario.geometry), scenario).run(len(whole) // 2)
    engines = [trial.engine, trial.engine.fork()]
    records = [list(trial.records), list(trial.records)]
    for viewpoint in trial.viewpoints[len(trial.records) :]:
        for engine, of_engine in zip(engines, records, strict=True):
            of_engine.append(take(engine, viewpoint, scenario.seed))
    for of_engine, which in zip(records, ("forked from", "a fork"), strict=True):
        _refuse_difference(whole, of_engine, which)


@check("Reset is as new.", kind=CachePolicy, scenarios=scenarios, share=0.5)
def reset_is_fresh(under_test: PolicyUnderTest, scenario: Scenario) -> None:
    """The same rollout again on the same engine."""
    trial = Trial(under_test.fitted(scenario.geometry), scenario).run()
    whole = list(trial.records)
    trial.engine.reset()
    trial.records.clear()
    _refuse_difference(whole, trial.run().records, "reset")


def _refuse_difference(expected: list[StepRecord], found: list[StepRecord], which: str) -> None:
    if difference := rollout_difference(expected, found, bytes_too=True):
        raise CheckFailed(f"{which}, the rollout differs from one that never stopped: {difference}; {_CURE}")
