"""A cluster of Dask, reached through its scheduler.

joblib's Dask backend yields results as they are done, but never returns where a task has killed its workers: it waits
for a result that `KilledWorker` has taken the place of (joblib 1.6). So tasks are Dask's own futures.
"""

from __future__ import annotations

import logging
import queue
import warnings
from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import CancelledError
from typing import Any

from worldkv.errors import DeviceError, WorldKVError
from worldkv.experiments.cluster.driver import Event, Finished, GivenUp, WorkerDied
from worldkv.experiments.cluster.place import PATIENCE_SECONDS
from worldkv.experiments.cluster.worker import run_errand

_COMPARED = ("python", "dask", "distributed")
_POLL_SECONDS = 1.0


class DaskCluster:
    """Tasks as futures of Dask, whose scheduler runs what a dead worker ran again; what it says of that is told."""

    blames_bystanders = True

    def __init__(self, name: str, address: str) -> None:
        """Connect.

        Args:
            name: as the user gave it.
            address: of the scheduler, as Dask takes it.

        Raises:
            DeviceError: no scheduler there, or another version of Dask or Python.
        """
        from distributed import Client, as_completed

        self.name = name
        self._logs = {log: log.level for log in map(logging.getLogger, ("distributed", "distributed.client"))}
        for log in self._logs:
            log.setLevel(logging.CRITICAL + 1)  # what it would say of dead workers is told in sentences
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # versions are compared below
                self._client = Client(address, timeout=PATIENCE_SECONDS, set_as_default=False)
        except (OSError, ValueError, ImportError) as error:
            self._speak()
            raise DeviceError(f"--on {name}: no scheduler of Dask can be used there: {error}") from None
        try:
            self._check_versions()
            self._died: queue.SimpleQueue[str] = queue.SimpleQueue()
            self._client.subscribe_topic("all", self._hear)
            self._done = as_completed(loop=self._client.loop, with_results=True, raise_errors=False)
        except BaseException:
            self.close()
            raise
        self._futures: dict[str, Any] = {}

    def num_cores(self) -> int:
        """See `Cluster.num_cores`: threads of all workers."""
        return sum(self._client.nthreads().values())

    def share(self, luggage: bytes) -> Any:
        """See `Cluster.share`: a task whose result is the luggage, so that it is made again if its worker dies."""
        return self._client.submit(bytes, luggage, pure=False)

    def submit(self, versions: Mapping[str, str], errand: bytes, shared: Any) -> Hashable:
        """See `Cluster.submit`."""
        future = self._client.submit(run_errand, dict(versions), errand, shared, pure=False)
        self._futures[future.key] = future
        self._done.add(future)
        return str(future.key)

    def wait(self) -> Sequence[Event]:
        """See `Cluster.wait`."""
        try:
            future, result = self._done.queue.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            return self._deaths()
        event = self._event(future, result)  # first: the last death of a task that is given up is not told twice
        return [*self._deaths(), event]

    def close(self) -> None:
        """See `Cluster.close`. A task that a worker has begun runs to its end there."""
        try:
            self._client.close(timeout=PATIENCE_SECONDS)
        finally:
            self._speak()

    def _speak(self) -> None:
        for log, level in self._logs.items():
            log.setLevel(level)

    def _event(self, future: Any, result: Any) -> Event:
        from distributed import KilledWorker

        del self._futures[future.key]
        if future.status == "finished":
            return Finished(future.key, result)
        if future.status in ("cancelled", "lost") or isinstance(result, CancelledError):
            raise DeviceError(
                f"{self.name} is gone, or has dropped the sweep's tasks; what was done is kept: give the same command "
                "when it is up again"
            )
        error = result[1]
        if isinstance(error, KilledWorker):
            return GivenUp(future.key, error.allowed_failures + 1)
        text = " ".join(str(error).split())
        raise WorldKVError(f"a worker of {self.name} cannot run worldkv: {type(error).__name__}: {text}") from None

    def _deaths(self) -> list[Event]:
        found: list[Event] = []
        while not self._died.empty():
            key = self._died.get()
            if key in self._futures:
                found.append(WorkerDied(key))
        return found

    def _hear(self, event: tuple[float, Mapping[str, Any]]) -> None:
        """Take note of tasks whose worker is gone without having been told to go; runs in the client's own thread."""
        message = event[1]
        if message.get("action") == "remove-worker" and not message.get("expected"):
            for key in message.get("processing-tasks", ()):
                self._died.put(key)

    def _check_versions(self) -> None:
        """Compare Dask and Python of the scheduler and the workers with this machine's.

        Raises:
            DeviceError: they differ.
        """
        found = self._client.get_versions()
        here = found["client"]
        places = {"its scheduler": found["scheduler"]} | {
            f"worker {name}": one for name, one in found["workers"].items()
        }
        for place, there in {"its scheduler": found["scheduler"], **places}.items():
            for package in _COMPARED:
                theirs, ours = (_version(one, package) for one in (there, here))
                if theirs != ours:
                    raise DeviceError(
                        f"--on {self.name}: {place} has {package} {theirs}, this machine has {ours}; install the same"
                    )


def _version(found: Mapping[str, Any], package: str) -> str:
    """A package's version in an answer of Dask; Python's without what comes after the second number."""
    if package == "python":
        return ".".join(str(found["host"]["python"]).split(".")[:2])
    return str(found["packages"].get(package))
