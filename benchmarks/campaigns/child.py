"""Commands in child processes that start at once, since their parent has imported all they need; signals to them."""

from __future__ import annotations

import atexit
import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

_ASKED_TO_END = (signal.SIGTERM, signal.SIGINT)
LONGEST_END = 30.0
"""Seconds that a child may take to end after a signal."""


class Ended(NamedTuple):
    """How a child ended.

    Attributes:
        code: its exit code, the negative signal that killed it, or None where it had to be killed for hanging.
        said: what it wrote to both outputs.
        seconds: how long it ran.
    """

    code: int | None
    said: str
    seconds: float


def preload() -> None:
    """Import what the commands import; no thread may run yet, since children are forked."""
    import matplotlib.pyplot  # noqa: F401
    import torch

    import worldkv.cli.app
    import worldkv.experiments.comparison
    import worldkv.experiments.promotion
    import worldkv.experiments.real_run
    import worldkv.experiments.sweep
    import worldkv.plots.comparison
    import worldkv.testing  # noqa: F401

    torch.set_num_threads(1)


def start(words: list[str], folder: Path, said: Path | None = None, largest_file: int | None = None) -> int:
    """Run `worldkv WORDS` in `folder`, as the console script would; answers the process's id.

    Args:
        words: the command line.
        folder: where it runs.
        said: takes both outputs; `said` in the folder where None.
        largest_file: bytes after which the system cuts any file short; None for no limit.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    (said or folder / "said").touch()
    signal.pthread_sigmask(signal.SIG_BLOCK, _ASKED_TO_END)  # until the child is where a new process would be
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            os.chdir(folder)
            output = os.open(said or folder / "said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(output, 1)
            os.dup2(output, 2)
            if largest_file is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
            sys.argv = ["worldkv", *words]
            from worldkv.cli import main

            signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ASKED_TO_END)
            code = main()
            sys.stdout.flush()
            if "--jobs" not in words:  # joblib's workers are this process's, and are ended with it
                threading._shutdown()  # type: ignore[attr-defined]  # as the interpreter does at its end
                atexit._run_exitfuncs()
            os._exit(code)
        except KeyboardInterrupt:
            os._exit(130)
        except BaseException:
            import traceback

            traceback.print_exc()
            sys.stderr.flush()
            os._exit(70)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ASKED_TO_END)
    return child


def end(child: int, said: Path, number: signal.Signals | None, after: float) -> Ended:
    """Let the child run for `after` seconds, send it a signal where one is given, and wait."""
    started = time.monotonic()
    code = _wait(child, after) if number is not None else None
    if code is None and number is not None:
        os.kill(child, number)
    if code is None:
        code = _wait(child, LONGEST_END if number is not None else 10 * LONGEST_END)
    if code is None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    try:
        os.killpg(child, signal.SIGKILL)  # workers of a process that was killed go by themselves, but later
    except ProcessLookupError:
        pass
    return Ended(code, said.read_text(errors="replace"), time.monotonic() - started)


def run(words: list[str], folder: Path, said: Path | None = None, largest_file: int | None = None) -> Ended:
    """Run a command to its end; arguments as for `start`."""
    return end(start(words, folder, said, largest_file), said or folder / "said", None, 0.0)


def _wait(child: int, seconds: float) -> int | None:
    """The exit code, or None where the child still runs after so long."""
    until = time.monotonic() + seconds
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= until:
            return None
        time.sleep(0.002)
