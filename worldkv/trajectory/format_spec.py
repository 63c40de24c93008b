"""What a user says about a file's format: `kitti:direction=w2c,fov=90x60`, or the options of the same names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

from worldkv.errors import SpecError, did_you_mean
from worldkv.trajectory.axes import check_axes

Direction = Literal["c2w", "w2c"]
"""Camera-to-world (the camera stands in the last column) or world-to-camera (its inverse)."""

LENGTHS = {"m": 1.0, "cm": 0.01, "mm": 0.001, "km": 1000.0, "ft": 0.3048, "in": 0.0254}
"""Metres of each unit of length."""
TIMES = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
"""Seconds of each unit of time."""

_KEYS = ("axes", "direction", "units", "fov", "columns", "camera", "degrees")


@dataclass(frozen=True)
class FormatSpec:
    """A file's format and how to read it; None for what the format itself says.

    Attributes:
        name: the format; None to tell it by content.
        axes: of the camera, as in `worldkv.trajectory.axes`.
        direction: of the poses.
        length_unit: of positions, a key of `LENGTHS`; they are read as metres then.
        time_unit: of time stamps, a key of `TIMES`.
        fov: full horizontal and vertical degrees.
        columns: what the columns of a table are.
        camera: the one camera to read of several.
        degrees: camera turn a frame of mouse value 1.
    """

    name: str | None = None
    axes: str | None = None
    direction: Direction | None = None
    length_unit: str | None = None
    time_unit: str | None = None
    fov: tuple[float, float] | None = None
    columns: tuple[str, ...] | None = None
    camera: str | None = None
    degrees: float | None = None

    def given(self) -> list[str]:
        """The options that are given, by name."""
        pairs = {
            "axes": self.axes,
            "direction": self.direction,
            "units": self.length_unit or self.time_unit,
            "fov": self.fov,
            "columns": self.columns,
            "camera": self.camera,
            "degrees": self.degrees,
        }
        return [name for name, value in pairs.items() if value is not None]


def format_spec(
    format: str | None,
    *,
    axes: str | None = None,
    direction: str | None = None,
    units: str | None = None,
    fov: str | tuple[float, float] | None = None,
) -> str | None:
    """One spec of a format and the options of the same names; None where nothing is said.

    Raises:
        SpecError: an option is said twice.
    """
    angles = fov if fov is None or isinstance(fov, str) else "x".join(f"{angle:.17g}" for angle in fov)
    said = {"axes": axes, "direction": direction, "units": units, "fov": angles}
    given = [f"{name}={value}" for name, value in said.items() if value is not None]
    if not given:
        return format
    name, colon, rest = (format or "").partition(":")
    text = f"{name}:{','.join([*([rest] if colon and rest else []), *given])}"
    parse_format(text)
    return text


def parse_format(text: str | None) -> FormatSpec:
    """What `name:key=value,...` says; a value may hold commas itself, as `columns` does.

    Raises:
        SpecError: an unknown or repeated key, or a value that is none.
    """
    name, _, rest = (text or "").partition(":")
    values: dict[str, str] = {}
    last = ""
    for part in filter(None, rest.split(",")):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals and last:
            values[last] += f",{key}"
            continue
        if not equals:
            raise SpecError(f"--format {name}: expected key=value, got {key!r}")
        if key not in _KEYS:
            raise SpecError(f"--format {name} has no option {key!r}; {did_you_mean(key, _KEYS)}")
        if key in values:
            raise SpecError(f"--format {name}: {key} is given twice; keep one")
        values[key], last = value, key
    length_unit, time_unit = _units(values["units"]) if "units" in values else (None, None)
    return FormatSpec(
        name.strip() or None,
        axes=check_axes(values["axes"]) if "axes" in values else None,
        direction=_direction(values["direction"]) if "direction" in values else None,
        length_unit=length_unit,
        time_unit=time_unit,
        fov=_angles(values["fov"]) if "fov" in values else None,
        columns=tuple(word.strip() for word in values["columns"].split(",")) if "columns" in values else None,
        camera=values.get("camera"),
        degrees=_degrees(values["degrees"]) if "degrees" in values else None,
    )


def _direction(word: str) -> Direction:
    if word not in ("c2w", "w2c"):
        raise SpecError(
            f"direction must be c2w (camera-to-world) or w2c (world-to-camera), got {word!r}; in c2w the last column "
            "is where the camera stands"
        )
    return cast("Direction", word)


def _units(text: str) -> tuple[str | None, str | None]:
    length = time = None
    for word in (part.strip() for part in text.split(",")):
        if word in LENGTHS and length is None:
            length = word
        elif word in TIMES and time is None:
            time = word
        else:
            raise SpecError(
                f"units must be one of length ({', '.join(LENGTHS)}), one of time ({', '.join(TIMES)}) or both with a "
                f"comma, got {text!r}"
            )
    return length, time


def _angles(text: str) -> tuple[float, float]:
    try:
        wide, high = map(float, text.lower().split("x"))
    except ValueError:
        wide = high = 0.0
    if not (0 < wide < 180 and 0 < high < 180):
        raise SpecError(f"fov must be the full horizontal and vertical degrees, as in 90x60, got {text!r}")
    return wide, high


def _degrees(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < abs(value) <= 3600:
        raise SpecError(f"degrees must be a camera turn a frame of mouse value 1, as in 15, got {text!r}")
    return value
