"""Spare memory on the late device: on the window's own and on the second one, as late as may be."""

from __future__ import annotations

import pytest
import torch

from tests.backends.rollouts import generate, loop, open_cache
from tests.backends.test_parity import SMALL, path_of
from tests.late_device.device import counts, forget_counts
from worldkv.backends.transfer.accelerator_ops import AcceleratorOps
from worldkv.chunks import Tier
from worldkv.config import CacheConfig
from worldkv.errors import DeviceError
from worldkv.parity.run import run_both
from worldkv.policies import RandomRetrieval, WorldKV
from worldkv.specs.parse import parse_policy
from worldkv.tiers import TierLimits

pytestmark = pytest.mark.usefixtures("late_order")
FIRST, SECOND = torch.device("late", 0), torch.device("late", 1)
PATH = "generate:loop:chunks=18,laps=3"


@pytest.mark.parametrize("spare_device", [None, "late:1"])
@pytest.mark.parametrize(
    "spec", ["random:retrieved_frames=9", "composed:compression=quantised,recent_frames=3", "sp-kv:recent_frames=3"]
)
def test_simulator_and_tensors_do_the_same(spec: str, spare_device: str | None) -> None:
    chunked, landmarks, _ = path_of(PATH)
    whole = SMALL.chunk_bytes
    limits = TierLimits(2 * whole, spare_bytes=3 * whole, spare_device=spare_device)
    policy = parse_policy(spec, SMALL)
    found = run_both(chunked, policy, SMALL, config=CacheConfig(limits=limits), landmarks=landmarks, device="late:0")
    assert found.difference is None
    if spec.startswith("random"):
        assert sum(step.traffic.spare_to_device for step in found.simulated) > 0
        assert any({Tier.SPARE, Tier.HOST, Tier.DISK} <= set(step.tiers) for step in found.simulated)


def rollout(limits: TierLimits, ops: AcceleratorOps | None = None) -> list[torch.Tensor]:
    path = loop(SMALL, 14)
    with open_cache(RandomRetrieval(0, 9, 3), SMALL, path, ops, config=CacheConfig(limits=limits)) as cache:
        return [generate(cache, path, step)[0].cpu() for step in range(14)]


@pytest.mark.parametrize("spare_device", [None, "late:1"])
def test_outputs_are_those_of_a_bank_on_the_host(spare_device: str | None) -> None:
    whole = SMALL.chunk_bytes
    tight = TierLimits(2 * whole, spare_bytes=2 * whole, spare_device=spare_device)
    for found, expected in zip(rollout(tight), rollout(TierLimits()), strict=True):
        assert torch.equal(found, expected)


def test_a_fetch_from_the_same_device_takes_no_copy_and_no_wait() -> None:
    path, limits = loop(SMALL, 14), TierLimits(spare_bytes=30 * SMALL.chunk_bytes)
    policy = RandomRetrieval(0, 9, 3)
    of: dict[str, tuple[int, int]] = {}
    for name, where in (("host", TierLimits()), ("spare", limits)):
        with open_cache(policy, SMALL, path, config=CacheConfig(limits=where)) as cache:
            for step in range(10):
                generate(cache, path, step)
            forget_counts()
            for step in range(10, 14):
                generate(cache, path, step)
            told = counts()
            of[name] = told.copies, told.pinned_allocations
            if name == "spare":
                assert cache.backend.traffic().spare_to_device > 0 == cache.backend.traffic().host_to_device
                assert told.device_allocations == 0 or told.pinned_allocations == 0
    assert of["spare"][0] < of["host"][0]


def test_copies_between_the_devices_are_in_order_with_both() -> None:
    ops = AcceleratorOps(FIRST)
    there = ops.peer("late:1")
    near, far = ops.empty((64,), torch.float32), there.empty((64,), torch.float32)
    near.fill_(1.0)  # queued on the first device, and not run
    far.fill_(2.0)  # likewise on the second: it must not come after the copy
    ops.copy_async(far, near)
    ops.wait(ops.record())
    near.fill_(3.0)
    back = ops.empty((64,), torch.float32)
    ops.copy_async(back, far)
    event = ops.record()
    ops.wait(event)
    host = ops.empty((64,), torch.float32, on_host=True)
    ops.copy_async(host, back)
    ops.synchronize(ops.record())
    assert (host == 1.0).all()
    aside = there.empty((64,), torch.float32, on_host=True)
    there.copy_async(aside, far)
    there.synchronize(there.record())
    assert (aside == 1.0).all()


def test_memory_given_back_under_a_copy_is_not_used_before_it_is_done() -> None:
    ops = AcceleratorOps(FIRST)
    there = ops.peer("late:1")
    far = there.empty((1 << 12,), torch.float32)
    near = ops.empty((1 << 12,), torch.float32)
    near.fill_(5.0)
    ops.copy_async(far, near)
    del near
    ops.empty((1 << 12,), torch.float32).fill_(6.0)
    back = ops.empty((1 << 12,), torch.float32)
    ops.copy_async(back, far)
    del far
    there.empty((1 << 12,), torch.float32).fill_(7.0)
    ops.synchronize(ops.record())
    assert (back.cpu() == 5.0).all()


@pytest.mark.parametrize("device", ["late:0", "late", "cpu"])
def test_a_device_that_is_no_other_is_refused(device: str) -> None:
    with pytest.raises(DeviceError, match="spare memory was asked for on"):
        AcceleratorOps(FIRST).peer(device)
    with pytest.raises(DeviceError, match="a copy runs between the host and late:0"):
        AcceleratorOps(FIRST).copy_async(torch.empty(3, device=SECOND), torch.empty(3, device=FIRST))
    assert WorldKV().has_bank
