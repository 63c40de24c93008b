"""Run reference rollouts in another process and print a digest of their decisions."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

from worldkv.errors import WorldKVError
from worldkv.specs.parse import parse_part, spec_of
from worldkv.testing.motion_script import Back, MotionScript, Move
from worldkv.testing.policy_under_test import PolicyUnderTest
from worldkv.testing.scenario import Scenario
from worldkv.testing.trial import Trial, decisions


def reference_scenarios(under_test: PolicyUnderTest) -> list[Scenario]:
    """A few rollouts that are the same everywhere, two of them alike but for the path."""
    chunks = under_test.fill_chunks + 10
    going = tuple(Move(1.0, 25.0) if chunk % 4 else Back(3) for chunk in range(chunks))
    turning = tuple(Move(0.5, -40.0) if chunk % 3 else Back(5) for chunk in range(chunks))
    return [
        Scenario(MotionScript(going), under_test.geometries[0], has_keys=under_test.is_data_dependent),
        Scenario(MotionScript(turning), under_test.geometries[0], has_keys=under_test.is_data_dependent),
        Scenario(MotionScript((Move(),) * chunks), under_test.geometries[-1], has_keys=True, seed=1),
    ]


def digest(under_test: PolicyUnderTest, scenario: Scenario) -> str:
    """All decisions of a rollout as one hexadecimal number."""
    told = repr(decisions(Trial(under_test.policy, scenario).run().records))
    return hashlib.sha256(told.encode()).hexdigest()


def importable(under_test: PolicyUnderTest) -> tuple[str, str] | None:
    """The folder to start another process in and the policy's spec; None where only this process has the policy."""
    if not dataclasses.is_dataclass(under_test.part) or type(under_test.part).__module__ == "__main__":
        return None
    spec = under_test.spec or spec_of(under_test.part)
    try:
        part = parse_part(spec)
    except WorldKVError:
        return None
    if under_test.spec is None and part != under_test.part:
        return None
    return str(Path.cwd()), spec


def main(spec: str, *, is_reversed: bool) -> None:
    """Print the digest of each reference rollout of the policy that `spec` names; the other process runs this.

    Args:
        spec: the policy's name.
        is_reversed: whether the last rollout is run first; the lines stay in order.
    """
    under_test = PolicyUnderTest(parse_part(spec), spec)
    scenarios = reference_scenarios(under_test)
    order = reversed(range(len(scenarios))) if is_reversed else range(len(scenarios))
    told = {number: digest(under_test, scenarios[number]) for number in order}
    print("\n".join(told[number] for number in range(len(scenarios))))
