"""What a cache copies and what it holds, counted from outside in a process of its own.

Copied are the bytes that torch's copying operations write (copy_, clone, cat, index_select and the like, seen by a
dispatch mode) and those that numpy's `copyto` writes (wrapped before worldkv is loaded). Peak memory is what torch's
profiler sees allocated on a CPU, where device and bank are one memory; numpy's short-lived arrays, at most a chunk, are
not in it. On an accelerator it is its allocator's peak. Both from the making of the cache on, without the queries, keys
and values that are handed in.
Run: python -m benchmarks.peer_costs WORK CACHE GEOMETRY PASSES DEVICE WARM
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

STEPS = 4
"""Steps that are counted, behind the warm ones."""
COPYING = frozenset(
    "copy_ clone cat stack _to_copy index_select gather index index_put_ slice_scatter contiguous".split()
)
"""Of torch's operations, those that copy and do nothing else."""
MIB = 2.0**20


class Costs(NamedTuple):
    """Of one cache.

    Attributes:
        copied_mib: MiB written by copies, a step.
        peak_mib: MiB held at most.
    """

    copied_mib: float
    peak_mib: float


def costs_apart(work: str, name: str, geometry: str, passes: int, device: str, warm: int | None) -> Costs:
    """The costs, counted in a process of its own."""
    words = [work, name, geometry, str(passes), device, "" if warm is None else str(warm)]
    done = subprocess.run(
        [sys.executable, "-m", __name__, *words],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr.strip().splitlines()[-1:]}")
    return Costs(**json.loads(done.stdout.splitlines()[-1]))


class Copied:
    """Bytes that copies have written, of any thread."""

    def __init__(self) -> None:
        """None, and not counting."""
        self.bytes, self.is_on, self._lock = 0, False, threading.Lock()

    def add(self, num_bytes: int) -> None:
        """So many more."""
        with self._lock:
            self.bytes += num_bytes if self.is_on else 0

    def wrap_numpy(self) -> None:
        """Count numpy's copies too; whoever has taken `numpy.copyto` before is not seen."""
        right: Callable[..., None] = np.copyto

        def copyto(target: Any, source: Any, *words: Any, **options: Any) -> None:
            self.add(target.nbytes)
            right(target, source, *words, **options)

        np.copyto = copyto  # type: ignore[assignment]

    def mode(self) -> AbstractContextManager[Any]:
        """Under it torch's copies are counted."""
        import torch
        from torch.utils._python_dispatch import TorchDispatchMode

        count = self.add

        class Mode(TorchDispatchMode):  # type: ignore[no-untyped-call]
            def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                out = func(*args, **(kwargs or {}))
                if func._schema.name.removeprefix("aten::") in COPYING and isinstance(out, torch.Tensor):
                    count(args[2].nbytes if "index_put" in func._schema.name else out.nbytes)
                return out

        found: AbstractContextManager[Any] = Mode()  # type: ignore[no-untyped-call]
        return found


def count(work: str, name: str, geometry: str, passes: int, device: str, warm: int | None, copied: Copied) -> Costs:
    """The costs, in this process; call it where nothing of worldkv is loaded yet."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    from benchmarks.beside_peers import PEERS, step_of
    from benchmarks.peer_work import WORKS, job

    here = job(next(each for each in WORKS if each.name == work), geometry, passes, device, STEPS, warm)
    drawn = [here.inputs(step) for step in range(len(here.plans))]
    module: Any = None if device == "cpu" else torch.get_device_module(torch.device(device).type)
    if module is not None:
        before = module.memory_allocated(device)
        module.reset_peak_memory_stats(device)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=device == "cpu") as seen:
        peer = PEERS[work][name](here)
        for step, inputs in enumerate(drawn):
            if step < here.work.warm:
                step_of(peer, step, inputs, 1)
                continue
            copied.is_on = True
            with copied.mode():
                step_of(peer, step, inputs, passes)
            copied.is_on = False
        peer.close()
    peak = module.max_memory_allocated(device) - before if module is not None else _torchs_peak(seen)
    return Costs(copied.bytes / STEPS / MIB, peak / MIB)


def _torchs_peak(seen: Any) -> int:
    """The most bytes that torch had allocated at a time, by the profiler's memory events."""
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return int(most)


def main(words: list[str]) -> None:
    """Count and print the costs as JSON."""
    copied = Copied()
    copied.wrap_numpy()
    work, name, geometry, passes, device, warm = words
    found = count(work, name, geometry, int(passes), device, int(warm) if warm else None, copied)
    print(json.dumps(found._asdict()))


if __name__ == "__main__":
    main(sys.argv[1:])
