"""Audit an engine against its chunk table and its backend: one home a chunk, every token and byte counted once."""

from __future__ import annotations

import numpy as np

from worldkv.chunks import BANK_TIERS, Tier
from worldkv.engine.engine import CacheEngine
from worldkv.sim.backend import SimBackend
from worldkv.testing.check import CheckFailed


def audit_homes(engine: CacheEngine) -> None:
    """Refuse a chunk with no home or two, and a replica of a chunk that is not banked.

    Raises:
        CheckFailed: naming the chunk.
    """
    table, state, backend = engine.table, engine.state, engine.backend
    tier = table.columns["tier"][: len(table)]
    at_home = np.flatnonzero(tier == Tier.DEVICE).tolist()
    banked = np.flatnonzero(np.isin(tier, BANK_TIERS)).tolist()
    if state.window_ids.tolist() != at_home:
        raise CheckFailed(f"the window's ids are {state.window_ids.tolist()}, at home in the window are {at_home}")
    if table.columns["ids"][state.bank_rows(table)].tolist() != banked:
        raise CheckFailed(
            f"the bank shows {table.columns['ids'][state.bank_rows(table)].tolist()}, banked are {banked}"
        )
    for chunk in (*state.replicas, *state.staged, *state.resident):
        if chunk not in banked:
            raise CheckFailed(f"chunk {chunk} has a copy in the window or in staging but its home is not the bank")
    if isinstance(backend, SimBackend):
        lying = {Tier.SPARE: backend.spare, Tier.HOST: backend.host, Tier.DISK: backend.disk}
        for home, of_backend in lying.items():
            if sorted(of_backend) != _of(tier, home):
                raise CheckFailed(
                    f"in tier {home.name.lower()} lie chunks {sorted(of_backend)}, at home there are {_of(tier, home)}"
                )
        expected = {*at_home, *state.replicas, *state.leaving}
        if set(backend.window) != expected:
            raise CheckFailed(f"in the window lie chunks {sorted(backend.window)}, expected are {sorted(expected)}")


def audit_ledgers(engine: CacheEngine) -> None:
    """Refuse a token or byte that is nowhere or counted twice.

    Raises:
        CheckFailed: naming the ledger and both sums.
    """
    table, state = engine.table, engine.state
    columns, counts, tiers = table.columns, state.counts, state.tiers
    tier = columns["tier"][: len(table)]
    tokens, stored = columns["tokens"][: len(table)], columns["stored_bytes"][: len(table)]
    banked = np.isin(tier, BANK_TIERS)
    sums = (
        ("tokens in the window", counts.window, int(tokens[tier == Tier.DEVICE].sum())),
        ("tokens in the bank", counts.banked, int(tokens[banked].sum())),
        ("tokens produced", counts.produced, counts.window + counts.banked + counts.pruned + counts.discarded),
        ("tokens of committed chunks", counts.produced, len(table) * engine.geometry.chunk_tokens),
        ("bytes on the host", tiers.host.held, int(stored[tier == Tier.HOST].sum())),
        ("bytes on disk", tiers.disk.held, int(stored[tier == Tier.DISK].sum())),
        ("bytes in spare memory", tiers.spare.held, int(stored[tier == Tier.SPARE].sum())),
        ("bytes into and out of spare memory", tiers.spare.bytes_in, tiers.spare.bytes_out + tiers.spare.held),
        ("bytes into and out of the host", tiers.host.bytes_in, tiers.host.bytes_out + tiers.host.held),
        ("bytes into and out of the disk", tiers.disk.bytes_in, tiers.disk.bytes_out + tiers.disk.held),
        ("bytes at home in the window", state.home_bytes, int(columns["window_bytes"][: len(table)][tier == 0].sum())),
    )
    for what, told, counted in sums:
        if told != counted:
            raise CheckFailed(f"{what}: the books say {told}, counted are {counted}")
    backend = engine.backend
    if isinstance(backend, SimBackend):
        on_device = sum(backend.window.values()) + sum(backend.staging.values())
        if tiers.device.held != on_device:
            raise CheckFailed(f"bytes on the device: the books say {tiers.device.held}, there lie {on_device}")
        limits = engine.config.limits
        for name, held, limit in (
            ("host", backend.host, limits.host_bytes),
            ("disk", backend.disk, limits.disk_bytes),
            ("spare", backend.spare, limits.spare_bytes),
        ):
            if limit is not None and sum(held.values()) > limit:
                raise CheckFailed(f"in tier {name} lie {sum(held.values())} bytes, more than its room of {limit}")


def _of(tier: np.ndarray[tuple[int], np.dtype[np.int8]], home: Tier) -> list[int]:
    found: list[int] = np.flatnonzero(tier == home).tolist()
    return found
