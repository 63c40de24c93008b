"""worldkv: KV-cache policies for video world models, on a trace simulator or on real attention.

The public names stand in `__init__.pyi`; each is imported on first use, so that `import worldkv` costs little.
docs/api.md shows them at work.
"""

from __future__ import annotations

from worldkv._lazy import attach_stub

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
