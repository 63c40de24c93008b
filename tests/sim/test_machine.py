"""Machine files and the time model in closed form."""

from __future__ import annotations

from pathlib import Path

import pytest

from worldkv.backend import Traffic
from worldkv.errors import SpecError
from worldkv.geometry import PRESETS
from worldkv.sim.clock import Clock
from worldkv.sim.machine import Edge, Machine, load_machine, machine_names

TINY = PRESETS["tiny"]
MACHINE = Machine(
    "m",
    "a test",
    fixed_seconds=2.0,
    passes=4,
    attention_flops_per_second=4.0 * TINY.chunk_tokens * TINY.heads * TINY.head_dim * TINY.layers,
    other_seconds=0.5,
    overlap=False,
    device_to_host=Edge(100.0),
    host_to_device=Edge(50.0, latency_seconds=0.25),
    host_to_disk=Edge(10.0),
    disk_to_host=Edge(5.0),
)
TRAFFIC = Traffic(device_to_host=200, host_to_device=150, host_to_disk=10, disk_to_host=20)


def test_without_overlap_everything_adds_up() -> None:
    step = Clock(MACHINE, TINY).step(3, 100, 20, TRAFFIC)
    assert step.attention_seconds == pytest.approx(4 * 3)
    waited, background = (0.25 + 100 / 50) + 20 / 5, (0.25 + 50 / 50) + 0 + 200 / 100 + 10 / 10
    assert step.stall_seconds == pytest.approx(waited + background)
    assert step.seconds == pytest.approx(2 + 0.5 + 12 + waited + background)


def test_with_overlap_only_what_compute_cannot_hide_stalls() -> None:
    import dataclasses

    clock = Clock(dataclasses.replace(MACHINE, overlap=True), TINY)
    compute = 2 + 0.5 + 12
    step = clock.step(3, 100, 20, TRAFFIC)
    assert step.stall_seconds == pytest.approx(max(0, 6.25 - compute / 4))
    assert clock.step(3, 0, 0, Traffic(device_to_host=1000)).stall_seconds == 0
    assert clock.step(3, 0, 0, Traffic(device_to_host=2000)).stall_seconds == pytest.approx(20 - compute)
    assert clock.step(3, 0, 0, Traffic()) == (compute, 12, 0)


def test_presets_load_and_say_where_they_come_from() -> None:
    for name in machine_names():
        machine = load_machine(name)
        assert machine.name == name
        assert len(machine.source) > 20


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "not TOML"),
        ('name = "x"', "source is missing"),
        ("fixed_second = 1", "unknown key 'fixed_second'; did you mean fixed_seconds"),
        ("fixed_seconds = -1", "fixed_seconds must be a valid float, got -1"),
        ("passes = 0", "passes must be a valid int"),
        ("overlap = 3", "overlap must be a valid bool"),
        ("attention_flops_per_second = 0", "attention_flops_per_second must be"),
        ("[edges]\nhost_to_disk = { rate = 3 }", "edge host_to_disk takes bytes_per_second"),
        ("[edges]\nhost_to_disk = { bytes_per_second = 0 }", "positive rate"),
    ],
)
def test_bad_machine_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    good = {
        "name": 'name = "x"',
        "source": 'source = "y"',
        "fixed_seconds": "fixed_seconds = 1",
        "passes": "passes = 1",
        "attention_flops_per_second": "attention_flops_per_second = 1e9",
    }
    if "missing" not in message:
        good.pop(text.split(" ")[0], None)
        text = "\n".join([*good.values(), text]) if text.startswith("[") else "\n".join([text, *good.values()])
    file = tmp_path / "m.toml"
    file.write_text(text)
    with pytest.raises(SpecError, match=message):
        load_machine(str(file))


def test_an_unknown_machine_names_the_nearest() -> None:
    with pytest.raises(SpecError, match="did you mean worldkv-project-page"):
        load_machine("worldkv-project-pge")
