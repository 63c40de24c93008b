"""Arrays of any namespace and device as numpy's."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def on_host(values: Any) -> NDArray[np.float32]:
    """`values` as a numpy array of 32-bit floats, copied from the device where they lie on one."""
    from array_api_compat import is_torch_array, to_device

    return np.asarray(to_device(values, "cpu") if is_torch_array(values) else values, np.float32)
