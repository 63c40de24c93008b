"""Arrays of any namespace and device as numpy's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def all_on_host(values: Sequence[Any]) -> list[NDArray[np.float32]]:
    """`on_host` of each, of shapes that differ in the last axis alone.

    Those of a device come in one copy, since the host waits for every one.
    """
    from array_api_compat import array_namespace, device, is_torch_array

    if len(values) < 2 or not all(is_torch_array(one) and str(device(one)) != "cpu" for one in values):
        return [on_host(one) for one in values]
    together = on_host(array_namespace(*values).concat(list(values), axis=-1))
    return np.split(together, np.cumsum([one.shape[-1] for one in values])[:-1], axis=-1)


def on_host(values: Any) -> NDArray[np.float32]:
    """`values` as a numpy array of 32-bit floats, copied from the device where they lie on one."""
    from array_api_compat import is_torch_array, to_device

    return np.asarray(to_device(values, "cpu") if is_torch_array(values) else values, np.float32)
