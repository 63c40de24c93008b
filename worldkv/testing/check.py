"""Define a check, a claim about policies, and search for the smallest rollout that refutes it."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from worldkv.errors import WorldKVError
from worldkv.testing.motion_script import MotionScript
from worldkv.testing.policy_under_test import PolicyUnderTest
from worldkv.testing.replay_code import code_of, replay_code
from worldkv.testing.report import Finding
from worldkv.testing.scenario import Scenario
from worldkv.testing.timeout import TimedOut, time_limit

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

SHRINK_SECONDS = 3.0
"""Time spent on making a failing example smaller."""


class CheckFailed(AssertionError):
    """A check is not met: what is wrong and what to fix, in a sentence."""


class NotApplicable(Exception):  # noqa: N818  (not an error: the check has nothing to say here)
    """A check does not concern this policy: why."""


Scenarios = Callable[[PolicyUnderTest], "SearchStrategy[Scenario]"]


@dataclass(frozen=True)
class Check:
    """One claim about every policy, or every part of a kind.

    Attributes:
        name: its name, as users type it.
        claim: what a correct policy or part does.
        kind: what it concerns: every policy, or parts of this class.
        judge: called with the policy under test and, where there are `scenarios`, one of them; raises `CheckFailed` and
            may return figures.
        scenarios: the rollouts to try; None for a check that needs none.
        owns_errors: whether an error of the engine or the policy fails this check; others are blocked by it.
        share: of the examples asked for, how many it takes; costly checks take fewer.
        is_hard: whether the rollouts known to be hard are tried before any are drawn.
    """

    name: str
    claim: str
    kind: type
    judge: Callable[..., Mapping[str, float] | None]
    scenarios: Scenarios | None
    owns_errors: bool = False
    share: float = 1.0
    is_hard: bool = False


CHECKS: dict[str, Check] = {}
"""Every check by name, in the order in which they run."""


def check(
    claim: str,
    *,
    kind: type,
    scenarios: Scenarios | None = None,
    owns_errors: bool = False,
    share: float = 1.0,
    is_hard: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function as a check under its own name; see `Check` for the arguments."""

    def register(judge: Callable[..., Any]) -> Callable[..., Any]:
        CHECKS[judge.__name__] = Check(judge.__name__, claim, kind, judge, scenarios, owns_errors, share, is_hard)
        return judge

    return register


def judge(one: Check, *about: Any) -> Mapping[str, float] | None:
    """Run one check once; an error that the check owns is a failure.

    Raises:
        CheckFailed: the check is not met.
    """
    try:
        with time_limit(), _same_chance():
            return one.judge(*about)
    except (CheckFailed, NotApplicable):
        raise
    except (Exception, SystemExit) as error:
        if not one.owns_errors:
            raise
        raise CheckFailed(_sentence(error)) from error


@contextlib.contextmanager
def _same_chance() -> Iterator[None]:
    """Start the global generators from the same seed, so that a policy that draws from them fails the same again."""
    states = random.getstate(), np.random.get_state()
    random.seed(0)
    np.random.seed(0)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def run_check(one: Check, under_test: PolicyUnderTest, examples: int, seed: int) -> Finding:
    """Try `one` on `under_test`.

    Args:
        one: the check.
        under_test: the policy.
        examples: rollouts to try.
        seed: of the search; the same seed tries the same rollouts.
    """
    started = time.perf_counter()
    status, message, example, replay, figures = _tried(one, under_test, max(3, round(examples * one.share)), seed)
    seconds = time.perf_counter() - started
    return Finding(one.name, one.claim, status, seconds, message, example, replay, figures)


def _tried(
    one: Check, under_test: PolicyUnderTest, examples: int, seed: int
) -> tuple[Any, str, str | None, str | None, Any]:
    scenario: Scenario | None = None
    try:
        if one.scenarios is None:
            figures = judge(one, under_test)
        else:
            search = _Search(one, under_test)
            try:
                figures = search.run(one.scenarios, examples, seed)
            except TimedOut:
                scenario = search.tried
                raise
            if search.failure is not None:
                scenario = search.scenario
                raise search.failure
            if search.blocked is not None:
                raise search.blocked
            if search.inapplicable and not search.is_judged:
                raise search.inapplicable[-1]
    except NotApplicable as reason:
        return "skipped", str(reason), None, None, {}
    except CheckFailed as failure:
        example = None if scenario is None else f"{scenario}; {code_of(scenario.script)}"
        return "failed", str(failure), example, replay_code(under_test, one.name, scenario), {}
    except TimedOut as error:
        return "failed", str(error), None, replay_code(under_test, one.name, scenario), {}
    except (Exception, SystemExit) as error:
        return "blocked", f"it cannot be judged: {_sentence(error)}", None, None, {}
    return "passed", "", None, None, figures or {}


def _sentence(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, WorldKVError) else f"{type(error).__name__}: {text}"


_ENOUGH = 12
"""Rollouts that a check does not concern before it is taken not to concern the policy at all."""


class _Search:
    """Tries scenarios, keeps the smallest that fails."""

    def __init__(self, one: Check, under_test: PolicyUnderTest) -> None:
        self._check, self._under_test = one, under_test
        self._until = float("inf")
        self.failure: CheckFailed | None = None
        self.scenario: Scenario | None = None
        self.blocked: BaseException | None = None
        self.inapplicable: list[NotApplicable] = []
        self.is_judged = False
        self.tried: Scenario | None = None
        self.figures: Mapping[str, float] = {}

    def run(self, scenarios: Scenarios, examples: int, seed: int) -> Mapping[str, float]:
        """Search; the attributes hold what was found, the answer is what was measured last."""
        from worldkv.testing.strategies import hard_scenarios

        try:
            for scenario in hard_scenarios(self._under_test) if self._check.is_hard else ():
                self._try(scenario)
        except CheckFailed:
            return self.figures
        try:
            for scenario in _drawn(scenarios, self._under_test, examples, seed):
                self._try_one_of_many(scenario)
        except CheckFailed:
            self._shrink(scenarios, examples, seed)
        return self.figures

    def _shrink(self, scenarios: Scenarios, examples: int, seed: int) -> None:
        """Draw the same rollouts again, now with hypothesis told which one fails: it makes that one smaller."""
        import hypothesis

        self._until = time.perf_counter() + SHRINK_SECONDS
        with contextlib.suppress(CheckFailed, _Enough, hypothesis.errors.Flaky, BaseExceptionGroup):
            _search(self._try_one_of_many, scenarios(self._under_test), examples, seed)

    def _try_one_of_many(self, scenario: Scenario) -> None:
        if self.is_judged or len(self.inapplicable) < _ENOUGH:
            self._try(scenario)

    def _try(self, scenario: Scenario) -> None:
        self.tried = scenario
        if time.perf_counter() > self._until:
            raise _Enough
        try:
            self.figures = judge(self._check, self._under_test, scenario) or self.figures
            self.is_judged = True
        except CheckFailed as failure:
            self._fail(scenario, failure)
        except NotApplicable as reason:
            self.inapplicable.append(reason)
        except (Exception, SystemExit) as error:
            self.blocked = self.blocked or error

    def _fail(self, scenario: Scenario, failure: CheckFailed) -> None:
        if self.failure is None:
            self.failure, self.scenario = self._first_chunks(scenario, failure)
        elif len(repr(scenario)) <= len(repr(self.scenario)):
            self.failure, self.scenario = failure, scenario
        raise failure

    def _first_chunks(self, scenario: Scenario, failure: CheckFailed) -> tuple[CheckFailed, Scenario]:
        """The fewest first chunks that still fail, by bisection: most faults stay once they are there."""
        fewest, most = 1, len(scenario.script)
        while fewest < most:
            middle = (fewest + most) // 2
            shorter = dataclasses.replace(scenario, script=MotionScript(scenario.script.moves[:middle]))
            try:
                judge(self._check, self._under_test, shorter)
            except CheckFailed as found:
                failure, scenario, most = found, shorter, middle
            except Exception:  # whatever else goes wrong there is not this fault
                fewest = middle + 1
            else:
                fewest = middle + 1
        return failure, scenario


@lru_cache(maxsize=32)
def _drawn(scenarios: Scenarios, under_test: PolicyUnderTest, examples: int, seed: int) -> tuple[Scenario, ...]:
    """Rollouts for one policy; all checks with the same strategy try the same ones, so they are drawn once."""
    drawn: list[Scenario] = []
    _search(drawn.append, scenarios(under_test), examples, seed)
    return tuple(drawn)


def _search(attempt: Callable[[Scenario], None], strategy: SearchStrategy[Scenario], examples: int, seed: int) -> None:
    """Have hypothesis call `attempt` with rollouts, and with smaller ones once it raises."""
    import hypothesis

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
        suppress_health_check=list(hypothesis.HealthCheck),
        verbosity=hypothesis.Verbosity.quiet,
        report_multiple_bugs=False,
        print_blob=False,
    )
    @hypothesis.given(strategy)
    def tried(scenario: Scenario) -> None:
        attempt(scenario)

    tried()


class _Enough(BaseException):
    """Ends the search for a smaller example; a `BaseException`, which hypothesis lets through."""
