"""A camera path given as matrices in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from worldkv.errors import TrajectoryError
from worldkv.trajectory.trajectory import Trajectory
from worldkv.trajectory.validate import checked

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

NAME = "matrices"
"""What tables call such a path."""


def from_matrices(matrices: ArrayLike) -> Trajectory:
    """The trajectory of camera-to-world matrices `(frames, 4, 4)` or `(frames, 3, 4)`, OpenCV axes.

    Raises:
        TrajectoryError: another shape, or what `checked` refuses: NaN, mirrored, scaled or sheared rotations.
    """
    try:
        array = np.asarray(matrices, dtype=np.float64)
    except (TypeError, ValueError):
        raise TrajectoryError(
            f"a trajectory is a name, a path or numbers (frames, 4, 4), got {type(matrices).__name__}"
        ) from None
    if array.ndim == 3 and not np.isfinite(array).all():
        raise TrajectoryError(f"{NAME} hold NaN or infinity; delete those poses or record them again")
    if array.ndim != 3 or array.shape[1:] not in ((4, 4), (3, 4)):
        raise TrajectoryError(
            f"{NAME} have shape {array.shape}; camera-to-world matrices are (frames, 4, 4) or (frames, 3, 4)"
        )
    if array.shape[1] == 4 and not np.allclose(array[:, 3], (0.0, 0.0, 0.0, 1.0), atol=1e-6):
        raise TrajectoryError(f"{NAME}: the last row of a camera-to-world matrix is 0 0 0 1; transpose them, or invert")
    return checked(Trajectory(NAME, array[:, :3, 3], array[:, :3, :3]), NAME)
