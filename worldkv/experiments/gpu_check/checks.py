"""The checks, most important first: a later one says little where an earlier one does not hold."""

from __future__ import annotations

from worldkv.errors import SpecError, did_you_mean
from worldkv.experiments.gpu_check import (
    attention_lengths,
    beside_cpu,
    device_tests,
    hidden_waits,
    limit,
    long_run,
    out_of_memory,
    overlap,
    parity,
    pinned,
    spare,
    versions,
)
from worldkv.experiments.gpu_check.check import Check

_ON_CPU = {"cpu": "a CPU has no streams, no pinned memory and no waits"}

CHECKS = (
    Check(
        "versions",
        "Is everything installed, and which device does torch see?",
        30,
        "Everything is installed that the checks need.",
        versions.run,
    ),
    Check(
        "device-tests",
        "Do copies, events and memory keep their contract on this device?",
        70,
        "The five calls to the device behave as on the CPU: copies in order, nothing seen before a wait.",
        device_tests.run_contract,
        {"cpu": "these tests need an accelerator; make test runs the others"},
    ),
    Check(
        "parity",
        "Do tensors on the device do what the simulator says, record by record?",
        110,
        "Decisions, bytes and places are those of the simulator: results of the simulator hold for this device.",
        parity.run,
    ),
    Check(
        "attention-lengths",
        "Is attention planned anew for every length of the window?",
        35,
        "Windows of changing length cost no plans.",
        attention_lengths.run,
    ),
    Check(
        "pinned",
        "What does pinned memory cost, and does a step allocate any?",
        40,
        "Storing chunks does not stop the host to pin memory.",
        pinned.run,
        _ON_CPU,
    ),
    Check(
        "hidden-waits",
        "How often does a step make the host wait for the device?",
        30,
        "The host runs ahead of the device, but for the waits that the design has.",
        hidden_waits.run,
        _ON_CPU,
    ),
    Check(
        "overlap",
        "Do copies run beside attention?",
        35,
        "The bus is hidden behind attention.",
        overlap.run,
        _ON_CPU,
    ),
    Check(
        "spare",
        "Does a bank in spare device memory spare the bus?",
        35,
        "Where the device has memory to spare, the bank can lie there: the same decisions, nothing over the bus.",
        spare.run,
    ),
    Check(
        "limit",
        "What does a step cost above bare attention?",
        70,
        "The cache costs little beside attention.",
        limit.run,
    ),
    Check(
        "long-run",
        "Does a model of real width move the simulated bytes in the memory it was told?",
        45,
        "Room checks and byte counts hold for real sizes.",
        long_run.run,
    ),
    Check(
        "out-of-memory",
        "What happens when device memory runs out?",
        25,
        "It is said in a sentence, and the cache is whole after a reset.",
        out_of_memory.run,
        _ON_CPU,
    ),
    Check(
        "beside-cpu",
        "Does the device decide as the CPU does?",
        30,
        "What was designed on a CPU is what runs here.",
        beside_cpu.run,
    ),
    Check(
        "device-numerics",
        "Do the tests of numbers, faults and going back pass on the device?",
        45,
        "Snapshots, rewinds and failed stores are as on the CPU.",
        device_tests.run_numerics,
        {"cpu": "make test runs them on a CPU"},
    ),
)
"""Their limits together are about ten minutes: where every one took all of its own, the last would not be begun."""


def check_of(name: str) -> Check:
    """The check of that name.

    Raises:
        SpecError: there is none.
    """
    for check in CHECKS:
        if check.name == name:
            return check
    raise SpecError(f"there is no check {name!r}; {did_you_mean(name, (check.name for check in CHECKS))}")
