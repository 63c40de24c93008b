"""One step as the simulator says it went, beside the same step as it was seen on tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from worldkv.backend import Traffic
from worldkv.chunks import Tier

if TYPE_CHECKING:
    from worldkv.engine.engine import CacheEngine
    from worldkv.engine.state import StepRecord
    from worldkv.parity.observer import ObservedStep
    from worldkv.sim.clock import StepTime


class Expected(NamedTuple):
    """One step of the simulator; the fields of `worldkv.parity.observer.ObservedStep`, and who was discarded."""

    attended: tuple[int, ...]
    attended_tokens: int
    retrieved: tuple[int, ...]
    evicted: tuple[int, ...]
    kept_tokens: tuple[int, ...]
    traffic: Traffic
    tiers: tuple[Tier, ...]
    discarded: tuple[int, ...]


class Difference(NamedTuple):
    """Where the two executors first disagree.

    Attributes:
        step: the step.
        field: what differs, as in `Expected`; `faults` where the tensors contradict their own table.
        simulated: what the simulator says; None for faults.
        seen: what happened on tensors.
    """

    step: int
    field: str
    simulated: Any
    seen: Any


@dataclass
class Simulated:
    """Collects the simulator's side; `note` is what `simulate` calls after every step.

    Attributes:
        steps: one record a step so far.
    """

    steps: list[Expected]
    _tiers: tuple[Tier, ...] = ()

    def note(self, engine: CacheEngine, record: StepRecord, spent: StepTime) -> None:
        """A step is committed; homes change only there, so the last commit's are those the step was attended with."""
        plan = record.plan
        stored = sorted(zip(record.evicted, record.kept_tokens, strict=True))
        self.steps.append(
            Expected(
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


def first_difference(simulated: Sequence[Expected], seen: Sequence[ObservedStep | None]) -> Difference | None:
    """The first record of a rollout that is not the same on both sides; None if all are.

    Args:
        simulated: every step of the simulator.
        seen: the same steps as seen on tensors; None for a step nobody looked at.
    """
    for step, (expected, found) in enumerate(zip(simulated, seen, strict=True)):
        if found is None:
            continue
        if found.faults:
            return Difference(step, "faults", None, found.faults)
        for field in Expected._fields[:-1]:
            wanted, got = getattr(expected, field), getattr(found, field)
            if wanted != got:
                return _narrowed(step, field, wanted, got)
        later = seen[step + 1] if step + 1 < len(seen) else None
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
