"""One contract for every device's copies, and what only one of the ops promises."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.backends.late_ops import LateOps
from tests.backends.where import accelerator
from worldkv.backends.transfer.accelerator_ops import AcceleratorOps
from worldkv.backends.transfer.cpu_ops import AT_ONCE_BYTES, CpuOps
from worldkv.backends.transfer.device_ops import DeviceOps, check_copy
from worldkv.backends.transfer.open_device import device_ops
from worldkv.backends.transfer.retry import retry_once
from worldkv.errors import DeviceError, LostChunkError, OutputError, TransferError

PATIENCE = 60.0
"""Seconds after which a thread that should have moved on is taken for dead."""
LARGE = AT_ONCE_BYTES + 1
"""Bytes that no copy of CpuOps moves in the caller."""
DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.uint8, torch.int64, torch.bool]

MakeOps = Callable[[], DeviceOps]
every_ops = pytest.mark.parametrize(
    "make",
    [
        pytest.param(CpuOps, id="cpu"),
        pytest.param(LateOps, id="late"),
        pytest.param(
            lambda: AcceleratorOps(torch.device(accelerator())), id="accelerator", marks=pytest.mark.accelerator
        ),
    ],
)


class GatedCopy:
    """Copies once the gate is open, and notes what it did; `failing` says how many of the first tries fail."""

    def __init__(self, failing: int = 0, *, is_open: bool = True) -> None:
        self.gate, self.failing = threading.Event(), failing
        self.threads: list[threading.Thread] = []
        if is_open:
            self.gate.set()

    def __call__(self, target: np.ndarray[Any, Any], source: np.ndarray[Any, Any]) -> None:
        self.threads.append(threading.current_thread())
        assert self.gate.wait(PATIENCE)
        if len(self.threads) <= self.failing:
            raise MemoryError("the first line\nand a page more")
        np.copyto(target, source)


def bits(tensor: Tensor) -> list[Any]:
    """Compared as bits, so that NaN equals itself."""
    result: list[Any] = torch.cat([tensor.cpu().reshape(-1)]).view(torch.uint8).tolist()
    return result


def all_are(tensor: Tensor, value: float) -> bool:
    return bool((tensor == value).all())


def keep_busy(device: torch.device) -> None:
    """Long enough for a GPU that nothing issued after it is done soon; returns at once."""
    factor = torch.ones((1 << 9, 1 << 9), device=device)
    for _ in range(200):
        factor = factor @ factor


def numbers(dtype: torch.dtype, *shape: int, seed: int = 0) -> Tensor:
    """Any bits that are a number of this dtype, NaN among them."""
    size = torch.Size(shape).numel() * dtype.itemsize
    raw = torch.randint(0, 2 if dtype == torch.bool else 256, (size,), generator=torch.Generator().manual_seed(seed))
    return raw.to(torch.uint8).view(dtype).view(shape)


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120, check=False
    )


# ---------------------------------------------------------------------- every ops


@every_ops
@given(
    dtype=st.sampled_from(DTYPES),
    shape=st.lists(st.integers(0, 5), min_size=0, max_size=4),
    order=st.randoms(use_true_random=False),
    is_sliced=st.booleans(),
    seed=st.integers(0, 99),
)
def test_what_goes_there_and_back_is_bit_identical(
    make: MakeOps, dtype: torch.dtype, shape: list[int], order: Any, is_sliced: bool, seed: int
) -> None:
    ops = make()
    axes = list(range(len(shape)))
    order.shuffle(axes)

    def room(on_host: bool) -> Tensor:
        """Strided in the same axes: permuted, and every second row of a larger one."""
        tensor = ops.empty([2 * shape[0], *shape[1:]] if shape else (), dtype, on_host=on_host)
        if shape:
            tensor = tensor[::2] if is_sliced else tensor[: shape[0]]
        return tensor.permute(axes)

    there, back = room(on_host=False), room(on_host=True)
    source = numbers(dtype, *shape, seed=seed).permute(axes)
    ops.copy_async(there, source)
    ops.copy_async(back, there)
    ops.synchronize(ops.record())
    assert there.device.type == ops.device.type
    assert back.device.type == "cpu"
    assert bits(back) == bits(source) == bits(there)


@every_ops
def test_memory_is_of_the_shape_dtype_and_place_asked_for(make: MakeOps) -> None:
    ops = make()
    on_device, on_host = ops.empty((2, 3), torch.bfloat16), ops.empty([4], torch.uint8, on_host=True)
    assert (on_device.shape, on_device.dtype) == ((2, 3), torch.bfloat16)
    assert (on_host.shape, on_host.dtype, on_host.device.type) == ((4,), torch.uint8, "cpu")
    assert on_device.device == ops.device
    assert on_host.is_pinned() == (ops.device.type != "cpu")


@every_ops
def test_more_memory_than_there_is_ends_in_a_sentence(make: MakeOps) -> None:
    with pytest.raises(DeviceError, match=f"no room for {2**61} bytes .*; take a smaller budget"):
        make().empty((2**59,), torch.float32)


@every_ops
@given(lengths=st.lists(st.sampled_from([1, 100, LARGE]), min_size=1, max_size=6))
def test_copies_run_in_the_order_they_were_issued(make: MakeOps, lengths: list[int]) -> None:
    """A chain through the same memory, large copies among small ones, is right after one wait at its end."""
    ops = make()
    passing, results = ops.empty((LARGE,), torch.uint8), []
    for number, length in enumerate(lengths):
        source = ops.empty((length,), torch.uint8, on_host=True)
        source.fill_(number)
        results.append(ops.empty((length,), torch.uint8, on_host=True))
        ops.copy_async(passing[:length], source)
        ops.copy_async(results[-1], passing[:length])
        ops.copy_async(source, passing[:length])  # memory that an earlier copy reads may be copied to without a wait
    ops.synchronize()
    assert all(all_are(result, number) for number, result in enumerate(results))


@every_ops
@pytest.mark.parametrize("length", [8, LARGE])
def test_a_copy_sees_what_was_computed_before_it_and_is_seen_after_the_wait(make: MakeOps, length: int) -> None:
    ops = make()
    on_host, on_device = (ops.empty((length,), torch.float32, on_host=here) for here in (True, False))
    on_host.fill_(1.0)
    for _ in range(3):
        ops.copy_async(on_device, on_host)
        ops.wait(ops.record())
        on_device.mul_(2.0)  # computed on the device after the copy, and before the next one
        ops.copy_async(on_host, on_device)
        ops.synchronize(ops.record())
    assert all_are(on_host, 8.0)


@every_ops
@pytest.mark.parametrize(
    ("target", "source", "why"),
    [
        (torch.zeros(3), torch.zeros(4), "same shape and dtype"),
        (torch.zeros(4), torch.zeros(1), "same shape and dtype"),
        (torch.zeros(4), torch.zeros(4, dtype=torch.int32), "same shape and dtype"),
        (torch.zeros(4, device="meta"), torch.zeros(4), "got one from cpu to meta"),
    ],
)
def test_unequal_sides_are_refused_at_the_call(make: MakeOps, target: Tensor, source: Tensor, why: str) -> None:
    ops = make()
    with pytest.raises(DeviceError, match=why):
        ops.copy_async(target, source)
    ops.synchronize()


def test_a_copy_within_the_host_is_refused_where_the_device_is_another() -> None:
    """A stream of its own would not order it."""
    with pytest.raises(DeviceError, match="between the host and cuda:0, got one from cpu to cpu; "):
        check_copy(torch.zeros(2), torch.zeros(2), torch.device("cuda", 0))


@every_ops
def test_an_event_before_any_copy_is_seen_already(make: MakeOps) -> None:
    ops = make()
    event = ops.record()
    ops.wait(event)
    ops.synchronize(event)
    ops.synchronize()


@every_ops
def test_both_sides_live_until_the_copy_is_done(make: MakeOps) -> None:
    """Nobody but the queue holds the source and the first target; memory that is asked for meanwhile is other."""
    ops = make()
    result = ops.empty((64, LARGE), torch.uint8, on_host=True)
    for row in result:
        source = ops.empty((LARGE,), torch.uint8, on_host=True)
        source.fill_(7)
        passing = ops.empty((LARGE,), torch.uint8)
        ops.copy_async(passing, source)
        ops.copy_async(row, passing)
        del source, passing
        ops.empty((LARGE,), torch.uint8).fill_(9)
    ops.synchronize()
    assert all_are(result, 7)


# ---------------------------------------------------------------------- failures


def failing_cpu(times: int) -> tuple[DeviceOps, Callable[[], int]]:
    copy = GatedCopy(failing=times)
    return CpuOps(copy), lambda: len(copy.threads)


def failing_late(times: int) -> tuple[DeviceOps, Callable[[], int]]:
    ops = LateOps({1: times})
    return ops, lambda: sum(ops.tries.values())


failing_ops = pytest.mark.parametrize("make", [failing_cpu, failing_late])
MakeFailing = Callable[[int], tuple[DeviceOps, Callable[[], int]]]


@failing_ops
@pytest.mark.parametrize("length", [16, LARGE])
def test_a_copy_that_fails_once_is_done_at_the_second_try(make: MakeFailing, length: int) -> None:
    ops, tries = make(1)
    target, source = torch.zeros(length, dtype=torch.uint8), torch.ones(length, dtype=torch.uint8)
    ops.copy_async(target, source)
    ops.synchronize()
    assert tries() == 2
    assert torch.equal(target, source)


@failing_ops
@pytest.mark.parametrize("length", [16, LARGE])
@pytest.mark.parametrize("is_waited", [True, False])
def test_a_copy_that_fails_twice_reaches_who_waits_once(make: MakeFailing, length: int, is_waited: bool) -> None:
    ops, tries = make(2)
    before = ops.record()
    target, source = torch.zeros(length, dtype=torch.uint8), torch.ones(length, dtype=torch.uint8)
    ops.copy_async(target, source)
    failed = ops.record()
    later = torch.zeros_like(target)
    ops.copy_async(later, source)
    ops.synchronize(before)  # not its copy
    with pytest.raises(TransferError, match=rf"^a copy of {length} bytes failed twice: \w[^\n]*; ") as caught:
        ops.wait(failed) if is_waited else ops.synchronize()
    assert caught.value.__cause__ is not None
    ops.wait(failed)
    ops.synchronize()
    assert tries() == 3
    assert torch.equal(later, source)  # the queue went on


def test_several_failures_are_raised_together() -> None:
    ops = CpuOps(GatedCopy(failing=4))
    for length in (LARGE, LARGE + 1):
        ops.copy_async(torch.zeros(length, dtype=torch.uint8), torch.ones(length, dtype=torch.uint8))
    with pytest.raises(TransferError, match=f"a copy of {LARGE} bytes") as caught:
        ops.synchronize()
    assert [note[: note.index(" bytes")] for note in caught.value.__notes__] == [f"after it: a copy of {LARGE + 1}"]
    ops.synchronize()


@pytest.mark.parametrize(
    ("errors", "answer"),
    [
        ([], "done"),
        ([OSError(5, "Input/output error")], "done"),
        ([OutputError("a full disk")], "done"),
        ([LostChunkError(3, "gone")], LostChunkError),
        ([OSError(5, "x"), LostChunkError(3, "gone")], LostChunkError),
        ([OSError(5, "x"), OutputError("a full disk")], OutputError),
        ([OSError(5, "x"), OSError(5, "Input/output error")], "^reading failed twice: Input/output error; "),
        ([ValueError(), ValueError()], "^reading failed twice: ValueError; "),
        ([ValueError("a"), RuntimeError("b.\nc")], "^reading failed twice: b; "),
        ([KeyboardInterrupt()], KeyboardInterrupt),
    ],
)
def test_what_is_tried_again_and_what_it_ends_in(errors: list[BaseException], answer: Any) -> None:
    left = list(errors)

    def work() -> str:
        if left:
            raise left.pop(0)
        return "done"

    if answer == "done":
        assert retry_once(work, "reading") == "done"
    elif isinstance(answer, str):
        with pytest.raises(TransferError, match=answer):
            retry_once(work, "reading")
    else:
        with pytest.raises(answer) as caught:
            retry_once(work, "reading")
        assert caught.value is errors[-1]
    assert not left


# ---------------------------------------------------------------------- by name


def test_a_device_is_found_by_name() -> None:
    assert isinstance(device_ops("cpu"), CpuOps)
    assert device_ops("cpu").device == torch.device("cpu")


@pytest.mark.parametrize("name", ["tpu", "", "cuda:x", "cpu:-1"])
def test_another_name_is_refused(name: str) -> None:
    with pytest.raises(DeviceError, match=f"^device must be cpu, cuda, xpu or another accelerator .* got {name!r}; "):
        device_ops(name)


class FakeAccelerator:
    """What torch answers where it sees `count` CUDA devices."""

    def __init__(self, patch: pytest.MonkeyPatch, count: int) -> None:
        here = torch.device("cuda") if count else None
        patch.setattr(torch.accelerator, "current_accelerator", lambda: here)
        patch.setattr(torch.accelerator, "is_available", lambda: count > 0)
        patch.setattr(torch.accelerator, "device_count", lambda: count)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "xpu:1", "meta"])
def test_an_accelerator_that_is_not_there_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    FakeAccelerator(monkeypatch, 0)
    with pytest.raises(DeviceError, match=f"^{name} was asked for and torch sees no accelerator here; take device cpu"):
        device_ops(name)


@pytest.mark.parametrize("name", ["xpu", "xpu:0", "meta"])
def test_an_accelerator_of_another_kind_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    FakeAccelerator(monkeypatch, 1)
    with pytest.raises(DeviceError, match=f"^{name} was asked for and the accelerator that torch sees here is cuda; "):
        device_ops(name)


def test_a_device_past_the_last_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeAccelerator(monkeypatch, 2)
    with pytest.raises(DeviceError, match="^cuda:2 was asked for and the last one here is cuda:1; "):
        device_ops("cuda:2")


def test_a_device_without_streams_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match=r"^mps has no streams in torch, .*; take device cpu, or an accelerator with"):
        device_ops("mps")
    FakeAccelerator(monkeypatch, 2)

    def refuse(device: torch.device) -> None:
        raise NotImplementedError("Backend doesn't support create a new Stream.")

    monkeypatch.setattr(torch, "Stream", refuse)
    with pytest.raises(DeviceError, match="^cuda:1 has no streams in torch, ") as caught:
        device_ops("cuda:1")
    assert isinstance(caught.value.__cause__, NotImplementedError)


@pytest.mark.accelerator
def test_an_accelerator_is_found_by_name() -> None:
    kind = torch.device(accelerator()).type
    current = torch.accelerator.current_stream().device_index
    assert device_ops(kind).device == torch.device(kind, current)
    assert device_ops(f"{kind}:0").device == torch.device(kind, 0)


def test_ops_hold_what_lies_on_their_device() -> None:
    ops = CpuOps()
    assert ops.holds(torch.zeros(1))
    assert ops.holds(torch.zeros(1, device="cpu:0"))
    assert not ops.holds(torch.zeros(1, device="meta"))
    ops.device = torch.device("meta", 1)
    assert not ops.holds(torch.zeros(1, device="meta"))


# ---------------------------------------------------------------------- accelerators


@pytest.mark.accelerator
def test_an_accelerator_does_not_hold_the_host_up_and_waits_on_the_stream() -> None:
    """The device is kept busy, so that copies issued after its work cannot be done when the call returns."""
    ops = device_ops(accelerator())
    source = ops.empty((1 << 20,), torch.float32, on_host=True)
    source.fill_(3.0)
    target = ops.empty((1 << 20,), torch.float32)
    keep_busy(ops.device)
    ops.copy_async(target, source)
    event = ops.record()
    assert not event.query()
    ops.wait(event)
    doubled = target * 2
    assert all_are(doubled, 6.0)


@pytest.mark.accelerator
def test_an_accelerators_memory_in_use_by_a_copy_is_not_given_to_others() -> None:
    ops = device_ops(accelerator())
    result = ops.empty((1 << 22,), torch.float32, on_host=True)
    source = ops.empty((1 << 22,), torch.float32)
    source.fill_(5.0)
    keep_busy(ops.device)
    ops.copy_async(result, source)
    del source
    for _ in range(8):
        other = ops.empty((1 << 22,), torch.float32).fill_(9.0)  # on the computing stream, which waits for no copy
    other[0].item()
    ops.synchronize()
    assert all_are(result, 5.0)


@pytest.mark.accelerator
def test_an_accelerators_current_device_and_stream_are_what_they_were() -> None:
    kind = torch.device(accelerator()).type
    ops = device_ops(f"{kind}:{torch.accelerator.device_count() - 1}")
    before = torch.accelerator.current_stream(), torch.accelerator.current_stream(ops.device)
    ops.copy_async(ops.empty((8,), torch.uint8), ops.empty((8,), torch.uint8, on_host=True))
    assert (torch.accelerator.current_stream(), torch.accelerator.current_stream(ops.device)) == before
    ops.synchronize()


# ---------------------------------------------------------------------- CPU


def test_a_large_copy_does_not_hold_the_caller_up() -> None:
    copy = GatedCopy(is_open=False)
    ops = CpuOps(copy)
    target, source = torch.zeros(LARGE, dtype=torch.uint8), torch.ones(LARGE, dtype=torch.uint8)
    ops.copy_async(target, source)
    small = torch.zeros(4)
    ops.copy_async(small, torch.ones(4))  # may not overtake
    assert target.max() == 0
    assert small.max() == 0
    copy.gate.set()
    ops.synchronize()
    assert target.min() == 1
    assert small.min() == 1
    assert threading.current_thread() not in copy.threads


def test_a_small_copy_with_none_before_it_is_done_by_the_caller() -> None:
    copy = GatedCopy()
    ops, target = CpuOps(copy), torch.zeros(4)
    ops.copy_async(target, torch.ones(4))
    assert target.min() == 1
    assert copy.threads == [threading.current_thread()]


def test_a_wait_is_for_the_event_and_not_for_later_copies() -> None:
    gate = GatedCopy(is_open=False)

    def copy(target: np.ndarray[Any, Any], source: np.ndarray[Any, Any]) -> None:
        (gate if target.nbytes > LARGE else np.copyto)(target, source)

    ops = CpuOps(copy)
    first, second = torch.zeros(LARGE, dtype=torch.uint8), torch.zeros(LARGE + 1, dtype=torch.uint8)
    ops.copy_async(first, torch.ones_like(first))
    event = ops.record()
    ops.copy_async(second, torch.ones_like(second))
    ops.synchronize(event)
    assert first.min() == 1
    assert second.max() == 0
    gate.gate.set()
    ops.synchronize()
    assert second.min() == 1


def test_the_thread_ends_when_nobody_holds_the_ops() -> None:
    copy = GatedCopy()
    ops = CpuOps(copy)
    ops.copy_async(torch.zeros(LARGE, dtype=torch.uint8), torch.ones(LARGE, dtype=torch.uint8))
    ops.synchronize()
    (thread,) = copy.threads
    assert thread.is_alive()
    assert thread.daemon
    gone = weakref.ref(ops)
    del ops
    gc.collect()
    assert gone() is None
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_copies_under_way_are_finished_when_the_ops_go() -> None:
    copy = GatedCopy(is_open=False)
    ops = CpuOps(copy)
    target = torch.zeros(LARGE, dtype=torch.uint8)
    ops.copy_async(target, torch.ones_like(target))
    del ops
    gc.collect()
    copy.gate.set()
    for thread in threading.enumerate():
        if thread.name == "worldkv-copies":
            thread.join(PATIENCE)
    assert target.min() == 1


def test_an_idle_thread_holds_no_tensor() -> None:
    ops, second = CpuOps(), CpuOps()
    target = np.zeros(LARGE, np.uint8)
    gone = weakref.ref(target)
    ops.copy_async(torch.from_numpy(target), torch.ones(LARGE, dtype=torch.uint8))
    ops.synchronize()
    del target
    second.synchronize()
    for _ in range(1000):  # the thread lets go right after it has said that it is done
        if gone() is None:
            break
        threading.Event().wait(PATIENCE / 1000)
    assert gone() is None


@pytest.mark.parametrize("copies", [0, 1, 40])
def test_the_process_ends_with_copies_under_way(copies: int) -> None:
    done = run_python(
        "import torch\nfrom worldkv.backends.transfer.cpu_ops import CpuOps\nops = CpuOps()\n"
        "source = torch.ones(1 << 24, dtype=torch.uint8)\n"
        f"for _ in range({copies}): ops.copy_async(torch.empty_like(source), source)\n"
        "print('bye')"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "bye\n", "")


def test_several_threads_may_wait_and_issue() -> None:
    ops = CpuOps()
    targets = [torch.zeros(LARGE if number % 2 else 8, dtype=torch.uint8) for number in range(40)]
    errors: list[BaseException] = []

    def work(mine: list[Tensor]) -> None:
        try:
            for target in mine:
                ops.copy_async(target, torch.ones_like(target))
                ops.synchronize(ops.record())
                assert target.min() == 1
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(targets[first::4],)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not errors
    assert all(target.min() == 1 for target in targets)


# ---------------------------------------------------------------------- the double


@pytest.mark.parametrize("dtype", DTYPES)
def test_late_targets_are_poison_until_somebody_waits(dtype: torch.dtype) -> None:
    ops = LateOps()
    target, source = torch.zeros(4, dtype=dtype), torch.zeros(4, dtype=dtype)
    ops.copy_async(target, source)
    event = ops.record()
    assert target.isnan().all() if dtype.is_floating_point else (target != 0).all()
    ops.wait(event)
    assert torch.equal(target, source)


def test_late_attention_without_a_wait_is_nan() -> None:
    """What the double is for: the same line with and without its wait."""
    for is_waited in (True, False):
        ops = LateOps()
        keys = torch.zeros(1, 1, 4, 2)
        ops.copy_async(keys, torch.randn(1, 1, 4, 2))
        if is_waited:
            ops.wait(ops.record())
        attended = torch.nn.functional.scaled_dot_product_attention(torch.randn(1, 1, 3, 2), keys, keys)
        assert bool(attended.isnan().any()) != is_waited


def test_late_sources_are_read_late() -> None:
    ops, target, source = LateOps(), torch.zeros(2), torch.ones(2)
    ops.copy_async(target, source)
    source.fill_(5.0)  # too early: nobody has waited
    ops.synchronize()
    assert target.tolist() == [5.0, 5.0]


def test_late_copies_run_no_further_than_the_event() -> None:
    ops, targets = LateOps(), torch.zeros(3)
    for number in range(3):
        ops.copy_async(targets[number : number + 1], torch.full((1,), float(number)))
        if number == 1:
            event = ops.record()
    ops.wait(event)
    assert targets[:2].tolist() == [0.0, 1.0]
    assert targets[2].isnan()
    assert [copy.number for copy in ops.pending] == [3]


def test_late_fresh_memory_is_poison() -> None:
    assert LateOps().empty((3,), torch.bfloat16, on_host=True).isnan().all()
