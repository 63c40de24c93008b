"""What a campaign counts, how it shows progress, and the JSON that it leaves."""

from __future__ import annotations

import argparse
import collections
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.machine import machine

WRONG = "wrong"
"""The verdict that no trial may have: a result that differs, a loss, a hang, a traceback."""


class Outcome:
    """Trials by kind and verdict.

    Attributes:
        wrong: what was found wrong, in words, with how to repeat it.
    """

    def __init__(self, name: str) -> None:
        """No trial yet of the campaign `name`."""
        self.name, self.wrong = name, list[str]()
        self._counts: dict[str, collections.Counter[str]] = {}
        self._facts: dict[str, Any] = {}
        self._started, self._told = time.monotonic(), 0.0

    def note(self, kind: str, verdict: str, why: str = "") -> None:
        """One trial is over; `why` is kept where the verdict is `WRONG`."""
        self._counts.setdefault(kind, collections.Counter())[verdict] += 1
        if verdict == WRONG:
            self.wrong.append(f"{kind}: {why}")
            print(f"{self.name}: wrong: {kind}: {why}", file=sys.stderr, flush=True)
        if time.monotonic() - self._told > 10:
            self._told = time.monotonic()
            print(f"{self.name}: {kind}: {self.trials} trials, {len(self.wrong)} wrong", file=sys.stderr, flush=True)

    def fact(self, name: str, value: Any) -> None:
        """Something measured beside the verdicts."""
        self._facts[name] = value

    @property
    def trials(self) -> int:
        """All of them."""
        return sum(counter.total() for counter in self._counts.values())

    def finish(self, folder: Path) -> int:
        """Print the counts and write `NAME.json` into `folder`; the exit code, 1 where anything was wrong."""
        document = {
            "campaign": self.name,
            "machine": machine(),
            "seconds": round(time.monotonic() - self._started, 1),
            "trials": self.trials,
            "verdicts": {kind: dict(sorted(counter.items())) for kind, counter in self._counts.items()},
            **self._facts,
            "wrong": self.wrong,
        }
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.json").write_text(json.dumps(document, indent=2) + "\n")
        print(f"{self.name}: {self.trials} trials in {document['seconds']} s, {len(self.wrong)} wrong")
        for kind, verdicts in document["verdicts"].items():
            print(f"  {kind}: " + ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items()))
        for name, value in self._facts.items():
            print(f"  {name}: {value}")
        return 1 if self.wrong else 0


def arguments(what: str, trials: int) -> argparse.Namespace:
    """The command line that every campaign has: how many trials, the seed, where its JSON goes."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--trials", type=int, default=trials, help="trials of each kind (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=int.from_bytes(os.urandom(2), "big"), help="drawn afresh by default"
    )
    parser.add_argument("--only", help="kinds to run, by a part of their name; all by default")
    parser.add_argument("--out", type=Path, default=Path("build/campaigns"), help="folder of the JSON files")
    return parser.parse_args()


@contextmanager
def work_folder() -> Iterator[Path]:
    """A folder for the trials, removed at the end by this process alone: forked children end at other places."""
    owner, folder = os.getpid(), Path(tempfile.mkdtemp(prefix="worldkv-campaign-"))
    try:
        yield folder
    finally:
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)
