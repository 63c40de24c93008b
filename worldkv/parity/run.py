"""One policy over one path, by the simulator and on real tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from worldkv.parity.record import Difference, Expected, Simulated, first_difference
from worldkv.policy import needs_of
from worldkv.signals import Signal
from worldkv.sim.recorder import SignalRecorder
from worldkv.trajectory.chunked import PoseTrack

if TYPE_CHECKING:
    from worldkv.backends.torch_backend import TorchBackend
    from worldkv.config import CacheConfig
    from worldkv.geometry import CacheGeometry
    from worldkv.metrics.landmarks import Landmarks
    from worldkv.parity.observer import ObservedStep
    from worldkv.policy import CachePolicy
    from worldkv.trajectory.chunked import ChunkedTrajectory
    from worldkv.trajectory.recorded_signals import RecordedSignals


@dataclass(frozen=True)
class Parity:
    """What both executors say of one rollout.

    Attributes:
        simulated: the simulator's steps.
        seen: the same steps read from tensors, files and copies; None for those nobody looked at.
        signals: what the tensors measured, as replayed by the simulator.
        difference: the first one; None if there is none.
    """

    simulated: list[Expected]
    seen: list[ObservedStep | None]
    signals: RecordedSignals
    difference: Difference | None

    @property
    def num_compared(self) -> int:
        """Steps compared."""
        return sum(seen is not None for seen in self.seen)

    @property
    def num_records(self) -> int:
        """Records compared: fields of every step, the tier of every chunk one by one."""
        fields = len(Expected._fields) - 1
        return sum(fields + len(seen.tiers) for seen in self.seen if seen is not None)


def run_both(
    chunked: ChunkedTrajectory,
    policy: CachePolicy,
    geometry: CacheGeometry,
    *,
    config: CacheConfig | None = None,
    landmarks: Landmarks | None = None,
    denoise_passes: int = 1,
    device: str = "cpu",
    steps: Collection[int] | None = None,
    seed: int = 0,
    folder: Path | None = None,
    make_backend: Callable[..., TorchBackend] | None = None,
    on_step: Callable[[int], None] | None = None,
) -> Parity:
    """Run `policy` on real tensors under watch, let the simulator replay what was measured, and compare.

    Args:
        chunked: the path; signals recorded on it are left aside.
        policy: the policy.
        geometry: the model's cache shape, the one the path was cut for.
        config: room for the cache; unlimited by default.
        landmarks: for oracles.
        denoise_passes: passes before the clean one, at least 1.
        device: where the tensors lie.
        steps: which to look at; all where None. The rollout stops behind the last of them.
        seed: of the model and its noise.
        folder: where spilled chunks go; a temporary folder by default.
        make_backend: the torch backend's class, for tests of broken ones.
        on_step: called after every step on tensors.

    Raises:
        WorldKVError: see `WorldCache` and `simulate`.
    """
    from worldkv.backends.cache import WorldCache
    from worldkv.backends.models import CausalVideoDiT
    from worldkv.backends.rollout import generate
    from worldkv.backends.torch_backend import TorchBackend
    from worldkv.parity.observer import TensorObserver
    from worldkv.scene import scene_of, viewpoints
    from worldkv.sim import load_machine, simulate

    wanted = range(chunked.num_chunks) if steps is None else frozenset(steps)
    bare = first_chunks(chunked.with_signals(None), max(wanted) + 1)
    scene = scene_of(bare, landmarks)
    if Signal.ATTENTION_AHEAD in needs_of(policy):
        ahead = attention_of_full_kv(bare, geometry, denoise_passes, device, seed)
        scene = dataclasses.replace(scene, signals=scene.signals | {Signal.ATTENTION_AHEAD}, attention_ahead=ahead)
    recorder = SignalRecorder(geometry, policy)
    seen: list[ObservedStep | None] = []
    with WorldCache(
        policy,
        geometry,
        device=device,
        scene=scene,
        config=config,
        folder=folder,
        is_tagged=True,
        make_backend=make_backend or TorchBackend,
    ) as cache:
        model = CausalVideoDiT(geometry, seed=seed, dtype=cache.dtype, device=device)
        witness = TensorObserver(cache)
        look = cache.on_attend
        rollout = generate(model, cache, viewpoints(bare), denoise_passes=denoise_passes, seed=seed)
        for step in range(bare.num_chunks):
            cache.on_attend = look if step in wanted else None
            record = next(rollout).record
            found = witness.commit()
            seen.append(found if step in wanted else None)
            recorder.note(record, cache.measured)
            if on_step is not None:
                on_step(step)
    signals = recorder.signals()
    if scene.attention_ahead is not None:
        signals = dataclasses.replace(signals, attention_mass=scene.attention_ahead)
    simulated = Simulated([])
    # The machine only turns counts into seconds, which nobody reads here.
    machine = load_machine("worldkv-project-page")
    simulate(
        bare.with_signals(signals),
        policy,
        geometry,
        machine,
        config=config,
        landmarks=landmarks,
        on_step=simulated.note,
    )
    return Parity(simulated.steps, seen, signals, first_difference(simulated.steps, seen))


def attention_of_full_kv(
    chunked: ChunkedTrajectory, geometry: CacheGeometry, denoise_passes: int, device: str, seed: int
) -> NDArray[np.float32]:
    """Attention that each chunk receives at each step of a rollout that keeps everything `(steps, chunks)`."""
    from worldkv.backends.cache import WorldCache
    from worldkv.backends.models import CausalVideoDiT
    from worldkv.backends.rollout import generate
    from worldkv.scene import scene_of, viewpoints
    from worldkv.specs.parse import parse_policy

    full = parse_policy("full-kv")
    recorder, measured = SignalRecorder(geometry, full), frozenset({Signal.ATTENTION_MASS})
    with WorldCache(full, geometry, device=device, scene=scene_of(chunked), extra_signals=measured) as cache:
        model = CausalVideoDiT(geometry, seed=seed, dtype=cache.dtype, device=device)
        for step in generate(model, cache, viewpoints(chunked), denoise_passes=denoise_passes, seed=seed):
            recorder.note(step.record, cache.measured)
    mass = recorder.signals().attention_mass
    assert mass is not None  # noqa: S101 - it was asked for
    return mass


def first_chunks(chunked: ChunkedTrajectory, chunks: int) -> ChunkedTrajectory:
    """The same path, over after `chunks`."""
    if chunks >= chunked.num_chunks:
        return chunked
    camera, actions = (None if track is None else _first(track, chunks) for track in (chunked.camera, chunked.actions))
    assert camera is not None  # noqa: S101 - every path has one
    return dataclasses.replace(chunked, camera=camera, actions=actions)


def _first(track: PoseTrack, chunks: int) -> PoseTrack:
    return PoseTrack(*(getattr(track, field.name)[:chunks] for field in dataclasses.fields(track)))
