"""Run one policy over one trajectory by the simulator and on real tensors, and compare the two step by step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from worldkv.parity.record import COMPARED, Difference, ExecutedStep, SimulationObserver, first_difference
from worldkv.policy import needs_of
from worldkv.signals import Signal
from worldkv.sim.recorder import SignalRecorder

if TYPE_CHECKING:
    from worldkv.backends.cache import WorldCache
    from worldkv.backends.torch_backend import TorchBackend
    from worldkv.config import CacheConfig
    from worldkv.geometry import CacheGeometry
    from worldkv.metrics.landmarks import Landmarks
    from worldkv.policy import CachePolicy
    from worldkv.trajectory.chunked import ChunkedTrajectory
    from worldkv.trajectory.recorded_signals import RecordedSignals


@dataclass(frozen=True)
class Parity:
    """Both executors' records of one rollout.

    Attributes:
        simulated: the simulator's steps.
        observed: the same steps read from tensors, files and copies; None for those that were not observed.
        signals: what the tensors measured, as replayed by the simulator.
        difference: the first one; None if there is none.
    """

    simulated: list[ExecutedStep]
    observed: list[ExecutedStep | None]
    signals: RecordedSignals
    difference: Difference | None

    @property
    def num_compared(self) -> int:
        """Steps compared."""
        return sum(step is not None for step in self.observed)

    @property
    def num_records(self) -> int:
        """Records compared: fields of every step, the tier of every chunk one by one."""
        return sum(len(COMPARED) + len(step.tiers) for step in self.observed if step is not None)


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
    """Run `policy` on real tensors and observe it, let the simulator replay what was measured, and compare.

    Args:
        chunked: the path; signals recorded on it are left aside.
        policy: the policy.
        geometry: the model's cache shape, the one the path was cut for.
        config: room for the cache; unlimited by default.
        landmarks: for oracles.
        denoise_passes: passes before the clean one, at least 1.
        device: where the tensors lie.
        steps: which to observe; all where None. The rollout stops behind the last of them.
        seed: of the model and its noise.
        folder: where spilled chunks go; a temporary folder by default.
        make_backend: the torch backend's class, for tests of broken ones.
        on_step: called after every step on tensors.

    Raises:
        WorldKVError: see `WorldCache` and `simulate`.
    """
    from worldkv.backends.cache import WorldCache
    from worldkv.backends.torch_backend import TorchBackend
    from worldkv.parity.observer import TensorObserver
    from worldkv.scene import scene_of
    from worldkv.sim import load_machine, simulate

    wanted = range(chunked.num_chunks) if steps is None else frozenset(steps)
    bare = chunked.with_signals(None).first(max(wanted) + 1)
    scene = scene_of(bare, landmarks)
    if Signal.ATTENTION_AHEAD in needs_of(policy):
        ahead = attention_of_full_kv(bare, geometry, denoise_passes, device, seed)
        scene = dataclasses.replace(scene, signals=scene.signals | {Signal.ATTENTION_AHEAD}, attention_ahead=ahead)
    recorder = SignalRecorder(geometry, policy)
    observed: list[ExecutedStep | None] = []
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
        observer = TensorObserver(cache)
        watch = cache.on_attend
        rollout = _generate(cache, bare, recorder, denoise_passes, seed)
        for step in range(bare.num_chunks):
            cache.on_attend = watch if step in wanted else None
            next(rollout)
            found = observer.commit()
            observed.append(found if step in wanted else None)
            if on_step is not None:
                on_step(step)
    signals = recorder.signals()
    if scene.attention_ahead is not None:
        signals = dataclasses.replace(signals, attention_mass=scene.attention_ahead)
    simulation = SimulationObserver()
    # A machine only turns counts into seconds, which are not compared.
    machine = load_machine("worldkv-project-page")
    simulate(
        bare.with_signals(signals),
        policy,
        geometry,
        machine,
        config=config,
        landmarks=landmarks,
        on_step=simulation.note,
    )
    return Parity(simulation.steps, observed, signals, first_difference(simulation.steps, observed))


def attention_of_full_kv(
    chunked: ChunkedTrajectory, geometry: CacheGeometry, denoise_passes: int, device: str, seed: int
) -> NDArray[np.float32]:
    """Attention that each chunk receives at each step of a rollout that keeps everything `(steps, chunks)`."""
    from worldkv.backends.cache import WorldCache
    from worldkv.scene import scene_of
    from worldkv.specs.parse import parse_policy

    full, mass = parse_policy("full-kv"), frozenset({Signal.ATTENTION_MASS})
    recorder = SignalRecorder(geometry, full)
    with WorldCache(full, geometry, device=device, scene=scene_of(chunked), extra_signals=mass) as cache:
        for _ in _generate(cache, chunked, recorder, denoise_passes, seed):
            pass
    received = recorder.signals().attention_mass
    assert received is not None  # noqa: S101 - it was asked for
    return received


def _generate(
    cache: WorldCache, chunked: ChunkedTrajectory, recorder: SignalRecorder, denoise_passes: int, seed: int
) -> Iterator[None]:
    """Generate the path's chunks one by one by the random model, and record what was measured of each."""
    from worldkv.backends.models import CausalVideoDiT
    from worldkv.backends.rollout import generate
    from worldkv.scene import viewpoints

    model = CausalVideoDiT(cache.geometry, seed=seed, dtype=cache.dtype, device=cache.backend.ops.device)
    for step in generate(model, cache, viewpoints(chunked), denoise_passes=denoise_passes, seed=seed):
        recorder.note(step.record, cache.measured)
        yield
