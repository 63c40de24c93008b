"""Raise if torch is missing."""

from __future__ import annotations

import importlib.util

from worldkv.errors import DeviceError


def has_torch() -> bool:
    """Whether torch is installed, without importing it."""
    return importlib.util.find_spec("torch") is not None


def require_torch(command: str) -> None:
    """Raise for `command` if torch is not installed; does not import torch.

    Raises:
        DeviceError: torch is missing.
    """
    if not has_torch():
        raise DeviceError(
            f"worldkv {command} needs torch, which is not installed; pip install 'worldkv[torch]', or use compare"
        )
