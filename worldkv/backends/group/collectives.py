"""What worldkv asks of torch.distributed: to gather, to sum and to hand on what rank 0 has."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldkv.errors import GroupError

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class Collectives:
    """Collectives of one process group, on a device that its backend takes: the CPU where it can.

    Every call is made by all ranks, with arrays of one shape.

    Attributes:
        rank: this process's number in the group.
        size: processes in the group.
    """

    def __init__(self, group: ProcessGroup, device: torch.device) -> None:
        """The collectives of `group`, for tensors on `device`.

        Raises:
            GroupError: it is no process group, or this process is not in it.
        """
        from torch import distributed

        is_group = distributed.is_available() and isinstance(group, distributed.ProcessGroup)
        rank = distributed.get_rank(group) if is_group else -1
        if rank < 0:
            raise GroupError(
                f"group must be a torch.distributed ProcessGroup that this process is in, got {group!r}; make one with "
                "new_group on every rank, or hand torch.distributed.group.WORLD"
            )
        self._group, self.rank, self.size = group, rank, distributed.get_world_size(group)
        self._kinds = {entry.partition(":")[0] for entry in distributed.get_backend_config(group).split(",")}
        self._device = torch.device("cpu") if "cpu" in self._kinds else device

    def gather(self, array: NDArray[np.generic]) -> NDArray[np.generic]:
        """The arrays of all ranks `(ranks, *shape)`."""
        from torch import distributed

        own = torch.from_numpy(np.ascontiguousarray(array)).to(self._device)
        every = [torch.empty_like(own) for _ in range(self.size)]
        self._call(lambda: distributed.all_gather(every, own, group=self._group))
        gathered: NDArray[np.generic] = torch.stack(every).cpu().numpy()
        return gathered

    def gather_bytes(self, data: bytes, lengths: list[int]) -> list[bytes]:
        """The bytes of all ranks, whose lengths every rank knows."""
        padded = np.zeros(max(lengths), np.uint8)
        padded[: len(data)] = np.frombuffer(data, np.uint8)
        return [row[:length].tobytes() for row, length in zip(self.gather(padded), lengths, strict=True)]

    def of_first(self, data: bytes, length: int) -> bytes:
        """The bytes of rank 0, whose length every rank knows."""
        from torch import distributed

        own = np.frombuffer(data, np.uint8) if self.rank == 0 else np.zeros(length, np.uint8)
        sent = torch.from_numpy(own.copy()).to(self._device)
        first = distributed.get_global_rank(self._group, 0)
        self._call(lambda: distributed.broadcast(sent, src=first, group=self._group))
        return sent.cpu().numpy().tobytes()

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over ranks, on the tensor's device; `tensor` stays as it is."""
        from torch import distributed

        device = tensor.device if tensor.device.type in self._kinds else self._device
        total = tensor.to(device, copy=True).contiguous()
        self._call(lambda: distributed.all_reduce(total, group=self._group))
        return total.to(tensor.device)

    def _call(self, collective: Callable[[], object]) -> None:
        try:
            collective()
        except RuntimeError as error:  # what torch raises for all that a backend reports
            raise GroupError(
                f"rank {self.rank} of {self.size} cannot reach another rank, which has ended or is late "
                f"({str(error).splitlines()[0]}); end all ranks and see which one stopped first"
            ) from error
