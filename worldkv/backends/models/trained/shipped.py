"""The weights that the package carries: read and checked, or written after training."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from worldkv.backends.models.trained.config import POSITIONS, TrainedConfig
from worldkv.backends.models.trained.model import TrainedWorld
from worldkv.errors import SpecError, check_choice

LICENCE = "Apache-2.0"
_FOLDER = resources.files("worldkv.backends.models.trained") / "weights"
_SUMS = "SHA256SUMS"


@cache
def trained_world(positions: str = "rays", device: str = "cpu") -> TrainedWorld:
    """A shipped model, its numbers float32; the same object every time.

    Args:
        positions: which, one of `POSITIONS`.
        device: where it lies.

    Raises:
        SpecError: no such model, or its file is damaged.
    """
    from safetensors.torch import load

    check_choice("positions", positions, POSITIONS)
    name = f"{positions}.safetensors"
    content = (_FOLDER / name).read_bytes()
    lines = [line.split() for line in (_FOLDER / _SUMS).read_text().splitlines()]
    sums = {file: digest for digest, file in lines}
    if hashlib.sha256(content).hexdigest() != sums[name]:
        raise SpecError(f"{name} of worldkv's trained world is damaged (its SHA-256 is another); install worldkv again")
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    model = TrainedWorld(TrainedConfig.of_text(header["__metadata__"]))
    model.load_state_dict({name: tensor.float() for name, tensor in load(content).items()})
    return model.eval().requires_grad_(False).to(device)


def training_record(positions: str = "rays") -> dict[str, Any]:
    """How a shipped model was trained: seed, minutes, steps, machine, and losses and dB at every checkpoint."""
    check_choice("positions", positions, POSITIONS)
    record: dict[str, Any] = json.loads((_FOLDER / f"{positions}.json").read_text())
    return record


def shipped_weights() -> Path:
    """The folder of the package's weights; `ship` writes there from a source tree."""
    return Path(str(_FOLDER))


def ship(model: TrainedWorld, record: dict[str, Any], folder: Path) -> None:
    """Write a model's weights as float16, its training record and the folder's checksums.

    Args:
        model: what is shipped.
        record: see `training_record`.
        folder: `weights` of the package, or another.
    """
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    name = model.config.positions
    halved = {key: value.half().contiguous() for key, value in model.state_dict().items()}
    metadata = {**model.config.as_text(), "licence": LICENCE, "format": "worldkv trained world"}
    (folder / f"{name}.safetensors").write_bytes(save(halved, metadata))
    (folder / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
    files = sorted(folder.glob("*.safetensors"))
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}" for file in files]
    (folder / _SUMS).write_text("\n".join(lines) + "\n")
