"""Machine files and the time model in closed form."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from worldkv.backend import Traffic
from worldkv.config import CacheConfig
from worldkv.errors import SpecError
from worldkv.geometry import PRESETS
from worldkv.sim import simulate
from worldkv.sim.clock import Clock
from worldkv.sim.machine import Edge, Machine, load_machine, machine_names
from worldkv.specs.parse import parse_policy
from worldkv.tiers import TierLimits
from worldkv.trajectory import cut, load_trajectory

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
    clock = Clock(dataclasses.replace(MACHINE, overlap=True), TINY)
    compute = 2 + 0.5 + 12
    step = clock.step(3, 100, 20, TRAFFIC)
    assert step.stall_seconds == pytest.approx(max(0, 6.25 - compute / 4))
    assert clock.step(3, 0, 0, Traffic(device_to_host=1000)).stall_seconds == 0
    assert clock.step(3, 0, 0, Traffic(device_to_host=2000)).stall_seconds == pytest.approx(20 - compute)
    assert clock.step(3, 0, 0, Traffic()) == (compute, 12, 0)


SPARE = Traffic(device_to_spare=400, spare_to_device=600, spare_to_host=100)


def test_spare_memory_of_the_same_device_costs_what_storing_and_landing_do() -> None:
    machine = dataclasses.replace(MACHINE, storing=Edge(1000.0), landing=Edge(500.0, latency_seconds=0.5))
    step = Clock(machine, TINY).step(3, 0, 0, SPARE, 500)
    assert step.stall_seconds == pytest.approx(100 / 100 + 400 / 1000 + (0.5 + 500 / 500))
    bare = Clock(MACHINE, TINY).step(3, 0, 0, Traffic(device_to_spare=400, spare_to_device=600), 500)
    assert bare.stall_seconds == 0


def test_another_device_is_no_farther_than_the_host_unless_the_machine_says() -> None:
    far = Clock(MACHINE, TINY, spare_is_peer=True).step(3, 0, 0, SPARE, 500)
    assert far.stall_seconds == pytest.approx(400 / 100 + (0.25 + 500 / 50) + (0.25 + 100 / 50) + 100 / 100)
    out, back, down = Edge(80.0), Edge(200.0, 0.125), Edge(25.0)
    near = dataclasses.replace(MACHINE, device_to_spare=out, spare_to_device=back, spare_to_host=down)
    for is_peer in (True, False):  # a machine file's edge holds for whatever it was measured on
        step = Clock(near, TINY, spare_is_peer=is_peer).step(3, 0, 0, SPARE, 500)
        assert step.stall_seconds == pytest.approx(400 / 80 + 2 * 0.125 + 600 / 200 + 100 / 25)
    hidden = Clock(dataclasses.replace(near, overlap=True), TINY).step(3, 0, 0, SPARE, 500)
    assert hidden.stall_seconds == 0, "both the fetch and the rest have a step to hide behind"


def test_a_rollout_waits_for_spare_memory_as_it_is_told() -> None:
    """Seconds over a whole rollout: on another device as slow as the host it takes what the host takes."""
    path = cut(load_trajectory("generate:loop:chunks=24,laps=3"), TINY)
    policy, machine = parse_policy("worldkv:keep_ratio=1", TINY), dataclasses.replace(MACHINE, overlap=False)
    seconds = {}
    for name, limits in (
        ("host", TierLimits()),
        ("same", TierLimits(spare_bytes=10**9)),
        ("other", TierLimits(spare_bytes=10**9, spare_device="cuda:1")),
    ):
        rollout = simulate(path, policy, TINY, machine, config=CacheConfig(limits=limits))
        traffic = rollout.engine.backend.traffic()
        assert (traffic.spare_to_device > 0, traffic.host_to_device > 0) == (name != "host", name == "host")
        seconds[name] = rollout.seconds.sum()
    assert seconds["same"] < seconds["other"] == pytest.approx(seconds["host"])


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
        ("[edges]\nspare_to_host = { rate = 3 }", "edge spare_to_host takes bytes_per_second"),
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
