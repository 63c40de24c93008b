"""Generate a trajectory from `NAME:key=value,...`."""

from __future__ import annotations

import dataclasses
import typing

from worldkv.errors import SpecError, did_you_mean
from worldkv.trajectory.generators import GENERATORS
from worldkv.trajectory.options import parse_options
from worldkv.trajectory.trajectory import Trajectory


def generate(text: str) -> Trajectory:
    """The trajectory of e.g. `tour:rooms=12,seed=1,chunks=400`.

    Raises:
        SpecError: an unknown generator or parameter, or a value out of its range.
    """
    name, _, options = text.partition(":")
    if name not in GENERATORS:
        raise SpecError(f"unknown generator {name!r}; {did_you_mean(name, GENERATORS)}")
    kind = GENERATORS[name]
    hints = typing.get_type_hints(kind)
    kinds = {field.name: hints[field.name] for field in dataclasses.fields(kind)}
    values: dict[str, typing.Any] = dict(parse_options(options, kinds, f"generate:{name}"))
    return dataclasses.replace(kind(**values).generate(), name=f"generate:{text}")
