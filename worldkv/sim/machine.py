"""A machine as the time model sees it, and the TOML files that describe one."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from worldkv.errors import SpecError, did_you_mean, repr_of
from worldkv.files import read_plain

DEFAULT_MACHINE = "worldkv-project-page"
"""The machine file that predicts by default."""

MOST_BYTES = 1 << 16
"""Largest machine file read (64 KiB); those of the package have one."""

MOST_MARKS = 100
"""Dots and brackets in a line: of keys of thousands of parts Python's reader takes minutes."""


@dataclass(frozen=True)
class Edge:
    """A bus between two tiers.

    Attributes:
        bytes_per_second: sustained rate.
        latency_seconds: added once a step in which the edge is used.
    """

    bytes_per_second: float = math.inf
    latency_seconds: float = 0.0

    def seconds(self, num_bytes: int) -> float:
        """Time to copy `num_bytes` in one step."""
        return self.latency_seconds + num_bytes / self.bytes_per_second if num_bytes else 0.0


@dataclass(frozen=True)
class Machine:
    """Rates that turn counted work into seconds; each preset says what it was fitted to.

    Attributes:
        name: short name for tables.
        source: where the numbers come from, one or two sentences.
        fixed_seconds: time a chunk takes whatever it attends: linear layers, decoding.
        passes: passes over the chunk that attend the window: denoise passes plus the clean one.
        attention_flops_per_second: rate of attention, counting 4 x queries x keys x heads x head_dim a layer.
        other_seconds: per-chunk work outside the model, e.g. a cache's own bookkeeping and copies.
        overlap: whether transfers run beside compute.
        waits_for_fetches: whether a step's own fetches must all be there before its first pass; if not they arrive
            layer by layer beside it.
        first_fetch_share: where they arrive beside it, the share of them that must be there before: the first layers'.
        fitted_geometry: the geometry the numbers hold for; None for any.
        device_to_host, host_to_device, host_to_disk, disk_to_host: the buses; infinitely fast where not given.
        storing: work on the device that banking takes and nothing hides (choosing, compressing, gathering), by the
            bytes stored; none where not given.
        landing: the same for fetches (choosing, finding places, scattering), by the bytes fetched.
        device_to_spare, spare_to_device, spare_to_host: the buses of spare device memory; see `spare_edges` for where
            they are not given.
    """

    name: str
    source: str
    fixed_seconds: float
    passes: int
    attention_flops_per_second: float
    other_seconds: float = 0.0
    overlap: bool = True
    waits_for_fetches: bool = False
    first_fetch_share: float = 0.0
    fitted_geometry: str | None = None
    device_to_host: Edge = Edge()
    host_to_device: Edge = Edge()
    host_to_disk: Edge = Edge()
    disk_to_host: Edge = Edge()
    storing: Edge = Edge()
    landing: Edge = Edge()
    device_to_spare: Edge | None = None
    spare_to_device: Edge | None = None
    spare_to_host: Edge | None = None

    def spare_edges(self, *, is_peer: bool) -> tuple[Edge, Edge, Edge]:
        """From the device to spare memory, back, and from there to the host.

        Where they are not given: on the window's own device storing gathers and fetching scatters straight into and
        from spare memory, which `storing` and `landing` count already, so that there is no bus; another device is
        taken to be no farther away than the host.

        Args:
            is_peer: whether the spare memory is that of another device.
        """
        out, back = (self.device_to_host, self.host_to_device) if is_peer else (Edge(), Edge())
        return self.device_to_spare or out, self.spare_to_device or back, self.spare_to_host or self.device_to_host

    def __repr__(self) -> str:
        rate = self.attention_flops_per_second / 1e12
        return f"Machine {self.name}: {self.fixed_seconds * 1e3:.4g} ms a step and {rate:.4g} TFLOP/s of attention"


def machine_names() -> list[str]:
    """Names of the machines that come with the package."""
    folder = resources.files("worldkv.sim") / "machines"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_machine(name: str) -> Machine:
    """Load a machine by preset name or by the path of a `.toml` file.

    Raises:
        SpecError: no such machine, or a file that does not describe one.
    """
    if name in machine_names():
        text = (resources.files("worldkv.sim") / "machines" / f"{name}.toml").read_text()
    else:
        path = Path(name)
        if "\0" in name or not os.path.lexists(path):
            raise SpecError(
                f"unknown machine {name!r}; {did_you_mean(name, machine_names())} or the path of a .toml file"
            )
        try:
            text = read_plain(path, SpecError, MOST_BYTES).decode()
        except UnicodeDecodeError as error:
            raise SpecError(f"{name}: cannot be read as text ({error}); give a .toml machine file") from None
    return _parsed(name, text)


def machine_text(machine: Machine) -> str:
    """A machine as the text of the file that `load_machine` reads."""
    lines: list[str] = []
    edges: list[str] = []
    for field in dataclasses.fields(Machine):
        value = getattr(machine, field.name)
        if isinstance(value, Edge):
            numbers = {"bytes_per_second": value.bytes_per_second, "latency_seconds": value.latency_seconds}
            text = ", ".join(f"{key} = {number!r}" for key, number in numbers.items() if math.isfinite(number))
            if value != Edge():
                edges.append(f"{field.name} = {{ {text} }}")
        elif value is not None:
            lines.append(f"{field.name} = {json.dumps(value, ensure_ascii=False)}")
    return "\n".join([*lines, *(["", "[edges]", *edges] if edges else [])]) + "\n"


def _parsed(where: str, text: str) -> Machine:
    if max((line.count(".") + line.count("[") + line.count("{") for line in text.split("\n")), default=0) > MOST_MARKS:
        raise SpecError(f"{where}: a line has more than {MOST_MARKS} dots or brackets; compare with a preset")
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits are a ValueError
        raise SpecError(f"{where}: not TOML ({error}); compare with a preset machine file") from None
    fields = {field.name: field for field in dataclasses.fields(Machine)}
    edges = content.pop("edges", {})
    values = {**content, **(edges if isinstance(edges, dict) else {"edges": edges})}
    for key in values:
        if key not in fields:
            raise SpecError(f"{where}: unknown key {key!r}; {did_you_mean(key, fields)}")
    required = [name for name, field in fields.items() if field.default is dataclasses.MISSING]
    for name in required:
        if name not in values:
            raise SpecError(f"{where}: {name} is missing; a machine needs {', '.join(required)}")
    return Machine(**{key: _checked(where, key, str(fields[key].type), value) for key, value in values.items()})


def _checked(where: str, key: str, kind: str, value: Any) -> Any:
    if kind.startswith("Edge"):
        if not isinstance(value, dict) or not set(value) <= {"bytes_per_second", "latency_seconds"}:
            raise SpecError(f"{where}: edge {key} takes bytes_per_second and latency_seconds, got {repr_of(value)}")
        rate, latency = value.get("bytes_per_second", 1e30), value.get("latency_seconds", 0.0)
        if not _is_number(rate) or not _is_number(latency) or rate < 1 or latency < 0:
            raise SpecError(f"{where}: edge {key} needs a positive rate and no negative latency, got {repr_of(value)}")
        return Edge(float(rate), float(latency))
    if kind == "bool" and isinstance(value, bool):
        return value
    if kind.startswith("str") and isinstance(value, str):
        return value
    if kind == "int" and isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 10_000:
        return value
    if kind == "float" and _is_number(value) and value >= (1e-9 if key in _POSITIVE else 0):
        return float(value)
    raise SpecError(f"{where}: {key} must be a valid {kind}, got {repr_of(value)}")


_POSITIVE = ("fixed_seconds", "attention_flops_per_second")


def _is_number(value: object) -> bool:
    """A number whose size a clock can work with; buses of infinite speed are left out of a file instead."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e30
