"""Run ViZDoom: a frozen level, rendered from anywhere in it."""

from __future__ import annotations

import dataclasses
import importlib.util
import tempfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldkv.errors import SpecError, TrajectoryError
from worldkv.pose import Array

GAME, LEVEL = "freedoom1.wad", "e1m3"
"""A level of Freedoom, which comes with ViZDoom: it begins in a bright yard of many things."""

UNITS_PER_METRE = 32
"""Map units to a metre: the player, 56 units tall, is a grown person."""

TURN_DEGREES = 5.625
"""Headings are multiples of this: a turn by it and back returns exactly, others do not."""

SCREEN = (480, 640)
FOCAL_LENGTHS = (320.0, 384.0)
"""Pixels across and down: 90 degrees wide, and pixels a fifth taller than wide, as the game has always drawn them."""

DEPTH_STEP = 7.07
DEPTH_START = 12.7
"""Map units to a step of the depth buffer, and where step 0 begins; measured against walls 45 to 768 units away."""

_SETTLE_TICS = 4  # the frame taken must show what the last command did
_HIDDEN = ("hud", "crosshair", "weapon", "decals", "particles", "effects_sprites", "messages", "screen_flashes")


@dataclasses.dataclass(frozen=True)
class Level:
    """Where a level's player starts, and its walls.

    Attributes:
        position: map units `(2,)`.
        heading: degrees from east, towards north.
        eye: map units of the camera above zero.
        walls: lines that block the player `(walls, 2, 2)`, in map units.
    """

    position: Array
    heading: float
    eye: float
    walls: Array


def check_doom() -> None:
    """Refuse where ViZDoom is not installed.

    Raises:
        SpecError: it is not.
    """
    if importlib.util.find_spec("vizdoom") is None:
        raise SpecError("the doom world needs ViZDoom; pip install 'worldkv[doom]', or take --world rooms")


@contextmanager
def running_game(*, seed: int = 0) -> Iterator[Any]:
    """A game that is frozen where it starts.

    Lamps go on flickering by the engine's own dice: with the same seed and the same commands they do so alike.

    The engine writes its settings, and a folder of its own into the directory it is started in. Both go with the game:
    for the moment of its start the process works in a temporary directory, so start one from one thread at a time.

    Args:
        seed: of the engine's dice, 0 or more; its last 32 bits count.

    Raises:
        SpecError: ViZDoom is missing.
    """
    check_doom()
    import vizdoom

    with tempfile.TemporaryDirectory(prefix="worldkv-doom-") as folder:
        game: Any = vizdoom.DoomGame()
        game.set_doom_config_path(str(Path(folder) / "game.ini"))
        game.set_doom_game_path(str(Path(vizdoom.__file__).parent / GAME))
        game.set_doom_map(LEVEL)
        game.set_screen_resolution(vizdoom.ScreenResolution.RES_640X480)
        game.set_screen_format(vizdoom.ScreenFormat.RGB24)
        game.set_depth_buffer_enabled(True)
        game.set_sectors_info_enabled(True)
        for name in _HIDDEN:
            getattr(game, f"set_render_{name}")(False)
        game.set_window_visible(False)
        game.set_sound_enabled(False)
        game.set_mode(vizdoom.Mode.PLAYER)
        game.set_seed(seed % 2**32)
        game.add_game_args("+sv_cheats 1")
        names = ("POSITION_X", "POSITION_Y", "ANGLE", "CAMERA_POSITION_Z")
        game.set_available_game_variables([getattr(vizdoom.GameVariable, name) for name in names])
        game.add_available_button(vizdoom.Button.TURN_LEFT_RIGHT_DELTA)
        game.set_button_max_value(vizdoom.Button.TURN_LEFT_RIGHT_DELTA, 0)
        game.set_episode_timeout(0)
        try:
            with chdir(folder):
                game.init()
            game.send_game_command("freeze")
            game.make_action([0], _SETTLE_TICS)
            yield game
        finally:
            game.close()


def level_of(game: Any) -> Level:
    """The level a game stands in."""
    state = game.get_state()
    x, y, heading, eye = state.game_variables
    sides: dict[frozenset[tuple[float, float]], list[bool]] = {}
    for sector in state.sectors:
        for line in sector.lines:
            sides.setdefault(frozenset([(line.x1, line.y1), (line.x2, line.y2)]), []).append(bool(line.is_blocking))
    walls = [
        sorted(ends) for ends, blocking in sides.items() if len(ends) == 2 and (len(blocking) == 1 or any(blocking))
    ]
    heading = round(float(heading) / TURN_DEGREES) * TURN_DEGREES
    return Level(np.array([x, y]), heading, float(eye), np.array(walls, float))


def render(game: Any, units: NDArray[np.int_], heading: float) -> tuple[float, NDArray[np.uint8], NDArray[np.uint8]]:
    """Put the camera somewhere, turn it, wait, and render.

    Args:
        game: from `running_game`.
        units: where to stand `(2,)`, in map units.
        heading: degrees from east, towards north.

    Returns:
        The camera's height above zero in map units, the frame `(480, 640, 3)` and the depth buffer `(480, 640)`.

    Raises:
        TrajectoryError: the level does not let the camera stand there.
    """
    x, y, facing, _ = game.get_state().game_variables
    if (round(x), round(y)) != (units[0], units[1]):
        game.send_game_command(f"warp {units[0]} {units[1]}")
    clockwise = (facing - heading + 180) % 360 - 180
    game.make_action([round(clockwise / TURN_DEGREES) * TURN_DEGREES])
    game.make_action([0], _SETTLE_TICS - 1)
    state = game.get_state()
    x, y, facing, eye = state.game_variables
    off = (facing - heading + 180) % 360 - 180
    if (round(x), round(y)) != (units[0], units[1]) or abs(off) > 0.01:
        raise TrajectoryError(
            f"the level does not let the camera stand at {units[0]}, {units[1]}; take a path that keeps to one room, "
            "or --world rooms"
        )
    return float(eye), state.screen_buffer, state.depth_buffer
