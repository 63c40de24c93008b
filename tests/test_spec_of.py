"""What `spec_of` writes is read back as the same policy, whatever is put together."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from safetensors.numpy import save_file

from worldkv.errors import SpecError
from worldkv.parts import PARTS, AgePenalty, AnchorPenalty, FrustumIndex, ScoredTokens, WorldCompression
from worldkv.parts.scorer.anchor_penalty import save_direction
from worldkv.policies import Composed
from worldkv.policy import Part
from worldkv.specs.names import policy_classes
from worldkv.specs.parse import parse_part, parse_policy, spec_of

DEEPEST = 3
"""Parts inside parts inside a policy."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@functools.cache
def file_of(folder: Path, name: str) -> str:
    """A file of weights or of a direction, made once."""
    path = folder / f"{name}.safetensors"
    if name == "direction":
        save_direction(np.ones((2, 2, 4), np.float32), path)
    else:
        shapes = {"w1": (2, 3, 5), "b1": (2, 3), "w2": (2, 2, 3), "b2": (2, 2)}
        save_file({key: np.zeros(shape, np.float32) for key, shape in shapes.items()}, path)
    return str(path)


def texts(name: str, folder: Path) -> SearchStrategy[str]:
    return {
        "references": st.sampled_from(("0-5", "0-5+18-23", "7", "")),
        "weights": st.sampled_from(("", file_of(folder, "weights"))),
        "direction": st.sampled_from(("", file_of(folder, "direction"))),
    }[name]


def values(name: str, hint: Any, folder: Path, depth: int) -> SearchStrategy[Any]:
    """Values of a field, in range for nearly every class there is."""
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if typing.get_origin(hint) is tuple:
        return st.lists(values(name, typing.get_args(hint)[0], folder, depth), max_size=3).map(tuple)
    found: list[SearchStrategy[Any]] = []
    for option in options:
        if option is type(None):
            found.append(st.none())
        elif option is bool:
            found.append(st.booleans())
        elif option is int:
            found.append(st.integers(0, 20).map(lambda n: 2 * n + 1) if name == "pooled_tokens" else st.integers(0, 40))
        elif option is float:
            found.append(st.floats(0.01, 1.0))
        elif option is str:
            found.append(texts(name, folder))
        elif typing.get_origin(option) is Literal:
            found.append(st.sampled_from(typing.get_args(option)))
        elif isinstance(option, type) and issubclass(option, Part) and depth:
            fitting = [cls for cls in dict.fromkeys(PARTS.values()) if issubclass(cls, option)]
            found.append(st.sampled_from(fitting).flatmap(lambda cls: made_of(cls, folder, depth - 1)))
    assert found or not depth, f"no values for {name}: {hint}"
    return st.one_of(found)


def made_of(cls: type[Part], folder: Path, depth: int = DEEPEST) -> SearchStrategy[Part]:
    """Instances of a class, some of their fields drawn."""
    hints = typing.get_type_hints(cls)
    fields = dataclasses.fields(typing.cast(Any, cls))
    drawn = {field.name: values(field.name, hints[field.name], folder, depth) for field in fields}
    possible = {name: strategy for name, strategy in drawn.items() if not strategy.is_empty}

    def make(changed: dict[str, Any]) -> Part:
        try:
            return cls(**changed)
        except SpecError:  # out of range, or an index and a selector that do not go together
            reject()

    return st.fixed_dictionaries({}, optional=possible).map(make)


@pytest.mark.parametrize("name", policy_classes())
@settings(max_examples=12)
@given(data=st.data())
def test_a_policy_reads_back_as_itself(name: str, data: st.DataObject, folder: Path) -> None:
    policy = data.draw(made_of(policy_classes()[name], folder))
    assert parse_policy(spec_of(policy)) == policy


@settings(max_examples=100)
@given(data=st.data())
def test_a_composition_reads_back_as_itself(data: st.DataObject, folder: Path) -> None:
    policy = data.draw(made_of(Composed, folder))
    spec = spec_of(policy)
    assert parse_policy(spec) == policy
    keys = [pair.partition("=")[0] for pair in spec.partition(":")[2].split(",")]
    assert len(keys) == len(set(keys)), "no key stands there twice"


@pytest.mark.parametrize(
    "name", sorted(PARTS.keys() - policy_classes().keys())
)  # of two of one name the policy is meant
@settings(max_examples=8)
@given(data=st.data())
def test_a_part_reads_back_as_itself_or_as_the_policy_of_it(name: str, data: st.DataObject, folder: Path) -> None:
    part = data.draw(made_of(PARTS[name], folder))
    try:
        found = parse_part(spec_of(part))
    except SpecError:
        assert not hasattr(part, "scores")
        return
    assert part in (found, getattr(found, "index", None))


def test_a_key_is_told_with_its_part_where_it_is_not_clear_without() -> None:
    both = Composed(compression=ScoredTokens(AnchorPenalty(penalty=0.5)), wrappers=(AgePenalty(0.3),))
    assert spec_of(both) == (
        "composed:compression=scored-tokens,scorer=anchor-penalty,anchor-penalty.penalty=0.5,"
        "wrappers=age-penalty,age-penalty.penalty=0.3"
    )
    one = Composed(FrustumIndex(), compression=WorldCompression(0.5))
    assert spec_of(one) == "composed:index=frustum,compression=world-compression,world-compression.keep_ratio=0.5"
    alone = Composed(wrappers=(AgePenalty(0.3),))
    assert spec_of(alone) == "composed:wrappers=age-penalty,penalty=0.3"


def test_what_no_spec_string_can_say_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a,b.safetensors"
    save_direction(np.ones((1, 1, 2), np.float32), path)
    with pytest.raises(SpecError, match="cannot stand in a spec string; take one without commas"):
        spec_of(AnchorPenalty(direction=str(path)))
