"""Checks of gpu-check on the CPU, and what they read from traces and from pytest."""

from __future__ import annotations

import random
import sys
from typing import Any

import pytest

from worldkv.experiments import parity as parity_experiment
from worldkv.experiments.gpu_check.check import Setting
from worldkv.experiments.gpu_check.checks import CHECKS, check_of
from worldkv.experiments.gpu_check.device_tests import figures_of as of_pytest
from worldkv.experiments.gpu_check.overlap import figures_of, hidden_share, read_trace
from worldkv.experiments.gpu_check.worker import run_here
from worldkv.specs.names import GROUP, policy_homes

ON_CPU = ("versions", "parity", "attention-lengths", "spare", "long-run", "beside-cpu")


def rehearsal() -> Setting:
    """A check's setting, whose time begins now."""
    return Setting("cpu", True, 100)


@pytest.mark.parametrize("name", ON_CPU)
def test_a_rehearsal_on_the_cpu(name: str) -> None:
    found = run_here(check_of(name), rehearsal())
    assert found.status == ("ran, nothing judged" if name == "attention-lengths" else "holds"), found
    assert found.figures


def test_the_others_are_not_for_a_cpu() -> None:
    others = [check for check in CHECKS if check.name not in ON_CPU]
    assert {check.name for check in others if "cpu" not in check.not_on} == {"limit"}
    assert run_here(check_of("limit"), rehearsal()).status == "not on this device"


def test_a_record_that_differs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    right = parity_experiment.check_parity

    def wrong(*args: Any, **options: Any) -> Any:
        result = right(*args, **options)
        if result.rows[0]["policy"] == "h2o":
            result.document["rows"][0].update(equal=False, difference={"step": 3})
        return result

    monkeypatch.setattr(parity_experiment, "check_parity", wrong)
    found = run_here(check_of("parity"), rehearsal())
    assert found.status == "falls short"
    assert [figure.holds for figure in found.figures] == [True, False]
    assert "1 of 2 equal" in found.figures[1].measured and "different: h2o at step 3" in found.figures[1].measured


def test_policies_that_have_no_time_left_are_told() -> None:
    found = run_here(check_of("parity"), Setting("cpu", True, 1e-9))
    assert found.status == "holds"  # the first of each list is always begun
    assert "1 of 1 equal" in found.figures[1].measured
    assert "h2o had no time left" in found.figures[1].measured


def test_policies_are_known_where_worldkv_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = policy_homes()
    monkeypatch.setattr("importlib.metadata.entry_points", lambda *, group: [])
    monkeypatch.setattr("sys.path", [*sys.path, "elsewhere"])  # for which they are read anew
    assert policy_homes() == installed
    assert GROUP == "worldkv.policies" and "worldkv" in installed


# ---------------------------------------------------------------------- traces


def brute(copies: list[tuple[float, float]], busy: list[tuple[float, float]]) -> float:
    """The share by half microseconds."""
    ticks = [tick / 2 + 0.25 for begin, end in copies for tick in range(int(2 * begin), int(2 * end))]
    return sum(any(begin <= tick < end for begin, end in busy) for tick in ticks) / len(ticks)


def test_the_hidden_share_of_copies() -> None:
    draw = random.Random(0)
    for _ in range(50):
        spans = [
            [(at := float(draw.randrange(40)), at + draw.randrange(1, 12)) for _ in range(draw.randrange(1, 6))]
            for _ in range(2)
        ]
        share = hidden_share(*spans)
        assert share == pytest.approx(brute(*spans))
    assert hidden_share([], [(0, 1)]) is None
    assert hidden_share([(0, 1)], []) == 0


def event(category: str, name: str, at: float, end: float, stream: int, **args: Any) -> dict[str, Any]:
    return {"cat": category, "name": name, "ts": at, "dur": end - at, "args": {"stream": stream, **args}}


def test_a_trace_is_read() -> None:
    document = {
        "traceEvents": [
            {"ph": "M", "name": "process_name"},
            event("cpu_op", "aten::copy_", 0, 100, 0),
            event("kernel", "void pytorch_flash::flash_fwd_kernel<...>", 0, 50, 7),
            event("kernel", "cudnn_generated_fort_native_sdpa_sm90", 60, 100, 7),
            event("kernel", "at::native::vectorized_elementwise_kernel", 50, 60, 7),
            event("gpu_memcpy", "Memcpy DtoH (Device -> Pinned)", 10, 30, 13, bytes=100),
            event("gpu_memcpy", "Memcpy HtoD (Pinned -> Device)", 45, 65, 14, bytes=64),
            event("gpu_memcpy", "Memcpy HtoD (Pageable -> Device)", 45, 65, 7, bytes=64),
            event("gpu_memcpy", "Memcpy DtoD (Device -> Device)", 45, 65, 7, bytes=64),
        ]
    }
    trace = read_trace(document)
    assert trace.attention == [(0, 50), (60, 100)]
    assert (trace.to_host, trace.to_device, trace.bytes_to_device) == ([(10, 30)], [(45, 65)], 64)
    figures = list(figures_of(trace))
    assert [figure.holds for figure in figures] == [True, True, True]
    assert [figure.measured for figure in figures] == ["100%", "50% of 64 bytes", "none"]
    document["traceEvents"].append(event("gpu_memcpy", "Memcpy DtoH (Device -> Pinned)", 200, 280, 7, bytes=100))
    assert [figure.holds for figure in figures_of(read_trace(document))] == [False, True, False]


@pytest.mark.parametrize(
    ("said", "code", "holds", "measured"),
    [
        ("....\n20 passed, 3 deselected in 9.96s\n", 0, [True, True], "20 passed, 0 failed"),
        ("s\n12 passed, 4 skipped in 1s", 0, [True, False], "12 passed, 0 failed"),
        ("FAILED a.py::b - no\n1 failed, 9 passed in 1s", 1, [False, True], "9 passed, 1 failed: FAILED a.py::b - no"),
        ("ERROR a.py\n1 passed, 2 errors in 1s", 1, [False, True], "1 passed, 2 failed: ERROR a.py"),
        ("4 skipped in 1s", 0, [False, False], "0 passed, 0 failed"),
        ("no tests ran\nUsageError: x", 4, [False, True], "pytest ended with code 4: UsageError: x"),
    ],
)
def test_what_pytest_says(said: str, code: int, holds: list[bool], measured: str) -> None:
    figures = of_pytest(said, code, 0)
    assert [figure.holds for figure in figures] == holds
    assert figures[0].measured == measured
