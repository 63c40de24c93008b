"""`worldkv policies`: every policy, what it takes, needs and comes from."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worldkv.policy import Part

HELP = """List every policy: its name, parameters with their defaults, what it needs to know, and where it comes from.

Below them stand the parts that [cyan]composed:[/cyan] puts together, as in
[cyan]composed:index=pose,selector=spread,least_gap_chunks=4[/cyan]. Where several parts take a parameter of one name,
[cyan]age-penalty.penalty=0.3[/cyan] says whose it is. Sizes count latent frames; write
[cyan]retrieved_chunks=6[/cyan] for [cyan]retrieved_frames=18[/cyan] where a chunk has three."""

_SOURCE = re.compile(r"Source:\s*(?P<source>.+?)\.?(?:\s*\n\s*\n|\s*$)", re.DOTALL)
_FIRST = re.compile(r"(?P<claim>.+?)(?:\.\s|\.?$)", re.DOTALL)


def policies() -> None:
    """See `HELP`."""
    from worldkv.cli.tables import console
    from worldkv.policy_names import policy_classes

    out = console()
    for name, cls in policy_classes().items():
        _print(name, cls)
    out.print("Parts of composed, and parts of parts", style="bold")
    for kind, parts in parts_by_kind().items():
        print()
        for name, cls in parts.items():
            _print(f"{kind}={name}", cls, is_part=True)


def parts_by_kind() -> dict[str, dict[str, type[Part]]]:
    """The parts of this package by the field that takes them, each under the first of its names."""
    from worldkv.parts import PARTS
    from worldkv.parts.need import Need
    from worldkv.policy import (
        Compression,
        CoverageIndex,
        CoverageSelector,
        EvictionRule,
        Index,
        RetrievalWrapper,
        ScoreWrapper,
        Selector,
        TokenScorer,
    )

    kinds: dict[str, tuple[type[Part], ...]] = {
        "index": (Index, CoverageIndex),
        "selector": (Selector, CoverageSelector),
        "wrappers": (ScoreWrapper, RetrievalWrapper),
        "eviction": (EvictionRule,),
        "compression": (Compression,),
        "scorer": (TokenScorer,),
        "need": (Need,),
    }
    return {
        field: {name: cls for name, cls in PARTS.items() if issubclass(cls, kind) and name == cls.spec_names[0]}
        for field, kind in kinds.items()
    }


def source_of(cls: type) -> str:
    """What the `Source:` sentence of a docstring says, in one line; empty where there is none."""
    found = _SOURCE.search(_paragraphs(cls))
    return "" if found is None else " ".join(found["source"].split())


def claim_of(cls: type) -> str:
    """The first sentence of a docstring."""
    found = _FIRST.match(_paragraphs(cls))
    return "" if found is None else " ".join(found["claim"].split())


def _paragraphs(cls: type) -> str:
    return (inspect.getdoc(cls) or "").split("\nAttributes:")[0].strip()


def _has_defaults(cls: type[Part]) -> bool:
    """Whether the class can be made without a word; somebody else's may not."""
    missing = dataclasses.MISSING
    fields: tuple[dataclasses.Field[Any], ...] = dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()
    return all(field.default is not missing or field.default_factory is not missing for field in fields)


def _print(name: str, cls: type[Part], *, is_part: bool = False) -> None:
    from rich.text import Text

    from worldkv.cli.tables import console
    from worldkv.policy import needs_of
    from worldkv.spec import parameters

    out = console()
    takes: dict[str, str] = parameters(cls) if dataclasses.is_dataclass(cls) else {}
    needs = needs_of(cls()) if _has_defaults(cls) else cls.needs
    lines = [
        ("takes", ", ".join(f"{key}={value}" for key, value in takes.items())),
        ("needs", ", ".join(sorted(signal.value for signal in needs))),
        ("from", source_of(cls)),
    ]
    text = Text.assemble((name, "bold cyan"), "  ", claim_of(cls))
    out.print(text, soft_wrap=not out.is_terminal)
    for key, value in lines:
        if value:
            out.print(
                Text.assemble(f"    {key}  ", (value, "dim" if key == "from" else "")), soft_wrap=not out.is_terminal
            )
    if not is_part:
        print()
