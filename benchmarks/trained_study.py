"""The trained world measured: every policy on paths through held-out buildings, pruning, dilution, positions.

    python -m benchmarks.trained_study                            everything, hours on one core
    python -m benchmarks.trained_study claims pruning --seeds 2   some of it

Recorded paths are read from ../shared/data (or --data). What is measured is kept in build/trained-study.json, entry by
entry, and found again there by the next run.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.fidelity import POLICIES
from worldkv import ChunkView, TokenScorer
from worldkv.parts import UnlikeAnchor, WorldCompression
from worldkv.policies import WorldKV
from worldkv.trajectory import ChunkedTrajectory

KEPT = Path("build/trained-study.json")
FIGURES = (
    "psnr_visit",
    "psnr_truth",
    "ssim_visit",
    "ssim_truth",
    "revisit_recall",
    "window_tokens_peak",
    "drift",
    "bytes_device_to_host",
    "bytes_host_to_device",
)

PATHS = {
    "out and back": "script:R_L_R_L_R_L90_360",
    "three turns": "script:RRR360_540",
    "loop": "generate:loop:chunks=80",
    "rounds": "generate:rounds:rooms=3,speed=1.6,chunks=96,seed={seed}",
    "tour": "generate:tour:rooms=4,chunks=60,seed={seed}",
    "TartanAir": "tartanair/pose_gt.txt",
    "fr2_desk": "tum/fr2_desk_groundtruth.txt",
    "KITTI 00": "kitti/KITTI_00_gt.txt",
}
"""Rounds and a tour are another building with every seed; of the other paths a seed draws textures alone."""

CLAIMED = (
    "full-kv",
    "sliding-window:sink_frames=3",
    "worldkv",
    "worldkv:keep_ratio=0.5",
    "worldkv:keep_ratio=1",
    "random",
)


@dataclass(frozen=True)
class RandomTokens(TokenScorer):
    """Tokens in an order that their keys draw."""

    spec_names: ClassVar[tuple[str, ...]] = ("random-tokens",)

    def token_scores(self, chunk: ChunkView) -> NDArray[np.float32]:
        layers, heads, tokens = np.asarray(chunk.keys).shape[:3]
        drawn = np.random.default_rng(abs(int(float(np.asarray(chunk.keys)[0, 0, 0, 0]) * 1e6))).random((1, 1, tokens))
        return np.tile(np.asarray(drawn, np.float32), (layers, heads, 1))


@dataclass(frozen=True)
class Stride(TokenScorer):
    """Every n-th token of a frame before those between."""

    spec_names: ClassVar[tuple[str, ...]] = ("stride",)

    def token_scores(self, chunk: ChunkView) -> NDArray[np.float32]:
        layers, heads, tokens = np.asarray(chunk.keys).shape[:3]
        place = np.arange(tokens) % chunk.geometry.tokens_per_frame
        spread = [int(f"{at:08b}"[::-1], 2) for at in place.tolist()]
        return np.broadcast_to(-np.asarray(spread, np.float32), (layers, heads, tokens))


@dataclass(frozen=True)
class LikeAnchor(TokenScorer):
    """The tokens that World Compression drops."""

    spec_names: ClassVar[tuple[str, ...]] = ("like-anchor",)

    def token_scores(self, chunk: ChunkView) -> NDArray[np.float32]:
        return -np.asarray(UnlikeAnchor().token_scores(chunk))


@dataclass(frozen=True)
class Pruned(WorldKV):
    """WorldKV with another order of tokens."""

    spec_names: ClassVar[tuple[str, ...]] = ("pruned",)
    scorer: TokenScorer = UnlikeAnchor()

    def make_parts(self) -> Any:
        return replace(super().make_parts(), compression=WorldCompression(self.keep_ratio, self.pooled, self.scorer))


@dataclass(frozen=True)
class Study:
    """Some policies on some paths.

    Attributes:
        world: a name of `--world`.
        paths: names of `PATHS`.
        policies: by what a table calls them, spec strings or policies.
        seeds: as many.
        is_matched: whether sizes are matched to the first policy of fixed size.
    """

    world: str
    paths: tuple[str, ...]
    policies: dict[str, Any]
    seeds: int = 5
    is_matched: bool = True


def _same(specs: Sequence[str]) -> dict[str, Any]:
    return {spec: spec for spec in specs}


KEEPS = (0.1, 0.25, 0.5, 0.75)
STUDIES = {
    "claims": Study("trained", ("rounds", "out and back"), _same(CLAIMED)),
    "rotary": Study("trained-rotary", ("rounds", "out and back"), _same(CLAIMED)),
    "free": Study("trained-free", ("out and back", "rounds"), _same(CLAIMED)),
    "policies": Study(
        "trained",
        ("out and back", "three turns", "loop", "rounds", "tour", "TartanAir", "fr2_desk"),
        _same(POLICIES),
        2,
    ),
    "pruning": Study(
        "trained",
        ("out and back", "rounds"),
        {
            f"{name} {keep}": Pruned(keep_ratio=keep, scorer=scorer)
            for keep in KEEPS
            for name, scorer in (
                ("World Compression", UnlikeAnchor()),
                ("random tokens", RandomTokens()),
                ("stride", Stride()),
                ("like the anchor", LikeAnchor()),
            )
        }
        | {f"pooled {keep}": Pruned(keep_ratio=keep, pooled=True) for keep in KEEPS}
        | {f"keydiff {keep}": f"keydiff:keep_ratio={keep}" for keep in KEEPS}
        | {"keep 1": "worldkv:keep_ratio=1"},
        3,
        is_matched=False,
    ),
    "dilution": Study(
        "trained",
        ("rounds", "out and back"),
        {str(n): f"worldkv:keep_ratio=1,retrieved_frames={3 * n}" for n in (1, 2, 4, 6, 8, 12, 16, 24)}
        | {"all": "full-kv"},
        3,
        is_matched=False,
    ),
    "equal tokens": Study(
        "trained",
        ("out and back", "rounds"),
        {
            "WorldKV": "worldkv",
            "key-diff": "keydiff:keep_ratio=0.5",
            "key-diff, 4 chunks": "keydiff:keep_ratio=0.75,retrieved_frames=12",
            "unlike the anchor": "composed:compression=scored-tokens,scorer=unlike-anchor,keep_ratio=0.5",
            "3 whole chunks": "worldkv:keep_ratio=1,retrieved_frames=9",
            "coverage, 4 chunks": "frustum-coverage",
            "apart": "pose-nms:retrieved_frames=9",
        },
        3,
        is_matched=False,
    ),
    "positions": Study(
        "trained-rotary",
        ("rounds", "out and back"),
        {name: f"worldkv:keep_ratio=1,positions={name}" for name in ("absolute", "rebased", "relative", "slots")},
        3,
        is_matched=False,
    ),
    "banks": Study(
        "trained",
        ("rounds", "out and back"),
        {
            "float32": "composed:compression=whole",
            "int8": "composed:compression=quantised",
            "fp8": "composed:compression=quantised,stored_as=fp8",
        },
        3,
        is_matched=False,
    ),
}


def tasks(names: Sequence[str], data: Path, seeds: int | None) -> Iterator[tuple[str, Study, str, str, int]]:
    """Key, study, path, source and seed of every rollout; the first seeds of all paths first."""
    for name in names:
        study = STUDIES[name]
        for seed in range(min(study.seeds, seeds or study.seeds)):
            for path in study.paths:
                source = PATHS[path].format(seed=seed)
                source = source if ":" in source else str(data / source)
                if ":" in source or Path(source).exists():
                    yield f"{name}|{path}|{seed}", study, path, source, seed


def measured(study: Study, source: str, seed: int) -> dict[str, Any]:
    """Every policy's figures, and the memory gap."""
    from worldkv import compare

    result = compare(
        source,
        list(study.policies.values()),
        world=study.world,
        geometry="trained",
        seed=seed,
        match="window-tokens" if study.is_matched else "none",
        baselines=False,
    )
    document, exact = result.to_dict(), exact_returns(result.path.chunked)
    rows = dict(zip(study.policies, document["rows"], strict=True))
    return {
        "rows": {
            name: {figure: row.get(figure) for figure in FIGURES} | {"psnr_exact": _mean_over(row["revisits"], exact)}
            for name, row in rows.items()
        },
        "exact": sum(entry["step"] in exact for entry in document["rows"][0]["revisits"]),
        "revisits": document["world"]["revisits"],
        "chunks": document["trajectory"]["chunks"],
        "memory_gap": document["world"]["memory_gap"],
    }


def exact_returns(chunked: ChunkedTrajectory) -> set[int]:
    """Chunks whose poses an earlier one had, at least three chunks ago, in order or backwards."""
    camera = chunked.camera
    views = np.concatenate([camera.frame_positions, camera.frame_rotations[..., 2]], axis=-1)
    found = set()
    for chunk in range(3, len(views)):
        earlier = views[: chunk - 2]
        apart = np.minimum(*(np.abs(earlier - views[chunk][::way]).max(axis=(1, 2)) for way in (1, -1)))
        if (apart < 1e-6).any():
            found.add(chunk)
    return found


def _mean_over(revisits: list[dict[str, Any]], steps: set[int]) -> float | None:
    told = [entry["psnr_truth"] for entry in revisits if entry["step"] in steps and entry["psnr_truth"] is not None]
    return float(np.mean(told)) if told else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("studies", nargs="*", choices=[[], *STUDIES], default=[])
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("WORLDKV_SHARED_DATA") or "../shared/data"))
    parser.add_argument("--seeds", type=int, help="at most so many")
    parser.add_argument("--page", type=Path, help="write the tables into this page")
    given = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    found = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    for key, study, _, source, seed in tasks(given.studies or list(STUDIES), given.data, given.seeds):
        if key in found:
            continue
        began = time.monotonic()
        entry = measured(study, source, seed)
        found = (json.loads(KEPT.read_text()) if KEPT.exists() else {}) | {
            key: entry
        }  # another run may have added some
        part = KEPT.with_suffix(".part")
        part.write_text(json.dumps(found, indent=1))
        part.rename(KEPT)
        print(f"measured: {key} ({time.monotonic() - began:.0f} s)", file=sys.stderr, flush=True)
    if given.page is not None:
        from benchmarks.trained_page import write_page

        write_page(given.page, found)


if __name__ == "__main__":
    main()
