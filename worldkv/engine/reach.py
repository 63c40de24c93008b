"""How far away in time the attended keys of a step are, and the refusal of what a model has no positions for."""

from __future__ import annotations

from worldkv.answers import Ids
from worldkv.errors import PositionError
from worldkv.policy import CachePolicy


def reach_of(positions: Ids, frames: int, *, is_ascending: bool = False) -> int:
    """Latent frames from the first of the farthest attended chunk to the last of the chunk being generated, inclusive.

    Rotary attention depends on differences of positions alone, so this, and not the index in the rollout, is what a
    model's rotary table must span.

    Args:
        positions: where each attended chunk, and last the chunk being generated, starts `(chunks + 1,)`.
        frames: latent frames of the chunk being generated.
        is_ascending: whether the positions are known to ascend, as those where chunks were generated do.
    """
    if is_ascending:
        return positions.item(-1) + frames - positions.item(0)
    own, least, most = int(positions[-1]), int(positions.min()), int(positions.max())
    return max(own + frames - least, most - own + 1)


def check_distance(policy: CachePolicy, step: int, positions: Ids, frames: int, limit: int) -> None:
    """Refuse a step that attends keys farther away than `limit` latent frames; `positions` as for `reach_of`.

    Raises:
        PositionError: naming the distance and what puts it right.
    """
    reach = reach_of(positions, frames, is_ascending=not policy.positions.moves)
    if reach > limit:
        raise PositionError(
            f"{type(policy).__name__} attends keys {reach - 1} latent frames away at step {step}, the model's rotary "
            f"positions span {limit} (rope_frames); end the rollout earlier, stand the window's chunks one behind the "
            "other (positions=relative), or raise the geometry's rope_frames if the model is trained for it"
        )
