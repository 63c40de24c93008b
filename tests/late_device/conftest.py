"""Tests on the late device run under `make device-tests` alone; without it they are not even collected."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

IS_ON = os.environ.get("WORLDKV_TEST_DEVICE", "").startswith("late")
collect_ignore_glob = [] if IS_ON else ["test_*.py"]


@pytest.fixture
def late_order() -> Iterator[None]:
    """As late as may be, whatever order the session runs in: for tests that say what has not run yet."""
    from tests.late_device.device import Order, set_order

    seed = os.environ.get("WORLDKV_LATE_SEED")
    set_order(Order.LATE)
    yield
    set_order(Order.RANDOM if seed else Order.LATE, int(seed or 0))


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Work left on a device that nobody waits for keeps all memory that is given back later, to be looked through."""
    yield
    if IS_ON:
        import gc

        import torch

        gc.collect()
        for device in ("late:0", "late:1"):
            torch.accelerator.synchronize(device)
