"""The conformance kit's front: check a policy or a part, in a test or for a report."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from worldkv.errors import SpecError, did_you_mean
from worldkv.policy import CachePolicy, Compression, CoverageIndex, EvictionRule, Index, Part
from worldkv.specs.parse import parse_part
from worldkv.testing import checks as checks  # registers every check
from worldkv.testing.check import CHECKS, Check, CheckFailed, judge, run_check
from worldkv.testing.policy_under_test import Subject
from worldkv.testing.report import Finding, Report, Status
from worldkv.testing.scenario import Scenario

if TYPE_CHECKING:
    import pytest

_HUNG = "nothing came back within"
EXAMPLES = 25
"""Rollouts tried by a check unless more are asked for."""


def subject_of(subject: Part | Subject | str) -> Subject:
    """What is to be checked, from a policy, a part or a spec string.

    Raises:
        SpecError: neither a policy nor a part that `composed` can hold, or no such spec.
    """
    if isinstance(subject, Subject):
        return subject
    if isinstance(subject, str):
        return Subject(parse_part(subject), subject)
    return Subject(subject)


def checks_for(subject: Subject) -> list[Check]:
    """The checks that concern it: those of every policy, and those of its own kind of part."""
    return [
        one for one in CHECKS.values() if isinstance(subject.policy, one.kind) or isinstance(subject.part, one.kind)
    ]


def examine(
    subject: Part | Subject | str,
    *,
    examples: int = EXAMPLES,
    seed: int = 0,
    only: Sequence[str] | None = None,
    on_check: Callable[[str], None] | None = None,
) -> Report:
    """Every check on a policy, a part or a spec; never raises for what it finds.

    Args:
        subject: a policy, a part (it is put into `composed`), or a spec string.
        examples: rollouts tried by a check; a thorough run takes some hundreds.
        seed: of the search; the same seed tries the same rollouts.
        only: names of checks; all that concern the subject by default.
        on_check: told each check's name before it runs.

    Raises:
        SpecError: it cannot be checked at all, or no check has that name.
    """
    who = subject_of(subject)
    chosen = concerned = checks_for(who)
    if only is not None:
        for name in only:
            if name not in CHECKS:
                raise SpecError(f"there is no check {name!r}; {did_you_mean(name, CHECKS)}")
        chosen = [one for one in CHECKS.values() if one.name in only]
    found: list[Finding] = []
    refusal = who.refusal
    for one in chosen:
        if on_check is not None:
            on_check(one.name)
        if one not in concerned:
            found.append(Finding(one.name, one.claim, "skipped", 0.0, f"it is of every {one.kind.__name__}"))
        elif refusal is not None:
            status: Status = "failed" if one.owns_errors else "blocked"
            found.append(Finding(one.name, one.claim, status, 0.0, f"it starts in no cache shape: {refusal}"))
        elif found and found[-1].status in ("failed", "blocked") and _HUNG in found[-1].message:
            found.append(Finding(one.name, one.claim, "blocked", 0.0, f"{_HUNG}, and may again"))
        else:
            found.append(run_check(one, who, examples, seed))
    return Report(who.spec or repr(who.part), tuple(_with_a_failure(found)))


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
    subjects: Iterable[Part | str], *, examples: int = EXAMPLES, seed: int = 0, leave_out: Collection[str] = ()
) -> pytest.MarkDecorator:
    """A pytest decorator: one test for every subject and check, named after both.

    The test function takes `subject` and `check` and calls `check(subject)`. A check that does not concern a subject
    is skipped with the reason.

    Args:
        subjects: policies and parts, or their specs.
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
    for subject in subjects:
        who = subject_of(subject)
        name = who.spec or type(who.part).__name__
        for one in checks_for(who):
            if one.name not in leave_out:
                cases.append(pytest.param(who, _as_test(one, examples, seed), id=f"{name}-{one.name}"))
    return pytest.mark.parametrize(("subject", "check"), cases)


def replay(subject: Part | str, check: str, scenario: Scenario | None = None) -> None:
    """Run one check on one rollout; raises what it finds, so that a debugger stops there.

    Args:
        subject: a policy or part, or its spec.
        check: the check's name.
        scenario: the rollout; None for a check that needs none.

    Raises:
        CheckFailed: the check is not met.
        SpecError: no check of that name, or the rollout is missing.
    """
    if check not in CHECKS:
        raise SpecError(f"there is no check {check!r}; {did_you_mean(check, CHECKS)}")
    one, who = CHECKS[check], subject_of(subject)
    if one.scenarios is None:
        judge(one, who)
    elif scenario is None:
        raise SpecError(f"{check} is tried on a rollout; give a Scenario")
    else:
        judge(one, who, scenario)


def _as_test(one: Check, examples: int, seed: int) -> Callable[[Subject], None]:
    def test(subject: Subject) -> None:
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
