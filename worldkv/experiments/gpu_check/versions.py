"""What is installed, and which device torch sees."""

from __future__ import annotations

import importlib.metadata
import platform
import re
from collections.abc import Iterator
from typing import Any

from worldkv.experiments.gpu_check.check import Figure, Setting
from worldkv.experiments.gpu_check.packages import FOR_TESTS, NEEDED, install_line, missing

LEAST_TORCH, LEAST_PYTHON = (2, 9), (3, 11)


def run(setting: Setting) -> Iterator[Figure]:
    """Versions and packages."""
    import torch

    from worldkv.backends.on_device import accelerator_name, free_bytes
    from worldkv.report.format import amount

    yield _at_least("Python", platform.python_version(), LEAST_PYTHON, "Take a newer interpreter: make PYTHON=...")
    yield _at_least("torch", torch.__version__, LEAST_TORCH, "Older ones are not tested.")
    yield Figure(
        "device", "", f"{setting.device}, {accelerator_name(setting.device) or platform.processor() or 'a CPU'}"
    )
    free = free_bytes(setting.device)
    if free is not None:
        yield Figure("free memory", "", amount(free))
    of_cudnn: Any = torch.backends.cudnn
    cudnn = of_cudnn.version() if of_cudnn.is_available() else None
    if cudnn is not None:
        yield Figure("cuDNN", "", f"{cudnn}; above 91500 torch takes it first on Hopper, see attention-lengths")
    yield _packages("packages of worldkv", missing(NEEDED), "Nothing below is to be trusted without them.")
    yield _packages(
        "packages of its tests", missing(FOR_TESTS), "Without them device-tests and device-numerics do not run."
    )
    known = [f"{name} {version}" for name in (*NEEDED, *FOR_TESTS) if (version := _version(name)) is not None]
    yield Figure("installed", "", ", ".join(known))


def _packages(what: str, absent: list[str], otherwise: str) -> Figure:
    cure = f"{install_line(absent)}; without a network, carry their wheels. {otherwise}"
    return Figure(what, "all there", f"without {', '.join(absent)}" if absent else "all there", not absent, cure)


def _at_least(what: str, found: str, least: tuple[int, int], otherwise: str) -> Figure:
    numbers = tuple(int(part) for part in re.findall(r"\d+", found)[:2])
    return Figure(what, f"{least[0]}.{least[1]} or newer", found, numbers >= least, otherwise)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
