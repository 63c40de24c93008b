"""Count what a call costs in lines, calls and bytes, which are the same on every machine."""

from __future__ import annotations

import sys
import time
import tracemalloc
from collections.abc import Callable
from types import FrameType
from typing import Any, NamedTuple


class Cost(NamedTuple):
    """What one call took.

    Attributes:
        lines: Python lines executed, its callees' included.
        calls: Python and C functions called.
        bytes: most memory allocated at a time, numpy's included.
        seconds: time, in a call of its own; not counted and not the same twice.
    """

    lines: int
    calls: int
    bytes: int
    seconds: float


def cost_of(call: Callable[[], Any]) -> Cost:
    """Run `call` four times and count a different thing each time; it must not mind."""
    call()  # imports and caches are not what a step costs
    lines, calls = 0, 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    before_profile = sys.getprofile()
    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(before_profile)
    was_tracing = tracemalloc.is_tracing()
    if not was_tracing:
        tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        held, _ = tracemalloc.get_traced_memory()
        call()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        if not was_tracing:
            tracemalloc.stop()
    started = time.perf_counter()
    call()
    return Cost(lines, calls, peak - held, time.perf_counter() - started)
