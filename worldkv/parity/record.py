"""The record of a step that both executors fill in, and the first difference between two rollouts of records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from worldkv.backend import Traffic
from worldkv.chunks import Tier

if TYPE_CHECKING:
    from worldkv.engine.engine import CacheEngine
    from worldkv.engine.state import StepRecord
    from worldkv.sim.clock import StepTime


class ExecutedStep(NamedTuple):
    """One step as one executor carried it out: by the simulator's plan, or as it lies in tensors, files and copies.

    Attributes:
        attended: chunks whose tokens were attended beside the step's own, ascending.
        attended_tokens: tokens attended, the chunk's own included (where layers and heads differ, each chunk's mean
            over them, rounded up).
        retrieved: of them, those the bank held, ascending.
        evicted: chunks the bank holds since this commit, ascending.
        kept_tokens: tokens stored of each.
        traffic: bytes copied over each edge during the step.
        tiers: where every earlier chunk's home was when the step was attended.
        discarded: chunks gone for good since this commit, ascending; None on tensors, where the next step's tiers tell.
        faults: what the debug channel contradicts in any pass, one sentence each; empty in the simulator.
    """

    attended: tuple[int, ...]
    attended_tokens: int
    retrieved: tuple[int, ...]
    evicted: tuple[int, ...]
    kept_tokens: tuple[int, ...]
    traffic: Traffic
    tiers: tuple[Tier, ...]
    discarded: tuple[int, ...] | None = None
    faults: tuple[str, ...] = ()


COMPARED = ExecutedStep._fields[:-2]
"""The fields that both executors fill in."""


class Difference(NamedTuple):
    """The first disagreement of the two executors.

    Attributes:
        step: the step.
        field: what differs, as in `ExecutedStep`; `faults` where the tensors contradict their own table.
        simulated: what the simulator says; None for faults.
        seen: what was observed on tensors.
    """

    step: int
    field: str
    simulated: Any
    seen: Any


class SimulationObserver:
    """Collects the simulator's steps; `note` is what `simulate` calls after every one.

    Attributes:
        steps: one record a step so far.
    """

    def __init__(self) -> None:
        """No steps."""
        self.steps: list[ExecutedStep] = []
        self._tiers: tuple[Tier, ...] = ()

    def note(self, engine: CacheEngine, record: StepRecord, spent: StepTime) -> None:
        """Record a committed step; homes change only at commits, so it was attended with the last commit's."""
        plan = record.plan
        stored = sorted(zip(record.evicted, record.kept_tokens, strict=True))
        self.steps.append(
            ExecutedStep(
                tuple(plan.attended.tolist()),
                plan.attended_tokens,
                tuple(sorted(plan.retrieved)),
                tuple(chunk for chunk, _ in stored),
                tuple(tokens for _, tokens in stored),
                record.traffic,
                self._tiers,
                tuple(sorted(record.discarded)),
            )
        )
        column = engine.table.columns["tier"][: len(engine.table)]
        self._tiers = tuple(Tier(home) for home in column.tolist())


def first_difference(simulated: Sequence[ExecutedStep], observed: Sequence[ExecutedStep | None]) -> Difference | None:
    """The first record of a rollout that is not the same on both sides; None if all are.

    Args:
        simulated: every step of the simulator.
        observed: the same steps on tensors; None for a step that was not observed.
    """
    for step, (expected, found) in enumerate(zip(simulated, observed, strict=True)):
        if found is None:
            continue
        if found.faults:
            return Difference(step, "faults", None, found.faults)
        for field in COMPARED:
            wanted, got = getattr(expected, field), getattr(found, field)
            if wanted != got:
                return _narrowed(step, field, wanted, got)
        later = observed[step + 1] if step + 1 < len(observed) else None
        gone = None if later is None else _gone(found.tiers, later.tiers)
        if gone is not None and gone != expected.discarded:
            return Difference(step, "discarded", expected.discarded, gone)
    return None


def _gone(before: Sequence[Tier], after: Sequence[Tier]) -> tuple[int, ...]:
    """Chunks that were somewhere and are nowhere at the next step; the one just generated was in the window."""
    was = (*before, Tier.DEVICE)
    return tuple(
        chunk
        for chunk, (then, now) in enumerate(zip(was, after, strict=True))
        if now is Tier.NONE and then is not Tier.NONE
    )


def _narrowed(step: int, field: str, wanted: Any, got: Any) -> Difference:
    """A difference of long records cut down to what differs."""
    if field == "traffic":
        edges = {
            edge: (would, did) for edge, would, did in zip(Traffic._fields, wanted, got, strict=True) if would != did
        }
        edge, (would, did) = next(iter(edges.items()))
        return Difference(step, f"bytes_{edge}", would, did)
    if field == "tiers":
        pairs = enumerate(zip(wanted, got, strict=True))
        chunk, (would, did) = next((chunk, pair) for chunk, pair in pairs if pair[0] is not pair[1])
        return Difference(step, f"tier of chunk {chunk}", would.name.lower(), did.name.lower())
    return Difference(step, field, wanted, got)
