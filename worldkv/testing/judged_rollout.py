"""Run a rollout and judge every answer before the engine sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from worldkv.config import CacheConfig
from worldkv.errors import WorldKVError
from worldkv.testing.check import CheckFailed
from worldkv.testing.policy_under_test import PolicyUnderTest
from worldkv.testing.recording_policy import Instrument, Question
from worldkv.testing.scenario import Scenario
from worldkv.testing.trial import Trial


def judged_rollout(
    under_test: PolicyUnderTest,
    scenario: Scenario,
    judge: Callable[[Question], None] | None = None,
    *,
    config: CacheConfig | None = None,
    instrument: Instrument | None = None,
    judge_views: Callable[..., None] | None = None,
) -> Trial:
    """Run `scenario` to its end or to the first wrong answer.

    Args:
        under_test: the policy to run.
        scenario: the rollout.
        judge: sees every answer; raises `CheckFailed` for a wrong one. None judges the views alone.
        config: another room than the scenario's.
        instrument: changes what the policy is shown.
        judge_views: sees the views before the policy does; raises `CheckFailed` as `judge` does.

    Raises:
        CheckFailed: what `judge` or `judge_views` raised first, whatever the engine said of the same answer.
        WorldKVError: the engine refused an answer that `judge` accepted.
    """
    complaints: list[CheckFailed] = []

    def on_question(question: Question) -> None:
        try:
            if judge is not None:
                judge(question)
        except CheckFailed as failure:  # raised here it would reach the engine as the policy's own failure
            complaints.append(failure)

    def show(*shown: Any) -> tuple[Any, ...]:
        try:
            if judge_views is not None:
                judge_views(*shown)
        except CheckFailed as failure:
            complaints.append(failure)
        return shown if instrument is None else instrument(*shown)

    trial = Trial(under_test.fitted(scenario.geometry), scenario, on_question, config, show)
    try:
        while len(trial.records) < len(trial.viewpoints) and not complaints:
            trial.run(1)
    except WorldKVError:
        if not complaints:
            raise
    if complaints:
        raise complaints[0]
    return trial
