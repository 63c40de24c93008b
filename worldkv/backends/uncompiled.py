"""Keep torch.compile out of the cache: a compiled model breaks its graph at a call, and nothing inside is traced."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")


def uncompiled(method: Callable[P, R]) -> Callable[P, R]:
    """`torch.compiler.disable`, without importing the compiler (a second) where nothing is compiled.

    What is inside moves chunks, asks policies and copies through numpy: data-dependent Python that no graph holds.
    """
    disabled: list[Callable[P, R]] = []

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if not disabled:
            if "torch._dynamo" not in sys.modules:
                return method(*args, **kwargs)
            disabled.append(_disabled(method))
        return disabled[0](*args, **kwargs)

    # A compiled caller breaks its graph here instead of tracing into `call`.
    call._torchdynamo_disable = True  # type: ignore[attr-defined]
    return call


def _disabled(method: Callable[P, R]) -> Callable[P, R]:
    import torch

    disable: Callable[..., object] = torch.compiler.disable
    return cast("Callable[P, R]", disable(method, reason="the cache is not compiled"))
