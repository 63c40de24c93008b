"""`worldkv calibrate`: the file it writes, and whether its fit finds a machine that is known."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.cli.conftest import Worldkv
from worldkv.backend import Traffic
from worldkv.backends.calibrate import CopySample, StepSample, fit_line, sample_copies
from worldkv.backends.transfer.open_device import device_ops
from worldkv.experiments.machine_fit import EDGES, SPARE_EDGES, fit_machine, predicted_over_measured
from worldkv.geometry import PRESETS
from worldkv.sim.clock import Clock
from worldkv.sim.machine import Edge, Machine, load_machine, machine_names, machine_text

TINY = PRESETS["tiny"]
KNOWN = Machine(
    'an "odd" name',
    "made up",
    fixed_seconds=0.004,
    passes=3,
    attention_flops_per_second=7e10,
    other_seconds=0.0005,
    waits_for_fetches=True,
    fitted_geometry="tiny",
    device_to_host=Edge(4e9, 1e-5),
    host_to_device=Edge(3e9, 2e-5),
    host_to_disk=Edge(2e9, 6e-4),
    disk_to_host=Edge(1e9, 8e-5),
    storing=Edge(2e7, 3e-4),
    landing=Edge(5e7, 1e-4),
    device_to_spare=Edge(7e9, 3e-6),
    spare_to_device=Edge(8e9, 4e-6),
    spare_to_host=Edge(3.5e9, 1e-5),
)


def known_steps(machine: Machine = KNOWN) -> list[StepSample]:
    """Steps as the known machine would take them."""
    clock, steps = Clock(machine, TINY), []
    half = TINY.chunk_bytes // 2
    for tokens in range(48, 48 * 40, 48):
        for stored, fetched in ((0, 0), (half, 0), (2 * half, 0), (half, half), (half, 4 * half), (2 * half, 2 * half)):
            spent = clock.step(tokens, fetched, 0, Traffic(stored, fetched))
            upkeep = spent.stall_seconds + machine.other_seconds
            steps.append(StepSample("r", tokens, stored, fetched, spent.seconds, upkeep))
    return steps


def known_copies() -> list[CopySample]:
    sizes = (1 << 12, 1 << 15, 1 << 18, 1 << 21)
    return [
        CopySample(edge, size, getattr(KNOWN, edge).seconds(size)) for edge in (*EDGES, *SPARE_EDGES) for size in sizes
    ]


def test_the_fit_finds_a_machine_that_is_known() -> None:
    fit = fit_machine(KNOWN.name, KNOWN.source, TINY, 2, known_steps(), known_copies())
    found = fit.machine
    assert (found.name, found.passes, found.fitted_geometry) == (KNOWN.name, 3, "tiny")
    for name in ("fixed_seconds", "attention_flops_per_second", "other_seconds"):
        assert getattr(found, name) == pytest.approx(getattr(KNOWN, name), rel=1e-6)
    for name in (*EDGES, *SPARE_EDGES, "storing", "landing"):
        edge, known = getattr(found, name), getattr(KNOWN, name)
        assert edge.bytes_per_second == pytest.approx(known.bytes_per_second, rel=1e-5)
        assert edge.latency_seconds == pytest.approx(known.latency_seconds, rel=1e-5)
    assert max(abs(error) for errors in fit.errors.values() for error in errors) < 1e-6
    assert predicted_over_measured(found, TINY, known_steps()) == pytest.approx(1.0)


@pytest.mark.parametrize("waits", [True, False])
def test_whether_fetches_hide_behind_the_first_pass_is_measured(waits: bool) -> None:
    slow = dataclasses.replace(KNOWN, host_to_device=Edge(3e7, 2e-5), first_fetch_share=0.0 if waits else 0.25)
    machine = dataclasses.replace(slow, waits_for_fetches=waits)
    copies = [
        copy._replace(seconds=slow.host_to_device.seconds(copy.num_bytes)) if copy.edge == "host_to_device" else copy
        for copy in known_copies()
    ]
    found = fit_machine(KNOWN.name, KNOWN.source, TINY, 2, known_steps(machine), copies, fetch_pieces=4).machine
    assert (found.waits_for_fetches, found.first_fetch_share) == (waits, 0.0 if waits else 0.25)
    assert predicted_over_measured(found, TINY, known_steps(machine)) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("pieces", [1, 2, 5, 10])
@pytest.mark.parametrize("bus_over_pass", [0.05, 0.5, 1.0, 3.0])
def test_what_stalls_is_what_a_pass_over_the_layers_has_to_wait_for(pieces: int, bus_over_pass: float) -> None:
    """Against a walk over the pieces: each is attended once it has arrived and the one before has been."""
    machine = dataclasses.replace(
        KNOWN,
        waits_for_fetches=False,
        first_fetch_share=1 / pieces,
        host_to_device=Edge(1e9),
        storing=Edge(),
        landing=Edge(),
    )
    clock = Clock(machine, TINY)
    one_pass = clock.compute_seconds(480) / machine.passes
    fetched = int(bus_over_pass * one_pass * 1e9)
    now = 0.0
    for piece in range(pieces):
        arrives = (piece + 1) * fetched / 1e9 / pieces
        now = max(now, arrives) + one_pass / pieces
    found = clock.step(480, fetched, 0, Traffic(host_to_device=fetched))
    assert found.stall_seconds == pytest.approx(now - one_pass, rel=1e-6, abs=1e-12)


def test_what_storing_and_landing_cost_the_device_is_never_hidden() -> None:
    clock, half = Clock(KNOWN, TINY), TINY.chunk_bytes // 2
    compute = clock.compute_seconds(48)
    step = clock.step(48, half, 0, Traffic(2 * half, 3 * half))
    # The fetch is waited for, stores and prefetches hide behind compute, work on the device does not.
    bus = 2e-5 + half / 3e9
    assert step.stall_seconds == pytest.approx(bus + (3e-4 + 2 * half / 2e7) + (1e-4 + half / 5e7))
    assert step.seconds == pytest.approx(compute + step.stall_seconds)
    patient = Clock(dataclasses.replace(KNOWN, waits_for_fetches=False), TINY)
    assert step.stall_seconds - patient.step(48, half, 0, Traffic(2 * half, 3 * half)).stall_seconds == pytest.approx(
        bus
    )


def test_attention_of_two_branches_takes_twice_as_long() -> None:
    one, two = (Clock(KNOWN, dataclasses.replace(TINY, branches=branches)) for branches in (1, 2))
    grows = [clock.compute_seconds(1000) - clock.compute_seconds(0) for clock in (one, two)]
    assert grows[1] == pytest.approx(2 * grows[0])


def test_some_slow_moments_do_not_bend_a_line() -> None:
    amounts = [float(place % 40) for place in range(400)]
    seconds = [3.0 + 0.5 * amount + (90.0 if place % 7 == 0 else 0.0) for place, amount in enumerate(amounts)]
    line = fit_line(amounts, seconds)
    assert line.intercept == pytest.approx(3.0, abs=0.7)
    assert line.slope == pytest.approx(0.5, rel=0.05)


def test_a_line_never_runs_backwards() -> None:
    falling = fit_line([1.0, 2.0, 3.0], [3.0, 2.0, 1.0])
    assert falling.slope == 0.0 and falling.intercept > 0


def test_copies_are_timed_on_every_size_both_ways() -> None:
    samples = sample_copies(device_ops("cpu"), [1024, 4096], 3)
    assert sorted({(sample.edge, sample.num_bytes) for sample in samples}) == [
        ("device_to_host", 1024),
        ("device_to_host", 4096),
        ("host_to_device", 1024),
        ("host_to_device", 4096),
    ]
    assert len(samples) == 12 and all(sample.seconds > 0 for sample in samples)


def test_copies_to_another_device_are_timed_where_one_is_named() -> None:
    ops = device_ops("cpu")
    samples = sample_copies(ops, [1024], 2, ops.peer("cpu"))
    assert {sample.edge for sample in samples} == {"device_to_host", "host_to_device", *SPARE_EDGES}
    assert len(samples) == 10
    alone = fit_machine("m", "s", TINY, 2, known_steps(), [one for one in known_copies() if "spare" not in one.edge])
    assert alone.machine.device_to_spare is None and "spare" not in machine_text(alone.machine)


def test_a_machine_file_reads_back_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "m.toml"
    for machine in (KNOWN, *map(load_machine, machine_names())):
        file.write_text(machine_text(machine))
        assert load_machine(str(file)) == machine


def test_it_writes_a_machine_that_run_and_compare_read(worldkv: Worldkv, tmp_path: Path) -> None:
    file = tmp_path / "machine.toml"
    geometry = "tiny:layers=1,frame_rows=2"
    ran = worldkv(
        "calibrate",
        "--geometry",
        geometry,
        "--passes",
        "1",
        "--chunks",
        "16",
        "--spare-device",
        "cpu",
        "--output",
        file,
    )
    assert (ran.code, ran.err) == (0, "")
    assert "On a path left out of the fit it predicts" in ran.out and f"Written: {file}" in ran.out
    assert [entry.name for entry in tmp_path.iterdir()] == ["machine.toml"]
    machine = load_machine(str(file))
    assert (machine.passes, machine.fitted_geometry, machine.overlap) == (2, geometry, True)
    assert machine.spare_to_device is not None and machine.spare_to_device.bytes_per_second < 1e13
    assert str(tmp_path) not in file.read_text()
    words = ("generate:loop:chunks=20", "--geometry", geometry, "--machine", file)
    document = worldkv("run", *words, "--passes", "1", "--json", "-").document
    assert document["machine"] == document["this_machine"] == machine.name
    assert "Predicted for this machine" in worldkv("run", *words, "--passes", "1").out
    rows = worldkv("compare", *words, "--policy", "worldkv", "--json", "-").document["rows"]
    assert rows[0]["predicted_seconds"] == pytest.approx(document["rows"][0]["predicted_seconds"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--geometry", "huge"), "unknown geometry"),
        (("--device", "cuda:9"), "cuda:9"),
        (("--output", "missing/m.toml"), "no folder"),
        (("--chunks", "3"), "--chunks"),
        (("--geometry", "lingbot-world-fast-720p:layers=900"), "of memory"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    worldkv: Worldkv, words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = worldkv("calibrate", *words)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err and ran.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
