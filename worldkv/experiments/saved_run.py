"""What a real run keeps beside its cache so that it can be stopped: its options, what it recorded, what it wrote."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from worldkv.errors import SavedWorldError, SpecError, shortened

if TYPE_CHECKING:
    from worldkv.experiments.run_request import RunRequest
    from worldkv.sim import Candidate, ComparisonSetup

OPTIONS, PROGRESS = "options", "progress"
"""Names in what is saved beside the cache."""


class KeptText:
    """A text file that remembers what was written to it.

    Attributes:
        stream: the file.
        text: all that was written.
    """

    def __init__(self, stream: TextIO) -> None:
        """Nothing is written yet."""
        self.stream, self._parts = stream, list[str]()

    @property
    def text(self) -> str:
        """See the attribute."""
        return "".join(self._parts)

    def write(self, text: str) -> None:
        """Write and remember."""
        self.stream.write(text)
        self._parts.append(text)


def options_of(request: RunRequest, setup: ComparisonSetup, candidate: Candidate) -> dict[str, str]:
    """What has to be the same when a run goes on, by the option that says it."""
    from worldkv.specs.parse import spec_or_repr

    trajectory, camera = setup.chunked.trajectory, setup.chunked.camera
    path = [camera.frame_positions, camera.frame_rotations]
    if setup.chunked.actions is not None:
        path += [setup.chunked.actions.frame_positions, setup.chunked.actions.frame_rotations]
    files = {name: "none" if getattr(request, name) is None else "a file" for name in ("log", "plan", "record")}
    return {
        "--chunks": f"{setup.chunked.num_chunks}",
        "TRAJECTORY": f"{trajectory.name} {_digest(*path)}",
        "--view-distance": f"{setup.chunked.view_distance!r}",
        "--policy": spec_or_repr(candidate.policy),
        "--geometry": setup.geometry.name,
        "--world": f"{request.world}",
        "--dtype": request.dtype,
        "--passes": f"{request.passes}",
        "--machine": f"{setup.machine.name} {_digest(repr(dataclasses.astuple(setup.machine)))}",
        "--no-recall": f"{not request.recall}",
        "--seed": f"{request.seed}",
        "--device-budget": f"{request.device_budget}",
        "--spare-budget": f"{request.limits.spare_bytes}",
        "--host-budget": f"{request.limits.host_bytes}",
        "--disk-budget": f"{request.limits.disk_bytes}",
        "--when-full": request.limits.when_full,
        "--when-lost": request.when_lost,
        **{f"--{name}": what for name, what in files.items()},
    }


def check_options(folder: str, now: dict[str, str]) -> None:
    """Refuse to go on from a run that had other options.

    Raises:
        SavedWorldError: naming those that differ, or that the world is of no run.
    """
    from worldkv.backends.saved.peek import saved_beside

    before = saved_beside(folder, OPTIONS)
    if not isinstance(before, dict):
        raise SavedWorldError(f"{folder} holds a world that worldkv run did not save; open it by WorldCache.open")
    told = [
        f"{option} {_told(before.get(option), now.get(option))}"
        for option in dict.fromkeys([*now, *before])
        if before.get(option) != now.get(option)
    ]
    if told:
        raise SavedWorldError(
            f"{folder} was saved by a run with other options: {'; '.join(told)}: give the same, or start anew without "
            "--resume"
        )


def check_save(save: str | None, every: int | None) -> None:
    """Refuse to save every so many steps to nowhere, or into a folder that holds something else.

    Raises:
        SpecError, OutputError: it would be.
    """
    from worldkv.backends.saved.world_folder import WorldFolder

    if save is None and every is not None:
        raise SpecError(f"--save-every {every} needs a folder to save to; add --save FOLDER")
    if every is not None and every < 1:
        raise SpecError(f"--save-every must be at least 1, got {every}")
    if save is not None:
        WorldFolder(save).check_own()


def _told(before: str | None, now: str | None) -> str:
    return f"was {shortened(before or 'missing', 80)}, is {shortened(now or 'missing', 80)}"


def _digest(*parts: Any) -> str:
    content = hashlib.blake2b(digest_size=6)
    for part in parts:
        content.update(part.encode() if isinstance(part, str) else np.ascontiguousarray(part).tobytes())
    return f"#{content.hexdigest()}"
