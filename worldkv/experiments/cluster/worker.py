"""What a worker of a cluster does: check that its code is the sweep's, unpack the user's files, run the task."""

from __future__ import annotations

import functools
import os
import pickle
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from worldkv.errors import WorldKVError
from worldkv.experiments.cluster.luggage import Luggage, TravellingFiles, forget_modules, respelled
from worldkv.experiments.cluster.versions import difference

ROWS, REFUSED = "rows", "refused"
"""First word of a worker's answer: the task's rows follow, or the sentence that ends the sweep."""

_ONE_AT_A_TIME = threading.Lock()
"""A policy's file is loaded anew for every row, so a worker with several threads runs one task at a time."""


def run_errand(versions: Mapping[str, str], errand: bytes, luggage: bytes) -> tuple[str, Any]:
    """Run one task on this machine.

    Everything comes as bytes, so that a worker with another worldkv can still say so.

    Args:
        versions: what the machine that started the sweep has.
        errand: the pickled `SweepTask`, without its trajectory.
        luggage: the pickled `Luggage`.

    Returns:
        `ROWS` and the task's rows, or `REFUSED` and a sentence.
    """
    unlike = difference(versions)
    if unlike is not None:
        return REFUSED, unlike
    from worldkv.sim.sweep import LoadedPath, SweepTask, run_task

    with _ONE_AT_A_TIME:
        opened = _opened(luggage)
        folder, files = _UNPACKED.folder_of(opened.files), opened.files
        places = {name: f"{folder}/./{place}" for name, place in files.names.items()}
        task: SweepTask = pickle.loads(errand)
        path = replace(task.path_at_seed, source=LoadedPath(opened.trajectory))
        rows = tuple((respelled(spec, places) if places else spec, known) for spec, known in task.rows)
        try:
            done = run_task(replace(task, path_at_seed=path, rows=rows))
        except WorldKVError as error:
            return REFUSED, str(error)
    # A spec has a name with the dot in it; where Python tells a file's name, the dot is gone and the name was absolute.
    here = {place: name for name, place in places.items()}
    here |= {f"{folder}/{place}/": f"{home}/" for place, home in files.homes.items()}
    for row in done:
        for column in ("spec", "status"):
            for found, name in here.items():
                row[column] = row[column] and row[column].replace(found, name)
    return ROWS, done


@functools.lru_cache(maxsize=1)
def _opened(luggage: bytes) -> Luggage:
    opened: Luggage = pickle.loads(luggage)
    return opened


class _Unpacked:
    """The user's files on this machine, in a folder that goes with the process; those of one sweep at a time."""

    def __init__(self) -> None:
        """Nothing unpacked yet."""
        self._files = TravellingFiles()
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def folder_of(self, files: TravellingFiles) -> str:
        """Where they lie; unpacks them if they are not those of the last task."""
        if files != self._files or self._folder is None:
            if self._folder is not None:
                forget_modules(Path(self._folder.name))
                self._folder.cleanup()
            self._folder = tempfile.TemporaryDirectory(prefix="worldkv-policies-", ignore_cleanup_errors=True)
            for name, content in files.contents.items():
                place = Path(self._folder.name, name)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
            sys.path[:0] = [os.path.join(self._folder.name, name) for name in files.import_from]
            self._files = files
        return self._folder.name


_UNPACKED = _Unpacked()
