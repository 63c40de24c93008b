"""Check a policy at its limits: everything kept is full KV, and an oracle gets no worse with more room."""

from __future__ import annotations

from collections.abc import Mapping

from worldkv.errors import SpecError
from worldkv.metrics.landmarks import place_landmarks
from worldkv.policy import CachePolicy
from worldkv.signals import Signal
from worldkv.testing.check import CheckFailed, NotApplicable, check
from worldkv.testing.policy_under_test import PolicyUnderTest, with_fields
from worldkv.testing.scenario import Scenario
from worldkv.testing.strategies import scenarios
from worldkv.testing.trial import Trial


@check("A policy that keeps everything is full KV.", kind=CachePolicy, scenarios=scenarios, share=0.5)
def everything_kept_is_full_kv(under_test: PolicyUnderTest, scenario: Scenario) -> None:
    """With room for all in retrieved_frames and keep_ratio 1, or an unbounded window, every token is attended."""
    geometry = scenario.geometry
    policy = under_test.fitted(geometry)
    if under_test.is_data_dependent:
        raise NotApplicable("how much it keeps depends on keys, and it says so")
    if policy.is_bounded:
        frames = len(scenario.script) * geometry.frames_per_chunk
        try:
            generous = with_fields(policy, retrieved_frames=frames, keep_ratio=1.0)
        except SpecError as error:
            raise NotApplicable(f"it cannot be told to keep everything: {error}") from None
        if generous is None:
            raise NotApplicable("its window is bounded and it has neither retrieved_frames nor keep_ratio to open up")
        policy = generous
    trial = Trial(policy, scenario).run()
    for step, record in enumerate(trial.records):
        plan = record.plan
        if policy.is_bounded and len(plan.attended) < step:
            continue  # it leaves out by choice what it could have
        if plan.attended.tolist() != list(range(step)):
            raise CheckFailed(
                f"it says that its window is not bounded, and attends {plan.attended.tolist()} at step {step} of all "
                f"{step} chunks; say is_bounded = True"
            )
        if policy is under_test.fitted(geometry) and record.shrunk:
            raise NotApplicable("it thins what it keeps, by choice")
        whole = (step + 1) * geometry.chunk_tokens
        if plan.attended_tokens != whole:
            if with_fields(under_test.policy, keep_ratio=1.0) is None:
                raise NotApplicable("it prunes what it stores and has no keep_ratio to open up")
            raise CheckFailed(
                f"with room for everything it attends all {step} chunks at step {step}, but {plan.attended_tokens} of "
                f"their {whole} tokens; keep_ratio 1 must keep every token"
            )


@check("More room never lowers an oracle's recall.", kind=CachePolicy, share=0.2)
def more_room_never_hurts_an_oracle(under_test: PolicyUnderTest) -> Mapping[str, float]:
    """By the very landmarks that the metric counts, on three paths."""
    if Signal.LANDMARKS not in under_test.needs:
        raise NotApplicable("only a policy that reads landmarks knows what will be counted")
    from worldkv.sim.machine import load_machine
    from worldkv.sim.rollout import simulate
    from worldkv.trajectory import cut, load_trajectory

    geometry, machine = under_test.geometries[0], load_machine("worldkv-project-page")
    highest = 0.0
    for path in ("generate:tour:rooms=4,seed=2,chunks=40", "generate:loop", "script:RRR360_540"):
        chunked = cut(load_trajectory(path), geometry)
        landmarks = place_landmarks(chunked)
        before = 0.0
        for chunks in (2, 3, 5, 8, 13, 21):
            policy = under_test.fitted(geometry).resized(chunks * geometry.chunk_tokens, geometry)
            if policy is None:
                raise NotApplicable("it cannot be given another size (resized answers None)")
            recall = simulate(chunked, policy, geometry, machine, landmarks=landmarks).recall or 0.0
            if recall < before - 1e-12:
                raise CheckFailed(
                    f"on {path} its recall is {recall:.4f} with a window of {chunks} chunks and {before:.4f} with "
                    "fewer; an oracle keeps what the smaller one kept, or finds better"
                )
            before = recall
        highest = max(highest, before)
    return {"recall": highest}
