"""Open a device by its name."""

from __future__ import annotations

import torch

from worldkv.backends.transfer.accelerator_ops import AcceleratorOps
from worldkv.backends.transfer.cpu_ops import CpuOps
from worldkv.backends.transfer.device_ops import DeviceOps
from worldkv.errors import DeviceError


def device_ops(device: str) -> DeviceOps:
    """The ops of a device by its name: "cpu", "cuda", "cuda:1", "xpu" or what a registered device is called.

    Raises:
        DeviceError: no such name, no such device here, or one without streams.
    """
    try:
        asked = torch.device(device)
    except RuntimeError as error:
        raise DeviceError(
            "device must be cpu, cuda, xpu or another accelerator of torch, with :N for the N-th from 0, "
            f"got {device!r}; take cpu where there is no other"
        ) from error
    return CpuOps() if asked.type == "cpu" else AcceleratorOps(asked)
