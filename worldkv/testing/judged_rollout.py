"""Running a rollout while somebody judges every answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from worldkv.config import CacheConfig
from worldkv.errors import WorldKVError
from worldkv.testing.check import CheckFailed
from worldkv.testing.policy_under_test import Subject
from worldkv.testing.recording_policy import Question
from worldkv.testing.scenario import Scenario
from worldkv.testing.trial import Trial


def watched(
    subject: Subject,
    scenario: Scenario,
    judge: Callable[[Question], None],
    config: CacheConfig | None = None,
    lens: Callable[..., tuple[Any, ...]] | None = None,
    foresee: Callable[..., None] | None = None,
) -> Trial:
    """Run `scenario` to its end; `judge` sees every answer before the engine does.

    Args:
        subject: whose policy is run.
        scenario: the rollout.
        judge: raises `CheckFailed` for an answer that it has something against.
        config: another room than the scenario's.
        lens: changes what the policy is shown.
        foresee: sees the views before the policy does, and may raise `CheckFailed` as `judge` may.

    Raises:
        CheckFailed: what `judge` or `foresee` raised first, whatever the engine said of the same answer.
        WorldKVError: the engine refused an answer that `judge` had nothing against.
    """
    complaints: list[CheckFailed] = []

    def watch(question: Question) -> None:
        try:
            judge(question)
        except CheckFailed as failure:  # raised here it would reach the engine as the policy's own failure
            complaints.append(failure)

    def show(*shown: Any) -> tuple[Any, ...]:
        try:
            if foresee is not None:
                foresee(*shown)
        except CheckFailed as failure:
            complaints.append(failure)
        return shown if lens is None else lens(*shown)

    trial = Trial(subject.policy, scenario, watch, config, show)
    try:
        while len(trial.records) < len(trial.viewpoints) and not complaints:
            trial.run(1)
    except WorldKVError:
        if not complaints:
            raise
    if complaints:
        raise complaints[0]
    return trial
