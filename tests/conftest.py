"""What every test shares: the recorded camera paths, the markers and how hypothesis draws."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Generator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # every worker has a core; a team of threads each would fight over them

import hypothesis
import pytest

from tests.exports.chromium import chromium

SHARED_DATA = Path(os.environ.get("WORLDKV_SHARED_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
"""The recorded camera paths: a folder beside the checkout, or wherever the variable says."""
SHARED_DATA_REQUIRED = os.environ.get("WORLDKV_REQUIRE_SHARED_DATA") == "1"

hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
hypothesis.settings.load_profile("ci")  # `--hypothesis-profile=default` draws afresh


def pytest_configure() -> None:
    """Refuses to start where the recorded paths are required and absent; loads the late device if it is asked for."""
    if os.environ.get("WORLDKV_TEST_DEVICE", "").startswith("late"):
        from tests.late_device.device import Order, extension, set_order

        extension()
        seed = os.environ.get("WORLDKV_LATE_SEED")
        set_order(Order.RANDOM if seed else Order.LATE, int(seed or 0))
    if SHARED_DATA_REQUIRED and not SHARED_DATA.is_dir():
        raise pytest.UsageError(
            f"WORLDKV_REQUIRE_SHARED_DATA is 1 but there is no folder {SHARED_DATA}; "
            "put the recorded paths there or name their folder in WORLDKV_SHARED_DATA"
        )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips marked tests where what they need is absent; imports torch only for one that needs an accelerator."""
    if not SHARED_DATA.is_dir():
        _skip(items, "shared_data", f"needs the recorded camera paths in {SHARED_DATA}")
    for marker, library in (("dask", "distributed"), ("ray", "ray")):
        if importlib.util.find_spec(library) is None:
            _skip(items, marker, f"needs {library}: pip install 'worldkv[{marker}]'")
    if any(item.get_closest_marker("browser") for item in items) and chromium() is None:
        _skip(items, "browser", "needs playwright and chromium (make browser-tests)")
    if any(item.get_closest_marker("accelerator") for item in items) and not _has_accelerator():
        _skip(items, "accelerator", "needs torch and an accelerator")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fails a test of the recorded paths that is skipped, for whatever reason, where they are required."""
    report = yield
    was_skipped = report.skipped and "wasxfail" not in vars(report)
    if SHARED_DATA_REQUIRED and was_skipped and item.get_closest_marker("shared_data"):
        report.outcome = "failed"
        report.longrepr = f"skipped although WORLDKV_REQUIRE_SHARED_DATA is 1: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def shared_data_dir() -> Path:
    """The folder of recorded camera paths; tests that use it carry the marker `shared_data`."""
    return SHARED_DATA


@pytest.fixture(scope="session")
def cases_dir() -> Path:
    """The folder of small real inputs beside the recorded paths; its tests carry the marker `shared_data` too."""
    cases = SHARED_DATA.parent / "cases"
    if not cases.is_dir():
        pytest.skip(f"needs the small real inputs in {cases}")
    return cases


def _skip(items: list[pytest.Item], marker: str, reason: str) -> None:
    for item in items:
        if item.get_closest_marker(marker):
            item.add_marker(pytest.mark.skip(reason=reason))


def _has_accelerator() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return torch.accelerator.is_available()
