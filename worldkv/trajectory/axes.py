"""Camera axes of other programs, turned to OpenCV's: x right, y down, z forward."""

from __future__ import annotations

import numpy as np

from worldkv.errors import SpecError, did_you_mean
from worldkv.pose import Array

AXES = {
    "opencv": "rdf",
    "opengl": "rub",
    "ros": "flu",
    "ned": "frd",
    "unreal": "fru",
    "unity": "ruf",
    "llff": "drb",
}
"""Where x, y and z of a camera point, by convention: r(ight), l(eft), u(p), d(own), f(orward), b(ack)."""

_DIRECTIONS = {
    "r": (1.0, 0.0, 0.0),
    "l": (-1.0, 0.0, 0.0),
    "d": (0.0, 1.0, 0.0),
    "u": (0.0, -1.0, 0.0),
    "f": (0.0, 0.0, 1.0),
    "b": (0.0, 0.0, -1.0),
}
_WORDS = {"r": "right", "l": "left", "u": "up", "d": "down", "f": "forward", "b": "back"}


def check_axes(name: str) -> str:
    """The convention's name, or its three letters such as `rdf`, as they are kept.

    Raises:
        SpecError: an unknown name, or letters that are no three perpendicular axes.
    """
    word = name.strip().lower()
    if word in AXES:
        return word
    is_letters = len(word) == 3 and set(word) <= set(_DIRECTIONS)
    if not is_letters or abs(np.linalg.det([_DIRECTIONS[letter] for letter in word])) < 0.5:
        raise SpecError(
            f"unknown axes {name!r}; {did_you_mean(word, AXES)}, or write where x, y and z point as three letters of "
            "r l u d f b, as in rdf (right, down, forward)"
        )
    return next((known for known, letters in AXES.items() if letters == word), word)


def axes_words(name: str) -> str:
    """A convention in words: `opengl (x right, y up, z back)`."""
    letters = AXES.get(name, name)
    pointing = ", ".join(f"{axis} {_WORDS[letter]}" for axis, letter in zip("xyz", letters, strict=True))
    return f"{name} ({pointing})"


def to_opencv(positions: Array, rotations: Array, axes: str) -> tuple[Array, Array]:
    """Camera-to-world poses whose cameras have `axes`, with OpenCV's.

    The world stays as it is, but where it has the camera's convention: in the robot and vehicle frames, whose x points
    forward (NED, ROS), and in left-handed systems (Unreal, Unity), whose world would stay mirrored.

    Args:
        positions: `(frames, 3)`.
        rotations: camera-to-world `(frames, 3, 3)`, their columns the camera's axes.
        axes: as `check_axes` gives it.
    """
    letters = AXES.get(axes, axes)
    if letters == AXES["opencv"]:
        return positions, rotations
    turn = np.array([_DIRECTIONS[letter] for letter in letters])  # rows: the file's x, y, z in OpenCV's
    with np.errstate(over="ignore", invalid="ignore"):  # infinity is refused with its place by `checked`
        rotations = rotations @ turn
        if letters[0] == "f" or np.linalg.det(turn) < 0:
            return positions @ turn, turn.T @ rotations
    return positions, rotations


def inverted(positions: Array, rotations: Array) -> tuple[Array, Array]:
    """World-to-camera poses as camera-to-world ones, and back: `(frames, 3)` and `(frames, 3, 3)`."""
    turned = rotations.transpose(0, 2, 1)
    with np.errstate(over="ignore", invalid="ignore"):
        return -np.einsum("nij,nj->ni", turned, positions), turned
