"""Run reference rollouts in other processes and compare digests of their decisions."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from worldkv.errors import WorldKVError
from worldkv.specs.parse import parse_part, spec_of
from worldkv.testing.check import CheckFailed
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


def digests(under_test: PolicyUnderTest, *, is_reversed: bool = False) -> list[str]:
    """All decisions of each reference rollout as one hexadecimal number; reversed, the last rollout is run first."""
    scenarios = reference_scenarios(under_test)
    order = reversed(scenarios) if is_reversed else scenarios
    told = [repr(decisions(Trial(under_test.fitted(scenario.geometry), scenario).run().records)) for scenario in order]
    found = [hashlib.sha256(text.encode()).hexdigest() for text in told]
    return found[::-1] if is_reversed else found


def same_elsewhere(several: Iterable[PolicyUnderTest]) -> dict[str, bool]:
    """By the spec of each policy, whether two other processes decide the same.

    Hashes of strings and the order of the rollouts are others there. A policy that no spec names is left out.

    Raises:
        CheckFailed: a process failed.
    """
    named = {spec: under_test for under_test in several if (spec := _spec_elsewhere(under_test)) is not None}
    if not named:
        return {}
    here = {spec: digests(under_test) for spec, under_test in named.items()}
    children = [_start(list(named), seed, is_reversed) for seed, is_reversed in (("1", False), ("2", True))]
    told = [child.communicate() for child in children]
    for child, (_, complaint) in zip(children, told, strict=True):
        if child.returncode:
            last = complaint.strip().splitlines()[-1:] or ["it said nothing"]
            raise CheckFailed(f"{', '.join(named)} cannot be run in another process: {last[0]}")
    there = [json.loads(printed.splitlines()[-1]) for printed, _ in told]
    return {spec: all(one[spec] == here[spec] for one in there) for spec in named}


def main(specs: Sequence[str], *, is_reversed: bool) -> None:
    """Print the digests of each policy as the last line, in JSON; the other process runs this.

    Args:
        specs: the policies' names.
        is_reversed: whether the last policy and its last rollout are run first.
    """
    found = {}
    for spec in reversed(specs) if is_reversed else specs:
        found[spec] = digests(PolicyUnderTest(parse_part(spec), spec), is_reversed=is_reversed)
    print(json.dumps(found))


def _spec_elsewhere(under_test: PolicyUnderTest) -> str | None:
    """The spec by which another process finds the policy; None where only this process has it."""
    if not dataclasses.is_dataclass(under_test.part) or type(under_test.part).__module__ == "__main__":
        return None
    spec = under_test.spec or spec_of(under_test.part)
    try:
        part = parse_part(spec)
    except WorldKVError:
        return None
    if under_test.spec is None and part != under_test.part:
        return None
    return spec


def _start(specs: list[str], hash_seed: str, is_reversed: bool) -> subprocess.Popen[str]:
    folder = str(Path.cwd())
    path = os.pathsep.join(entry or folder for entry in sys.path)
    return subprocess.Popen(
        [sys.executable, "-c", f"from {__name__} import main; main({specs!r}, is_reversed={is_reversed})"],
        cwd=folder,
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
