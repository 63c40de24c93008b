"""Objects that count something step by step and can be stopped: what changes in them, as plain values."""

from __future__ import annotations

from typing import Any, ClassVar


class Resumable:
    """Says what changes in it, and goes on from there.

    Attributes:
        changing: names of the attributes that change from step to step: numbers, arrays, other such objects, None, and
            lists, tuples, dictionaries and sets of these.
    """

    changing: ClassVar[tuple[str, ...]] = ()

    def progress(self) -> dict[str, Any]:
        """What has changed so far, of numbers, strings, arrays, lists, tuples and dictionaries by strings."""
        return {name.lstrip("_"): _plain(getattr(self, name)) for name in self.changing}

    def take_in(self, progress: dict[str, Any]) -> None:
        """Go on from what `progress` answered.

        Raises:
            ValueError, KeyError, TypeError: it is nothing of the kind.
        """
        for name in self.changing:
            held, found = getattr(self, name), progress[name.lstrip("_")]
            if isinstance(held, Resumable):
                held.take_in(found)
            else:
                setattr(self, name, _back(found))


def _plain(value: Any) -> Any:
    if isinstance(value, Resumable):
        return value.progress()
    if isinstance(value, dict):
        return {"pairs": [[_plain(key), _plain(inner)] for key, inner in value.items()]}
    if isinstance(value, set):
        return {"set": sorted(value)}
    if isinstance(value, tuple):
        return tuple(_plain(inner) for inner in value)
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _back(value: Any) -> Any:
    if isinstance(value, dict):
        ((kind, inner),) = value.items()
        return set(inner) if kind == "set" else {_back(key): _back(one) for key, one in inner}
    if isinstance(value, tuple):
        return tuple(_back(inner) for inner in value)
    return [_back(inner) for inner in value] if isinstance(value, list) else value
