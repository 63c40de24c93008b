"""Run several policies along one trajectory at matched window size, and compare their recall."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from worldkv.config import CacheConfig
from worldkv.errors import BudgetError
from worldkv.geometry import CacheGeometry
from worldkv.metrics.landmarks import Landmarks
from worldkv.policy import CachePolicy
from worldkv.sim.budgets import Budget
from worldkv.sim.candidate import ANY_SIZE_TOKENS
from worldkv.sim.candidate import Candidate as Candidate
from worldkv.sim.machine import Machine
from worldkv.sim.rollout import OnStep, RolloutRecord, simulate
from worldkv.trajectory.chunked import ChunkedTrajectory


@dataclass(frozen=True, eq=False)
class ComparisonSetup:
    """Trajectory, cache shape, machine and room that all rows of a comparison share.

    Attributes:
        chunked: the trajectory as the policies see it.
        geometry: the model's cache shape.
        machine: rates for the time model.
        config: room for every row's cache.
        landmarks: the metric's landmarks of the true trajectory; None skips recall.
        oracle: the oracle by which shares are measured; None leaves shares out.
        pose_noise: drift of the poses that policies see, as a share of every motion.
        seed: of landmarks and pose noise.
    """

    chunked: ChunkedTrajectory
    geometry: CacheGeometry
    machine: Machine
    config: CacheConfig
    landmarks: Landmarks | None = None
    oracle: CachePolicy | None = None
    pose_noise: float = 0.0
    seed: int = 0

    def __repr__(self) -> str:
        return f"ComparisonSetup on {self.chunked!r}, {self.geometry.name}, machine {self.machine.name}"


Execute = Callable[[ComparisonSetup, CachePolicy, OnStep | None], RolloutRecord]
"""Runs one policy of a setup, by simulation or on tensors."""


def simulated(setup: ComparisonSetup, policy: CachePolicy, watch: OnStep | None = None) -> RolloutRecord:
    """Roll out the policy without tensors.

    Raises:
        SpecError, SignalError, BudgetError: see `CacheEngine`.
    """
    return simulate(
        setup.chunked,
        policy,
        setup.geometry,
        setup.machine,
        config=setup.config,
        landmarks=setup.landmarks,
        on_step=watch,
    )


@dataclass(eq=False)
class Row:
    """One policy's rollout, its size, and its share of the oracle's recall.

    Attributes:
        candidate: the policy at the size it ran at.
        rollout: the record of its rollout.
        share_of_oracle: its recall over that of the oracle at the same window tokens; None without recall.
        is_matched: whether its size was set, to the reference's or to a budget.
        budget: the budget it was sized to; None for its own size or the reference's.
        budget_tokens: that budget in tokens on this trajectory.
    """

    candidate: Candidate
    rollout: RolloutRecord
    share_of_oracle: float | None = None
    is_matched: bool = False
    budget: Budget | None = None
    budget_tokens: int | None = None

    def __repr__(self) -> str:
        return f"Row of {self.candidate.label}: {self.rollout!r}"


@dataclass(frozen=True)
class LeftOut:
    """A policy that cannot be made as small as a budget, so that it has no row there.

    Attributes:
        label: the policy's name in tables.
        budget: the budget.
        tokens: that budget in tokens on this trajectory.
    """

    label: str
    budget: Budget
    tokens: int


@dataclass(eq=False)
class ComparedRows:
    """The rows of a comparison, in the order of the given policies.

    Attributes:
        setup: what the rows share.
        rows: one a policy.
        matched_to: label of the policy whose peak window the others were sized to; None where nothing was matched.
        matched_tokens: that peak.
        budgets: the given sizes; empty where rows are matched to one another.
        left_out: policies without a row at some budget.
        retrieved: chunks retrieved at every step of each row, by label; empty where they were not kept.
    """

    setup: ComparisonSetup
    rows: list[Row] = field(default_factory=list)
    matched_to: str | None = None
    matched_tokens: int | None = None
    budgets: tuple[Budget, ...] = ()
    left_out: list[LeftOut] = field(default_factory=list)
    retrieved: dict[str, list[tuple[int, ...]]] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"ComparedRows of {', '.join(row.candidate.label for row in self.rows)} on {self.setup.chunked!r}"


def compare_candidates(
    setup: ComparisonSetup,
    candidates: Sequence[Candidate],
    *,
    match_window_tokens: bool = True,
    on_step: Callable[[str], OnStep] | None = None,
    execute: Execute = simulated,
) -> ComparedRows:
    """Run every candidate; with `match_window_tokens`, at the window size of the first bounded one that keeps its size.

    Args:
        setup: trajectory, cache shape, machine and room of all rows.
        candidates: the policies, in table order.
        match_window_tokens: whether sizes are matched.
        on_step: makes the callback of a row's steps from its label.
        execute: runs one row; the oracle that shares are taken of is always simulated.

    Raises:
        SpecError, SignalError, BudgetError: see `CacheEngine`.
    """

    def run(candidate: Candidate) -> RolloutRecord:
        return run_candidate(setup, candidate, None if on_step is None else on_step(candidate.label), execute)

    result = ComparedRows(setup)
    done: dict[str, RolloutRecord] = {}
    reference = _reference(candidates, setup.geometry) if match_window_tokens else None
    if reference is not None:
        done[reference.label] = run(reference)
        result.matched_to = reference.label
        result.matched_tokens = int(done[reference.label].attended_tokens.max())
    for candidate in candidates:
        sized = None
        if result.matched_tokens is not None and candidate is not reference:
            sized = candidate.matched(result.matched_tokens, setup.geometry)
        final = sized or candidate
        rollout = done.get(candidate.label) or run(final)
        result.rows.append(Row(final, rollout, is_matched=sized is not None))
    share_of_oracle(setup, result.rows)
    return result


def _reference(candidates: Sequence[Candidate], geometry: CacheGeometry) -> Candidate | None:
    """The first bounded candidate whose size is its own or the user's; else the first bounded one."""
    bounded = [candidate for candidate in candidates if candidate.policy.is_bounded]
    own = [candidate for candidate in bounded if candidate.matched(ANY_SIZE_TOKENS, geometry) is None]
    return next(iter(own or bounded), None)


def run_candidate(
    setup: ComparisonSetup, candidate: Candidate, watch: OnStep | None = None, execute: Execute = simulated
) -> RolloutRecord:
    """Run one candidate.

    Raises:
        SpecError, SignalError, BudgetError: see `CacheEngine`; a budget's names the row.
    """
    try:
        return execute(setup, candidate.policy, watch)
    except BudgetError as error:
        raise BudgetError(f"{candidate.label}: {error}") from None


def share_of_oracle(setup: ComparisonSetup, rows: Sequence[Row]) -> None:
    """Set each row's recall over the oracle's at the row's window tokens; the oracle runs once for each size."""
    if setup.oracle is None:
        return
    limits = setup.config.limits
    is_unlimited = limits.host_bytes is None and limits.spare_bytes is None
    best: dict[CachePolicy, float | None] = {}
    if is_unlimited:
        best = {row.candidate.policy: row.rollout.recall for row in rows}
    for row in rows:
        if row.rollout.recall is None:
            continue
        tokens = int(row.rollout.attended_tokens.max())
        if tokens >= setup.chunked.num_chunks * setup.geometry.chunk_tokens:
            row.share_of_oracle = row.rollout.recall  # everything fits: the oracle's recall is 1 by definition
            continue
        oracle = setup.oracle.resized(tokens, setup.geometry)
        if oracle is None:
            continue
        if oracle not in best:
            best[oracle] = simulated(replace(setup, config=CacheConfig()), oracle).recall
        top = best[oracle]
        row.share_of_oracle = row.rollout.recall / top if top else None
