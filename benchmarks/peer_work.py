"""The work that `beside_peers` gives to every cache: the same chunks, the same decisions, the same tokens."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.backend_inputs import Inputs, read_path
from worldkv import CacheGeometry, CachePolicy, ChunkedTrajectory, load_machine, parse_geometry, parse_policy
from worldkv.backends import attend
from worldkv.sim import simulate

PATH = "generate:tour:rooms=4,seed=1,chunks={chunks}"
"""It comes back to its rooms after 32 chunks."""
WINDOW_CHUNKS = 6
"""Of the sliding window, the chunk being generated included."""


class Plan(NamedTuple):
    """What a step attends.

    Attributes:
        resident: chunks that never left the window, ascending; neither retrieved nor the chunk itself.
        retrieved: chunks from the bank, best first.
        shifts: latent frames by which the keys of a retrieved chunk are turned.
    """

    resident: tuple[int, ...]
    retrieved: tuple[int, ...]
    shifts: dict[int, int]


class Work(NamedTuple):
    """One job.

    Attributes:
        name: for the table.
        spec: the policy that decides.
        warm: steps before the measured ones.
        sink_chunks, recent_chunks: chunks at either end of the window, the chunk being generated beside.
        keep_ratio: of the tokens of a banked chunk's later frames, ranked together; None where nothing is banked.
    """

    name: str
    spec: str
    warm: int
    sink_chunks: int
    recent_chunks: int
    keep_ratio: float | None


WORKS = (
    Work("sliding window", f"sliding-window:recent_frames={3 * (WINDOW_CHUNKS - 1)}", 8, 0, WINDOW_CHUNKS - 1, None),
    Work("worldkv", "worldkv-published", 36, 1, 1, 0.5),
    Work("worldkv, corrected", "worldkv-published:rebase=true", 36, 1, 1, 0.5),
)
"""`worldkv-published` is the quick start of the published code; corrected, retrieved keys are turned in time."""


class Job(NamedTuple):
    """A work on a device.

    Attributes:
        work: which.
        geometry: the model's.
        path: cut for it.
        policy: the one that `work.spec` names.
        plans: one for each step.
        passes: of a step, the clean one included.
        device: torch's name of it.
    """

    work: Work
    geometry: CacheGeometry
    path: ChunkedTrajectory
    policy: CachePolicy
    plans: list[Plan]
    passes: int
    device: str

    def inputs(self, step: int) -> Inputs:
        """Queries, keys and values of a step."""
        return Inputs(self.geometry, step, self.device)


def job(work: Work, spec: str, passes: int, device: str, measured: int, warm: int | None = None) -> Job:
    """The work with decisions made beforehand by the simulator, so that the peers decide nothing."""
    work = work if warm is None else work._replace(warm=warm)
    geometry = parse_geometry(spec)
    path = read_path(PATH.format(chunks=60), geometry).first(work.warm + measured)
    policy, plans = parse_policy(work.spec, geometry), []

    def note(engine: object, record: object, spent: object) -> None:
        plan = record.plan  # type: ignore[attr-defined]
        attended, per_chunk = plan.attended.tolist(), geometry.frames_per_chunk
        stands = dict(zip(attended, plan.positions.tolist(), strict=False))
        shifts = {chunk: stands[chunk] - chunk * per_chunk for chunk in plan.retrieved}
        resident = tuple(chunk for chunk in attended if chunk not in plan.retrieved)
        plans.append(Plan(resident, plan.retrieved, {chunk: by for chunk, by in shifts.items() if by}))

    simulate(path, policy, geometry, load_machine("worldkv-project-page"), on_step=note)
    return Job(work, geometry, path, policy, plans, passes, device)


class Peer(ABC):
    """A cache that does a job; queries, keys, values and results are `(1, tokens, heads, head_dim)`."""

    @abstractmethod
    def begin(self, step: int) -> None:
        """The step's window is made ready."""

    @abstractmethod
    def attend(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor, *, clean: bool) -> Tensor:
        """Attention of one layer in one pass."""

    @abstractmethod
    def commit(self) -> None:
        """The step is done."""

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Give back what is held."""


def kernel(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attention over `(1, tokens, heads, head_dim)`, the kernel that every peer and the cache itself calls."""
    return attend(queries.transpose(1, 2), keys.transpose(1, 2), values.transpose(1, 2)).transpose(1, 2)


def least_like_anchor(keys: Tensor, geometry: CacheGeometry, keep_ratio: float) -> Tensor:
    """Tokens that World Compression keeps of a chunk's keys `(1, tokens, heads, head_dim)`, ascending.

    The anchor frame whole; of the later frames together the share that is least like the anchor's mean key, by cosine
    over heads and channels jointly. Written from the description of arXiv 2605.22718.
    """
    anchor = geometry.tokens_per_frame
    flat = keys[0].flatten(1).float()
    likeness = torch.nn.functional.cosine_similarity(flat, flat[:anchor].mean(0, keepdim=True))
    count = -int(-keep_ratio * anchor // 1) * (geometry.frames_per_chunk - 1)
    later = likeness[anchor:].topk(count, largest=False).indices.sort().values + anchor
    return torch.cat([torch.arange(anchor, device=keys.device), later])


def turned(keys: Tensor, frames: int) -> Tensor:
    """Keys `(1, tokens, heads, head_dim)` with their time channels turned on by `frames`, in new memory.

    Of c = head_dim / 2 pairs of channels the first c - 2 (c // 3) are time's; pair i of these n turns by
    10000^(-i/n) a frame.
    """
    pairs = keys.shape[-1] // 2
    timed = pairs - 2 * (pairs // 3)
    angles = frames * 10_000.0 ** (-torch.arange(timed, dtype=torch.float64) / timed)
    turn = torch.polar(torch.ones_like(angles), angles).to(torch.complex64).to(keys.device)
    out = keys.clone()
    as_pairs = torch.view_as_complex(out[..., : 2 * timed].float().reshape(*out.shape[:-1], timed, 2).contiguous())
    out[..., : 2 * timed] = torch.view_as_real(as_pairs * turn).flatten(-2).to(out.dtype)
    return out
