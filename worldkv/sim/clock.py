"""The time model: seconds of a step, from the tokens it attends and the bytes it moves."""

from __future__ import annotations

from typing import NamedTuple

from worldkv.backend import Traffic
from worldkv.geometry import CacheGeometry
from worldkv.sim.machine import Machine


class StepTime(NamedTuple):
    """Predicted seconds of one step.

    Attributes:
        seconds: all of it.
        attention_seconds: attention of all passes.
        stall_seconds: transfers that compute does not hide, and what they cost the device itself.
    """

    seconds: float
    attention_seconds: float
    stall_seconds: float


class Clock:
    """Seconds a chunk = fixed + other + passes x attention(attended tokens) + transfers that nothing hides.

    Without overlap every copy adds its time. With overlap, what this step must wait for (its own fetches) arrives layer
    by layer beside the first pass: the first layers' share stalls, and of the others what exceeds the pass, unless the
    machine waits for all of it. Stores, spills and prefetches have the whole step to hide behind. What storing and
    landing cost the device itself always adds its time.
    """

    def __init__(self, machine: Machine, geometry: CacheGeometry, *, spare_is_peer: bool = False) -> None:
        """The model of `machine` running a model of `geometry`; spare memory may be that of another device."""
        self.machine, self.geometry = machine, geometry
        to_spare, from_spare, spare_to_host = machine.spare_edges(is_peer=spare_is_peer)
        self._to_spare, self._from_spare, self._spare_to_host = to_spare, from_spare, spare_to_host
        flops = 4 * geometry.chunk_tokens * geometry.heads * geometry.head_dim * geometry.layers
        flops *= geometry.branches
        self._pass_seconds_per_token = flops / machine.attention_flops_per_second

    def compute_seconds(self, attended_tokens: int) -> float:
        """Seconds of a step that attends `attended_tokens`, its own included, and moves nothing."""
        attention = self.machine.passes * self._pass_seconds_per_token * attended_tokens
        return self.machine.fixed_seconds + self.machine.other_seconds + attention

    def step(
        self,
        attended_tokens: int,
        fetched_bytes: int,
        fetched_disk_bytes: int,
        traffic: Traffic,
        fetched_spare_bytes: int = 0,
    ) -> StepTime:
        """Predict the time of one step.

        Args:
            attended_tokens: tokens attended, the chunk's own included.
            fetched_bytes: host-to-device bytes the step waits for.
            fetched_disk_bytes: of these, bytes that come from disk first.
            traffic: all bytes over each edge during the step.
            fetched_spare_bytes: bytes from spare device memory the step waits for.
        """
        machine = self.machine
        attention = machine.passes * self._pass_seconds_per_token * attended_tokens
        compute = machine.fixed_seconds + machine.other_seconds + attention
        if not any(traffic):
            return StepTime(compute, attention, 0.0)
        waited = machine.host_to_device.seconds(fetched_bytes) + machine.disk_to_host.seconds(fetched_disk_bytes)
        background = (
            machine.host_to_device.seconds(traffic.host_to_device - fetched_bytes)
            + machine.disk_to_host.seconds(traffic.disk_to_host - fetched_disk_bytes)
            + machine.device_to_host.seconds(traffic.device_to_host)
            + machine.host_to_disk.seconds(traffic.host_to_disk)
        )
        if traffic.device_to_spare or traffic.spare_to_device or traffic.spare_to_host:
            waited += self._from_spare.seconds(fetched_spare_bytes)
            background += (
                self._to_spare.seconds(traffic.device_to_spare)
                + self._from_spare.seconds(traffic.spare_to_device - fetched_spare_bytes)
                + self._spare_to_host.seconds(traffic.spare_to_host)
            )
        if not machine.overlap:
            stall = waited + background
        else:
            first = 1.0 if machine.waits_for_fetches else machine.first_fetch_share
            hidden = compute / machine.passes * (1 - first)
            stall = max(first * waited, waited - hidden) + max(0.0, background - compute)
        stall += machine.storing.seconds(traffic.device_to_host + traffic.device_to_spare)
        stall += machine.landing.seconds(fetched_bytes + fetched_spare_bytes)
        return StepTime(compute + stall, attention, stall)
