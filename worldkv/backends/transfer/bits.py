"""Tensors as numpy sees them: their bits, since numpy knows no bfloat16 and a copy is one of bits."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

_NUMBERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def bits(tensor: Tensor) -> NDArray[Any]:
    """A host tensor's memory as whole numbers of the same size, strides kept, nothing copied."""
    number = _NUMBERS.get(tensor.dtype.itemsize)
    flat = tensor.detach()
    return (flat if number is None else flat.view(number)).numpy()
