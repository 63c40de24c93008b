"""Hand a sweep's tasks to a cluster and yield their rows as they come back."""

from __future__ import annotations

import pickle
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Protocol

from worldkv.errors import WorldKVError
from worldkv.experiments.cluster.versions import versions
from worldkv.experiments.cluster.worker import REFUSED
from worldkv.sim.sweep import COLUMNS, FAILED, SweepRow, SweepTask


@dataclass(frozen=True)
class Finished:
    """A task is done.

    Attributes:
        task: what `Cluster.submit` returned.
        answer: what `run_errand` returned on the worker.
    """

    task: Hashable
    answer: tuple[str, Any]


@dataclass(frozen=True)
class WorkerDied:
    """A worker died while it ran a task, which runs again.

    Attributes:
        task: what `Cluster.submit` returned.
    """

    task: Hashable


@dataclass(frozen=True)
class GivenUp:
    """Every worker that ran a task died; the cluster does not run it again.

    Attributes:
        task: what `Cluster.submit` returned.
        workers: how many they were.
    """

    task: Hashable
    workers: int


Event = Finished | WorkerDied | GivenUp


class Cluster(Protocol):
    """Workers elsewhere that run `run_errand`.

    Attributes:
        name: as the user gave it: `dask:10.0.0.1:8786`.
        blames_bystanders: whether it counts a death against every task that waits at the dead worker.
    """

    name: str
    blames_bystanders: bool

    def num_cores(self) -> int:
        """Tasks that run at once now; 0 where no worker is there yet."""

    def share(self, luggage: bytes) -> Any:
        """What stands for `luggage` in `submit`: it goes to a worker at most once, not with every task."""

    def submit(self, versions: Mapping[str, str], errand: bytes, shared: Any) -> Hashable:
        """Hand over one task; returns what events call it."""

    def wait(self) -> Sequence[Event]:
        """What has happened since; waits until something has, and may return nothing.

        Raises:
            WorldKVError: the cluster is gone, or its workers cannot run worldkv.
        """

    def close(self) -> None:
        """Take back what is not done, and leave the cluster."""


def run_on_cluster(
    tasks: Sequence[SweepTask],
    luggage: Callable[[str], bytes],
    cluster: Cluster,
    *,
    jobs: int | None,
    tell: Callable[[str], None],
) -> Iterator[list[SweepRow]]:
    """The rows of every task, in the order in which tasks are done. Leaves the cluster at the end, whatever it is.

    No more tasks are handed over than run at once, so that few wait at a worker that dies. Where the cluster blames
    those too, what it gives up runs once more at the end, alone.

    Args:
        tasks: what to run.
        luggage: makes the packed `Luggage` of a trajectory from its digest.
        cluster: where.
        jobs: tasks at once; None for one a core of the cluster, however many there come to be.
        tell: gets a sentence about every worker that died.

    Raises:
        WorldKVError: the cluster is gone, a worker cannot run worldkv, or a trajectory has changed.
    """
    with closing(cluster):
        wanted = versions()
        waiting, running = deque(tasks), dict[Hashable, SweepTask]()
        suspects = deque[SweepTask]()
        is_alone = False
        left = Counter(task.path_at_seed.digest for task in tasks)
        shared: dict[str, Any] = {}
        room, until_asked = 0, 0
        is_told_of_none = False
        while waiting or running or suspects:
            if not waiting and not running:
                waiting.append(suspects.popleft())
                is_alone = True
            if until_asked <= 0:
                cores = cluster.num_cores()
                room = jobs or max(cores, 1)
                until_asked = room
                if not cores and not is_told_of_none:
                    is_told_of_none = True
                    tell(f"{cluster.name} has no worker yet; the sweep goes on when one is there, ctrl-c stops it")
            while waiting and len(running) < room:
                task = waiting.popleft()
                digest = task.path_at_seed.digest
                if digest not in shared:
                    shared[digest] = cluster.share(luggage(digest))
                running[cluster.submit(wanted, _errand(task), shared[digest])] = task
            for event in cluster.wait():
                task = running[event.task]
                if isinstance(event, WorkerDied):
                    tell(f"a worker of {cluster.name} died while it ran {_named(task)}; that runs again")
                    continue
                del running[event.task]
                until_asked -= 1
                if isinstance(event, GivenUp) and cluster.blames_bystanders and not is_alone:
                    tell(f"{_named(task)} is put off to run alone at the end: {event.workers} workers that had it died")
                    suspects.append(task)
                    continue
                left[task.path_at_seed.digest] -= 1
                if not left[task.path_at_seed.digest]:
                    del shared[task.path_at_seed.digest]
                if isinstance(event, GivenUp):
                    tell(f"{_named(task)} is given up: all {event.workers} workers that ran it died")
                    yield _failed(task, event.workers)
                    continue
                kind, content = event.answer
                if kind == REFUSED:
                    raise WorldKVError(content)
                yield content


def _errand(task: SweepTask) -> bytes:
    """The task without its trajectory, which the luggage has, as bytes."""
    path = replace(task.path_at_seed, source=None, format=None, frames_per_second=None)
    return pickle.dumps(replace(task, path_at_seed=path), protocol=pickle.HIGHEST_PROTOCOL)


def _named(task: SweepTask) -> str:
    """A task as a user knows it."""
    first = task.rows[0][1]
    what = first["policy"] if len(task.rows) == 1 else f"{len(task.rows)} policies"
    return f"{what} on {first['trajectory']} (seed {task.path_at_seed.seed}, budget {first['budget']})"


def _failed(task: SweepTask, workers: int) -> list[SweepRow]:
    why = f"{FAILED}all {workers} workers that ran it died, as when memory runs out"
    return [dict.fromkeys(COLUMNS) | known | {"status": why} for _, known in task.rows]
