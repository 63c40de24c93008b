"""The seam on the late device: two ways at once, two devices, and what shows when a call of it is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.backends import test_device_ops as contract
from tests.backends.rollouts import generate, inputs, loop, open_cache
from tests.late_device.device import counts, extension, forget_counts
from tests.policies.all_policies import EVERY
from worldkv.backends.cache import WorldCache
from worldkv.backends.on_device import accelerator_name, device_stopwatch, free_bytes, peak_bytes
from worldkv.backends.transfer import accelerator_ops
from worldkv.backends.transfer.accelerator_ops import AcceleratorOps
from worldkv.backends.transfer.device_ops import DeviceOps, Event
from worldkv.backends.transfer.tensor_copy import select
from worldkv.errors import DeviceError
from worldkv.scene import scene_of
from worldkv.specs.parse import parse_geometry

pytestmark = pytest.mark.usefixtures("late_order")
GEOMETRY = parse_geometry("tiny:heads=2,kv_heads=1,frame_rows=2,frame_columns=3,head_dim=8")
FIRST, SECOND = torch.device("late", 0), torch.device("late", 1)


def rooms(ops: DeviceOps) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two rooms on the device and two on the host, of ones and zeros."""
    of = [ops.empty((64,), torch.float32, on_host=here) for here in (False, False, True, True)]
    for number, room in enumerate(of):
        room.fill_(float(number))
    return of[0], of[1], of[2], of[3]


def test_the_two_ways_do_not_wait_for_one_another() -> None:
    ops = AcceleratorOps(FIRST)
    on_device, other, on_host, result = rooms(ops)
    ops.copy_async(result, on_device)
    to_host = ops.record()
    ops.copy_async(other, on_host)
    ops.synchronize(ops.record())
    assert not to_host.query()
    ops.synchronize(to_host)
    assert (other == 2).all()
    assert (result == 0).all()


@pytest.mark.parametrize("shared", ["device", "host"])
def test_the_two_ways_are_in_order_where_they_share_memory(shared: str) -> None:
    ops = AcceleratorOps(FIRST)
    on_device, other, on_host, result = rooms(ops)
    ops.copy_async(result, on_device)  # zeros to the host
    to_host = ops.record()
    if shared == "device":
        ops.copy_async(on_device[3:5], on_host[3:5])  # over what is on its way
    else:
        ops.copy_async(other, result)  # what has to arrive first
    ops.synchronize(ops.record())
    assert to_host.query()
    assert (result == 0).all()
    assert (other == (1 if shared == "device" else 0)).all()


def test_copies_that_are_done_are_forgotten() -> None:
    ops = AcceleratorOps(FIRST)
    on_device, _, on_host, _ = rooms(ops)
    for _ in range(20):
        ops.copy_async(on_device, on_host)
        ops.copy_async(on_host, on_device)
        ops.synchronize(ops.record())
    assert max(len(lane.under_way) for lane in (ops._to_device, ops._to_host)) <= 1


def test_what_is_uploaded_makes_nobody_wait_and_is_not_overwritten() -> None:
    ops, wanted = AcceleratorOps(FIRST), [np.arange(5) * number for number in range(6)]
    forget_counts()
    first = [ops.upload(numbers) for numbers in wanted[:3]]  # all three under way at a time
    assert counts().hidden_waits == counts().waits == 0
    assert counts().pinned_allocations == 3
    torch.accelerator.synchronize()
    second = [ops.upload(numbers) for numbers in wanted[3:]]
    assert counts().pinned_allocations == 3
    for found, numbers in zip(first + second, wanted, strict=True):
        assert found.tolist() == numbers.tolist()
    for length in (1 << 14, 1 << 15, 5):
        torch.accelerator.synchronize()
        ops.upload(np.zeros(length, np.int64))
    assert len(ops._uploads) == 1


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("is_contiguous", [True, False])
def test_tokens_are_selected_by_one_upload_and_one_kernel(axes: int, is_contiguous: bool) -> None:
    draw, ops = np.random.default_rng(0), AcceleratorOps(FIRST)
    here = torch.randn(3, 2, 2, 4, 30, 8, generator=torch.Generator().manual_seed(0))
    places = draw.permutation(30)[:20]
    chosen = draw.integers(0, 20, ((), (3,), (3, 4))[axes - 1] + (7,))
    wanted, out = torch.empty(3, 2, 2, 4, 7, 8), torch.empty(3, 2, 2, 4, 7, 16, device=FIRST)
    out = torch.empty(wanted.shape, device=FIRST) if is_contiguous else out[..., ::2]
    select(here, places, chosen, wanted, torch.from_numpy)
    there = here.to(FIRST)
    forget_counts()
    select(there, places, chosen, out, ops.upload)
    assert (counts().hidden_waits, counts().copies) == (0, 1)
    assert counts().launches == (1 if is_contiguous else 2)
    assert torch.equal(out.cpu(), wanted)


# ---------------------------------------------------------------------- two devices


@pytest.fixture
def current_device() -> Iterator[Callable[[int], None]]:
    yield torch.accelerator.set_device_index
    torch.accelerator.set_device_index(0)


@pytest.mark.parametrize("name", ["worldkv", "sliding-window", "streaming-llm", "h2o", "full-kv"])
def test_a_cache_on_the_second_device_while_the_first_is_current(
    name: str, current_device: Callable[[int], None]
) -> None:
    path, policy = loop(GEOMETRY), EVERY[name]
    on_first, _ = extension().held(0)
    with WorldCache(policy, GEOMETRY, device="late:1", scene=scene_of(path.chunked)) as cache:
        found = [generate(cache, path, step)[0] for step in range(len(path.views))]
    assert extension().held(0)[0] <= on_first
    with WorldCache(policy, GEOMETRY, scene=scene_of(path.chunked)) as cache:
        wanted = [generate(cache, path, step)[0] for step in range(len(path.views))]
    assert torch.equal(torch.stack(found), torch.stack(wanted))


def test_the_current_device_counts_when_the_cache_is_made_and_never_again(
    current_device: Callable[[int], None],
) -> None:
    path = loop(GEOMETRY)
    current_device(1)
    with WorldCache(EVERY["mean-key, rebased"], GEOMETRY, device="late", scene=scene_of(path.chunked)) as cache:
        current_device(0)
        assert cache.backend.ops.device == SECOND
        for step in range(len(path.views)):
            out, _ = generate(cache, path, step)
            assert not out.isnan().any()


@pytest.mark.parametrize("elsewhere", ["late:0", "cpu"])
@pytest.mark.parametrize("wrong", ["queries", "keys", "values"])
def test_tensors_of_another_device_are_refused(elsewhere: str, wrong: str) -> None:
    path = loop(GEOMETRY)
    with WorldCache(EVERY["worldkv"], GEOMETRY, device="late:1", scene=scene_of(path.chunked)) as cache:
        cache.begin(path.views[0])
        parts = dict(zip(("queries", "keys", "values"), inputs(GEOMETRY, cache.dtype, 0), strict=True))
        parts = {name: part.to(elsewhere if name == wrong else SECOND) for name, part in parts.items()}
        with pytest.raises(DeviceError, match=f"^attend's {wrong} are on {elsewhere}, the cache is on late:1; "):
            cache.attend(0, parts["queries"], parts["keys"], parts["values"])


def test_what_a_run_asks_of_its_device() -> None:
    assert accelerator_name("late") == "late device"
    assert accelerator_name("cpu") is None
    assert free_bytes("late:1") is None  # its module in torch cannot say
    torch.empty(1 << 20, dtype=torch.uint8, device=SECOND)
    assert peak_bytes("late:1") == extension().held(1)[1] >= 1 << 20
    watch = device_stopwatch("late:1")
    with watch.span("attention"):
        torch.ones(4, device=SECOND)
        assert extension().pending(1) > 0
    assert extension().pending(1) == 0


# ---------------------------------------------------------------------- mutants


class Deaf(torch.Stream):
    """A stream that waits for no other."""

    def wait_stream(self, other: torch.Stream) -> None:
        pass


class NoWait(AcceleratorOps):
    """The device goes on without the copies."""

    def wait(self, event: Event) -> None:
        pass


def test_copies_that_do_not_wait_for_the_device_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "Stream", Deaf)
    with pytest.raises(AssertionError):
        contract.test_a_copy_sees_what_was_computed_before_it_and_is_seen_after_the_wait(_opened, 8)


def test_a_device_that_does_not_wait_for_copies_is_caught() -> None:
    with pytest.raises(AssertionError):
        contract.test_a_copy_sees_what_was_computed_before_it_and_is_seen_after_the_wait(lambda: NoWait(FIRST), 8)
    # What a fetched chunk passes through holds an earlier one, so without the wait numbers are wrong, and never NaN.
    path, outs = loop(GEOMETRY), []
    for ops in (AcceleratorOps(FIRST), NoWait(FIRST)):
        with open_cache(EVERY["worldkv, hard"], GEOMETRY, path, ops) as cache:
            outs.append(torch.stack([generate(cache, path, step)[0] for step in range(len(path.views))]))
    assert not outs[0].isnan().any()
    assert not torch.equal(*outs)


def test_memory_that_is_not_recorded_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: None)
    with pytest.raises(AssertionError):
        contract.test_an_accelerators_memory_in_use_by_a_copy_is_not_given_to_others()


@pytest.mark.parametrize("shared", ["device", "host"])
def test_ways_that_never_wait_for_one_another_are_caught(shared: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator_ops, "_meet", lambda one, other: False)
    with pytest.raises(AssertionError):
        test_the_two_ways_are_in_order_where_they_share_memory(shared)


def _opened() -> DeviceOps:
    return AcceleratorOps(FIRST)
