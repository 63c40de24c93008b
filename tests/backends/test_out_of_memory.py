"""Memory that runs out: said in a sentence, blamed on nobody, and over once there is memory again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from tests.backends.rollouts import generate, loop, open_cache
from worldkv.answers import Keep
from worldkv.backends import cache as cache_module
from worldkv.backends.transfer.cpu_ops import CpuOps
from worldkv.config import CacheConfig
from worldkv.errors import DeviceError, WorldKVError
from worldkv.geometry import CacheGeometry
from worldkv.policies import FullKV, WorldKV
from worldkv.signals import Signal
from worldkv.views import ChunkView

SMALL = CacheGeometry(2, 2, 1, 8, 2, 3, itemsize=4, rope_frames=1 << 16)


class Filling(CpuOps):
    """A CPU's ops that refuse the `refused`-th allocation from when it is set, once."""

    refused: int | None = None

    def empty(self, shape: Sequence[int], dtype: torch.dtype, *, on_host: bool = False) -> Tensor:
        if self.refused is not None:
            self.refused -= 1
            if self.refused == 0:
                self.refused = None
                raise DeviceError("there is no room")
        return super().empty(shape, dtype, on_host=on_host)


@pytest.mark.parametrize("refused", [1, 2], ids=["keys and values", "attention received"])
@pytest.mark.parametrize("again", ["reset", "restore"])
def test_a_window_that_could_not_grow_is_whole_and_grows_later(refused: int, again: str) -> None:
    path, mass = loop(SMALL, chunks=12), frozenset({Signal.ATTENTION_MASS})
    with open_cache(FullKV(), SMALL, path, extra_signals=mass) as cache:
        wanted = [generate(cache, path, step)[0] for step in range(12)]
    ops, found = Filling(), []
    with open_cache(FullKV(), SMALL, path, ops, extra_signals=mass) as cache:
        for step in range(4):  # which the first allocation holds
            found.append(generate(cache, path, step)[0])
            held = cache.snapshot()
        capacity, ops.refused = cache.backend.arena.capacity, refused
        with pytest.raises(DeviceError, match="there is no room"):
            generate(cache, path, 4)
        assert cache.backend.arena.capacity == capacity == cache.backend.arena.buffer.shape[4]
        if again == "reset":
            cache.reset()
            found.clear()
        else:
            cache.restore(held)
        found += [generate(cache, path, step)[0] for step in range(len(found), 12)]
    assert torch.equal(torch.stack(found), torch.stack(wanted))


def numpys() -> None:
    raise MemoryError("Unable to allocate 4.00 EiB for an array")


def torchs_on_a_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nGPU 0 has a total of ...")


def torchs_on_a_cpu() -> None:
    torch.empty(1 << 60)


run_outs = pytest.mark.parametrize("run_out", [numpys, torchs_on_a_gpu, torchs_on_a_cpu])


@run_outs
def test_memory_that_runs_out_in_a_policy_is_not_its_fault(run_out: Callable[[], None]) -> None:
    class Hungry(WorldKV):
        def compress(self, chunk: ChunkView) -> Keep:
            run_out()
            raise AssertionError

    path = loop(SMALL)
    with (
        open_cache(Hungry(), SMALL, path) as cache,
        pytest.raises(DeviceError, match=r"^memory ran out in Hungry\.compress at step \d+ \(.*\); take") as caught,
    ):
        for step in range(len(path.views)):
            generate(cache, path, step)
    assert "\n" not in str(caught.value)


@run_outs
@pytest.mark.parametrize("call", ["attend", "commit"])
def test_memory_that_runs_out_in_the_cache_is_told(
    call: str, run_out: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = loop(SMALL)
    with open_cache(WorldKV(), SMALL, path, config=CacheConfig(rewind_chunks=1)) as cache:
        wanted = [generate(cache, path, step)[0] for step in range(2)]
        with monkeypatch.context() as patch, pytest.raises(DeviceError, match=f"^memory ran out in {call} "):
            where: object = cache_module if call == "attend" else cache.backend
            patch.setattr(where, "attend_window" if call == "attend" else call, lambda *given, **named: run_out())
            generate(cache, path, 2)
        cache.reset()
        again = [generate(cache, path, step)[0] for step in range(2)]
    assert torch.equal(torch.stack(again), torch.stack(wanted))


def test_other_errors_of_torch_pass_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    path = loop(SMALL)
    with open_cache(WorldKV(), SMALL, path) as cache, monkeypatch.context() as patch:
        patch.setattr(cache_module, "attend_window", lambda *given, **named: torch.zeros(2) @ torch.zeros(3))
        with pytest.raises(RuntimeError, match="inconsistent tensor size") as caught:
            generate(cache, path, 0)
        assert not isinstance(caught.value, WorldKVError)
