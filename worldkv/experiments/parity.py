"""Parity: policies by both executors along one path, compared record by record."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worldkv.config import CacheConfig
    from worldkv.parity.run import Parity
    from worldkv.policy import CachePolicy
    from worldkv.trajectory.loaded import LoadedPath


def comparable_policies(
    specs: list[str] | None, path: LoadedPath
) -> tuple[list[tuple[str, CachePolicy]], dict[str, str]]:
    """The policies by spec; of all installed ones, those the path cannot feed are left out with the reason."""
    from worldkv.engine.preflight import check_policy_frames, check_signals
    from worldkv.errors import SignalError
    from worldkv.policy import needs_of
    from worldkv.scene import path_signals
    from worldkv.signals import Signal
    from worldkv.specs.names import policy_homes
    from worldkv.specs.parse import parse_policy

    supplied = frozenset(Signal) - {Signal.POSE, Signal.ACTION} | path_signals(path.chunked)
    chosen: list[tuple[str, CachePolicy]] = []
    left_out: dict[str, str] = {}
    for spec in specs or policy_homes():
        policy = parse_policy(spec, path.geometry)
        check_policy_frames(policy, path.geometry)
        try:
            check_signals(policy, needs_of(policy), supplied)
        except SignalError as error:
            if specs:
                raise
            left_out[spec] = str(error)
            continue
        chosen.append((spec, policy))
    return chosen, left_out


def executed_by_both(
    path: LoadedPath,
    policy: CachePolicy,
    config: CacheConfig,
    passes: int,
    device: str,
    seed: int,
    folder: Path | None,
    progress: Any,
) -> Parity:
    """One policy by both executors, landmarks placed where it reads them.

    Raises:
        WorldKVError: anything the user can mend.
    """
    from worldkv.metrics.landmarks import place_landmarks
    from worldkv.parity.run import run_both
    from worldkv.policy import needs_of
    from worldkv.signals import Signal

    landmarks = place_landmarks(path.chunked, seed=seed) if Signal.LANDMARKS in needs_of(policy) else None
    return run_both(
        path.chunked,
        policy,
        path.geometry,
        config=config,
        landmarks=landmarks,
        denoise_passes=passes,
        device=device,
        seed=seed,
        folder=folder,
        on_step=progress.reached,
    )


def parity_row(spec: str, path: LoadedPath, found: Parity) -> dict[str, Any]:
    """What was found, JSON-ready."""
    from worldkv.trajectory.loaded import revisiting_chunks

    steps = [step for step, observed in enumerate(found.observed) if observed is not None]
    spilled = sum(step.traffic.host_to_disk for step in found.simulated)
    difference = found.difference
    return {
        "policy": spec,
        "steps": len(steps),
        "revisits": int(revisiting_chunks(path)[steps].sum()),
        "records": found.num_records,
        "bytes_host_to_disk": spilled,
        "equal": difference is None,
        "difference": None
        if difference is None
        else {key: _plain(value) for key, value in difference._asdict().items()},
    }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def write_recording(name: str, path: LoadedPath, found: Parity) -> None:
    import dataclasses

    from worldkv.trajectory.formats import recorded

    trajectory = dataclasses.replace(path.chunked.trajectory, signals=found.signals)
    recorded.write(trajectory, Path(name).resolve())
