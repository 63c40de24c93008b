"""Sizes in bytes as they are typed: `24GiB`, `80GB`."""

from __future__ import annotations

import re

from worldkv.errors import SpecError

_UNITS: dict[str, int] = {
    "": 1,
    "B": 1,
    **{f"{prefix}B": 1000**power for power, prefix in enumerate("KMGT", start=1)},
    **{f"{prefix}IB": 1024**power for power, prefix in enumerate("KMGT", start=1)},
}
_MOST_DIGITS = 40
_SIZE = re.compile(r"(?P<number>\d+(\.\d*)?)\s*(?P<unit>[A-Za-z]*)")


def parse_size(size: str | int | None, option: str) -> int | None:
    """A size in bytes: `24GiB`, `80GB`, `512MB` or plain bytes; None for None.

    Args:
        size: as typed, or a number of bytes.
        option: the option's name, for the error.

    Raises:
        SpecError: it is no size.
    """
    if size is None:
        return None
    match = _SIZE.fullmatch(str(size).strip())
    unit = None if match is None else _UNITS.get(match["unit"].upper())
    if match is None or unit is None or len(match["number"]) > _MOST_DIGITS:
        raise SpecError(f"{option} must be a size such as 24GiB, 80GB, 512MB or a number of bytes, got {size!r}")
    return round(float(match["number"]) * unit)
