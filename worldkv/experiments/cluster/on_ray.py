"""A cluster of Ray, reached from any machine through its client server.

Its joblib backend cannot yield results as they are done (it is a pool of multiprocessing, which has no generators), so
tasks are Ray tasks.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
import warnings
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from worldkv.errors import DeviceError, WorldKVError
from worldkv.experiments.cluster.driver import Event, Finished, GivenUp, WorkerDied
from worldkv.experiments.cluster.worker import run_errand

MOST_WORKERS = 3
"""Workers that may die of one task before it is given up."""
MOST_CONNECTIONS = 4
"""Times that the server is asked for a process of its own for this client."""
_POLL_SECONDS = 1.0


class RayCluster:
    """Tasks as Ray tasks of one core each. What a dead worker ran is submitted again here, so that it can be told."""

    blames_bystanders = False

    def __init__(self, name: str, address: str) -> None:
        """Connect.

        Args:
            name: as the user gave it.
            address: `ray://HOST:PORT`.

        Raises:
            DeviceError: no Ray there, another version of it or of Python, or one that is in use in this process.
        """
        import ray

        self.name, self._ray = name, ray
        if ray.is_initialized():
            raise DeviceError("Ray is in use in this process already; leave it first: ray.shutdown()")
        self._log, self._client_log = map(logging.getLogger, ("ray", "ray.util.client.logsclient"))
        self._log_level = self._log.level
        self._log.setLevel(logging.CRITICAL + 1)  # what it would say of a cluster that is gone is told in a sentence
        self._client_log.disabled = True  # it stands apart from its parent
        try:
            with warnings.catch_warnings(), _same_signals():
                warnings.simplefilter("ignore")  # what went wrong is in the error as well
                _connect(ray, address)
        except (ConnectionError, RuntimeError, ValueError) as error:
            self._speak()
            raise DeviceError(f"--on {name}: no Ray cluster can be used there: {_sentence(error)}") from None
        self._run = ray.remote(num_cpus=1, max_retries=0)(run_errand)
        self._tasks: dict[Any, tuple[Hashable, tuple[Any, ...], int]] = {}
        self._num_submitted = 0

    def num_cores(self) -> int:
        """See `Cluster.num_cores`."""
        return int(self._asked(self._ray.cluster_resources).get("CPU", 0))

    def share(self, luggage: bytes) -> Any:
        """See `Cluster.share`: an object in Ray's store."""
        return self._asked(self._ray.put, luggage)

    def submit(self, versions: Mapping[str, str], errand: bytes, shared: Any) -> Hashable:
        """See `Cluster.submit`."""
        self._num_submitted += 1
        self._start(self._num_submitted, (dict(versions), errand, shared), 0)
        return self._num_submitted

    def wait(self) -> Sequence[Event]:
        """See `Cluster.wait`."""
        done, _ = self._asked(
            self._ray.wait, list(self._tasks), num_returns=len(self._tasks), timeout=0
        )  # all that is done, if anything is
        if not done:
            done, _ = self._asked(self._ray.wait, list(self._tasks), num_returns=1, timeout=_POLL_SECONDS)
        return [self._event(reference) for reference in done]

    def close(self) -> None:
        """See `Cluster.close`: Ray ends the tasks of a client that leaves."""
        self._tasks.clear()
        self._ray.shutdown()
        self._speak()

    def _speak(self) -> None:
        self._log.setLevel(self._log_level)
        self._client_log.disabled = False

    def _start(self, task: Hashable, arguments: tuple[Any, ...], deaths: int) -> None:
        self._tasks[self._asked(self._run.remote, *arguments)] = (task, arguments, deaths)

    def _event(self, reference: Any) -> Event:
        errors = self._ray.exceptions
        task, arguments, deaths = self._tasks.pop(reference)
        try:
            return Finished(task, self._asked(self._ray.get, reference))
        except (errors.WorkerCrashedError, errors.NodeDiedError, errors.OutOfMemoryError, errors.ObjectLostError):
            if deaths + 1 >= MOST_WORKERS:
                return GivenUp(task, MOST_WORKERS)
            self._start(task, arguments, deaths + 1)
            return WorkerDied(task)
        except errors.RayError as error:
            raise WorldKVError(f"a worker of {self.name} cannot run worldkv: {_sentence(error)}") from None

    def _asked(self, call: Any, *arguments: Any, **options: Any) -> Any:
        """What `call` returns.

        Raises:
            DeviceError: the cluster does not answer any more.
        """
        try:
            return call(*arguments, **options)
        except (ConnectionError, RuntimeError) as error:
            raise DeviceError(
                f"{self.name} is gone ({_sentence(error)}); what was done is kept: give the same command when it is "
                "up again"
            ) from None


def _connect(ray: Any, address: str) -> None:
    """Connect, and again where Ray's server could not start the process that it has for each client.

    On a busy machine that process may be late, or the one of the last client still be there as a zombie.
    """
    for left in reversed(range(MOST_CONNECTIONS)):
        try:
            ray.init(address, log_to_driver=False, configure_logging=False)
            return
        except RuntimeError as error:
            if not left or "ersion" in str(error):
                raise
            time.sleep(_POLL_SECONDS)


@contextmanager
def _same_signals() -> Iterator[None]:
    """Keep this process's handler of SIGTERM, which Ray replaces by one that exits at once."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


def _sentence(error: BaseException) -> str:
    """The last line of an error of Ray, where Python's own message is."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[-1].rstrip(".")
