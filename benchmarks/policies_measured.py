"""Recall and traffic of every policy on the recorded paths: in the simulator, or on tensors where a model must tell."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from worldkv import (
    PRESETS,
    CacheGeometry,
    CachePolicy,
    ChunkedTrajectory,
    Part,
    RolloutRecord,
    Signal,
    TokenScorer,
    cut,
    load_machine,
    load_trajectory,
    needs_of,
    parse_policy,
    place_landmarks,
    scene_of,
    viewpoints,
)
from worldkv.parity import attention_of_full_kv
from worldkv.parts import WorldCompression
from worldkv.sim import RolloutRecorder, needs_model, simulate
from worldkv.specs import policy_classes

PATHS = {
    "KITTI 00": "kitti/KITTI_00_gt.txt",
    "TartanAir": "tartanair/pose_gt.txt",
    "fr2_desk": "tum/fr2_desk_groundtruth.txt",
}
BUDGETS = (5, 7, 10)
"""Window sizes in chunks, the chunk being generated included."""
SINK = "sliding-window:sink_frames=3"
RANDOM_SEEDS = 5
NEVER_RETURN = ("lingbot-00", "lingbot-01")
MIDDLE = ("worldkv", "frugal-coverage", "random")
"""Whose bytes are told where nothing comes back."""
LINGBOT, TINY = PRESETS["lingbot-world-fast-480p"], PRESETS["tiny"]
MACHINE = "worldkv-project-page"


@dataclass
class Figures:
    """One policy on one path.

    Attributes:
        at: the table's cell by budget in chunks; None is its own size.
        recall: recall by the same.
    """

    at: dict[int | None, str] = field(default_factory=dict)
    recall: dict[int | None, float] = field(default_factory=dict)


def measured(data: Path, jobs: int) -> dict[str, dict[str, Figures]]:
    """Figures of every installed policy on every path."""
    from joblib import Parallel, delayed

    names = [name for name in policy_classes() if name not in ("composed",)]
    tasks = [(path, name) for path in PATHS for name in names]
    found = Parallel(n_jobs=jobs)(delayed(of_policy)(str(data / PATHS[path]), name) for path, name in tasks)
    figures: dict[str, dict[str, Figures]] = {path: {} for path in PATHS}
    for (path, name), one in zip(tasks, found, strict=True):
        figures[path][name] = one
    return figures


def of_policy(source: str, name: str) -> Figures:
    """A policy at every budget it can be made; at its own size where it cannot."""
    policy = parse_policy(SINK if name == "sliding-window" else name)
    geometry = TINY if runs_on_tensors(policy) else LINGBOT
    chunked = cut(load_trajectory(source), geometry)
    figures = Figures()
    for chunks in (*BUDGETS, None):
        sized = policy if chunks is None else policy.resized(chunks * geometry.chunk_tokens, geometry)
        if sized is None or (chunks is None and figures.at):
            continue
        many = [dataclasses.replace(sized, seed=seed) for seed in range(RANDOM_SEEDS)] if name == "random" else [sized]  # type: ignore[type-var]
        rollouts = [rollout(one, chunked, geometry) for one in many]
        recall = float(np.mean([one.recall or 0.0 for one in rollouts]))
        moved = float(np.mean([chunks_moved(one, geometry) for one in rollouts]))
        figures.recall[chunks] = recall
        figures.at[chunks] = f"{recall:.2f} / {moved:.2f}"
        if chunks is None:
            peak = int(rollouts[0].attended_tokens.max()) / geometry.chunk_tokens
            figures.at[chunks] += f" at {peak:.0f} chunks"
    return figures


def runs_on_tensors(policy: CachePolicy) -> bool:
    """Whether only a model tells what a policy remembers.

    It reads what models measure, or full KV's attention; or a scorer of tokens decides in which frames those lie that
    are kept. World Compression keeps equally many of every frame but the anchor, whatever the keys are.
    """
    ahead = Signal.ATTENTION_AHEAD in needs_of(policy)
    return ahead or needs_model(policy) or any(isinstance(part, TokenScorer) for part in _inside(policy))


def _inside(part: Part) -> Iterator[Part]:
    for inner in part.parts():
        yield inner
        if not isinstance(inner, WorldCompression):
            yield from _inside(inner)


def never_returning(data: Path) -> str:
    """One sentence on the paths that never come back: how little does, and the bytes of a window of seven chunks."""
    told = []
    for name in NEVER_RETURN:
        chunked = cut(load_trajectory(str(data / name)), LINGBOT)
        share = place_landmarks(chunked).counted_share
        moved = []
        for spec in MIDDLE:
            policy = parse_policy(spec).resized(BUDGETS[1] * LINGBOT.chunk_tokens, LINGBOT)
            assert policy is not None
            one = simulate(chunked, policy, LINGBOT, load_machine(MACHINE))
            moved.append(f"`{spec}` {chunks_moved(one, LINGBOT):.2f}")
        told.append(
            f"`{name}` ({share:.1%} of what is in view was seen before and had left the window) {', '.join(moved)}"
        )
    return (
        "The two LingBot paths never come back, so that recall has no value there and no row is theirs; "
        f"chunks' worth of bytes a step at {BUDGETS[1]} chunks: {'; '.join(told)}."
    )


def rollout(policy: CachePolicy, chunked: ChunkedTrajectory, geometry: CacheGeometry, seed: int = 0) -> RolloutRecord:
    """One rollout, by whoever can tell how it goes."""
    landmarks = place_landmarks(chunked, seed=seed)
    if geometry is LINGBOT:
        return simulate(chunked, policy, geometry, load_machine(MACHINE), landmarks=landmarks)
    return on_tensors(policy, chunked, geometry, landmarks)


def on_tensors(
    policy: CachePolicy, chunked: ChunkedTrajectory, geometry: CacheGeometry, landmarks: Any
) -> RolloutRecord:
    """The same with a transformer of random weights."""
    import torch

    from worldkv import WorldCache, generate
    from worldkv.backends.models import CausalVideoDiT

    torch.set_num_threads(1)
    scene = scene_of(chunked, landmarks)
    if Signal.ATTENTION_AHEAD in needs_of(policy):
        ahead = attention_of_full_kv(chunked, geometry, 1, "cpu", 0)
        scene = dataclasses.replace(scene, signals=scene.signals | {Signal.ATTENTION_AHEAD}, attention_ahead=ahead)
    with WorldCache(policy, geometry, scene=scene) as cache:
        book = RolloutRecorder(chunked, cache.engine, load_machine(MACHINE), landmarks)
        model = CausalVideoDiT(geometry)
        for step in generate(model, cache, viewpoints(chunked), denoise_passes=1, on_plan=book.begin):
            book.commit(step.record)
        return book.close()


def bytes_moved(one: RolloutRecord) -> int:
    """Bytes over the bus, both ways."""
    traffic = one.engine.backend.traffic()
    return traffic.device_to_host + traffic.host_to_device


def chunks_moved(one: RolloutRecord, geometry: CacheGeometry) -> float:
    """The same in chunks' worth a step."""
    return bytes_moved(one) / geometry.chunk_bytes / len(one.seconds)
