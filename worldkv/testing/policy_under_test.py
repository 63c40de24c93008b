"""A policy under test, or a part put into one: what it needs and the cache shapes it runs in."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import cached_property

from worldkv.engine.fit import fitted
from worldkv.errors import SpecError, WorldKVError
from worldkv.geometry import PRESETS, CacheGeometry
from worldkv.policy import (
    CachePolicy,
    Compression,
    CoverageIndex,
    EvictionRule,
    Index,
    Part,
    TokenScorer,
    is_data_dependent,
    needs_of,
    shape_of,
)
from worldkv.signals import Signal
from worldkv.testing.motion_script import Back, MotionScript, Move
from worldkv.testing.scenario import Scenario
from worldkv.testing.timeout import TimedOut, time_limit
from worldkv.testing.trial import Trial

TINY = PRESETS["tiny"]
GEOMETRIES = (
    TINY,
    CacheGeometry(1, 2, 1, 4, 1, 5, frames_per_chunk=3, itemsize=2, rope_frames=1 << 16, name="three frames of 5"),
    CacheGeometry(3, 1, 1, 2, 2, 2, frames_per_chunk=1, itemsize=2, rope_frames=1 << 16, name="one frame of 4"),
    CacheGeometry(1, 1, 1, 2, 1, 3, frames_per_chunk=4, itemsize=2, rope_frames=1 << 16, name="four frames of 3"),
    CacheGeometry(1, 1, 1, 2, 1, 2, frames_per_chunk=5, itemsize=2, rope_frames=1 << 16, name="five frames of 2"),
    CacheGeometry(1, 1, 1, 2, 2, 1, frames_per_chunk=7, itemsize=2, rope_frames=1 << 16, name="seven frames of 2"),
    CacheGeometry(1, 1, 1, 2, 1, 1, frames_per_chunk=8, itemsize=2, rope_frames=1 << 16, name="eight frames of 1"),
    CacheGeometry(1, 4, 2, 2, 2, 3, frames_per_chunk=2, branches=2, rope_frames=1 << 16, name="two frames of 6"),
)
"""Shapes that a policy is tried in: the smallest of everything that can differ, and the chunks of models in use."""
LONGEST_FILL = 120
"""Chunks after which a window that still grows is taken to be full, and one that let nothing go to keep everything."""
_FILL_SECONDS = 20.0
_SETTLED = 8
"""Chunks without growth after which a window is full."""


class PolicyUnderTest:
    """A policy under test, or a part of one.

    Attributes:
        part: what was handed in.
        policy: it, or `composed` with it in its place.
        spec: how a user names it; None for an object made in Python.
    """

    def __init__(self, part: Part, spec: str | None = None) -> None:
        """Put `part` into a policy if it is none.

        Raises:
            SpecError: it is neither a policy nor a part that `composed` can hold.
        """
        self.part, self.spec = part, spec
        self.policy = part if isinstance(part, CachePolicy) else _composed(part)
        self._fitted: dict[CacheGeometry, CachePolicy] = {}

    @property
    def name(self) -> str:
        """For sentences: the class."""
        return type(self.part).__name__

    @cached_property
    def needs(self) -> frozenset[Signal]:
        """Signals that it declares."""
        return needs_of(self.policy)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The policy and everything in it."""
        return tuple(all_parts(self.policy))

    @cached_property
    def geometries(self) -> tuple[CacheGeometry, ...]:
        """Shapes it accepts: those in which a rollout can start, of the one model that it may be bound to."""
        try:
            bound = shape_of(self.policy)
        except SpecError:
            return ()
        return tuple(shape for shape in map(bound.of, GEOMETRIES) if self._starts(shape) is None)

    def fitted(self, geometry: CacheGeometry) -> CachePolicy:
        """The policy as it runs in `geometry`, the same object each time; see `worldkv.engine.fit.fitted`."""
        if geometry not in self._fitted:
            self._fitted[geometry] = fitted(self.policy, geometry)
        return self._fitted[geometry]

    @property
    def refusal(self) -> WorldKVError | None:
        """Why it starts in no shape; None if it starts in one."""
        return None if self.geometries else self._starts(TINY)

    @cached_property
    def fill_chunks(self) -> int:
        """Chunks after which its window is full: things have left it and no more come back; 0 if nothing leaves."""
        # Half of the chunks are seen again, so that a policy that wants them back has reason to.
        moves = tuple(Move(1.0, 20.0) if chunk % 8 < 4 else Back(4) for chunk in range(LONGEST_FILL))
        if not self.policy.is_bounded:
            return 0  # it is never full
        try:
            with time_limit(_FILL_SECONDS):
                scenario = Scenario(MotionScript(moves), self.geometries[0], has_keys=self.is_data_dependent)
                return _full_after(Trial(self.fitted(scenario.geometry), scenario))
        except (WorldKVError, TimedOut):
            return 1  # another check says so

    @property
    def is_data_dependent(self) -> bool:
        """Whether how many tokens it keeps depends on keys, so that it has to be shown some."""
        return is_data_dependent(self.policy)

    def _starts(self, geometry: CacheGeometry) -> WorldKVError | None:
        try:
            Trial(self.fitted(geometry), Scenario(MotionScript((Move(),)), geometry)).run()
        except SpecError as error:
            return error
        except WorldKVError as error:
            from worldkv.errors import SignalError

            return error if isinstance(error, SignalError) and "does not supply" in str(error) else None
        return None


def _full_after(trial: Trial) -> int:
    """Chunks of `trial` after which something has left and the attended set has stopped growing; 0 if nothing left."""
    left_at, most, grown_at = 0, 0, 0
    for chunk in range(1, len(trial.viewpoints) + 1):
        record = trial.run(1).records[-1]
        if not left_at and (record.evicted or record.discarded or record.shrunk):
            left_at = chunk
        if len(record.plan.attended) > most:
            most, grown_at = len(record.plan.attended), chunk
        if left_at and chunk - max(left_at, grown_at) >= _SETTLED:
            break
    return max(left_at, grown_at) if left_at else 0


def _composed(part: Part) -> CachePolicy:
    from worldkv.parts import ScoredTokens
    from worldkv.policies import Composed

    if isinstance(part, Index | CoverageIndex):
        return Composed(index=part)
    if isinstance(part, Compression):
        return Composed(compression=part)
    if isinstance(part, TokenScorer):
        return Composed(compression=ScoredTokens(part))
    if isinstance(part, EvictionRule):
        return Composed(eviction=part)
    raise SpecError(
        f"{type(part).__name__} is neither a policy, an index, a compression, a scorer nor an eviction rule; "
        "check it inside a policy, as in composed:selector=top-k or composed:wrappers=hysteresis"
    )


def all_parts(part: Part) -> Iterator[Part]:
    """A policy or part and everything in it."""
    yield part
    for inner in part.parts():
        yield from all_parts(inner)


def with_fields(policy: CachePolicy, **values: object) -> CachePolicy | None:
    """`policy` with fields of the house's names changed, wherever in it they are; None if it has none of them."""
    changed = {}
    for field in dataclasses.fields(policy):  # type: ignore[arg-type]
        value = getattr(policy, field.name)
        if field.name in values:
            changed[field.name] = values[field.name]
        elif isinstance(value, Part) and dataclasses.is_dataclass(value):
            inner = with_fields(value, **values)
            if inner is not None:
                changed[field.name] = inner
    return dataclasses.replace(policy, **changed) if changed else None  # type: ignore[type-var]
