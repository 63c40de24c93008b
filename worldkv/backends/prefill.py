"""Commit several chunks that one pass generated, one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from worldkv.backends.measuring import SignalMeter
from worldkv.backends.torch_backend import TorchBackend
from worldkv.engine.engine import CacheEngine
from worldkv.engine.state import StepRecord
from worldkv.signals import Measured, Viewpoint


def commit_prefill(
    engine: CacheEngine,
    backend: TorchBackend,
    meter: SignalMeter,
    views: Sequence[Viewpoint],
    note: Callable[[StepRecord, Viewpoint, Measured | None], None],
) -> StepRecord:
    """Commit the chunks of the open step in order, as if each had been generated in a step of its own.

    All of them lie behind the run. The first joins it where it is. Committing it, and beginning the next step, moves
    what is in the window, so the others wait outside it and are written back one after the other. Attention mass was
    measured by the pass as a whole and counts for the first.

    Args:
        engine: its step is open for the first of the chunks.
        backend: the engine's.
        meter: what was measured of the pass.
        views: where the camera of each chunk stands.
        note: told of every committed chunk: its record, its view, what was measured of it.

    Returns:
        The last chunk's record.
    """
    geometry, arena = engine.geometry, backend.arena
    tokens = [view.frames_of(geometry) * geometry.tokens_per_frame for view in views]
    measured = meter.result(arena, tokens[0])
    waiting, start = [], tokens[0]
    for count in tokens[1:]:
        waiting.append((arena.tail(start, count), meter.result(arena, count, start, is_first=False)))
        start += count
    record = engine.commit(measured)
    note(record, views[0], measured)
    for view, count, (tail, signals) in zip(views[1:], tokens[1:], waiting, strict=True):
        plan = engine.begin(view)
        backend.settle()
        arena.reserve(count)
        for layer in range(geometry.layers):
            arena.write_tail(layer, tail[layer, 0], tail[layer, 1])
        backend.own_turn = 0  # its attended keys are the stored ones until the next step turns them
        measured = None if signals is None else meter.without_mass(signals, len(plan.attended))
        record = engine.commit(measured)
        note(record, view, measured)
    return record
