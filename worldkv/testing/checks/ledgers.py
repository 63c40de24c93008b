"""Check that every chunk, token and byte is where the policy's answers put it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from worldkv.engine.engine import CacheEngine
from worldkv.policy import CachePolicy
from worldkv.testing.audit import audit_homes, audit_ledgers
from worldkv.testing.check import CheckFailed, NotApplicable, check
from worldkv.testing.policy_under_test import PolicyUnderTest
from worldkv.testing.scenario import Scenario
from worldkv.testing.strategies import scenarios
from worldkv.testing.trial import Trial, rollout_difference


@check("Every chunk has exactly one home, and replicas are of banked chunks.", kind=CachePolicy, scenarios=scenarios)
def every_chunk_has_one_home(under_test: PolicyUnderTest, scenario: Scenario) -> None:
    """After every step, in the engine's counts and in the backend."""
    _audit_every_step(under_test, scenario, audit_homes)


@check("Tokens and bytes add up on every edge, shrinking in place counted.", kind=CachePolicy, scenarios=scenarios)
def tokens_and_bytes_add_up(under_test: PolicyUnderTest, scenario: Scenario) -> None:
    """Produced = window + banked + pruned + discarded; what went into a tier is out of it or still there."""
    _audit_every_step(under_test, scenario, audit_ledgers)


@check("Spilling changes where a chunk lies, not what is decided.", kind=CachePolicy, scenarios=scenarios)
def spilling_changes_no_decision(under_test: PolicyUnderTest, scenario: Scenario) -> None:
    """The same rollout with all of the bank on the host, and with little room or none there and on the device."""
    roomy = dataclasses.replace(scenario, host_chunks=None, disk_chunks=None, spare_chunks=None)
    expected = Trial(under_test.fitted(roomy.geometry), roomy).run().records
    for host_chunks, spare_chunks in ((0, None), (1.5, None), (1.5, 1.5)):
        tight = dataclasses.replace(roomy, host_chunks=host_chunks, spare_chunks=spare_chunks)
        found = Trial(under_test.fitted(tight.geometry), tight).run().records
        if difference := rollout_difference(expected, found, bytes_too=False):
            raise CheckFailed(
                f"with room for {host_chunks:g} chunks on the host, {spare_chunks or 0:g} in spare memory and the rest "
                f"on disk it decides differently: {difference}; the disk is part of the bank, do not look at tiers"
            )


@check("Keys change no decision: the simulator has none.", kind=CachePolicy, scenarios=scenarios)
def keys_change_no_decision(under_test: PolicyUnderTest, scenario: Scenario) -> None:
    """The same rollout with keys and without: the same decisions, the same bytes."""
    if under_test.is_data_dependent:
        raise NotApplicable("how much it keeps depends on keys, and it says so")
    both = (dataclasses.replace(scenario, has_keys=has_keys) for has_keys in (False, True))
    without, shown = (Trial(under_test.fitted(one.geometry), one).run().records for one in both)
    if difference := rollout_difference(without, shown, bytes_too=True):
        raise CheckFailed(
            f"with keys it decides differently from without: {difference}; the simulator has no keys, decide by "
            "counts, or set data_dependent = True on the compression"
        )


@check("Engine, backend and a plain dictionary agree, whatever the engine is told to do.", kind=CachePolicy, share=0.4)
def agrees_with_a_dictionary(under_test: PolicyUnderTest) -> None:
    """Hypothesis' state machine: begin, commit, snapshot, restore, fork, rewind and reset in any order."""
    import hypothesis
    from hypothesis.stateful import run_state_machine_as_test

    from worldkv.testing.state_machine import cache_machine

    machine = cache_machine(under_test)
    settings = hypothesis.settings(
        max_examples=15,
        stateful_step_count=25,
        database=None,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
        verbosity=hypothesis.Verbosity.quiet,
        print_blob=False,
        phases=(hypothesis.Phase.generate,),
        report_multiple_bugs=False,
    )
    try:
        run_state_machine_as_test(machine, settings=settings)
        return
    except CheckFailed:
        settings = hypothesis.settings(settings, phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink))
    try:
        run_state_machine_as_test(machine, settings=settings)
    except CheckFailed as failure:
        steps = [note for note in getattr(failure, "__notes__", ()) if "state" in note]
        told = f"\n{steps[0]}" if steps else ""
        raise CheckFailed(f"{failure}{told}") from failure


def _audit_every_step(under_test: PolicyUnderTest, scenario: Scenario, audit: Callable[[CacheEngine], None]) -> None:
    trial = Trial(under_test.fitted(scenario.geometry), scenario)
    for _ in range(len(scenario.script)):
        trial.run(1)
        audit(trial.engine)
