"""WorldKV in this project's window and in the published one: recall, bytes, speed, and what the skipped chunk shows."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.policies_measured import LINGBOT, MACHINE, NEVER_RETURN, PATHS
from worldkv import CacheEngine, StepRecord, cut, load_machine, load_trajectory, parse_policy, place_landmarks
from worldkv.sim import simulate

SPECS = ("worldkv", "worldkv-published", "worldkv-published:keep_ratio=0.25")


class Measured(NamedTuple):
    """One policy on one path.

    Attributes:
        recall: None where the path never comes back.
        tokens: attended at most, the chunk's own included.
        moved_out: bytes to the host.
        moved_in: bytes back.
        moved_afresh: bytes back if every retrieved chunk crosses the bus at every step, as in the released code.
        fps: predicted frames per second, of the whole path.
        unseen: of what is in view and was seen before, the share that only the chunk before the last shows, and that
            chunk is not attended.
    """

    recall: float | None
    tokens: int
    moved_out: int
    moved_in: int
    moved_afresh: int
    fps: float
    unseen: float


def published(data: Path) -> str:
    """The table of all paths."""
    heads = (
        "path | policy | window tokens | recall | out | in | in, flow of the code | FPS | only the skipped chunk shows"
    )
    lines = [f"| {heads} |", "| --- |" + " --- |" * 8]
    for name, source in {**PATHS, **{path: path for path in NEVER_RETURN}}.items():
        for spec in SPECS:
            one = measured(str(data / source), spec)
            recall = "-" if one.recall is None else f"{one.recall:.2f}"
            moved = " | ".join(f"{size / 1e9:,.0f} GB" for size in (one.moved_out, one.moved_in, one.moved_afresh))
            lines.append(
                f"| {name} | `{spec}` | {one.tokens:,} | {recall} | {moved} | {one.fps:.2f} | {one.unseen:.2%} |"
            )
    return "\n".join(lines)


def measured(source: str, spec: str) -> Measured:
    """`spec` on the path in `source`."""
    chunked = cut(load_trajectory(source), LINGBOT)
    landmarks = place_landmarks(chunked)
    seen, before = landmarks.seen, np.zeros_like(landmarks.seen[0])
    afresh, unseen, known = 0, 0, 0

    def note(engine: CacheEngine, record: StepRecord, _: object) -> None:
        nonlocal before, afresh, unseen, known
        plan, step = record.plan, record.plan.step
        afresh += sum(int(engine.table.columns["tokens"][chunk]) for chunk in plan.retrieved) * LINGBOT.token_bytes
        known += _count(seen[step] & before)
        if step >= 2:
            unseen += _count(seen[step] & seen[step - 2] & ~np.bitwise_or.reduce(seen[plan.attended], axis=0))
        before = before | seen[step]

    rollout = simulate(chunked, parse_policy(spec), LINGBOT, load_machine(MACHINE), landmarks=landmarks, on_step=note)
    traffic = rollout.engine.backend.traffic()
    frames = LINGBOT.video_frames_per_chunk * len(rollout.seconds)
    return Measured(
        rollout.recall,
        int(rollout.attended_tokens.max()),
        traffic.device_to_host,
        traffic.host_to_device,
        afresh,
        frames / float(rollout.seconds.sum()),
        unseen / known,
    )


def _count(bits: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> int:
    return int(np.bitwise_count(bits).sum(dtype=np.int64))


if __name__ == "__main__":
    print(published(Path("../shared/data")))
