"""What the columns of a table are, by the names in its header or in `--format table:columns=...`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from worldkv.errors import SpecError, did_you_mean
from worldkv.trajectory.formats.sniff import FileHead, split_row

SKIPPED = "-"
POSITION = ("x", "y", "z")
QUATERNION = ("qx", "qy", "qz", "qw")
AXIS_ANGLE = ("rx", "ry", "rz")
TUM = ("t", *POSITION, *QUATERNION)
EUROC = ("t", *POSITION, "qw", "qx", "qy", "qz")
MATRIX = tuple(f"m{row}{column}" for row in range(4) for column in range(4))
ROLES = ("t", *POSITION, *QUATERNION, *AXIS_ANGLE, *MATRIX, SKIPPED)
_WHOLE = {"m12": MATRIX[:12], "m16": MATRIX}

_LONGEST_HEADER = 2_000  # characters; the patterns below take quadratic time

_TIME_NAMES = re.compile(
    r"^(time|timestamps?|stamp|ts|t|sec|seconds|time_?stamp|.*\bheader\.stamp|%time)(_?(s|ms|us|ns))?$"
)
_UNIT = re.compile(r"[\[(]\s*([a-zA-Z]*)[^\])]*[\])]")
_TIME_UNITS = {"s": "s", "sec": "s", "ms": "ms", "us": "us", "ns": "ns"}
_LENGTH_UNITS = {"m": "m", "cm": "cm", "mm": "mm"}


@dataclass(frozen=True)
class Columns:
    """The meaning of each column.

    Attributes:
        roles: of `ROLES`, in the order of the file.
        time_unit: where the header says it.
        length_unit: likewise.
    """

    roles: tuple[str, ...]
    time_unit: str | None = None
    length_unit: str | None = None

    def of(self, roles: tuple[str, ...]) -> list[int] | None:
        """Where `roles` stand; None where one is missing."""
        return [self.roles.index(role) for role in roles] if set(roles) <= set(self.roles) else None


def parse_columns(words: tuple[str, ...]) -> Columns:
    """The columns that a user names; `m12` and `m16` stand for a row-major matrix, `-` for a column to pass over.

    Raises:
        SpecError: an unknown or repeated name, no position or no rotation.
    """
    roles: list[str] = []
    for word in words:
        name = word.lower()
        if name not in ROLES and name not in _WHOLE:
            raise SpecError(f"--format table: unknown column {word!r}; {did_you_mean(name, [*ROLES[:11], *_WHOLE])}")
        roles += _WHOLE.get(name, (name,))
    twice = next((role for role in roles if role != SKIPPED and roles.count(role) > 1), None)
    if twice is not None:
        raise SpecError(f"--format table: column {twice} is named twice; name a column to pass over -")
    columns = Columns(tuple(roles))
    if columns.of(MATRIX[:12]) is None and (
        columns.of(POSITION) is None or (columns.of(QUATERNION) is None and columns.of(AXIS_ANGLE) is None)
    ):
        raise SpecError(
            f"--format table: columns {','.join(words)} make no pose; name x,y,z and qx,qy,qz,qw (or an axis-angle "
            "vector rx,ry,rz), or a matrix m12 or m16, and t for time stamps"
        )
    return columns


def header_columns(head: FileHead) -> Columns | None:
    """The columns that a `#` comment or the first line names, where they are a position and a quaternion.

    None where no line does, or names another number of columns than the rows have.
    """
    if not head.lines:
        return None
    first = head.lines[0]
    rows = head.lines
    named = [*reversed(head.comments)]
    if not _is_row(first):
        named.insert(0, first)
        rows = head.lines[1:]
    width = len(split_row(rows[0])) if rows and _is_row(rows[0]) else None
    for line in named:
        if len(line) > _LONGEST_HEADER:
            continue
        columns = _columns_of(line)
        if columns is not None and len(columns.roles) == width and columns.of((*POSITION, *QUATERNION)) is not None:
            return columns
    return None


def _is_row(line: str) -> bool:
    try:
        return bool([float(token) for token in split_row(line)])
    except ValueError:
        return False


def _columns_of(line: str) -> Columns | None:
    text = line.lstrip("#% ").strip()
    if "," in text:
        names = [name.strip() for name in text.split(",")]
    else:
        names = re.sub(r"\s+(?=[\[(])", "", text).split()
    roles, time_unit, length_unit = [], None, None
    for name in names:
        unit = _UNIT.search(name)
        role, suffix = _role(_UNIT.sub("", name).strip().lower())
        word = unit[1] if unit else suffix
        if role == "t":
            time_unit = _TIME_UNITS.get(word or "", time_unit)
        elif role in POSITION:
            length_unit = _LENGTH_UNITS.get(word or "", length_unit)
        roles.append(SKIPPED if role in roles else role)
    return Columns(tuple(roles), time_unit, length_unit)


def _role(name: str) -> tuple[str, str | None]:
    """The role of a column's name, and a unit written behind an underscore."""
    time = _TIME_NAMES.match(name)
    if time is not None:
        return "t", time[3]
    # `pose.position.x` of a ROS topic, `p_RS_R_x` of EuRoC, `qx`: the axis comes last, what it is of before it.
    stem, dot, letter = name.rpartition(".")
    stem, letter = (stem.rpartition(".")[2], letter) if dot else (name[:-1].rstrip("_ "), name[-1:])
    if letter in ("x", "y", "z", "w") and (stem[:1] == "q" or re.match(r"quat|orient|rot", stem)):
        return f"q{letter}", None
    if letter == "w" and not stem:
        return "qw", None
    if letter in ("x", "y", "z") and (not stem or re.match(r"(t|p|pos|position|trans|translation)(_|$)", stem)):
        return letter, None
    return SKIPPED, None
