"""Check what a policy promises: plain data, pinned chunks, a bounded window, the size it was given."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, get_args

import numpy as np

from worldkv.errors import WorldKVError
from worldkv.geometry import CacheGeometry
from worldkv.policy import CachePolicy, Change, Part, Positions
from worldkv.specs.parse import parse_policy, spec_of
from worldkv.testing.check import CheckFailed, NotApplicable, check
from worldkv.testing.instrumented_views import InstrumentedViews
from worldkv.testing.judged_rollout import judged_rollout
from worldkv.testing.motion_script import MotionScript, Move
from worldkv.testing.policy_under_test import PolicyUnderTest
from worldkv.testing.scenario import Scenario
from worldkv.testing.strategies import scenarios
from worldkv.testing.trial import Trial

_LENGTHS = (128, 512, 2048)
"""Chunks of a rollout, a longer one where the window still grows in its second half."""


@check("It is a frozen dataclass, and its spec string makes its equal.", kind=CachePolicy)
def is_plain_data(under_test: PolicyUnderTest) -> None:
    """Equal parameters make equal policies; what a policy remembers lies in the views."""
    policy = under_test.policy
    for part in under_test.parts:
        if not dataclasses.is_dataclass(part):
            raise CheckFailed(f"{type(part).__name__} is no dataclass; put @dataclass(frozen=True) above the class")
        params = getattr(type(part), "__dataclass_params__", None)
        if params is not None and not params.frozen:
            raise CheckFailed(
                f"{type(part).__name__} can be changed after it was made; put @dataclass(frozen=True) above the class"
            )
        _refuse_lost_fields(part)
        unknown = part.invariant_under - set(get_args(Change))
        if unknown:
            raise CheckFailed(
                f"{type(part).__name__}.invariant_under holds {min(unknown)!r}; it may hold "
                f"{' and '.join(map(repr, get_args(Change)))}"
            )
        for field in dataclasses.fields(part):
            if isinstance(getattr(part, field.name), np.ndarray | list | dict | set):
                raise CheckFailed(
                    f"{type(part).__name__}.{field.name} is a {type(getattr(part, field.name)).__name__}, which can be "
                    "changed; take a tuple, or make it from parameters when it is asked for"
                )
    if not isinstance(policy.positions, Positions):
        raise CheckFailed(f"positions is {policy.positions!r}; it must be a Positions part, such as Absolute()")
    if not isinstance(policy.is_bounded, bool):
        raise CheckFailed(f"is_bounded is {policy.is_bounded!r}; it must be True or False: is @property missing?")
    if dataclasses.replace(policy) != policy:  # type: ignore[type-var]
        raise CheckFailed(f"a copy of {under_test.name} with the same parameters is not equal to it; compare by fields")
    try:
        twin = parse_policy(spec_of(policy))
    except WorldKVError:
        return  # it lives in a test, or holds what a spec string cannot say
    if type(twin) is type(policy) and twin != policy:
        raise CheckFailed(f"its spec string {spec_of(policy)!r} makes another policy: {twin}")


@check("Pinned chunks (sink, recent, reference) are never evicted.", kind=CachePolicy, scenarios=scenarios)
def pinned_chunks_stay(under_test: PolicyUnderTest, scenario: Scenario) -> None:
    """What `pinned(step)` names is at home in the window after every commit."""
    trial = Trial(under_test.fitted(scenario.geometry), scenario)
    for number in range(len(scenario.script)):
        record = trial.run(1).records[-1]
        step = number + 1
        pinned = np.asarray(_answered(under_test.fitted(scenario.geometry).pinned, step, scenario.geometry))
        if pinned.dtype.kind not in "iu" and len(np.atleast_1d(pinned)):
            raise CheckFailed(f"pinned({step}) answered {pinned.tolist()!r}; answer an array of ids")
        if len(pinned) and (pinned.min() < 0 or pinned.max() >= step or (np.diff(pinned) <= 0).any()):
            raise CheckFailed(
                f"pinned({step}) names {pinned.tolist()}; name committed chunks (0 to {step - 1}), ascending, each once"
            )
        gone = sorted(set(pinned.tolist()) - set(trial.engine.state.window_ids.tolist()))
        if gone:
            how = "evicted" if gone[0] in (*record.evicted, *record.discarded) else "no longer held"
            raise CheckFailed(
                f"evict at step {step}: chunk {gone[0]} was {how}, which pinned({step}) promises to keep "
                f"{pinned.tolist()}; spare the sink, recent and reference chunks, or promise less"
            )
        if short := [chunk for chunk in record.shrunk if chunk in pinned]:
            raise CheckFailed(
                f"evict at step {step} shrank chunk {short[0]}, which pinned({step}) promises to keep; spare it"
            )


@check("A window that is said to be bounded stops growing.", kind=CachePolicy)
def window_stops_growing(under_test: PolicyUnderTest) -> None:
    """On a path that stands still, where everything is worth keeping, and on one that never returns."""
    if not under_test.policy.is_bounded:
        raise NotApplicable("it says that its window is not bounded")
    for move in (Move(), Move(1.0, 7.0)):
        for chunks in _LENGTHS:
            scenario = Scenario(
                MotionScript((move,) * chunks), under_test.geometries[0], has_keys=under_test.is_data_dependent
            )
            tokens = [
                record.plan.attended_tokens
                for record in Trial(under_test.fitted(scenario.geometry), scenario).run().records
            ]
            early, late = max(tokens[: chunks // 2]), max(tokens[chunks // 2 :])
            if late <= early:
                break
        else:
            raise CheckFailed(
                f"over {chunks:,} chunks a step attends up to {late:,} tokens, over the first half of them up to "
                f"{early:,}: the window grows; let as much leave as enters, or say is_bounded = False"
            )


@check("The window never exceeds the size it was given.", kind=CachePolicy, scenarios=scenarios)
def window_fits_its_budget(under_test: PolicyUnderTest, scenario: Scenario) -> None:
    """`resized(tokens)` attends at most that many; a policy that reads `query.room_tokens` never asks for more."""
    geometry = scenario.geometry
    policy = under_test.fitted(geometry)
    judged = False
    for chunks in (2, 4, 7):
        budget = chunks * geometry.chunk_tokens
        smaller = _answered(policy.resized, budget, geometry)
        if smaller is None:
            continue
        judged = True
        _refuse_other_rule(policy, smaller, budget)
        peak = max(record.plan.attended_tokens for record in Trial(smaller, scenario).run().records)
        if peak > budget:
            raise CheckFailed(
                f"resized({budget}) made {smaller}, which attends {peak} tokens; the chunk being generated counts too "
                f"({geometry.chunk_tokens} tokens)"
            )
    views = InstrumentedViews()
    roomy = Trial(policy, scenario).run()
    half = max(1, max(record.plan.attended_tokens for record in roomy.records) // geometry.chunk_tokens // 2)
    config = dataclasses.replace(scenario.config(), window_budget_bytes=half * geometry.chunk_bytes, over_budget="flag")
    trial = judged_rollout(under_test, scenario, config=config, instrument=views.instrument)
    if "room_tokens" in views.read:
        judged = True
        over = [record.plan for record in trial.records if record.plan.over_budget and record.plan.retrieved]
        if over:
            raise CheckFailed(
                f"retrieve at step {over[0].step} read query.room_tokens and asked for {len(over[0].retrieved)} chunks "
                f"that do not fit: the window takes {over[0].window_bytes} bytes of {config.window_budget_bytes}; "
                "count tokens as the bank stores them (bank.tokens)"
            )
    if not judged:
        raise NotApplicable("it has no size to give (resized answers None) and does not read query.room_tokens")


def _refuse_lost_fields(part: Part) -> None:
    """Refuse a subclass whose own parameters are no fields, since the decorator is missing above it."""
    fields = {field.name for field in dataclasses.fields(part)}  # type: ignore[arg-type]
    for name, hint in vars(type(part)).get("__annotations__", {}).items():
        if name not in fields and "ClassVar" not in str(hint):
            raise CheckFailed(
                f"{type(part).__name__}.{name} is annotated but no parameter; put @dataclass(frozen=True) above "
                f"{type(part).__name__} too"
            )


def _refuse_other_rule(policy: CachePolicy, resized: CachePolicy, tokens: int) -> None:
    """Refuse a resizing that changes more than sizes."""
    for field in dataclasses.fields(policy):  # type: ignore[arg-type]
        before, after = getattr(policy, field.name), getattr(resized, field.name, None)
        if before != after and not field.name.endswith(("_frames", "_chunks", "_tokens", "_bytes")):
            raise CheckFailed(
                f"resized({tokens}) changed {field.name} from {before!r} to {after!r}; use dataclasses.replace(self, "
                "...) and change sizes only"
            )


def _answered(ask: Callable[..., Any], number: int, geometry: CacheGeometry) -> Any:
    """What a policy says of itself; its own exception is a failure."""
    try:
        return ask(number, geometry)
    except WorldKVError:
        raise
    except Exception as error:
        cure = "it must answer for every step from 0 on"
        if ask.__name__ == "resized":
            cure = "it must answer None where the policy cannot be made that small"
        raise CheckFailed(f"{ask.__name__}({number}) failed: {type(error).__name__}: {error}; {cure}") from error
