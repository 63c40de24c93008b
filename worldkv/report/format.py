"""Format numbers, sizes and lists for people."""

from __future__ import annotations

import re
from collections.abc import Sequence

GIB = 1 << 30


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b` or `a, b and c`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def size(num_bytes: int) -> str:
    """Bytes in the unit that makes them a whole number, decimal or binary; else GiB to two digits."""
    for unit, scale in (("GiB", GIB), ("GB", 10**9), ("MiB", 1 << 20), ("MB", 10**6)):
        if num_bytes >= scale and num_bytes % scale == 0:
            return f"{num_bytes // scale} {unit}"
    return f"{num_bytes / GIB:.2f} GiB" if num_bytes >= GIB // 100 else f"{num_bytes:,} bytes"


def amount(num_bytes: int) -> str:
    """Bytes in the unit that makes them a number of ordinary length."""
    for unit, scale in (("GiB", GIB), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if num_bytes >= scale:
            return f"{num_bytes / scale:,.4g} {unit}"
    return f"{num_bytes} bytes" if num_bytes else "nothing"


def gib(num_bytes: float) -> str:
    """GiB with as many digits as tell rows apart."""
    value = num_bytes / GIB
    if value == 0:
        return "0"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.2g}"


def share(value: float | None, digits: int = 0) -> str:
    """A share in percent; `-` for none."""
    return "-" if value is None else f"{value:.{digits}%}"


def number(value: float | None, digits: int = 2) -> str:
    """A number; `-` for none."""
    return "-" if value is None else f"{value:.{digits}f}"


def rate(value: float) -> str:
    """Frames a second."""
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def folded(label: str, width: int = 24) -> str:
    """A long label in lines of about `width`, broken behind its colons and commas."""
    lines = [""]
    for piece in re.findall(r"[^:,]*[:,]?", label):
        if lines[-1] and len(lines[-1]) + len(piece) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(lines)
