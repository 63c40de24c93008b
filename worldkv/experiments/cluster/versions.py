"""What must be equal on two machines so that they compute the same figures to the last bit."""

from __future__ import annotations

import functools
import hashlib
import platform
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import worldkv


@functools.cache
def versions() -> dict[str, str]:
    """Python, numpy, scipy, worldkv and a digest of worldkv's source on this machine."""
    found = {"Python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    for package in ("numpy", "scipy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "none"
    return found | {"worldkv": worldkv.__version__, "the source of worldkv": _source_digest()}


def difference(theirs: Mapping[str, str]) -> str | None:
    """What this machine, a worker's, has otherwise than the one that started the sweep; None where nothing is."""
    ours = versions()
    for name, wanted in theirs.items():
        if ours.get(name) != wanted:
            return (
                f"the worker on {platform.node()} has {name} {ours.get(name)}, the machine that started the sweep has "
                f"{wanted}; install the same there, equal figures need equal code"
            )
    return None


def _source_digest() -> str:
    """A digest of every Python file of the package, by its place and content."""
    root, digest = Path(worldkv.__file__).parent, hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(root).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:12]
