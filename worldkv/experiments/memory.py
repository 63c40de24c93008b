"""Estimate the memory of a run, and refuse one that does not fit before anything is allocated."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from worldkv.errors import BudgetError
from worldkv.report.format import amount

if TYPE_CHECKING:
    from worldkv.geometry import CacheGeometry

_LAYER_WEIGHTS = 12
"""Weights of a layer, in squares of its width: four projections of attention, a feed-forward four times as wide."""
_OTHER_WEIGHTS = 7
"""Weights outside the layers, in the same unit: the time's two projections and its six-fold modulation."""
_ACTIVATIONS = 24
"""Numbers that a pass holds at once for each token, in multiples of the width."""


class MemoryNeed(NamedTuple):
    """Bytes a run takes in each place.

    Attributes:
        window: keys and values on the device, with rotated copies, attention received and pages kept to go back to.
        staging: stored chunks on the device, on their way in or out or being packed, and what scoring them takes.
        model: weights and activations on the device.
        bank: stored chunks on the host, in pinned memory as a whole where it is pinned.
        disk: stored chunks on disk.
        spare: stored chunks on the device, outside the window.
        spare_device: another device that they are on; None for the window's.
    """

    window: int
    staging: int
    model: int
    bank: int
    disk: int
    spare: int = 0
    spare_device: str | None = None


def model_bytes(geometry: CacheGeometry) -> int:
    """Estimated bytes of the model's weights and activations."""
    width = geometry.heads * geometry.head_dim
    weights = (_LAYER_WEIGHTS * geometry.layers + _OTHER_WEIGHTS) * width * width
    activations = _ACTIVATIONS * geometry.branches * geometry.chunk_tokens * width
    return (weights + activations) * geometry.itemsize


def check_room(need: MemoryNeed, geometry: CacheGeometry, device: str, folders: Sequence[str]) -> None:
    """Refuse a run that does not fit.

    Raises:
        BudgetError: naming what is needed, what there is and the cure.
    """
    on_device = need.window + need.staging + need.model
    if need.spare_device is None or device == "cpu":
        on_device += need.spare
    elif need.spare:
        from worldkv.backends.on_device import free_bytes

        there = free_bytes(need.spare_device)
        if there is not None:
            _check(f"memory on {need.spare_device}", need.spare, there, need, geometry)
    if device != "cpu":
        from worldkv.backends.on_device import free_bytes

        on_accelerator = free_bytes(device)
        if on_accelerator is not None:
            _check(f"memory on {device}", on_device, on_accelerator, need, geometry)
        on_device = 0
    available = available_memory()
    if available is not None:
        _check("memory", on_device + need.bank, available, need, geometry)
    places = [_existing(Path(folder)) for folder in folders or (tempfile.gettempdir(),)]
    disks = {os.stat(place).st_dev: place for place in places}
    free = sum(shutil.disk_usage(place).free for place in disks.values())
    if need.disk > free:
        where = " and ".join(map(str, places))
        raise BudgetError(
            f"{amount(need.disk)} would spill to {where}, where {amount(free)} are free; name a larger disk with "
            "--spill-folder, give the bank more host memory or take fewer --chunks"
        )


def _existing(place: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    while not place.exists():
        place = place.parent
    return place


def _check(what: str, needed: int, available: int, need: MemoryNeed, geometry: CacheGeometry) -> None:
    if needed <= available:
        return
    sizes = {name: getattr(need, name) for name in ("window", "staging", "model", "bank", "spare")}
    parts = ", ".join(f"{name} {amount(part)}" for name, part in sizes.items() if part)
    raise BudgetError(
        f"{geometry.name} needs about {amount(needed)} of {what} ({parts}), {amount(available)} are free; take a "
        "smaller --geometry, fewer --chunks, a policy with a smaller window, or spill the bank with --host-budget (and "
        "take less --spare-budget)"
    )


def available_memory() -> int | None:
    """Host memory that may still be taken, in bytes; None where the system does not say."""
    found = [number for number in (_system_memory(), _container_memory()) if number is not None]
    return min(found, default=None)


def _system_memory() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        kib = next(line.split()[1] for line in lines if line.startswith("MemAvailable:"))
        return int(kib) * 1024
    except (OSError, StopIteration, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None


def _container_memory(folder: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Memory that the container may still take; None outside one."""
    try:
        most, taken = (int((folder / f"memory.{name}").read_text()) for name in ("max", "current"))
        return max(0, most - taken)
    except (OSError, ValueError):
        return None
