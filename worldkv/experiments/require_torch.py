"""The one sentence for whoever asks for real tensors without torch."""

from __future__ import annotations

import importlib.util

from worldkv.errors import DeviceError


def has_torch() -> bool:
    """Whether torch is installed, without importing it."""
    return importlib.util.find_spec("torch") is not None


def require_torch(command: str) -> None:
    """Refuse `command` where torch is not installed, without importing it where it is.

    Raises:
        DeviceError: torch is missing.
    """
    if not has_torch():
        raise DeviceError(
            f"worldkv {command} needs torch, which is not installed; pip install 'worldkv[torch]', or use compare"
        )
