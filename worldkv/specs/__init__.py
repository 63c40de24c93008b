"""Spec strings: text to policies and back. The public names stand in `__init__.pyi`."""

from __future__ import annotations

from worldkv._lazy import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
