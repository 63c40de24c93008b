"""Run one check in a process of its own, which writes each figure down as it is found.

A check that hangs, runs out of memory or loses the device takes nobody with it, and what it had found stays.
Run: python -m worldkv.experiments.gpu_check.worker NAME DEVICE REHEARSAL SECONDS FILE
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from worldkv.errors import WorldKVError
from worldkv.experiments.gpu_check.check import (
    FAILED,
    ROOT,
    TOO_SLOW,
    Check,
    Figure,
    NotRunError,
    Outcome,
    Setting,
    judged,
)

Note = Callable[[dict[str, Any]], None]
"""Takes one line of the report: a figure, or how it ended."""
MOST_WHY = 400
"""Characters of an error that are reported."""


def report(check: Check, setting: Setting, note: Note) -> None:
    """Run the check here and note what it finds, and how it ends."""
    try:
        for figure in check.run(setting):
            note({"figure": figure._asdict()})
    except NotRunError as error:
        note({"status": error.status, "why": str(error)})
    except WorldKVError as error:
        note({"status": FAILED, "why": str(error)})
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(where.filename).name}:{where.lineno}"
        note({"status": FAILED, "why": f"{type(error).__name__}: {str(error)[:MOST_WHY]} ({place})"})
    else:
        note({"status": None, "why": ""})


def outcome_of(lines: list[dict[str, Any]], ending: str, seconds: float) -> Outcome:
    """The outcome that a report's lines tell; `ending` is why there is no last line, if there is none."""
    figures = [Figure(**line["figure"]) for line in lines if "figure" in line]
    last = next((line for line in lines if "status" in line), None)
    if last is None:
        return Outcome(TOO_SLOW if not ending else FAILED, ending, figures, seconds)
    return Outcome(last["status"] or judged(figures), last["why"], figures, seconds)


def run_here(check: Check, setting: Setting) -> Outcome:
    """The check in this process, without a time limit: for tests."""
    lines: list[dict[str, Any]] = []
    report(check, setting, lines.append)
    return outcome_of(lines, "", 0.0)


def run_apart(check: Check, setting: Setting) -> Outcome:
    """The check in a process of its own, ended with all it started once its time is over."""
    with tempfile.TemporaryDirectory() as folder:
        file, said = Path(folder, "figures.jsonl"), Path(folder, "said.txt")
        words = [check.name, setting.device, str(int(setting.is_rehearsal)), str(setting.seconds), str(file)]
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
        started = time.monotonic()
        with said.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", __name__, *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
            try:
                code: int | None = process.wait(setting.seconds)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                _end(process)
        lines = []
        if file.exists():
            with contextlib.suppress(json.JSONDecodeError):  # the last line may be half written
                for line in file.read_text(encoding="utf-8").splitlines():
                    lines.append(json.loads(line))
        ending = "" if code is None else f"the process ended with code {code}: {_last_line(said)}"
        return outcome_of(lines, ending, time.monotonic() - started)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and what it started, if they still run."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_line(said: Path) -> str:
    lines = [line.strip() for line in said.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:MOST_WHY] if lines else "it said nothing"


def main(words: list[str]) -> None:
    """Run the check that the words name."""
    from worldkv.experiments.gpu_check.checks import check_of

    name, device, is_rehearsal, seconds, file = words
    setting = Setting(device, is_rehearsal == "1", float(seconds))
    with Path(file).open("w", encoding="utf-8") as stream:

        def note(line: dict[str, Any]) -> None:
            stream.write(json.dumps(line) + "\n")
            stream.flush()

        report(check_of(name), setting, note)


if __name__ == "__main__":
    main(sys.argv[1:])
