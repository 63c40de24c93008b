"""The backend without tensors: counts, a time model, comparisons. The public names stand in `__init__.pyi`."""

from __future__ import annotations

from worldkv._lazy import homes_in_stub, on_first_use

_HOMES = homes_in_stub(__file__)

__all__ = sorted(_HOMES)

__getattr__ = on_first_use(__name__, _HOMES)
