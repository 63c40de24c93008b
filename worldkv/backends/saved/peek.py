"""Look at what was saved beside a world without opening it."""

from __future__ import annotations

import os
from typing import Any

from worldkv.backends.saved.values import decode
from worldkv.backends.saved.world_folder import WorldFolder


def saved_beside(folder: str | os.PathLike[str], key: str) -> Any:
    """One entry of what `save` was given as `extra`, without tensors; None where there is none of that name.

    Raises:
        SavedWorldError: there is no whole world.
    """
    place = WorldFolder(folder)
    world = place.read()
    try:
        found = dict(world["extra"]["dict"])
        return decode(found[key], {}) if key in found else None
    except (ValueError, KeyError, TypeError):
        raise place.damaged("world.json", f"its {key} cannot be read") from None
