"""Commit several chunks that one pass generated, one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worldkv.engine.state import StepRecord

if TYPE_CHECKING:
    from worldkv.backends.cache import WorldCache


def commit_prefill(cache: WorldCache) -> StepRecord:
    """Commit the chunks of the open step in order, as if each had been generated in a step of its own.

    All of them lie behind the run. The first joins it where it is. Committing it, and beginning the next step, moves
    what is in the window, so the others wait outside it and are written back one after the other. Attention mass was
    measured by the pass as a whole and counts for the first.

    Returns:
        The last chunk's record.
    """
    geometry, backend, meter = cache.geometry, cache.backend, cache._meter
    views = cache._views
    tokens = [view.frames_of(geometry) * geometry.tokens_per_frame for view in views]
    measured = [meter.result(backend.arena, tokens[0])]
    waiting, start = [], tokens[0]
    for count in tokens[1:]:
        measured.append(meter.result(backend.arena, count, start, is_first=False))
        waiting.append(backend.arena.tail(start, count))
        start += count
    cache.measured = measured[0]
    record = cache.engine.commit(measured[0])
    for view, count, tail, signals in zip(views[1:], tokens[1:], waiting, measured[1:], strict=True):
        plan = cache.engine.begin(view)
        backend.settle()
        backend.arena.reserve(count)
        for layer in range(geometry.layers):
            backend.arena.write_tail(layer, tail[layer, 0], tail[layer, 1])
        backend.own_turn = 0
        cache.measured = None if signals is None else meter.without_mass(signals, len(plan.attended))
        record = cache.engine.commit(cache.measured)
    return record
