"""Say in a sentence that memory ran out, whichever line of torch asked for it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from worldkv.errors import WorldKVError, is_out_of_memory, no_room

P = ParamSpec("P")
R = TypeVar("R")


def told_when_full(method: Callable[P, R]) -> Callable[P, R]:
    """The same; memory that runs out inside, of torch's or the host's, is a `DeviceError`."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(*args, **kwargs)
        except WorldKVError:
            raise
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                raise no_room(method.__name__, error) from error
            raise

    return call
