"""Check a policy or a part: in a test, or for a report."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from worldkv.errors import SpecError, did_you_mean
from worldkv.policy import CachePolicy, Compression, CoverageIndex, EvictionRule, Index, Part
from worldkv.specs.parse import parse_part
from worldkv.testing import checks as checks  # registers every check
from worldkv.testing.check import CHECKS, Check, CheckFailed, judge, run_check
from worldkv.testing.policy_under_test import PolicyUnderTest
from worldkv.testing.report import Finding, Report, Status
from worldkv.testing.scenario import Scenario

if TYPE_CHECKING:
    import pytest

_TIMED_OUT = "nothing came back within"
EXAMPLES = 25
"""Rollouts tried by a check unless more are asked for."""


def put_under_test(policy_or_part: Part | PolicyUnderTest | str) -> PolicyUnderTest:
    """The policy under test made of a policy, a part or a spec string.

    Raises:
        SpecError: neither a policy nor a part that `composed` can hold, or no such spec.
    """
    if isinstance(policy_or_part, PolicyUnderTest):
        return policy_or_part
    if isinstance(policy_or_part, str):
        return PolicyUnderTest(parse_part(policy_or_part), policy_or_part)
    return PolicyUnderTest(policy_or_part)


def checks_for(under_test: PolicyUnderTest) -> list[Check]:
    """The checks that concern it: those of every policy, and those of its own kind of part."""
    return [
        one
        for one in CHECKS.values()
        if isinstance(under_test.policy, one.kind) or isinstance(under_test.part, one.kind)
    ]


def examine(
    policy_or_part: Part | PolicyUnderTest | str,
    *,
    examples: int = EXAMPLES,
    seed: int = 0,
    only: Sequence[str] | None = None,
    on_check: Callable[[str], None] | None = None,
) -> Report:
    """Run every check on a policy, a part or a spec; findings are reported, not raised.

    Args:
        policy_or_part: a policy, a part (it is put into `composed`), or a spec string.
        examples: rollouts tried by a check; a thorough run takes some hundreds.
        seed: of the search; the same seed tries the same rollouts.
        only: names of checks; all that concern it by default.
        on_check: told each check's name before it runs.

    Raises:
        SpecError: it cannot be checked at all, or no check has that name.
    """
    under_test = put_under_test(policy_or_part)
    chosen = concerned = checks_for(under_test)
    if only is not None:
        for name in only:
            if name not in CHECKS:
                raise SpecError(f"there is no check {name!r}; {did_you_mean(name, CHECKS)}")
        chosen = [one for one in CHECKS.values() if one.name in only]
    found: list[Finding] = []
    refusal = under_test.refusal
    for one in chosen:
        if on_check is not None:
            on_check(one.name)
        if one not in concerned:
            found.append(Finding(one.name, one.claim, "skipped", 0.0, f"it is of every {one.kind.__name__}"))
        elif refusal is not None:
            status: Status = "failed" if one.owns_errors else "blocked"
            found.append(Finding(one.name, one.claim, status, 0.0, f"it starts in no cache shape: {refusal}"))
        elif found and found[-1].status in ("failed", "blocked") and _TIMED_OUT in found[-1].message:
            found.append(Finding(one.name, one.claim, "blocked", 0.0, f"{_TIMED_OUT}, and may again"))
        else:
            found.append(run_check(one, under_test, examples, seed))
    return Report(under_test.spec or repr(under_test.part), tuple(_with_a_failure(found)))


def _with_a_failure(found: list[Finding]) -> list[Finding]:
    """The findings, the first of the blocked told as failed where nothing else is: its reason is the fault."""
    statuses = [finding.status for finding in found]
    if "blocked" in statuses and "failed" not in statuses:
        first = statuses.index("blocked")
        found[first] = dataclasses.replace(found[first], status="failed")
    return found


def check_policy(policy: CachePolicy, *, examples: int = EXAMPLES, seed: int = 0) -> Report:
    """Every check on a policy, for tests: raises where `examine` reports.

    Raises:
        CheckFailed: something is not met; each with what to fix, the smallest example and code that shows it again.
    """
    return _met(examine(policy, examples=examples, seed=seed))


def check_index(index: Index | CoverageIndex, *, examples: int = EXAMPLES, seed: int = 0) -> Report:
    """Every check on an index, put into `composed`; see `check_policy`."""
    return _met(examine(index, examples=examples, seed=seed))


def check_compression(rule: Compression, *, examples: int = EXAMPLES, seed: int = 0) -> Report:
    """Every check on a compression, put into `composed`; see `check_policy`."""
    return _met(examine(rule, examples=examples, seed=seed))


def check_eviction(rule: EvictionRule, *, examples: int = EXAMPLES, seed: int = 0) -> Report:
    """Every check on an eviction rule, put into `composed`; see `check_policy`."""
    return _met(examine(rule, examples=examples, seed=seed))


def parametrize_with_checks(
    policies_or_parts: Iterable[Part | str], *, examples: int = EXAMPLES, seed: int = 0, leave_out: Collection[str] = ()
) -> pytest.MarkDecorator:
    """A pytest decorator: one test for every policy or part and every check, named after both.

    The test function takes `subject` and `check` and calls `check(subject)`. A check that does not concern the policy
    is skipped with the reason.

    Args:
        policies_or_parts: policies and parts, or their specs.
        examples: rollouts a check tries.
        seed: of the rollouts.
        leave_out: names of checks to leave out.

    Raises:
        SpecError: there is no check of a name to leave out.
    """
    import pytest

    for name in leave_out:
        if name not in CHECKS:
            raise SpecError(f"there is no check {name!r}; {did_you_mean(name, CHECKS)}")
    cases = []
    for under_test in map(put_under_test, policies_or_parts):
        name = under_test.spec or type(under_test.part).__name__
        for one in checks_for(under_test):
            if one.name not in leave_out:
                cases.append(pytest.param(under_test, _as_test(one, examples, seed), id=f"{name}-{one.name}"))
    return pytest.mark.parametrize(("subject", "check"), cases)


def replay(policy_or_part: Part | str, check: str, scenario: Scenario | None = None) -> None:
    """Run one check on one rollout; raises what it finds, so that a debugger stops there.

    Args:
        policy_or_part: a policy or part, or its spec.
        check: the check's name.
        scenario: the rollout; None for a check that needs none.

    Raises:
        CheckFailed: the check is not met.
        SpecError: no check of that name, or the rollout is missing.
    """
    if check not in CHECKS:
        raise SpecError(f"there is no check {check!r}; {did_you_mean(check, CHECKS)}")
    one, under_test = CHECKS[check], put_under_test(policy_or_part)
    if one.scenarios is None:
        judge(one, under_test)
    elif scenario is None:
        raise SpecError(f"{check} is tried on a rollout; give a Scenario")
    else:
        judge(one, under_test, scenario)


def _as_test(one: Check, examples: int, seed: int) -> Callable[[PolicyUnderTest], None]:
    def test(subject: PolicyUnderTest) -> None:
        finding = run_check(one, subject, examples, seed)
        if finding.status == "skipped":
            import pytest

            pytest.skip(finding.message)
        _met(Report(subject.spec or repr(subject.part), (finding,)))

    test.__name__ = one.name
    return test


def _met(report: Report) -> Report:
    if not report.passed:
        raise CheckFailed(str(report))
    return report
