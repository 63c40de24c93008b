"""Which of torch's attention kernels a device is asked for first."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

CHOOSING = frozenset({"cuda"})
"""Devices on which torch has several kernels to choose from; ROCm calls itself cuda."""

ORDER = (
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.MATH,
)
"""cuDNN late: it plans anew for every number of keys, which takes some tenths of a second, and torch 2.13 asks it first
on an H100. A window's length changes while it fills; of some policies it changes at every step."""


def kernels_in_order(device: torch.device) -> AbstractContextManager[object]:
    """Around attention on `device`: kernels are tried in `ORDER`, without those that are switched off."""
    if device.type not in CHOOSING:
        return _AS_IT_IS
    return sdpa_kernel([kernel for kernel in ORDER if _is_on(kernel)], set_priority=True)


def _is_on(kernel: SDPBackend) -> bool:
    flags: Any = torch.backends.cuda  # some of whose functions are untyped
    asked = {
        SDPBackend.FLASH_ATTENTION: flags.flash_sdp_enabled,
        SDPBackend.EFFICIENT_ATTENTION: flags.mem_efficient_sdp_enabled,
        SDPBackend.CUDNN_ATTENTION: flags.cudnn_sdp_enabled,
        SDPBackend.MATH: flags.math_sdp_enabled,
    }
    return bool(asked[kernel]())


_AS_IT_IS = contextlib.nullcontext()
