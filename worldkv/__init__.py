"""worldkv: KV-cache policies for video world models, on a trace simulator or on real attention.

The public names stand in `__init__.pyi`; each is imported on first use, so that `import worldkv` costs little.
docs/api.md shows them at work.
"""

from __future__ import annotations

from worldkv._lazy import homes_in_stub, on_first_use

__version__ = "0.1.0"

_HOMES = homes_in_stub(__file__)

__all__ = sorted(_HOMES)

__getattr__ = on_first_use(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
