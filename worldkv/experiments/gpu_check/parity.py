"""Simulator against tensors on the device, record by record."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from worldkv.experiments.gpu_check.check import Figure, Setting
from worldkv.experiments.gpu_check.workload import PATH, REHEARSED_PATH

SPILLING = ("worldkv", "h2o", "sp-kv")
SPILLED_TO = "64KB"
"""Host memory: most of what leaves the window goes to disk."""
REHEARSED = ("worldkv", "h2o")
MARGIN = 1.5
"""A policy is begun while this many times the slowest so far is left."""


def run(setting: Setting) -> Iterator[Figure]:
    """Three policies that spill first, since they say most; then every one in memory, as far as time allows."""
    from worldkv.specs.names import policy_homes

    spilling = REHEARSED[:1] if setting.is_rehearsal else SPILLING
    every = REHEARSED if setting.is_rehearsal else tuple(policy_homes())
    yield _compared(setting, f"policies that spill to disk ({', '.join(spilling)})", spilling, SPILLED_TO)
    yield _compared(setting, "all policies, in memory", every, None)


def _compared(setting: Setting, what: str, names: Sequence[str], host_budget: str | None) -> Figure:
    from worldkv.errors import SignalError
    from worldkv.experiments.parity import check_parity

    path = REHEARSED_PATH if setting.is_rehearsal else PATH
    rows: list[dict[str, Any]] = []
    late, lacking, slowest = [], [], 0.0
    for name in names:
        if slowest and setting.left < MARGIN * slowest:
            late.append(name)
            continue
        began = time.monotonic()
        try:
            rows += check_parity(path, [name], device=setting.device, host_budget=host_budget).rows
        except SignalError:  # the path has not got what the policy reads
            lacking.append(name)
        slowest = max(slowest, time.monotonic() - began)
    different = [f"{row['policy']} at step {row['difference']['step']}" for row in rows if not row["equal"]]
    told = f"{len(rows) - len(different)} of {len(rows)} equal, {sum(row['records'] for row in rows):,} records"
    for words, left_out in (("read what the path lacks", lacking), ("had no time left", late)):
        told += f"; {', '.join(left_out)} {words}" if left_out else ""
    told += f"; different: {'; '.join(different)}" if different else ""
    otherwise = (
        "The tensors are not where the plan says: a copy was not waited for, or a kernel is wrong. Run it alone: "
        f"worldkv parity {path} --device {setting.device} --policy NAME, which names the first difference."
    )
    return Figure(what, "equal", told, None if not rows else not different, otherwise)
