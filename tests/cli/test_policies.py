"""`worldkv policies`: all in short, some in full, and what it proposes to try works."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.cli.conftest import Worldkv
from worldkv.policy import CachePolicy
from worldkv.report.catalog import parameters_of, parts_by_kind, spec_with
from worldkv.specs.names import policy_classes
from worldkv.specs.parse import parameters, parse_policy

PARTS = [(kind, name, cls) for kind, parts in parts_by_kind().items() for name, cls in parts.items()]
CLASSES = [*policy_classes().values(), *(cls for _, _, cls in PARTS)]


def test_policies_tell_name_parameters_needs_and_source(worldkv: Worldkv) -> None:
    out = worldkv("policies").out
    for name in ("full-kv", "drop-oldest", "sliding-window", "worldkv", "random", "oracle", "composed"):
        assert re.search(rf"^{name}  \S", out, re.MULTILINE)
    assert "keep_ratio=0.25" in out and "arXiv 2605.22718" in out and "needs  pose" in out
    for part in ("index=pose", "selector=top-k", "eviction=sink-recent", "compression=world-compression"):
        assert part in out


def test_one_in_full_tells_what_its_parameters_mean(worldkv: Worldkv) -> None:
    out = worldkv("policies", "hysteresis").out
    assert out.startswith("wrappers=hysteresis\nChunks retrieved at the last step count for more")
    assert re.search(r"^  margin=0.05  what residence is worth, as a share of the range", out, re.MULTILINE)
    assert "\n\nNeeds  nothing\nFrom   this project" in out and "index=" not in out
    assert out.endswith("\nTry    worldkv compare generate:tour --policy composed:wrappers=hysteresis\n")


def test_a_name_of_a_policy_and_of_a_part_tells_both(worldkv: Worldkv) -> None:
    out = worldkv("policies", "mean-key").out
    assert out.startswith("mean-key\n") and "\n\nindex=mean-key\n" in out
    assert (
        worldkv("policies", "index=mean-key").out
        == out.partition("\n\nindex")[1].strip() + out.partition("\n\nindex")[2]
    )


def test_a_part_by_its_other_names_and_a_policy_with_its_parameters(worldkv: Worldkv) -> None:
    plain, other = (worldkv("policies", f"compression={name}").out for name in ("world-compression", "worldkv"))
    assert plain == other and plain.startswith("compression=world-compression\n")
    assert worldkv("policies", "worldkv:keep_ratio=0.5").out == worldkv("policies", "worldkv").out


def test_a_file_s_class_is_told_too(worldkv: Worldkv, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from dataclasses import dataclass\nfrom worldkv.policies import FullKV\n\n\n"
        "@dataclass(frozen=True)\nclass Mine(FullKV):\n"
        '    """Keeps it all.\n\n    Attributes:\n        size: how\n            much.\n    """\n\n    size: int\n'
    )
    out = worldkv("policies", f"{file}:Mine").out
    assert "\nKeeps it all.\n" in out and "\nNeeds  nothing\n" in out and "how much.\n" in out


def test_an_unknown_name_is_one_sentence_with_the_nearest(worldkv: Worldkv) -> None:
    ran = worldkv("policies", "hysteresys")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "worldkv: no policy and no part is called 'hysteresys'; did you mean hysteresis?\n"


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_parameter_of_every_class_has_a_meaning(cls: type[CachePolicy]) -> None:
    told = parameters_of(cls)
    assert [taken.name for taken in told] == list(parameters(cls))
    assert all(taken.meaning for taken in told), [taken.name for taken in told if not taken.meaning]


@pytest.mark.parametrize(("kind", "name", "cls"), PARTS, ids=lambda value: value if isinstance(value, str) else "")
def test_the_spec_proposed_for_a_part_uses_it(kind: str, name: str, cls: type[CachePolicy]) -> None:
    def below(part: object) -> set[type]:
        return {type(part)} | {
            found for inner in vars(part).values() if hasattr(inner, "spec_names") for found in below(inner)
        }

    policy = parse_policy(spec_with(kind, name))
    wrapped = {found for inner in getattr(policy, "wrappers", ()) for found in below(inner)}
    assert cls in below(policy) | wrapped


@pytest.mark.parametrize("name", ["frugal-coverage", "frugal", "action", "landmark-need"])
def test_what_it_proposes_to_try_works(worldkv: Worldkv, name: str) -> None:
    command = re.search(r"^Try    worldkv (.+)$", worldkv("policies", name).out, re.MULTILINE)
    assert command is not None
    assert worldkv(*shlex.split(command[1])).code == 0


@pytest.mark.parametrize(("name", "verb"), [("worldkv", "compare"), ("mean-key", "run"), ("sp-kv", "run")])
def test_what_only_a_model_can_tell_is_tried_on_one(worldkv: Worldkv, name: str, verb: str) -> None:
    assert f"\nTry    worldkv {verb} generate:tour --policy {name}\n" in worldkv("policies", name).out


def test_what_looks_ahead_in_a_recording_says_how_to_make_one(worldkv: Worldkv) -> None:
    first, second = worldkv("policies", "attention-oracle").out.splitlines()[-2:]
    assert first == "Try    worldkv run generate:tour --policy full-kv --record tour.safetensors"
    assert second == "       worldkv compare tour.safetensors --policy attention-oracle"
