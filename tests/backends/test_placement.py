"""Everything that computes stays on the device: the window's code run on tensors that pretend to be elsewhere.

Fake tensors know shape, dtype and device and hold no numbers. They refuse copies between host and device, so only what
happens on the device is looked at here; the seam itself has tests of its own, and a first run on a GPU has a list.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from worldkv.answers import Keep
from worldkv.backends.attention import attend, attention_received
from worldkv.backends.rotary import Rotary
from worldkv.backends.transfer.cpu_ops import CpuOps
from worldkv.backends.window.arena import Arena, ArenaForm
from worldkv.geometry import CacheGeometry

DEVICE = torch.device("meta")  # the CPU build cannot even slice a tensor that pretends to be on CUDA
GEOMETRY = CacheGeometry(2, 4, 2, 16, 2, 3, itemsize=4)


class PretendingOps(CpuOps):
    """A CPU's ops whose memory says it is elsewhere."""

    def empty(self, shape: Sequence[int], dtype: torch.dtype, *, on_host: bool = False) -> Tensor:
        return torch.empty(tuple(shape), dtype=dtype, device="cpu" if on_host else DEVICE)

    def upload(self, numbers: NDArray[Any]) -> Tensor:
        return torch.zeros(numbers.shape, dtype=torch.from_numpy(numbers).dtype, device=DEVICE)


@pytest.fixture(autouse=True)
def pretending() -> Iterator[None]:
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield


@pytest.fixture
def arena(pretending: None) -> Arena:
    return Arena(PretendingOps(), ArenaForm(GEOMETRY, torch.float32, 16, is_rebased=True, has_mass=True), None)


@pytest.mark.parametrize("tokens_axes", [1, 2, 3])
def test_the_window_computes_where_it_lies(arena: Arena, tokens_axes: int) -> None:
    keys = torch.empty(1, 2, 18, 16, device=DEVICE)
    queries = torch.empty(1, 4, 18, 16, device=DEVICE)
    for chunk in range(6):  # one more than the first allocation holds, so that it grows
        arena.reserve(18)
        for layer in range(2):
            arena.write_tail(layer, keys, keys)
            cached = arena.attended(layer, 18)
            assert attend(queries, *cached).device.type == "meta"
            assert attention_received(queries[0], cached[0][0]).device.type == "meta"
        arena.append(chunk, 18)
    state = arena.snapshot()
    tokens = np.broadcast_to(np.arange(9), ((), (2,), (2, 2))[tokens_axes - 1] + (9,))
    keep = Keep(9, (3.0, 3.0, 3.0), tokens)
    flat = torch.empty(arena.stored_elements(arena.counts_of(keep)), device=DEVICE)
    arena.gather(1, keep, flat)
    arena.update([3], {1: keep}, {9: (9,)}, {1: flat}, flat)
    arena.scatter(9, flat, range(arena.form.geometry.layers))
    rotary = Rotary(GEOMETRY, DEVICE)
    arena.rotate(9, lambda stored, attended: rotary.shift_time(stored, -3, attended))
    assert arena.read(0, 0).device.type == "meta"
    arena.restore(state)
    assert arena.fork().buffer.device.type == "meta"
