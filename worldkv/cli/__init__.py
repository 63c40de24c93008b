"""The command line: one file a command."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType

from worldkv.cli.exit_codes import INTERRUPTED


class Stopped(KeyboardInterrupt):
    """Raised on SIGTERM and SIGHUP: the process ends as after ctrl-c, keeps finished work and takes workers along."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command line; see `worldkv.cli.app.main`.

    Args:
        arguments: the words after `worldkv`; the process's own where None.

    Returns:
        The exit code.
    """
    try:
        if arguments is None and threading.current_thread() is threading.main_thread():
            for number in _ENDINGS:
                signal.signal(number, _stop)
            sys.unraisablehook = _send_again
        from worldkv.cli.app import main as run  # imported late: ctrl-c while numpy loads gives no traceback

        return run(arguments)
    except Stopped as stop:
        return 128 + int(stop.args[0])
    except KeyboardInterrupt:
        return INTERRUPTED


def _stop(number: int, frame: FrameType | None) -> None:
    for other in _ENDINGS:
        signal.signal(other, signal.SIG_IGN)
    raise Stopped(number)


def _send_again(dropped: sys.UnraisableHookArgs) -> None:
    """A signal in a destructor or a callback of the collector, where what it raises is dropped, comes again."""
    error = dropped.exc_value
    if not isinstance(error, KeyboardInterrupt):
        sys.__unraisablehook__(dropped)
        return
    for ending in _ENDINGS:
        signal.signal(ending, _stop)
    number = error.args[0] if isinstance(error, Stopped) else signal.SIGINT
    threading.Timer(0.05, os.kill, (os.getpid(), number)).start()  # once Python is out of there


_ENDINGS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
