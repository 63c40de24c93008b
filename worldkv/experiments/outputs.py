"""Check the files that an experiment will write before it starts."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from worldkv.errors import OutputError
from worldkv.exports.rerun_recording import require_rerun

STANDARD_OUTPUT = "-"
"""The file name that stands for standard output."""

PLOT_SUFFIXES = (".png", ".svg", ".pdf")
ONLY_SUFFIX = {"--filmstrip": ".png", "--film": ".gif", "--report": ".html", "--timeline": ".json", "--rerun": ".rrd"}


def check_outputs(source: str, outputs: Sequence[tuple[str, str | None]]) -> None:
    """Refuse output files that cannot be written, before any work is done.

    Args:
        source: the file of the trajectory, which no output may replace.
        outputs: option and file of each output; None for an option not given.

    Raises:
        OutputError: a folder that is missing or not writable, something that is no plain file, the same file twice.
    """
    taken = {_whole(os.path.expanduser(source)): "TRAJECTORY"}
    for option, name in outputs:
        if name is None or (name == STANDARD_OUTPUT and option == "--json"):
            continue
        if name in ("", STANDARD_OUTPUT):
            raise OutputError(f"{option} needs a file name, got {name!r}; only --json can go to standard output")
        if "\0" in name:
            raise OutputError(f"{option} {name} has a zero byte in it, which no file name may; name another")
        path = _whole(name)
        if path in taken:
            raise OutputError(f"{option} {name} is the same file as {taken[path]}; give it a name of its own")
        taken[path] = option
        if option == "--plot" and path.suffix.lower() not in PLOT_SUFFIXES:
            raise OutputError(f"--plot {name} must end in {', '.join(PLOT_SUFFIXES)}; take a name such as plot.png")
        if option in ONLY_SUFFIX and path.suffix.lower() != ONLY_SUFFIX[option]:
            raise OutputError(f"{option} {name} must end in {ONLY_SUFFIX[option]}")
        if option == "--rerun":
            require_rerun()
        _check_writable(f"{option} {name}", path)


def _whole(name: str) -> Path:
    """The absolute path that a name stands for; one of a loop of links stays as it is, and is refused where used."""
    return Path(os.path.realpath(name)) if "\0" not in name else Path(name)


def _check_writable(what: str, path: Path) -> None:
    try:
        if path.is_dir():
            raise OutputError(f"{what} is a folder; name a file in it")
        if path.is_symlink():
            raise OutputError(f"{what} is a link that leads to itself; name another file")
        if path.exists() and not path.is_file():
            raise OutputError(f"{what} is not a plain file; name a new or an ordinary one")
        if not path.parent.is_dir():
            raise OutputError(f"{what} cannot be written: there is no folder {path.parent}; make it or name another")
        if path.exists() and not os.access(path, os.W_OK):
            raise OutputError(f"{what} is there and may not be written; make it writable or name another file")
        handle, probe = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        os.unlink(probe)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise OutputError(f"{what} cannot be written ({why}); name a file in a writable folder") from None


def check_folder(option: str, name: str, source: str) -> None:
    """Refuse an output folder that cannot be written; it may exist, or is made later.

    Raises:
        OutputError: a file is in its place, it or the nearest folder above is not writable, or it is the source.
    """
    folder = _whole(name)
    if folder == _whole(os.path.expanduser(source)):
        raise OutputError(f"{option} {name} is the folder of TRAJECTORY itself; name another")
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise OutputError(f"{option} {name} cannot be made: {folder} is no folder; name another")
    _check_writable(f"{option} {name}", folder / "poses.npy")


def check_written(source: Any, **files: str | os.PathLike[str] | None) -> None:
    """Refuse a function's output files as `check_outputs` does a command's: `log=...` is `--log`.

    Raises:
        OutputError: see `check_outputs`.
    """
    named = os.fspath(source) if isinstance(source, str | os.PathLike) else ""
    check_outputs(named, [(f"--{name}", None if file is None else os.fspath(file)) for name, file in files.items()])
