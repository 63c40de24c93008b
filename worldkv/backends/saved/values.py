"""Plain values as JSON and tensors, and back: what a user hands over beside the cache, and what policies are made of.

Nothing is pickled. Tuples, dictionaries and numbers that JSON has no word for are tagged, so that they come back as
they were.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worldkv.errors import SpecError, repr_of, shortened

MOST_BITS = 4096
"""Of a whole number; states of random generators have 128."""

DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
        *(torch.uint16, torch.uint32, torch.uint64, torch.float16, torch.bfloat16, torch.float32, torch.float64),
        *(torch.float8_e4m3fn, torch.float8_e5m2, torch.complex64),
    )
}
"""Types of numbers by name."""


def encode(value: Any, tensors: dict[str, Tensor], where: str) -> Any:
    """A value as JSON holds it; its tensors and arrays go to `tensors`.

    Args:
        value: None, truth values, numbers, strings, bytes, arrays, tensors, and lists, tuples and mappings of these.
        tensors: takes the tensors, on the host, by a name of their own.
        where: how the value is called in the error: `extra['latents']`.

    Raises:
        SpecError: it is something else.
    """
    if isinstance(value, np.generic):
        return {"number": encode(np.asarray(value), tensors, where)}
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        if value.bit_length() > MOST_BITS:
            raise SpecError(f"{where} is a whole number of {value.bit_length()} bits; the most saved is {MOST_BITS}")
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, bytes | bytearray):
        return {"bytes": _put(torch.frombuffer(bytearray(value), dtype=torch.uint8), tensors) if value else ""}
    if isinstance(value, Tensor):
        if str(value.dtype).removeprefix("torch.") not in DTYPES or value.is_sparse:
            raise SpecError(f"{where} is a tensor of {value.dtype}, {value.layout}; save a dense one of plain numbers")
        return {"tensor": _put(value, tensors)}
    if isinstance(value, np.ndarray):
        try:
            return {"array": _put(torch.from_numpy(np.ascontiguousarray(value).copy()).view(value.shape), tensors)}
        except TypeError:
            raise SpecError(f"{where} is an array of {value.dtype}; save one of plain numbers") from None
    if isinstance(value, list):
        return [encode(one, tensors, f"{where}[{at}]") for at, one in enumerate(value)]
    if isinstance(value, tuple):
        return {"tuple": [encode(one, tensors, f"{where}[{at}]") for at, one in enumerate(value)]}
    if isinstance(value, Mapping):
        pairs = []
        for key, one in value.items():
            if isinstance(key, bool) or not isinstance(key, str | int):
                raise SpecError(f"{where} has the key {shortened(repr_of(key), 80)}; keys are strings or whole numbers")
            pairs.append([key, encode(one, tensors, f"{where}[{key!r}]")])
        return {"dict": pairs}
    raise SpecError(
        f"{where} is a {type(value).__name__}, which is not saved (nothing is pickled); hand over its tensors, arrays, "
        "numbers and strings, for a generator its get_state()"
    )


def decode(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """What `encode` was given; tensors are on the host.

    Raises:
        ValueError, KeyError, TypeError: it is nothing that `encode` made.
    """
    if isinstance(value, list):
        return [decode(one, tensors) for one in value]
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items()
    match kind:
        case "tensor":
            return tensors[inner]
        case "array":
            return tensors[inner].numpy()
        case "number":
            return decode(inner, tensors)[()]
        case "bytes":
            return tensors[inner].numpy().tobytes() if inner else b""
        case "float":
            return float(inner)
        case "tuple":
            return tuple(decode(one, tensors) for one in inner)
        case "dict":
            return {key: decode(one, tensors) for key, one in inner}
    raise ValueError(f"there is no kind of value {kind!r}")


def _put(tensor: Tensor, tensors: dict[str, Tensor]) -> str:
    name = f"value.{len(tensors)}"
    tensors[name] = tensor.detach().to("cpu", copy=True).contiguous()
    return name
