"""The one sentence for whoever asks for real tensors without torch."""

from __future__ import annotations

import importlib.util

from worldkv.errors import DeviceError


def require_torch(command: str) -> None:
    """Refuse `command` where torch is not installed, without importing it where it is.

    Raises:
        DeviceError: torch is missing.
    """
    if importlib.util.find_spec("torch") is None:
        raise DeviceError(
            f"worldkv {command} needs torch, which is not installed; pip install 'worldkv[torch]', or use compare"
        )
