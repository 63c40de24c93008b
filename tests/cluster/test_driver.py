"""The driver of a cluster, on one whose every event is written down here."""

from __future__ import annotations

import pickle
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from worldkv.errors import WorldKVError
from worldkv.experiments.cluster.driver import Event, Finished, GivenUp, WorkerDied, run_on_cluster
from worldkv.experiments.cluster.worker import REFUSED, ROWS
from worldkv.sim import load_machine
from worldkv.sim.sweep import COLUMNS, PathAtSeed, SweepRow, SweepTask
from worldkv.specs.parse import parse_geometry

PATH = PathAtSeed(
    "nowhere.txt", "kitti", 7.0, None, parse_geometry("tiny"), load_machine("worldkv-project-page"), 0, "a", "oracle"
)


def task(number: int, digest: str = "a") -> SweepTask:
    known = {"policy": "worldkv", "trajectory": "loop", "budget": "25%", "key": str(number)}
    return SweepTask(replace(PATH, seed=number, digest=digest), None, (("worldkv", known),))


class Scripted:
    """A cluster of `cores` that answers its oldest task first, after the events that are written down for it."""

    name = "scripted:1"

    def __init__(
        self,
        *cores: int,
        before: Mapping[int, Sequence[type[Event]]] | None = None,
        blames_bystanders: bool = False,
    ) -> None:
        self.blames_bystanders = blames_bystanders
        self.cores, self.before = list(cores), dict(before or {})
        self.shared: list[bytes] = []
        self.tasks: dict[int, SweepTask] = {}
        self.alone: list[bool] = []
        self.most_at_once, self.is_closed = 0, False

    def num_cores(self) -> int:
        return self.cores.pop(0) if len(self.cores) > 1 else self.cores[0]

    def share(self, luggage: bytes) -> Any:
        self.shared.append(luggage)
        return luggage

    def submit(self, versions: Mapping[str, str], errand: bytes, shared: Any) -> Hashable:
        work: SweepTask = pickle.loads(errand)
        path = work.path_at_seed
        assert (path.source, path.format, path.frames_per_second) == (None, None, None)
        assert shared == work.path_at_seed.digest.encode()
        self.tasks[work.path_at_seed.seed] = work
        self.most_at_once = max(self.most_at_once, len(self.tasks))
        return work.path_at_seed.seed

    def wait(self) -> Sequence[Event]:
        seed = next(iter(self.tasks))
        events = list(self.before.pop(seed, ()))
        if WorkerDied in events:
            events.remove(WorkerDied)
            self.before[seed] = events
            return [WorkerDied(seed)]
        del self.tasks[seed]
        if GivenUp in events:
            events.remove(GivenUp)
            self.before[seed] = events
            self.alone.append(len(self.tasks) == 0)
            return [GivenUp(seed, 4)]
        return [Finished(seed, (ROWS, [{"key": str(seed)}]))]

    def close(self) -> None:
        self.is_closed = True


def ran(cluster: Scripted, tasks: Sequence[SweepTask], jobs: int | None = None) -> tuple[list[SweepRow], list[str]]:
    told: list[str] = []
    rows = run_on_cluster(tasks, lambda digest: digest.encode(), cluster, jobs=jobs, tell=told.append)
    return [row for more in rows for row in more], told


def test_every_task_comes_back_and_each_path_goes_out_once() -> None:
    cluster = Scripted(3)
    rows, told = ran(cluster, [task(number, "ab"[number // 5]) for number in range(10)])
    assert [row["key"] for row in rows] == [str(number) for number in range(10)]
    assert cluster.shared == [b"a", b"b"]
    assert (told, cluster.is_closed) == ([], True)


@pytest.mark.parametrize(
    ("cores", "jobs", "most"),
    [((3,), None, 3), ((500,), None, 20), ((3,), 8, 8), ((8,), 2, 2), ((1, 2, 5), None, 5), ((0, 4), None, 4)],
)
def test_as_many_at_once_as_the_cluster_has_cores_or_as_is_asked(
    cores: tuple[int, ...], jobs: int | None, most: int
) -> None:
    cluster = Scripted(*cores)
    rows, told = ran(cluster, [task(number) for number in range(20)], jobs)
    assert (len(rows), cluster.most_at_once) == (20, most)
    assert told == (
        ["scripted:1 has no worker yet; the sweep goes on when one is there, ctrl-c stops it"] * (not cores[0])
    )


def test_a_dead_worker_is_told_and_costs_its_task_only() -> None:
    cluster = Scripted(2, before={1: [WorkerDied], 2: [WorkerDied, WorkerDied, GivenUp]})
    rows, told = ran(cluster, [task(number) for number in range(4)])
    where = "worldkv on loop (seed {}, budget 25%)"
    died = "a worker of scripted:1 died while it ran {}; that runs again"
    assert told == [
        died.format(where.format(1)),
        *[died.format(where.format(2))] * 2,
        f"{where.format(2)} is given up: all 4 workers that ran it died",
    ]
    given_up = rows.pop(2)
    assert [row["key"] for row in rows] == ["0", "1", "3"]
    assert list(given_up) == list(COLUMNS)
    assert (given_up["key"], given_up["trajectory"]) == ("2", "loop")
    assert given_up["status"] == "failed: all 4 workers that ran it died, as when memory runs out"


def test_what_is_given_up_among_others_runs_alone_at_the_end() -> None:
    """Two tasks are blamed; one of them has killed the workers, the other has only waited there."""
    cluster = Scripted(3, before={1: [GivenUp], 2: [GivenUp, GivenUp]}, blames_bystanders=True)
    rows, told = ran(cluster, [task(number) for number in range(6)])
    assert [row["key"] for row in rows] == ["0", "3", "4", "5", "1", "2"]
    assert [row.get("status") for row in rows[-2:]] == [
        None,
        "failed: all 4 workers that ran it died, as when memory runs out",
    ]
    assert cluster.alone == [False, False, True]
    assert cluster.shared == [b"a"]
    assert [sentence.split(":")[0].removeprefix("worldkv on loop ") for sentence in told] == [
        "(seed 1, budget 25%) is put off to run alone at the end",
        "(seed 2, budget 25%) is put off to run alone at the end",
        "(seed 2, budget 25%) is given up",
    ]


def test_what_a_worker_refuses_ends_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Scripted(1)
    monkeypatch.setattr(cluster, "wait", lambda: [Finished(0, (REFUSED, "the worker has another numpy"))])
    with pytest.raises(WorldKVError, match="^the worker has another numpy$"):
        ran(cluster, [task(0), task(1)])
    assert cluster.is_closed


def test_ctrl_c_leaves_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Scripted(1)
    rows = run_on_cluster([task(0), task(1)], lambda digest: digest.encode(), cluster, jobs=None, tell=print)
    assert next(rows) == [{"key": "0"}]

    def stop() -> Sequence[Event]:
        raise KeyboardInterrupt

    monkeypatch.setattr(cluster, "wait", stop)
    with pytest.raises(KeyboardInterrupt):
        next(rows)
    assert cluster.is_closed
