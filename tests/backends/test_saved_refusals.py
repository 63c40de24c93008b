"""What is no whole world of the policy, shape and type given is refused in one sentence; so is what cannot be saved."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.backends.retrieval_policies import Prefetching
from tests.backends.rollouts import generate, loop, open_cache
from tests.backends.saved_rollouts import run
from tests.backends.test_going_back import CONFIGS, SMALL
from worldkv.backends.cache import WorldCache
from worldkv.backends.saved.world_folder import DOCUMENT, _document
from worldkv.errors import LostChunkError, OutputError, PolicyError, SavedWorldError, SpecError, WorldKVError
from worldkv.parts import Rebased, Relative
from worldkv.policies import WorldKV, WorldMem
from worldkv.policy import CachePolicy
from worldkv.scene import Scene

POLICY = WorldKV(3, 6, 3, 0.5)
PATH = loop(SMALL, chunks=12)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world of nine chunks, some of them on disk."""
    folder = tmp_path_factory.mktemp("saved") / "world"
    with open_cache(POLICY, SMALL, PATH, config=CONFIGS["disk"]) as cache:
        run(cache, PATH, 0, 9)
        cache.save(folder, extra={"latents": torch.arange(3)})
    return folder


def opened(folder: Path, policy: CachePolicy = POLICY, **options: Any) -> WorldCache:
    return WorldCache.open(folder, policy, options.pop("geometry", SMALL), **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"policy": WorldKV(3, 6, 3, 0.75)},
            "another policy: compression.keep_ratio|keep_ratio is 0.5 there and 0.75 here",
        ),
        ({"policy": WorldMem()}, "another policy: it is .*:WorldKV there and .*:WorldMem here"),
        ({"policy": dataclasses.replace(POLICY, positions=Rebased())}, "another policy: positions is .*Absolute there"),
        ({"geometry": dataclasses.replace(SMALL, layers=3)}, "another geometry: layers is 2 there and 3 here"),
        ({"geometry": dataclasses.replace(SMALL, itemsize=2)}, "another geometry: itemsize is 4 there and 2 here"),
        ({"dtype": torch.bfloat16}, "dtype of keys and values: it is float32 there and bfloat16 here"),
        ({"scene": Scene(view_distance=7.5)}, "another scene: view_distance is .* there and 7.5 here"),
    ],
)
def test_what_differs_is_named(saved: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(SavedWorldError, match=words) as caught:
        opened(saved, **options)
    assert "\n" not in str(caught.value)


def test_the_same_shape_under_another_name_is_the_same(saved: Path) -> None:
    opened(saved, geometry=dataclasses.replace(SMALL, name="mine")).close()


def rewritten(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """A document changed by somebody who knows how its digest is made."""
    world = json.loads((folder / DOCUMENT).read_text())["world"]
    change(world)
    (folder / DOCUMENT).write_bytes(_document(world))


def _set(world: dict[str, Any], value: Any, *path: Any) -> None:
    for key in path[:-1]:
        world = world[key]
    world[path[-1]] = value


MADE_UP: dict[str, tuple[tuple[Any, ...], Any]] = {
    "a later version": (("version",), 99),
    "no policy": (("facts", "policy"), None),
    "no signal of that name": (("facts", "signals"), ["SMELL"]),
    "no torch type": (("facts", "dtype"), "save"),
    "an argument more": (("facts", "form", "folder"), "/tmp"),
    "riders of text": (("facts", "form", "riders"), "two"),
    "more chunks than rows": (("chunks",), 10**12),
    "a window of 10^17 tokens": (("window", "capacity"), 10**17),
    "places taken twice": (("window", "chunks", 0, "places"), [[[0, 4], [2, 2]]]),
    "a place far away": (("window", "chunks", 0, "places"), [[[10**12, 6]]]),
    "a file outside": (("window", "chunks", 0, "file", 0), "../world.json"),
    "a file of the system": (("tensors", 0), "/etc/passwd"),
    "a size below 0": (("window", "chunks", 0, "file", 1), -1),
    "a chunk that is not banked": (("bank", 0, "chunk"), 8),
    "more elements": (("bank", 0, "elements"), 10**12),
    "packed as nothing": (("bank", 0, "packed"), [18, "int3"]),
    "counts that do not add up": (("state", "counts", "window"), 3),
    "a ledger of text": (("state", "ledgers", "host"), "many"),
    "staged chunks": (("staged",), [1]),
    "traffic of words": (("traffic",), ["a"] * 4),
    "a kind of value": (("extra",), {"pickle": "gASVAAAA"}),
    "a number of 5,000 digits": (("state", "home_bytes"), int("9" * 4000)),
}


@pytest.mark.parametrize("what", MADE_UP)
def test_a_document_that_somebody_made_up_is_one_sentence(saved: Path, tmp_path: Path, what: str) -> None:
    path, value = MADE_UP[what]
    folder = tmp_path / "world"
    shutil.copytree(saved, folder)
    rewritten(folder, lambda world: _set(world, value, *path))
    if what == "an argument more":  # is not looked at
        opened(folder).close()
        return
    with pytest.raises(WorldKVError) as caught:
        opened(folder)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _link(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


ODD: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "a named pipe": _fifo,
    "a loop of links": lambda path: _link(path, str(path)),
    "a device": lambda path: _link(path, "/dev/zero"),
    "a file of the system": lambda path: _link(path, "/proc/kmsg"),
    "a folder": lambda path: _link(path, "/tmp"),
    "nested": lambda path: path.write_bytes(b'{"world":' + b"[" * 100_000),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b" "),
}


@pytest.mark.parametrize("kind", [DOCUMENT, "window-*", "bank-*", "state-*"])
@pytest.mark.parametrize("what", ODD)
def test_odd_files_in_a_worlds_place_are_one_sentence(saved: Path, tmp_path: Path, what: str, kind: str) -> None:
    folder = tmp_path / "world"
    shutil.copytree(saved, folder)
    ODD[what](sorted(folder.glob(kind))[0])
    with pytest.raises(SavedWorldError) as caught:
        opened(folder)
    assert "\n" not in str(caught.value)


def test_a_changed_bit_anywhere_is_told(saved: Path, tmp_path: Path) -> None:
    """One bit of forty bytes of each kind of file, headers included."""
    draw = np.random.default_rng(0)
    folder = tmp_path / "world"
    shutil.copytree(saved, folder)
    for kind in (DOCUMENT, "window-*", "bank-*", "state-*"):
        for _ in range(40):
            file = draw.choice(sorted(folder.glob(kind)))
            whole = file.read_bytes()
            at, bit = int(draw.integers(len(whole))), int(draw.integers(8))
            file.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << bit)]) + whole[at + 1 :])
            with pytest.raises(SavedWorldError, match="is damaged|no saved world|of version"):
                opened(folder)
            file.write_bytes(whole)
    opened(folder).close()


def test_a_shared_bank_is_checked_when_it_is_read(saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "world"
    shutil.copytree(saved, folder)
    for file in folder.glob("bank-*"):
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    with opened(folder, share_bank=True) as cache, pytest.raises(LostChunkError, match="was altered"):
        for step in range(9, 12):
            generate(cache, PATH, step)


def test_save_comes_between_steps_and_into_a_folder_of_its_own(tmp_path: Path) -> None:
    with open_cache(POLICY, SMALL, PATH) as cache:
        cache.begin(PATH.views[0])
        with pytest.raises(PolicyError, match="save between steps only; commit step 0"):
            cache.save(tmp_path / "world")
        cache.reset()
        (tmp_path / "thesis.tex").write_text("mine")
        with pytest.raises(OutputError, match="'thesis.tex', which is no part of a saved world"):
            cache.save(tmp_path)
        with pytest.raises(OutputError, match="cannot be saved"):
            cache.save(tmp_path / "thesis.tex")
        assert (tmp_path / "thesis.tex").read_text() == "mine" and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(PolicyError, match="closed"):
        cache.save(tmp_path / "world")
    with pytest.raises(SavedWorldError, match="holds no saved world"):
        opened(tmp_path)


class Holds:
    """Something that nobody can write down."""


@dataclass(frozen=True)
class WithNet(Prefetching):
    net: Any = None


@pytest.mark.parametrize(
    ("policy", "extra", "words"),
    [
        (WithNet(Holds()), None, r"WithNet.net is a Holds, which cannot be written.*fields of the policy's dataclass"),
        (WithNet({"a": [Holds()]}), None, r"WithNet.net\['a'\]\[0\] is a Holds"),
        (POLICY, {"rng": torch.Generator()}, r"extra\['rng'\] is a Generator.*get_state"),
        (POLICY, {"model": Holds()}, r"extra\['model'\] is a Holds"),
        (POLICY, {"names": {(1, 2): 3}}, r"extra\['names'\] has the key \(1, 2\)"),
        (POLICY, {"words": np.array(["a"])}, r"extra\['words'\] is an array of <U1"),
        (POLICY, {"huge": 1 << 5000}, r"extra\['huge'\] is a whole number of 5001 bits"),
    ],
)
def test_what_cannot_be_written_is_named(policy: CachePolicy, extra: Any, words: str, tmp_path: Path) -> None:
    with open_cache(policy, SMALL, PATH) as cache, pytest.raises(SpecError, match=words):
        cache.save(tmp_path / "world", extra=extra)
    assert not (tmp_path / "world").exists()


def test_a_policys_own_state_is_told_as_a_difference(tmp_path: Path) -> None:
    """Policies are functions of their views; one that counts beside them would go on from another count."""

    class Counting(Prefetching):
        def retrieve(self, query: Any, bank: Any) -> Any:
            object.__setattr__(self, "asked", getattr(self, "asked", 0) + 1)
            return super().retrieve(query, bank)

    with open_cache(Counting(), SMALL, PATH) as cache:
        run(cache, PATH, 0, 6)
        cache.save(tmp_path)
    with pytest.raises(SavedWorldError, match="asked is 4 there and None here|asked is 5 there and None here"):
        opened(tmp_path, Counting())


def test_weights_in_arrays_are_compared_by_content(tmp_path: Path) -> None:
    weights = np.arange(6.0)
    with open_cache(WithNet(weights), SMALL, PATH) as cache:
        cache.save(tmp_path)
        scene = cache.engine.scene
    opened(tmp_path, WithNet(weights.copy()), scene=scene).close()
    with pytest.raises(SavedWorldError, match="net is array float64"):
        opened(tmp_path, WithNet(weights + 1), scene=scene)


def test_relative_positions_are_no_rebased_ones(tmp_path: Path) -> None:
    policy = dataclasses.replace(POLICY, positions=Relative())
    with open_cache(policy, SMALL, PATH) as cache:
        cache.save(tmp_path)
    with pytest.raises(SavedWorldError, match="positions is .*Relative there"):
        opened(tmp_path, dataclasses.replace(POLICY, positions=Rebased()))
