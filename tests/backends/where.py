"""The device that the backend's tests run on: the CPU, or what `WORLDKV_TEST_DEVICE` names (`make device-tests`)."""

from __future__ import annotations

import os

import torch

DEVICE = os.environ.get("WORLDKV_TEST_DEVICE", "cpu")


def accelerator() -> str:
    """The accelerator of tests that need one: `DEVICE`, or what torch sees here."""
    here = torch.accelerator.current_accelerator()
    return DEVICE if DEVICE != "cpu" or here is None else here.type
