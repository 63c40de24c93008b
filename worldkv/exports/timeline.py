"""A real run on a time axis: where every step's time went, as a trace that Perfetto and chrome://tracing open."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from worldkv.exports.series import edge_name
from worldkv.stopwatch import PARTS

if TYPE_CHECKING:
    from worldkv.engine.state import StepPlan, StepRecord

WAITS = "waiting for copies"
"""The track of transfer time outside the policy's: before its first pass a step waits there for what was fetched."""
MODEL = "model"
_PROCESS = 1


class Piece(NamedTuple):
    """A stretch of time of one span alone; while an inner span runs the outer one stands still.

    Attributes:
        names: the open spans, the innermost last.
        start: seconds of the clock.
        end: likewise.
        model_pass: passes begun when it ended.
    """

    names: tuple[str, ...]
    start: float
    end: float
    model_pass: int

    @property
    def track(self) -> str:
        """The part of the step that it counts for, waits told from other transfers."""
        return WAITS if self.names == ("transfer",) else self.names[-1]


@dataclass(frozen=True)
class TimedPieces:
    """One step: its record, seconds and pieces, in seconds from its start."""

    record: StepRecord
    seconds: float
    pieces: tuple[Piece, ...]


@dataclass
class Timeline:
    """Collects the pieces of a run's stopwatch, step by step.

    Attributes:
        passes: how many passes of the open step have begun; set when there is a cache to ask.
        steps: the finished steps.
    """

    passes: Callable[[], int] = lambda: 0
    steps: list[TimedPieces] = field(default_factory=list)
    _pieces: list[Piece] = field(default_factory=list)
    _uncounted: float = 0.0

    def note(self, names: tuple[str, ...], start: float, end: float) -> None:
        """The stopwatch counted a piece."""
        self._pieces.append(Piece(names, start - self._uncounted, end - self._uncounted, self.passes()))

    def aside(self, run: Callable[[StepPlan], None]) -> Callable[[StepPlan], None]:
        """`run`, whose time the step does not count."""

        def timed(plan: StepPlan) -> None:
            started = time.perf_counter()
            run(plan)
            self._uncounted += time.perf_counter() - started

        return timed

    def begin(self) -> None:
        """The next step is about to begin."""
        self._pieces, self._uncounted = [], 0.0

    def finish(self, record: StepRecord, seconds: float) -> None:
        """A step is over that took so many seconds."""
        pieces, start = self._pieces, 0.0
        if pieces:  # the last one is the commit's, a moment before the step's end
            start = min(pieces[-1].end - seconds, pieces[0].start)
        moved = tuple(piece._replace(start=piece.start - start, end=piece.end - start) for piece in pieces)
        self.steps.append(TimedPieces(record, seconds, moved))

    def trace(self, name: str) -> bytes:
        """The trace as JSON in the trace event format.

        Args:
            name: of the run.
        """
        events = [*_tracks(name, self._names()), *self._events()]
        whole = {"displayTimeUnit": "ms", "traceEvents": events}
        return (json.dumps(whole, allow_nan=False, separators=(",", ":")) + "\n").encode()

    def _names(self) -> list[str]:
        """The tracks, from above: steps and passes, what runs in them, what moves."""
        found = {piece.track for step in self.steps for piece in step.pieces}
        parts = [part for part in (*PARTS, WAITS) if part in found]
        edges = [edge_name(edge) for edge in self.steps[0].record.traffic._fields] if self.steps else []
        return ["step", "pass", MODEL, *parts, *sorted(found - set(parts)), *edges]

    def _events(self) -> Iterator[dict[str, Any]]:
        track = {name: place for place, name in enumerate(self._names(), start=1)}
        start = 0.0
        for step in self.steps:
            plan = step.record.plan
            told = {"attended_tokens": plan.attended_tokens, "retrieved": [int(chunk) for chunk in plan.retrieved]}
            yield _slice(track["step"], f"step {plan.step}", start, step.seconds, told)
            for name, first, end in _passes(step):
                yield _slice(track["pass"], name, start + first, end - first)
            for first, end in _gaps(step):
                yield _slice(track[MODEL], MODEL, start + first, end - first)
            for piece in step.pieces:
                yield _slice(track[piece.track], piece.track, start + piece.start, piece.end - piece.start)
            yield from _copies(step, start, track)
            yield _counter("window bytes", start, plan.window_bytes)
            start += step.seconds


def _passes(step: TimedPieces) -> Iterator[tuple[str, float, float]]:
    """Name, start and end of every pass, from its first attention to its last; the last one is the clean one."""
    attention = [piece for piece in step.pieces if piece.names[0].startswith("attention")]
    last = max((piece.model_pass for piece in attention), default=0)
    for number in range(1, last + 1):
        own = [piece for piece in attention if piece.model_pass == number]
        if own:
            yield "clean pass" if number == last else f"pass {number}", own[0].start, own[-1].end


def _gaps(step: TimedPieces) -> Iterator[tuple[float, float]]:
    """What no span counted: the model's own layers."""
    at = 0.0
    for piece in step.pieces:
        if piece.start > at:
            yield at, piece.start
        at = piece.end
    if step.seconds > at:
        yield at, step.seconds


def _copies(step: TimedPieces, start: float, track: dict[str, int]) -> Iterator[dict[str, Any]]:
    """The bytes over each edge: a slice from the first to the last moment at which the step hands such copies over.

    What comes in is handed over before the passes, or between them; what goes out behind the last one. The copies
    themselves run beside the model and are not timed.
    """
    attention = [piece for piece in step.pieces if piece.names[0] == "attention"]
    handed = [piece for piece in step.pieces if piece.names[-1] == "transfer" and len(piece.names) > 1]
    out = [piece for piece in handed if not attention or piece.start >= attention[-1].end]
    came_in = [piece for piece in handed if piece not in out]
    for edge, moved in step.record.traffic._asdict().items():
        yield _counter(f"bytes {edge_name(edge)}", start, moved)
        is_inbound = edge.endswith("_to_device") or edge.startswith("disk_to_")
        own = (came_in if is_inbound else out) or handed
        if moved and own:
            first, end = own[0].start, own[-1].end
            yield _slice(track[edge_name(edge)], edge_name(edge), start + first, end - first, {"bytes": moved})


def _tracks(name: str, tracks: list[str]) -> Iterator[dict[str, Any]]:
    yield {"ph": "M", "pid": _PROCESS, "tid": 0, "name": "process_name", "args": {"name": name}}
    for place, track in enumerate(tracks, start=1):
        yield {"ph": "M", "pid": _PROCESS, "tid": place, "name": "thread_name", "args": {"name": track}}
        yield {"ph": "M", "pid": _PROCESS, "tid": place, "name": "thread_sort_index", "args": {"sort_index": place}}


def _slice(track: int, name: str, start: float, seconds: float, told: dict[str, Any] | None = None) -> dict[str, Any]:
    event = {"ph": "X", "pid": _PROCESS, "tid": track, "name": name, "ts": start * 1e6, "dur": seconds * 1e6}
    return event if told is None else event | {"args": told}


def _counter(name: str, start: float, value: int) -> dict[str, Any]:
    return {"ph": "C", "pid": _PROCESS, "name": name, "ts": start * 1e6, "args": {"bytes": value}}
