"""The errors of worldkv: one small tree, every message one sentence with the cure; and hints for unknown words."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable

LONGEST_WORD, LONGEST_SENTENCE = 400, 2_000
"""Characters that a word, and a whole sentence, of an error may have; what is longer loses its middle."""


def printable(text: str, most: int | None = None) -> str:
    """A name from a file as terminals, tables and files may show it: `?` for controls and lone surrogates.

    Args:
        text: the name.
        most: characters after which it is cut; None for all.
    """
    return "".join(letter if letter.isprintable() else "?" for letter in text[:most])


def shortened(text: str, most: int) -> str:
    """`text` without its middle, where it is longer than `most` characters."""
    return text if len(text) <= most else f"{text[: most * 2 // 3]}...{text[-(most // 3) :]}"


def repr_of(value: object) -> str:
    """The repr of a value from a file, which Python refuses for numbers of thousands of digits."""
    try:
        return repr(value)
    except (ValueError, RecursionError):
        return f"a value of type {type(value).__name__} too large to show"


class WorldKVError(Exception):
    """Anything a user can cause; the command line prints its sentence and exits with code 2.

    Its text is safe to print: control characters and lone surrogates are escaped, and long values shortened.
    """

    def __str__(self) -> str:
        text = super().__str__()
        if len(text) > LONGEST_WORD:
            words = (shortened(word, LONGEST_WORD) for word in re.split(r"(\s+)", shortened(text, 1_000_000)))
            text = shortened("".join(words), LONGEST_SENTENCE)
        return "".join(
            letter if letter.isprintable() or letter in "\n\t" else letter.encode("unicode_escape").decode()
            for letter in text
        )


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


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device or the host has no memory left: numpy's, Python's or torch's.

    Torch is not imported for it: where it is not loaded it cannot have raised the error.
    """
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)  # torch on a CPU has no class


def no_room(what: str, error: BaseException) -> DeviceError:
    """The error for memory that ran out during `what`: "WorldKV.compress at step 3"."""
    reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    return DeviceError(
        f"memory ran out in {what} ({reason}); take a smaller budget, fewer staging chunks or a smaller geometry, then "
        "restore, reset or make a new cache"
    )


class PositionError(WorldKVError):
    """A chunk would stand past the end of the model's table of rotary positions."""


class TransferError(WorldKVError):
    """A copy between tiers failed, and failed again when it was tried once more."""


class SavedWorldError(WorldKVError):
    """A saved world cannot be opened: it is damaged, of another version, or not of what was given."""


class GroupError(WorldKVError):
    """Ranks of a group disagree, one of them failed, or one cannot be reached; raised on every rank."""


class LostChunkError(WorldKVError):
    """A banked chunk cannot be read back as it was stored.

    Attributes:
        chunk: its id.
        why: the reason.
    """

    def __init__(self, chunk: int, why: str) -> None:
        """Chunk `chunk` is lost because of `why`."""
        super().__init__(f"chunk {chunk} is lost: {why}; run again, or go on without it (when_lost=go-on)")
        self.chunk, self.why = chunk, why


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """A hint for an unknown word: the nearest known one, or all of them; that there are none."""
    known = sorted(words)
    if not known:
        return "there are none"
    # a word of megabytes is compared for minutes
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5) if len(word) <= LONGEST_WORD else []
    return f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"


def check_choice(name: str, value: object, choices: Iterable[str]) -> None:
    """Refuse a value that is none of `choices`.

    Raises:
        SpecError: it is not.
    """
    known = list(choices)
    if value not in known:
        raise SpecError(f"{name} must be one of {', '.join(known)}, got {value!r}")
