"""Several policies over one path, at matched size, judged by one metric."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace

from worldkv.config import CacheConfig
from worldkv.errors import BudgetError
from worldkv.geometry import CacheGeometry
from worldkv.landmarks import Landmarks
from worldkv.policy import CachePolicy
from worldkv.sim.machine import Machine
from worldkv.sim.rollout import OnStep, Rollout, simulate
from worldkv.trajectory.chunked import ChunkedTrajectory


@dataclass(frozen=True)
class Entrant:
    """A policy in a comparison.

    Attributes:
        label: its name in tables.
        policy: the policy.
        fixed: parameters the user gave; a policy whose size is among them is not resized.
    """

    label: str
    policy: CachePolicy
    fixed: frozenset[str] = frozenset()

    def matched(self, window_tokens: int, geometry: CacheGeometry) -> Entrant | None:
        """The same at the size of another; None where others are matched to it instead."""
        return None if self.policy.has_own_size else self.resized(window_tokens, geometry)

    def resized(self, window_tokens: int, geometry: CacheGeometry) -> Entrant | None:
        """The same at `window_tokens`; None where it cannot be, or its size is the user's."""
        other = self.policy.resized(window_tokens, geometry)
        if other is None:
            return None
        changed = {f.name for f in fields(other) if getattr(other, f.name) != getattr(self.policy, f.name)}  # type: ignore[arg-type]
        if changed & self.fixed:
            return None
        return replace(self, policy=other)


@dataclass(frozen=True)
class Contest:
    """What all rows of a comparison share.

    Attributes:
        chunked: the path as the policies see it.
        geometry: the model's cache shape.
        machine: rates for the time model.
        config: room for every row's cache.
        landmarks: the metric's landmarks of the true path; None skips recall.
        oracle: the oracle by which shares are measured; None leaves shares out.
    """

    chunked: ChunkedTrajectory
    geometry: CacheGeometry
    machine: Machine
    config: CacheConfig
    landmarks: Landmarks | None = None
    oracle: CachePolicy | None = None


@dataclass
class Row:
    """One policy's rollout and where it stands.

    Attributes:
        entrant: who ran, at the size it ran.
        rollout: what came of it.
        share_of_oracle: its recall over that of the oracle at the same window tokens; None without recall.
        is_matched: whether its size was set to the reference's.
    """

    entrant: Entrant
    rollout: Rollout
    share_of_oracle: float | None = None
    is_matched: bool = False


@dataclass
class Comparison:
    """The rows in the order asked for.

    Attributes:
        rows: one a policy.
        matched_to: label of the policy whose peak window the others were sized to; None where nothing was matched.
        matched_tokens: that peak.
    """

    rows: list[Row] = field(default_factory=list)
    matched_to: str | None = None
    matched_tokens: int | None = None


def compare(
    contest: Contest,
    entrants: Sequence[Entrant],
    *,
    match_window_tokens: bool = True,
    on_step: Callable[[str], OnStep] | None = None,
) -> Comparison:
    """Run every entrant; with `match_window_tokens`, size those that can be to the first bounded one that cannot.

    Args:
        contest: what they share.
        entrants: the policies, in table order.
        match_window_tokens: whether sizes are matched.
        on_step: given a row's label, what to call after each of its steps.

    Raises:
        SpecError, SignalError, BudgetError: see `CacheEngine`.
    """

    def run(entrant: Entrant) -> Rollout:
        watch = None if on_step is None else on_step(entrant.label)
        try:
            return _run(contest, entrant.policy, watch)
        except BudgetError as error:
            raise BudgetError(f"{entrant.label}: {error}") from None

    result = Comparison()
    done: dict[str, Rollout] = {}
    reference = _reference(entrants, contest.geometry) if match_window_tokens else None
    if reference is not None:
        done[reference.label] = run(reference)
        result.matched_to = reference.label
        result.matched_tokens = int(done[reference.label].attended_tokens.max())
    for entrant in entrants:
        sized = None
        if result.matched_tokens is not None and entrant is not reference:
            sized = entrant.matched(result.matched_tokens, contest.geometry)
        final = sized or entrant
        rollout = done.get(entrant.label) or run(final)
        result.rows.append(Row(final, rollout, is_matched=sized is not None))
    _share_of_oracle(contest, result.rows)
    return result


def _reference(entrants: Sequence[Entrant], geometry: CacheGeometry) -> Entrant | None:
    """The first bounded entrant whose size is its own or the user's; else the first bounded one."""
    bounded = [entrant for entrant in entrants if entrant.policy.is_bounded]
    own = [entrant for entrant in bounded if entrant.matched(2**40, geometry) is None]
    return next(iter(own or bounded), None)


def _run(contest: Contest, policy: CachePolicy, watch: OnStep | None) -> Rollout:
    return simulate(
        contest.chunked,
        policy,
        contest.geometry,
        contest.machine,
        config=contest.config,
        landmarks=contest.landmarks,
        on_step=watch,
    )


def _share_of_oracle(contest: Contest, rows: Sequence[Row]) -> None:
    """Each row's recall over the oracle's at the row's own window tokens; one oracle run a size."""
    if contest.oracle is None:
        return
    is_unlimited = contest.config.limits.host_bytes is None
    best: dict[CachePolicy, float | None] = {}
    if is_unlimited:
        best = {row.entrant.policy: row.rollout.recall for row in rows}
    for row in rows:
        if row.rollout.recall is None:
            continue
        tokens = int(row.rollout.attended_tokens.max())
        if tokens >= contest.chunked.num_chunks * contest.geometry.chunk_tokens:
            row.share_of_oracle = row.rollout.recall  # everything fits: the oracle's recall is 1 by definition
            continue
        oracle = contest.oracle.resized(tokens, contest.geometry)
        if oracle is None:
            continue
        if oracle not in best:
            best[oracle] = _run(replace(contest, config=CacheConfig()), oracle, None).recall
        top = best[oracle]
        row.share_of_oracle = row.rollout.recall / top if top else None
