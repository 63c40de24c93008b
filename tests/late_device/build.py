"""Compile the late device against the installed torch, file by file, and only what has changed.

Run: python -m tests.late_device.build
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import sysconfig
from pathlib import Path

SOURCES = Path(__file__).parent / "csrc"
BUILT = Path(__file__).parents[2] / "build" / "late_device"
"""Ignored by git."""
NAME = "late_device"
COMPILER = "g++"


def build() -> Path:
    """The extension's file, compiled unless it is there; minutes of g++ the first time, nothing after that.

    Raises:
        RuntimeError: no compiler, or what it says.
    """
    from torch.utils import cpp_extension

    flags = ["-std=c++20", "-O1", "-fPIC", "-w", f"-DTORCH_EXTENSION_NAME={NAME}"]
    includes = [*cpp_extension.include_paths(), sysconfig.get_path("include")]
    flags += [part for folder in includes for part in ("-isystem", folder)]
    key = _key(flags)
    folder = BUILT / key
    folder.mkdir(parents=True, exist_ok=True)
    headers = "".join(header.read_text() for header in sorted(SOURCES.glob("*.h")))
    objects = []
    for source in sorted(SOURCES.glob("*.cpp")):
        found = folder / f"{source.stem}-{_hashed(headers + source.read_text())}.o"
        objects.append(found)
        if not found.exists():
            print(f"compiling {source.name}", file=sys.stderr, flush=True)
            _run([COMPILER, *flags, "-c", str(source)], found)
    library = folder / f"{NAME}-{_hashed(' '.join(each.name for each in objects))}.so"
    if not library.exists():
        libraries = [part for place in cpp_extension.library_paths() for part in (f"-L{place}", f"-Wl,-rpath,{place}")]
        linked = ["-shared", *map(str, objects), *libraries, "-lc10", "-ltorch", "-ltorch_cpu", "-ltorch_python"]
        _run([COMPILER, *linked], library)
    return library


def _key(flags: list[str]) -> str:
    """What objects of one torch, interpreter and set of flags are filed under."""
    import torch

    return f"{torch.__version__}-{sys.implementation.cache_tag}-{_hashed(' '.join(flags))}"


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _run(command: list[str], target: Path) -> None:
    """Run a compiler that writes `target`, which is there whole or not at all."""
    part = target.with_suffix(".part")
    try:
        done = subprocess.run([*command, "-o", str(part)], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise RuntimeError(f"{COMPILER} is not installed, which compiles the late device; install it") from error
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[-3:])} failed:\n{done.stderr}")
    part.rename(target)


if __name__ == "__main__":
    print(build())
