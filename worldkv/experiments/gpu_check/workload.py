"""Rollouts over a path that comes back, with queries, keys and values that lie on the device from the start."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

    from worldkv.backends.cache import WorldCache
    from worldkv.experiments.gpu_check.check import Setting
    from worldkv.signals import Viewpoint

PATH = "generate:tour:rooms=4,seed=1,chunks=60"
"""Shorter ones fetch nothing: the path returns to its rooms after 32 chunks."""
WARM_STEPS = 36
"""From here on recall fetches in most steps."""
SMALL = "tiny:layers=3,heads=4,kv_heads=2"
LARGE = "wan-1.3b-480p:layers=6"
"""A chunk is 0.16 GiB: 60 of them, half of each stored, are 5 GiB of pinned memory."""
REHEARSED_PATH = "generate:loop:chunks=24"
REHEARSED_WARM = 12


class Work(NamedTuple):
    """A cache on the device and what it attends.

    Attributes:
        cache: empty.
        views: the path's viewpoints.
        warm: steps before the ones that are measured.
        own: queries, keys and values of a chunk, the same in every layer, pass and step.
        passes: passes of a step, the clean one included.
    """

    cache: WorldCache
    views: list[Viewpoint]
    warm: int
    own: tuple[Tensor, Tensor, Tensor]
    passes: int

    def step(self, step: int) -> None:
        """One whole step."""
        self.cache.begin(self.views[step])
        for number in range(self.passes):
            for layer in range(self.cache.geometry.layers):
                self.cache.attend(layer, *self.own, clean=number == self.passes - 1)
        self.cache.commit()


def work(
    setting: Setting,
    policy: str,
    geometry: str = SMALL,
    passes: int = 3,
    *,
    host_chunks: int | None = None,
    spare_chunks: int | None = None,
) -> Work:
    """A cache of that policy; small, and over a short path, in a rehearsal. Close the cache.

    Args:
        setting: the device.
        policy: a spec.
        geometry: what it is where this is no rehearsal.
        passes: of a step, the clean one included.
        host_chunks: a host budget for the bank, in whole chunks; None for none.
        spare_chunks: device memory for the bank, likewise.
    """
    import torch

    from worldkv.backends.cache import WorldCache, default_dtype
    from worldkv.config import CacheConfig
    from worldkv.scene import scene_of, viewpoints
    from worldkv.specs.parse import parse_geometry, parse_policy
    from worldkv.tiers import TierLimits
    from worldkv.trajectory import cut, load_trajectory

    shape = parse_geometry(SMALL if setting.is_rehearsal else geometry)
    path = cut(load_trajectory(REHEARSED_PATH if setting.is_rehearsal else PATH), shape)

    def room(chunks: int | None) -> int | None:
        return None if chunks is None else chunks * shape.chunk_bytes

    limits = TierLimits(room(host_chunks), spare_bytes=room(spare_chunks))
    cache = WorldCache(
        parse_policy(policy, shape),
        shape,
        device=setting.device,
        scene=scene_of(path),
        config=CacheConfig(limits=limits),
    )
    dtype, device = default_dtype(shape), cache.backend.ops.device
    draw = torch.Generator().manual_seed(0)
    q, k, v = (
        torch.randn(shape.branches, shape.chunk_tokens, heads, shape.head_dim, generator=draw).to(device, dtype)
        for heads in (shape.heads, shape.kv_heads, shape.kv_heads)
    )
    warm = REHEARSED_WARM if setting.is_rehearsal else WARM_STEPS
    return Work(cache, list(viewpoints(path)), warm, (q, k, v), passes)


def synchronize(device: str) -> None:
    """Wait for everything on the device."""
    if device != "cpu":
        import torch

        torch.accelerator.synchronize(device)


def warmed(done: Work) -> Iterator[int]:
    """The numbers of the steps behind the warm ones, which are taken first."""
    for step in range(done.warm):
        done.step(step)
    yield from range(done.warm, len(done.views))
