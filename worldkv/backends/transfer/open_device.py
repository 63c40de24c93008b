"""Open a device by its name."""

from __future__ import annotations

import torch

from worldkv.backends.transfer.cpu_ops import CpuOps
from worldkv.backends.transfer.cuda_ops import CudaOps
from worldkv.backends.transfer.device_ops import DeviceOps
from worldkv.errors import DeviceError


def device_ops(device: str) -> DeviceOps:
    """The ops of a device by its name: "cpu", "cuda" or "cuda:1".

    Raises:
        DeviceError: no such name, or no such device here.
    """
    try:
        asked = torch.device(device)
    except RuntimeError:
        asked = torch.device("meta")  # as good as any other that is neither of the two
    if asked.type == "cpu":
        return CpuOps()
    if asked.type == "cuda":
        return CudaOps(asked)
    raise DeviceError(f"device must be cpu, cuda or cuda:N, got {device!r}; take cpu where there is no other")
