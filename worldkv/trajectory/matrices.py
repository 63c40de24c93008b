"""Camera paths given as matrices: in memory, and the checks that every file of matrices needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from worldkv.errors import TrajectoryError
from worldkv.pose import Array
from worldkv.trajectory.trajectory import Trajectory
from worldkv.trajectory.validate import checked

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from worldkv.trajectory.formats.raw import RawPath

NAME = "matrices"
"""What tables call a path of matrices in memory."""


def split_matrices(
    matrices: Array, source: str, place: Callable[[int], str] | None = None, *, refuse_nan: bool = False
) -> tuple[Array, Array]:
    """Positions `(frames, 3)` and rotations `(frames, 3, 3)` of `(frames, 4, 4)` or `(frames, 3, 4)`.

    Args:
        matrices: as they are written.
        source: the file, for messages.
        place: where a frame stands in it.
        refuse_nan: refuse NaN here, where no frame can be named.

    Raises:
        TrajectoryError: another shape, or a last row that is not 0 0 0 1.
    """
    if refuse_nan and matrices.ndim == 3 and not np.isfinite(matrices).all():
        raise TrajectoryError(f"{source} hold NaN or infinity; delete those poses or record them again")
    if matrices.ndim != 3 or matrices.shape[1:] not in ((4, 4), (3, 4)):
        raise TrajectoryError(f"{source} has shape {matrices.shape}; poses are (frames, 4, 4) or (frames, 3, 4)")
    if matrices.shape[1] == 4:
        off = ~np.isclose(matrices[:, 3], (0.0, 0.0, 0.0, 1.0), atol=1e-4).all(axis=1)
        if off.any():
            frame = int(off.argmax())
            where = f"frame {frame}" if place is None else place(frame)
            raise TrajectoryError(
                f"{source}, {where}: the last row of the matrix is {matrices[frame, 3].tolist()} instead of 0 0 0 1; "
                "transpose the matrices, or say what the numbers are"
            )
    return matrices[:, :3, 3], matrices[:, :3, :3]


def raw_matrices(matrices: ArrayLike) -> RawPath:
    """The path of matrices `(frames, 4, 4)` or `(frames, 3, 4)` in memory, numpy arrays, tensors or lists.

    Raises:
        TrajectoryError: no numbers, another shape or NaN.
    """
    from worldkv.trajectory.formats.raw import RawPath

    if hasattr(matrices, "detach"):  # a torch tensor, perhaps on a device, in half precision or with a gradient
        matrices = matrices.detach().double().cpu().numpy()
    try:
        array = np.asarray(matrices, dtype=np.float64)
    except (TypeError, ValueError):
        raise TrajectoryError(
            f"a trajectory is a name, a path, a file object or numbers (frames, 4, 4), got {type(matrices).__name__}"
        ) from None
    return RawPath(NAME, NAME, *split_matrices(array, NAME, refuse_nan=True))


def from_matrices(matrices: ArrayLike) -> Trajectory:
    """The trajectory of camera-to-world matrices `(frames, 4, 4)` or `(frames, 3, 4)`, OpenCV axes.

    Raises:
        TrajectoryError: what `raw_matrices` and `checked` refuse: NaN, mirrored, scaled or sheared rotations.
    """
    raw = raw_matrices(matrices)
    return checked(Trajectory(NAME, raw.positions, raw.rotations), NAME)
