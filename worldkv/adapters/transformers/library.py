"""transformers, imported when it is needed."""

from __future__ import annotations

import importlib
from typing import Any

from worldkv.errors import WorldKVError


def load(module: str) -> Any:
    """A module of transformers.

    Raises:
        WorldKVError: transformers is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise WorldKVError("transformers is not installed; install it with: pip install 'worldkv[llm]'") from error
