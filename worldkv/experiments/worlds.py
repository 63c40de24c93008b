"""Roll policies out in a painted world, on tensors, and measure their pictures."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worldkv.errors import SpecError
from worldkv.experiments.measurements import Measurements
from worldkv.experiments.require_torch import require_torch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from worldkv.policy import CachePolicy
    from worldkv.sim import ComparisonSetup
    from worldkv.sim.rollout import OnStep, RolloutRecord
    from worldkv.trajectory.loaded import LoadedPath
    from worldkv.worlds import Fidelity, PaintedWorld

WORLDS = ("rooms", "doom")
"""Worlds by name."""

_SIGHT_PERCENTILE = 90
"""Percentile of the lengths of sight lines that is the default view distance."""


def enter(name: str, path: LoadedPath, *, view_distance: float | None, seed: int) -> tuple[LoadedPath, PaintedWorld]:
    """Build a world along a trajectory; the trajectory inside it, and the world.

    Args:
        name: a name of `WORLDS`.
        path: any trajectory; one without walls is scaled and walled in.
        view_distance: in metres; by default nine of ten sight lines end within it.
        seed: of all paint.

    Raises:
        SpecError: a geometry that cannot be painted; ViZDoom is missing.
        TrajectoryError: see `housed` and `staged`.
    """
    import numpy as np

    from worldkv.backends.models.painter import check_paintable
    from worldkv.trajectory import cut, describe
    from worldkv.trajectory.loaded import LoadedPath
    from worldkv.worlds import doom_world, housed, rooms_world, staged

    geometry = path.geometry
    check_paintable(geometry)
    lead, build = (staged, doom_world) if name == "doom" else (housed, rooms_world)
    inside = lead(path.chunked.trajectory, geometry.video_frames_per_chunk)
    chunked = cut(inside, geometry, view_distance=view_distance)
    world = build(chunked, geometry, seed=seed)
    if view_distance is None:
        sight_lines = np.linalg.norm(world.surface.points - world.surface.positions[:, None, None], axis=-1)
        far = float(np.percentile(sight_lines, _SIGHT_PERCENTILE))
        chunked = dataclasses.replace(chunked, view_distance=far)
    return LoadedPath(geometry, chunked, describe(chunked)), world


def check_world(world: str, command: str) -> None:
    """Refuse an unknown world, or one whose packages are missing, before anything is read.

    Raises:
        SpecError: no such world.
        DeviceError: torch is missing, which `command` needs.
    """
    require_torch(command)
    if world not in WORLDS:
        raise SpecError(f"there is no world {world!r}; there are {', '.join(WORLDS)}")
    if world == "doom":
        from worldkv.worlds.doom_engine import check_doom

        check_doom()


@dataclass(frozen=True)
class PaintedRollout:
    """One policy's rollout in a painted world.

    Attributes:
        rollout: the rollout as the simulator records it.
        fidelity: PSNR and SSIM of the pictures, step by step.
        pictures: the pictures `(frames, rows, columns, 3)`.
        measured: times and memory.
    """

    rollout: RolloutRecord
    fidelity: Fidelity
    pictures: NDArray[np.float32]
    measured: Measurements


@dataclass
class Painters:
    """Run a comparison's rows in one painted world, and keep their pictures.

    Attributes:
        name: the world's name.
        world: the world along the setup's true trajectory, in pictures of its geometry's size.
        device: where attention runs.
        seed: of features, noise and paint.
        rollouts: the rows that ran so far.
    """

    name: str
    world: PaintedWorld
    device: str = "cpu"
    seed: int = 0
    rollouts: list[PaintedRollout] = field(default_factory=list)

    def carry_out(self, setup: ComparisonSetup, policy: CachePolicy, watch: OnStep | None = None) -> RolloutRecord:
        """Run one row; an `Execute` of `worldkv.sim.compare`.

        Raises:
            WorldKVError: see `Painter` and `WorldCache`.
        """
        from worldkv.backends.cache import WorldCache
        from worldkv.backends.models import Painter
        from worldkv.backends.on_device import device_stopwatch
        from worldkv.backends.transfer.open_device import device_ops
        from worldkv.experiments.measured_steps import measured_steps
        from worldkv.scene import scene_of
        from worldkv.sim.rollout import RolloutRecorder
        from worldkv.worlds import measure

        device_ops(self.device)
        readings = Painter.readings_for(policy)
        painter = Painter(setup.geometry, self.world, seed=self.seed, readings=readings, device=self.device)
        measured = Measurements()
        with WorldCache(
            policy,
            setup.geometry,
            device=self.device,
            scene=scene_of(setup.chunked, setup.landmarks),
            config=setup.config,
            rotary=painter.rotary,
            stopwatch=device_stopwatch(self.device),
        ) as cache:
            recorder = RolloutRecorder(setup.chunked, cache.engine, setup.machine, setup.landmarks)
            for step, spent in measured_steps(painter.paint, cache, setup, recorder, measured):
                if watch is not None:
                    watch(cache.engine, step.record, spent)
            rollout = recorder.close()
            measured.close(cache)
        fidelity = measure(painter.pictures, painter.mass, self.world)
        self.rollouts.append(PaintedRollout(rollout, fidelity, painter.pictures, measured))
        return rollout

    def of(self, rollout: RolloutRecord) -> PaintedRollout:
        """The painted rollout of a row."""
        return next(painted for painted in self.rollouts if painted.rollout is rollout)
