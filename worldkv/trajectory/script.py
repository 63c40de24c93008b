"""Trajectories from scripts of letters, WorldKV's evaluation trajectories among them."""

from __future__ import annotations

import math
import re

import numpy as np

from worldkv.errors import SpecError
from worldkv.pose import Array
from worldkv.trajectory.dead_reckoning import dead_reckon
from worldkv.trajectory.options import parse_options
from worldkv.trajectory.trajectory import Trajectory

DEGREES_PER_FRAME = 2.0
MOVE_FRAMES = 24
DEFAULT_DEGREES = 90.0
DEFAULT_HOLD = 18
DEFAULT_STEP = 0.0625
FRAMES_PER_SECOND = 16.0
MAX_FRAMES = 5_000_000

_NAME = re.compile(r"^(?P<operations>[RLWSAD_]*[RLWSAD])(?P<degrees>\d+)?(?:_(?P<last>\d+))?$")


def script(text: str) -> Trajectory:
    """The trajectory of a script such as `R_L_R_L_R_L90_360:hold=18`, camera and action poses alike.

    Letters are operations: R and L turn right and left by 2 degrees a frame up to the script's degrees; W, S, A, D
    move forward, back, left and right for 24 frames; `_` between them holds still for `hold` frames. The number
    right after the last letter is the degrees of every turn, the one after the last underscore the number of
    frames, to which the tail is padded with holds. With one number only, after the underscore, it is the degrees
    up to 360 (`R_L_R_L_90`) and the frames above (`L_R_L_R_L_R_385`: no turn is of 385 degrees). Degrees not said
    are 90; frames not said are just those of the operations. N frames are N poses, the first at the origin.
    Source: arXiv 2605.22718; hold and the reading of a lone number are this project's.

    Args:
        text: the script, and after a colon `hold` (frames of a `_`) and `step` (displacement a frame).

    Raises:
        SpecError: not a script, or its operations last longer than its frames.
    """
    name, _, options = text.partition(":")
    what = f"script:{name}"
    values = parse_options(options, {"hold": int, "step": float}, what)
    hold, step = int(values.get("hold", DEFAULT_HOLD)), float(values.get("step", DEFAULT_STEP))
    if not 0 <= hold <= MAX_FRAMES:
        raise SpecError(f"{what}: hold must be 0 to {MAX_FRAMES} frames, got {hold}")
    if not 0 < step < 1e6:
        raise SpecError(f"{what}: step must be a positive displacement a frame, got {step}")
    operations, degrees, num_frames = parse_name(name)
    if sum(_frames(operation, degrees, hold) for operation in operations) > MAX_FRAMES:
        raise SpecError(f"{what} is longer than {MAX_FRAMES} frames; shorten it")
    actions = np.concatenate([_actions(operation, degrees, hold) for operation in operations])
    if num_frames is None:
        num_frames = len(actions)
    if len(actions) > num_frames:
        raise SpecError(
            f"{what}: its operations last {len(actions)} frames but it ends after {num_frames}; raise the last "
            "number, turn by fewer degrees or set :hold= lower"
        )
    actions = np.concatenate([actions, np.zeros((num_frames - len(actions), 3))])
    forward, right, yaw = actions.T
    positions, rotations = dead_reckon(forward, right, np.zeros(num_frames), yaw, step=step)
    return Trajectory(
        f"script:{text}",
        positions,
        rotations,
        frames_per_second=FRAMES_PER_SECOND,
        action_positions=positions,
        action_rotations=rotations,
    )


def parse_name(name: str) -> tuple[str, float, int | None]:
    """Operations, degrees of a turn, and frames (None = as many as the operations last) of a script's name.

    Raises:
        SpecError: the name holds anything but operations and its two numbers, or a number out of range.
    """
    match = _NAME.match(name)
    if match is None:
        raise SpecError(
            f"script:{name} is not a script; write operations R L W S A D _ , the degrees of a turn and, after an "
            "underscore, the frames, e.g. script:R_L_R_L90_360"
        )
    degrees, last = match["degrees"], match["last"]
    if degrees is None and last is not None and int(last) <= 360:
        degrees, last = last, None
    angle = DEFAULT_DEGREES if degrees is None else float(degrees)
    if not 0 < angle <= 36_000:
        raise SpecError(f"script:{name}: a turn must be of 1 to 36000 degrees, got {angle:g}")
    num_frames = None if last is None else int(last)
    if num_frames is not None and not 0 < num_frames <= MAX_FRAMES:
        raise SpecError(f"script:{name}: frames must be 1 to {MAX_FRAMES}, got {num_frames}")
    return match["operations"], angle, num_frames


def _frames(operation: str, degrees: float, hold: int) -> int:
    """Frames one operation lasts."""
    if operation == "_":
        return hold
    return math.ceil(degrees / DEGREES_PER_FRAME) if operation in "RL" else MOVE_FRAMES


def _actions(operation: str, degrees: float, hold: int) -> Array:
    """Forward, right and yaw of every frame of one operation `(frames, 3)`."""
    if operation == "_":
        return np.zeros((hold, 3))
    if operation in "RL":
        frames = _frames(operation, degrees, hold)
        turned = np.minimum(np.arange(frames + 1) * DEGREES_PER_FRAME, degrees)
        actions = np.zeros((frames, 3))
        actions[:, 2] = np.diff(turned) if operation == "R" else -np.diff(turned)
        return actions
    directions = {"W": (1.0, 0.0, 0.0), "S": (-1.0, 0.0, 0.0), "D": (0.0, 1.0, 0.0), "A": (0.0, -1.0, 0.0)}
    return np.tile(directions[operation], (MOVE_FRAMES, 1))
