"""Run tasks over the cores of this machine, and take their results as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from worldkv.errors import WorldKVError

Task = TypeVar("Task")
Done = TypeVar("Done")


def unordered(work: Callable[[Task], Done], tasks: Sequence[Task], jobs: int, killed: str) -> Iterator[Done]:
    """What `work` makes of every task, in the order in which tasks are done.

    Args:
        work: a function of a module, which other processes import.
        tasks: what to run, in the order in which they are begun.
        jobs: processes at once; 1 runs everything in this one.
        killed: what to say where a process was killed.

    Raises:
        WorldKVError: a process was killed.
    """
    if min(jobs, len(tasks)) <= 1:
        yield from map(work, tasks)
        return
    from concurrent.futures.process import BrokenProcessPool

    from joblib import Parallel, delayed

    pool = Parallel(n_jobs=min(jobs, len(tasks)), return_as="generator_unordered", batch_size=1)
    try:
        yield from pool(delayed(work)(task) for task in tasks)
    except BrokenProcessPool:
        raise WorldKVError(killed) from None


def num_cores() -> int:
    """Cores that this process may use."""
    from joblib import cpu_count

    return int(cpu_count())
