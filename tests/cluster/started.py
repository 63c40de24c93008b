"""Clusters of two workers on this machine, each a process of its own in a folder without the user's files."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

STARTS_WITHIN_SECONDS = 120
ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def dask_cluster(folder: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A scheduler and two workers that a nanny starts again: what `--on` takes, and the scheduler."""
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    scheduler = ("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard")
    worker = ("distributed.cli.dask_worker", address, "--nworkers", 2, "--nthreads", 1, "--no-dashboard")
    with ExitStack() as stack:
        head = stack.enter_context(running(folder, "-m", *scheduler))
        stack.enter_context(running(folder, "-m", *worker))
        wait_until(lambda: answers(port), head)
        yield f"dask:127.0.0.1:{port}", head


@contextmanager
def ray_cluster(folder: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A head and a second node, of one core each: what `--on` takes, and the head."""
    port, client_port = free_port(), free_port()
    start = ("-c", "from ray.scripts.scripts import main; main()", "start", "--block", "--disable-usage-stats")
    ray = (*start, "--num-cpus", 1, "--object-store-memory", 80_000_000)
    ports = ("--port", port, "--ray-client-server-port", client_port, "--include-dashboard", "false")
    with ExitStack() as stack:
        temporary = stack.enter_context(short_folder())
        head = stack.enter_context(running(folder, *ray, "--head", *ports, "--temp-dir", temporary))
        wait_until(lambda: answers(client_port), head)
        second = stack.enter_context(running(folder, *ray, "--address", f"127.0.0.1:{port}"))
        wait_until(lambda: answers(client_port), second)
        yield f"ray://127.0.0.1:{client_port}", head


@contextmanager
def running(folder: Path, *words: object) -> Iterator[subprocess.Popen[str]]:
    """A Python process in `folder`, ended at the end with all that it has started."""
    log = (folder / f"{free_port()}.log").open("w")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}
    process = subprocess.Popen(
        [sys.executable, *map(str, words)],
        cwd=folder,
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        log.close()
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            kill_with_children(process)


def kill_with_children(process: subprocess.Popen[str]) -> None:
    import psutil  # type: ignore[import-untyped]  # both libraries bring it

    for one in (*psutil.Process(process.pid).children(recursive=True), process):
        with suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait()


@contextmanager
def short_folder() -> Iterator[str]:
    """A folder with a short name: Ray's sockets lie deep in it, and a socket's name has at most 107 letters."""
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as name:
        yield name


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port


def answers(port: int) -> bool:
    with socket.socket() as knocking:
        return knocking.connect_ex(("127.0.0.1", port)) == 0


def wait_until(is_so: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait for `is_so` as long as `process` runs."""
    for _ in range(STARTS_WITHIN_SECONDS * 10):
        if is_so():
            return
        assert process.poll() is None, "a process of the cluster has ended"
        time.sleep(0.1)
    raise AssertionError("the cluster does not start")
