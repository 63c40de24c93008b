"""Choose the step of a comparison that its figure shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worldkv.sim.compare import ComparedRows


@dataclass(frozen=True)
class Moment:
    """A step and the chunks that a policy retrieved for it.

    Attributes:
        label: the policy.
        step: the chunk being generated.
        retrieved: banked chunks it attended, best first.
        credit: share of the landmarks counted at this step that it held; None where nothing was counted.
    """

    label: str
    step: int
    retrieved: tuple[int, ...]
    credit: float | None


def interesting_moment(compared: ComparedRows) -> Moment | None:
    """The step in the path's later half at which most is seen again, under the first policy that retrieves by itself.

    Oracles, which know the answers, and random draws come last. None where no policy retrieves.
    """
    import numpy as np

    from worldkv.policy import needs_of
    from worldkv.signals import Signal

    rows = [row for row in compared.rows if any(compared.retrieved.get(row.candidate.label, ()))]
    if not rows:
        return None
    row = min(
        rows,
        key=lambda row: (
            Signal.LANDMARKS in needs_of(row.candidate.policy),
            not needs_of(row.candidate.policy),
        ),
    )
    retrieved = compared.retrieved[row.candidate.label]
    steps = np.array([step for step, ids in enumerate(retrieved) if ids])
    late = steps[steps >= len(retrieved) // 2] if steps[-1] >= len(retrieved) // 2 else steps
    landmarks = compared.setup.landmarks
    if landmarks is None:
        return Moment(row.candidate.label, int(late[-1]), retrieved[late[-1]], None)
    step = int(late[np.argmax(landmarks.num_counted[late])])
    counted = int(landmarks.num_counted[step])
    credit = float(row.rollout.step_credits[step]) / counted if counted else None
    return Moment(row.candidate.label, step, retrieved[step], credit)
