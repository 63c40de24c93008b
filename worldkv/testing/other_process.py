"""The same rollouts in another process, told as one number."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

from worldkv.errors import WorldKVError
from worldkv.specs.parse import parse_part, spec_of
from worldkv.testing.motion_script import Back, MotionScript, Move
from worldkv.testing.policy_under_test import Subject
from worldkv.testing.scenario import Scenario
from worldkv.testing.trial import Trial, decisions


def reference_scenarios(subject: Subject) -> list[Scenario]:
    """A few rollouts that are the same everywhere, two of them alike but for the path."""
    chunks = subject.fill_chunks + 10
    going = tuple(Move(1.0, 25.0) if chunk % 4 else Back(3) for chunk in range(chunks))
    turning = tuple(Move(0.5, -40.0) if chunk % 3 else Back(5) for chunk in range(chunks))
    return [
        Scenario(MotionScript(going), subject.geometries[0], has_keys=subject.is_data_dependent),
        Scenario(MotionScript(turning), subject.geometries[0], has_keys=subject.is_data_dependent),
        Scenario(MotionScript((Move(),) * chunks), subject.geometries[-1], has_keys=True, seed=1),
    ]


def digest(subject: Subject, scenario: Scenario) -> str:
    """All decisions of a rollout as one hexadecimal number."""
    told = repr(decisions(Trial(subject.policy, scenario).run().records))
    return hashlib.sha256(told.encode()).hexdigest()


def importable(subject: Subject) -> tuple[str, str] | None:
    """How another process names the subject: the folder to start in and its spec; None for what lives only here."""
    if not dataclasses.is_dataclass(subject.part) or type(subject.part).__module__ == "__main__":
        return None
    spec = subject.spec or spec_of(subject.part)
    try:
        part = parse_part(spec)
    except WorldKVError:
        return None
    if subject.spec is None and part != subject.part:
        return None
    return str(Path.cwd()), spec


def main(spec: str, *, is_reversed: bool) -> None:
    """What the other process runs: print a line for each reference rollout of the policy that `spec` names.

    Args:
        spec: the policy's name.
        is_reversed: whether the last rollout is run first; the lines stay in order.
    """
    subject = Subject(parse_part(spec), spec)
    scenarios = reference_scenarios(subject)
    order = reversed(range(len(scenarios))) if is_reversed else range(len(scenarios))
    told = {number: digest(subject, scenarios[number]) for number in order}
    print("\n".join(told[number] for number in range(len(scenarios))))
