"""What a check is, what it runs on, and what it finds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

HOLDS, TOLD, FALLS_SHORT, FAILED, TOO_SLOW = "holds", "ran, nothing judged", "falls short", "failed", "out of time"
NOT_RUN, NOT_HERE, NO_TIME = "not run", "not on this device", "no time left"
"""How a check ends."""
BAD = frozenset({FALLS_SHORT, FAILED, TOO_SLOW})
"""Endings that somebody has to look into."""
ROOT = Path(__file__).resolve().parents[3]
"""The folder that holds the package: the repository, where it is run from a checkout."""


class Figure(NamedTuple):
    """One thing measured, beside what was expected of it.

    Attributes:
        what: in words.
        expected: what was promised; empty where nothing was.
        measured: what came.
        holds: whether the promise is kept; None where there is none to judge.
        otherwise: what to conclude where it is not kept.
    """

    what: str
    expected: str
    measured: str
    holds: bool | None = None
    otherwise: str = ""


class NotRunError(Exception):
    """A check cannot run; its text says what is missing.

    Attributes:
        status: `NOT_RUN` where something can be installed, `NOT_HERE` where the device is another one.
    """

    def __init__(self, why: str, status: str = NOT_RUN) -> None:
        """Because of `why`."""
        super().__init__(why)
        self.status = status


@dataclass(frozen=True)
class Setting:
    """What a check runs on.

    Attributes:
        device: torch's name of it.
        is_rehearsal: sizes are small and times are not judged.
        seconds: how long the check may take; the process that runs it is ended then.
        started: when it began, by `time.monotonic`.
    """

    device: str
    is_rehearsal: bool
    seconds: float
    started: float = field(default_factory=time.monotonic)

    @property
    def kind(self) -> str:
        """The device without its index: `cuda`."""
        return self.device.partition(":")[0]

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.seconds - (time.monotonic() - self.started)

    def judged(self, holds: bool) -> bool | None:
        """`holds` for a figure of time or size; None in a rehearsal, whose sizes say nothing."""
        return None if self.is_rehearsal else holds

    def module(self, *names: str) -> Any:
        """The device's own module in torch, such as `torch.cuda`.

        Raises:
            NotRunError: it has not got one of the functions `names`.
        """
        import torch

        found: Any = None if self.kind == "cpu" else torch.get_device_module(self.kind)
        for name in names:
            if not hasattr(found, name):
                raise NotRunError(f"torch offers no {name} for {self.kind}", NOT_HERE)
        return found


@dataclass(frozen=True)
class Check:
    """One question to a device.

    Attributes:
        name: for `--only`.
        question: what it asks, in one sentence.
        seconds: the most it may take on an H200 with 16 cores.
        conclusion: what follows where everything holds.
        run: yields what it finds, as it finds it.
        not_on: why it says nothing on a device of that kind.
    """

    name: str
    question: str
    seconds: float
    conclusion: str
    run: Callable[[Setting], Iterator[Figure]]
    not_on: dict[str, str] = field(default_factory=dict)


@dataclass
class Outcome:
    """What came of a check.

    Attributes:
        status: one of the endings above.
        why: in a sentence, where it did not run to its end.
        figures: what was found until then.
        seconds: how long it took.
    """

    status: str
    why: str = ""
    figures: list[Figure] = field(default_factory=list)
    seconds: float = 0.0


def judged(figures: list[Figure]) -> str:
    """`HOLDS`, `FALLS_SHORT` where a figure does not hold, or `TOLD` where none was judged."""
    verdicts = [figure.holds for figure in figures if figure.holds is not None]
    return TOLD if not verdicts else HOLDS if all(verdicts) else FALLS_SHORT
