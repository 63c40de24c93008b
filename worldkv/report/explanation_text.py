"""Explain one step of a rollout in sentences: its recall, what it missed, and what left the window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worldkv.report.format import listed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from worldkv.answers import Retrieval
    from worldkv.engine.state import StepRecord
    from worldkv.geometry import CacheGeometry
    from worldkv.metrics.landmarks import Landmarks


@dataclass
class StepTrace:
    """The state of a rollout when the step began, and the record of the step.

    Attributes:
        bank: ids of the banked chunks `(chunks,)`.
        retrieval: the policy's answer; None where the bank was empty.
        tokens: tokens of every chunk when the step began `(chunks,)`.
        home: ids at home in the window when the step began.
        record: the record of the step.
    """

    bank: tuple[int, ...] = ()
    retrieval: Retrieval | None = None
    tokens: tuple[int, ...] = ()
    home: tuple[int, ...] = ()
    record: StepRecord | None = None


def sentences(
    geometry: CacheGeometry,
    trace: StepTrace,
    landmarks: Landmarks,
    credit: float,
    ranking: list[int],
    left_out: list[int],
) -> list[str]:
    """Sentences on a step that the table of its chunks does not show.

    Args:
        geometry: the cache's shape.
        trace: the state of the rollout, and its record.
        landmarks: the metric's landmarks.
        credit: recall credit of the step.
        ranking: scored chunks, best first; empty where the policy gives no scores.
        left_out: the best of them that were not fetched.
    """
    import numpy as np

    record = trace.record
    assert record is not None
    step, tokens = record.plan.step, geometry.chunk_tokens
    counted, missed = int(landmarks.num_counted[step]), _missed(landmarks, step, record.plan.attended.tolist())
    lines = []
    if counted:
        lines.append(
            f"Recall credit {credit:,.1f} of {counted:,} landmarks that count ({credit / counted:.0%}): seen before, "
            "in view now, and in neither the sink nor the last two chunks."
        )
    else:
        lines.append(
            "Nothing counts for recall here: what is in view is new, or the sink or the last two chunks saw it."
        )
    total = int(np.bitwise_count(missed).sum())
    if total:
        helpful = np.bitwise_count(landmarks.seen[:step] & missed).sum(axis=1)
        best = int(helpful.argmax())
        rank = f", ranked {ranking.index(best) + 1} of {len(ranking)}" if best in ranking else ""
        where = "in the bank" if best in set(trace.bank) else "gone"
        lines.append(
            f"{total:,} of them no attended chunk saw; chunk {best} ({where}{rank}) saw {int(helpful[best]):,} of "
            "those."
        )
    fetched = record.plan.retrieved
    if ranking and set(fetched) - set(ranking[: len(fetched)]):
        lines.append(
            "They were chosen together, each for what it adds to those before it; the score is what one covers alone, "
            "so a lower one may go first."
        )
    elif left_out and fetched:
        lines.append(f"The runner-up was chunk {left_out[0]}; the last one fetched was {fetched[-1]}.")
    if trace.retrieval is not None and trace.retrieval.scores is None and record.plan.retrieved:
        lines.append("This policy chooses without scores, so there are no ranks and no runners-up.")
    if record.evicted:
        kept = [
            f"chunk {chunk} ({n / tokens:.0%} kept)"
            for chunk, n in zip(record.evicted, record.kept_tokens, strict=True)
        ]
        lines.append(f"At the end of the step {listed(kept)} went to the bank.")
    if record.discarded:
        lines.append(f"At the end of the step chunk {listed(list(map(str, record.discarded)))} was discarded for good.")
    if record.shrunk:
        lines.append(f"At the end of the step chunk {listed(list(map(str, record.shrunk)))} was shrunk in place.")
    if not (record.evicted or record.discarded or record.shrunk):
        lines.append("At the end of the step nothing left the window.")
    return lines


def _missed(landmarks: Landmarks, step: int, attended: list[int]) -> NDArray[np.uint8]:
    """Landmarks that count at the step and that no attended chunk saw, as bits."""
    import numpy as np

    held = np.bitwise_or.reduce(landmarks.seen[attended], axis=0) if attended else np.uint8(0)
    missed: NDArray[np.uint8] = landmarks.counted[step] & ~held
    return missed
