"""The errors of worldkv: one small tree, every message one sentence with the cure; and hints for unknown words."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class WorldKVError(Exception):
    """Anything a user can cause; the command line prints its sentence and exits with code 2."""


class TrajectoryError(WorldKVError):
    """A trajectory cannot be read, or does not mean what its format promises."""


class SpecError(WorldKVError):
    """A spec string, name or parameter is unknown or out of its range."""


class PolicyError(WorldKVError):
    """A policy answered something that breaks its contract (an id it may not name, a wrong keep)."""


class BudgetError(WorldKVError):
    """A plan or a stored chunk does not fit where it has to go."""


class SignalError(WorldKVError):
    """A policy needs, or reads, a signal that is not supplied or that it did not declare."""


class OutputError(WorldKVError):
    """A result cannot be written where the user asked for it."""


class DeviceError(WorldKVError):
    """A device was asked for that is not there, or does not hold what it should."""


class PositionError(WorldKVError):
    """A chunk would stand past the end of the model's table of rotary positions."""


class TransferError(WorldKVError):
    """A copy between tiers failed, and failed again when it was tried once more."""


class GroupError(WorldKVError):
    """Ranks of a group disagree, one of them failed, or one cannot be reached; raised on every rank."""


class LostChunkError(WorldKVError):
    """A banked chunk cannot be read back as it was stored.

    Attributes:
        chunk: its id.
    """

    def __init__(self, chunk: int, why: str) -> None:
        """Chunk `chunk` is lost because of `why`."""
        super().__init__(f"chunk {chunk} is lost: {why}; run again, or go on without it (when_lost=go-on)")
        self.chunk = chunk


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """A hint for an unknown word: the nearest known one, or all of them; that there are none."""
    known = sorted(words)
    if not known:
        return "there are none"
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"


def check_choice(name: str, value: object, choices: Iterable[str]) -> None:
    """Refuse a value that is none of `choices`.

    Raises:
        SpecError: it is not.
    """
    known = list(choices)
    if value not in known:
        raise SpecError(f"{name} must be one of {', '.join(known)}, got {value!r}")
