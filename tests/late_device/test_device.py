"""The late device itself: what it runs late, what it poisons, what it counts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from tests.late_device.device import Order, counts, extension, forget_counts, limited, set_order

pytestmark = pytest.mark.usefixtures("late_order")


def pinned(numbers: torch.Tensor) -> torch.Tensor:
    memory = torch.empty(numbers.shape, dtype=numbers.dtype, pin_memory=True)
    return memory.copy_(numbers)


def test_torch_sees_two_of_them() -> None:
    assert torch.accelerator.current_accelerator() == torch.device("late")
    assert torch.accelerator.is_available()
    assert torch.accelerator.device_count() == 2
    assert torch.empty(1, device="late").device == torch.device("late", 0)
    with pytest.raises(RuntimeError, match="invalid device ordinal: late:2"):
        torch.empty(1, device="late:2")


def test_nothing_runs_before_somebody_waits() -> None:
    on_host = pinned(torch.zeros(3))
    on_device = torch.empty(3, device="late").copy_(on_host, non_blocking=True)
    doubled = on_device * 2
    on_host.fill_(1.0)  # too early: the copy has not run
    assert extension().pending(0) >= 2
    assert doubled.tolist() == [2.0, 2.0, 2.0]
    assert extension().pending(0) == 0


def test_streams_know_nothing_of_one_another_until_they_wait() -> None:
    side, on_device = torch.Stream("late"), torch.zeros(3, device="late")
    before = torch.accelerator.current_stream()
    torch.accelerator.set_stream(side)
    unseen = on_device + 1  # memory whose zeros are still in the other stream's queue
    torch.accelerator.set_stream(before)
    side.synchronize()
    assert extension().pending(0) > 0
    side.wait_stream(before)
    torch.accelerator.set_stream(side)
    seen = on_device + 1
    torch.accelerator.set_stream(before)
    before.wait_stream(side)
    assert unseen.isnan().all()
    assert seen.tolist() == [1.0, 1.0, 1.0]


def test_events_are_places_in_a_stream() -> None:
    stream = torch.accelerator.current_stream()
    first = stream.record_event()
    on_device = torch.ones(2, device="late")
    second = stream.record_event()
    on_device.add_(1)
    first.synchronize()
    assert not second.query()
    second.synchronize()
    assert extension().pending(0) > 0  # the addition


def test_fresh_memory_and_memory_given_back_is_poison() -> None:
    assert torch.empty(4, dtype=torch.bfloat16, device="late").isnan().all()
    assert torch.empty(4, pin_memory=True).isnan().all()
    side, result = torch.Stream("late"), torch.empty(4, pin_memory=True)
    for is_recorded in (False, True):
        given_back = torch.ones(4, device="late")
        current = torch.accelerator.current_stream()
        side.wait_stream(current)
        torch.accelerator.set_stream(side)
        result.copy_(given_back, non_blocking=True)
        torch.accelerator.set_stream(current)
        if is_recorded:
            given_back.record_stream(side)
        del given_back
        current.synchronize()
        side.synchronize()
        assert bool(result.isnan().all()) != is_recorded


@pytest.mark.usefixtures("late_order")  # which is what it was afterwards
@pytest.mark.parametrize("order", list(Order))
def test_numbers_are_those_of_the_host_bit_for_bit(order: Order) -> None:
    set_order(order, 3)
    draw = torch.Generator().manual_seed(0)
    queries, keys, values = (torch.randn(1, 4, 17, 8, generator=draw) for _ in range(3))

    def work(device: str) -> list[torch.Tensor]:
        q, k, v = (part.to(device) for part in (queries, keys, values))
        attended = scaled_dot_product_attention(q, k, v)
        scores = (q @ k.transpose(-1, -2)).softmax(-1)
        turned = torch.view_as_real(torch.view_as_complex(q.reshape(1, 4, 17, 4, 2)) * 2)
        kept = torch.index_select(k, 2, torch.tensor([1, 5], device=device))
        cut = torch.cat([v[..., :3], v[..., 5:]], dim=-1)
        cut[..., 0] = 7
        return [attended, scores, turned, kept, cut.sort(dim=-1, stable=True).values, scores.topk(3).indices]

    for here, there in zip(work("cpu"), work("late"), strict=True):
        assert torch.equal(here, there.cpu())


def test_the_host_waits_for_numbers_that_decide_shapes() -> None:
    mask = torch.tensor([True, False, True], device="late")
    forget_counts()
    assert mask.nonzero().tolist() == [[0], [2]]
    assert counts().hidden_waits == 2  # nonzero, and the list


def test_what_is_counted() -> None:
    on_host, on_device = torch.ones(8), torch.empty(8, device="late")
    fixed = pinned(on_host)
    index, square = torch.tensor([1]), on_device.view(1, 1, 2, 4)
    calls: dict[str, tuple[Callable[[], object], tuple[int, ...]]] = {
        "pinned copy": (lambda: on_device.copy_(fixed, non_blocking=True), (0, 0, 0, 1, 0, 0, 0)),
        "pinned copy that blocks": (lambda: on_device.copy_(fixed), (1, 0, 0, 1, 0, 0, 0)),
        "pageable copy": (lambda: on_device.copy_(on_host, non_blocking=True), (1, 0, 1, 1, 0, 0, 0)),
        "to the host": (lambda: on_device.cpu(), (1, 0, 1, 1, 0, 0, 0)),
        "strided pinned copy": (lambda: fixed[::2].copy_(on_device[::2], non_blocking=True), (1, 0, 0, 1, 0, 0, 0)),
        "kernel": (lambda: on_device + 1, (0, 0, 0, 0, 1, 1, 0)),
        "attention": (lambda: scaled_dot_product_attention(square, square, square), (0, 0, 0, 0, 1, 1, 0)),
        "copy on the device": (lambda: on_device.clone(), (0, 0, 0, 0, 1, 1, 0)),
        "view": (lambda: on_device.view(2, 4)[1:].transpose(0, 1), (0, 0, 0, 0, 0, 0, 0)),
        "index of the host": (lambda: on_device[index], (2, 0, 1, 1, 1, 2, 0)),
        "wait": (torch.accelerator.synchronize, (0, 1, 0, 0, 0, 0, 0)),
        "wait for nothing": (torch.accelerator.synchronize, (0, 0, 0, 0, 0, 0, 0)),
        "pinned memory": (lambda: torch.empty(4, pin_memory=True), (0, 0, 0, 0, 0, 0, 1)),
    }
    for name, (call, wanted) in calls.items():
        forget_counts()
        call()
        assert counts() == wanted, name


def test_a_copy_between_devices_waits_for_both_streams() -> None:
    there = torch.zeros(4, device="late:1") + 1
    here = torch.zeros(4, device="late:0") + 5
    there.copy_(here)
    assert (there + 1).tolist() == [6.0] * 4


def test_memory_is_limited_and_measured() -> None:
    module = torch.get_device_module("late")
    held = torch.empty(1 << 20, dtype=torch.uint8, device="late")
    with limited(2 << 20), pytest.raises(torch.OutOfMemoryError, match="late device out of memory"):
        torch.empty_like(held).new_empty(1 << 20)
    assert module.max_memory_allocated("late:0") >= 1 << 20
    assert module.get_device_name("late") == "late device"
