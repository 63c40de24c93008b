"""Device ops of a CUDA device: copies run on a side stream beside the one that computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from worldkv.backends.transfer.device_ops import DeviceOps, Event, allocate, check_copy
from worldkv.backends.transfer.retry import retry_once
from worldkv.errors import DeviceError, TransferError


class CudaOps(DeviceOps):
    """One CUDA device; copies run on a stream of their own, host memory is pinned.

    Source: the rules of torch.cuda's streams and of its caching allocators.

    Attributes:
        device: with its index.
    """

    def __init__(self, device: torch.device) -> None:
        """Ops of `device`, the current one where it has no index.

        Raises:
            DeviceError: it is not there.
        """
        if not torch.cuda.is_available():
            raise DeviceError(f"{device} was asked for and torch sees no CUDA device here; take device cpu instead")
        index, count = torch.cuda.current_device() if device.index is None else device.index, torch.cuda.device_count()
        if index >= count:
            raise DeviceError(
                f"cuda:{index} was asked for and the last one here is cuda:{count - 1}; take one of those"
            )
        self.device = torch.device("cuda", index)
        make_stream: Callable[[torch.device], torch.cuda.Stream] = torch.cuda.Stream
        self._side = make_stream(self.device)

    def empty(self, shape: Sequence[int], dtype: torch.dtype, *, on_host: bool = False) -> Tensor:
        """See `DeviceOps.empty`; host memory is pinned."""
        return allocate(shape, dtype, torch.device("cpu") if on_host else self.device, is_pinned=on_host)

    def copy_async(self, target: Tensor, source: Tensor) -> None:
        """See `DeviceOps.copy_async`; the host waits where its side is not contiguous, torch has no other way."""
        check_copy(target, source, self.device)
        retry_once(lambda: self._issue(target, source), f"a copy of {target.numel() * target.itemsize} bytes")

    def record(self) -> Event:
        """See `DeviceOps.record`."""
        return self._side.record_event()

    def wait(self, event: Event) -> None:
        """See `DeviceOps.wait`: the current stream does."""
        torch.cuda.current_stream(self.device).wait_event(event)

    def synchronize(self, event: Event | None = None) -> None:
        """See `DeviceOps.synchronize`."""
        try:
            if event is None:
                torch.cuda.synchronize(self.device)
            else:
                event.synchronize()
        except RuntimeError as error:  # the runtime is lost with the first such error, so nothing is tried again
            reason = str(error).partition("\n")[0]
            raise TransferError(f"work on {self.device} failed: {reason}; start the process again") from error

    def _issue(self, target: Tensor, source: Tensor) -> None:
        self._side.wait_stream(torch.cuda.current_stream(self.device))
        is_straight = all(side.is_cuda or side.is_contiguous() for side in (target, source))
        with torch.cuda.stream(self._side):
            target.copy_(source, non_blocking=is_straight)
        for side in (target, source):
            if side.is_cuda:  # pinned memory is kept by its own allocator, which saw the copy
                side.record_stream(self._side)
