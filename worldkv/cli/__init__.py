"""The command line: one file a command."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType

from worldkv.cli.exit_codes import FINE, INTERRUPTED, NOT_MET


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
            _take_signals()
        from worldkv.cli.app import main as run  # imported late: ctrl-c while numpy loads gives no traceback

        code = run(arguments)
        return code if code in (FINE, NOT_MET) or not _ASKED else 128 + _ASKED[-1]
    except Stopped as stop:
        return 128 + int(stop.args[0])
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception:
        if _ASKED:  # the signal came in a call of C, which made another error of it
            return 128 + _ASKED[-1]
        raise


def _take_signals() -> None:
    """Let signals that ask a process to end be heard, wherever they arrive."""
    for number in _ENDINGS:
        signal.signal(number, _stop)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a job in the background ignores ctrl-c
        signal.signal(signal.SIGINT, _interrupt)
    sys.unraisablehook = _send_again


def _stop(number: int, frame: FrameType | None) -> None:
    _ASKED.append(number)
    for other in _ENDINGS:
        signal.signal(other, signal.SIG_IGN)
    raise Stopped(number)


def _interrupt(number: int, frame: FrameType | None) -> None:
    _ASKED.append(number)
    raise KeyboardInterrupt


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
_ASKED: list[int] = []
"""Signals that have asked this process to end."""
