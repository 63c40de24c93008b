"""The listing of `worldkv policies`: every policy and part in short, or one in full."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rich.table import Table
from rich.text import Text

from worldkv.report.catalog import (
    claim_of,
    needs_by_default,
    paragraphs_of,
    parameters_of,
    parts_by_kind,
    source_of,
    spec_with,
)
from worldkv.report.printer import Printer

if TYPE_CHECKING:
    from worldkv.policy import Part
    from worldkv.signals import Signal


class Listed(NamedTuple):
    """A class under the name and in the spec string that a user writes."""

    name: str
    spec: str
    cls: type[Part]


def write_all(out: Printer) -> None:
    """Write every policy, then every part, in short."""
    for listed in _policies():
        _write_short(out, listed)
        out.line()
    out.line("Parts of composed, and parts of parts\n", style="bold")
    for listed in _parts():
        _write_short(out, listed)
        out.line()
    out.line(Text.assemble(("One in full, with the meaning of its parameters: worldkv policies NAME", "dim")))


def _policies() -> Iterator[Listed]:
    from worldkv.specs.names import policy_classes

    yield from (Listed(name, name, cls) for name, cls in policy_classes().items())


def _parts() -> Iterator[Listed]:
    for kind, parts in parts_by_kind().items():
        for name, cls in parts.items():
            yield Listed(f"{kind}={name}", spec_with(kind, name), cls)


def named(name: str) -> Sequence[Listed]:
    """The policies and parts that a name or spec string stands for; one name may stand for both.

    Raises:
        SpecError: no policy and no part has this name.
    """
    from worldkv.errors import SpecError, did_you_mean
    from worldkv.specs.names import imported

    known: dict[str, list[Listed]] = {}
    for listed in (*_policies(), *_parts()):
        kind, is_part, _ = listed.name.rpartition("=")
        words = [f"{kind}={word}" for word in listed.cls.spec_names] if is_part else []
        for word in {listed.name, *listed.cls.spec_names, *words}:
            known.setdefault(word, []).append(listed)
    head, is_longer, _ = name.partition(":")
    if head in known:
        return known[head]
    if is_longer:
        return [Listed(name, name, imported(name))]
    if name not in known:
        raise SpecError(f"no policy and no part is called {name!r}; {did_you_mean(name, known)}")
    return known[name]


def _write_short(out: Printer, listed: Listed) -> None:
    out.line(Text.assemble((listed.name, "bold cyan"), "  ", claim_of(listed.cls)))
    takes = ", ".join(f"{taken.name}={taken.default}" for taken in parameters_of(listed.cls))
    for key, value, style in (
        ("takes", takes, ""),
        ("needs", _words(needs_by_default(listed.cls)), ""),
        ("from", source_of(listed.cls), "dim"),
    ):
        if value:
            out.line(Text.assemble(f"    {key}  ", (value, style)))


def write_one(out: Printer, listed: Listed) -> None:
    """Write one policy or part in full: paragraphs, parameters, needs, source, and commands to try it."""
    out.line(Text.assemble((listed.name, "bold cyan")))
    for paragraph in paragraphs_of(listed.cls):
        out.line(Text.assemble(paragraph))
        out.line()
    takes = parameters_of(listed.cls)
    if takes:
        out.line(Text.assemble(("Takes", "bold")))
        _write_pairs(out, ((f"  {taken.name}={taken.default}", taken.meaning) for taken in takes))
        out.line()
    pairs = (
        ("Needs", _words(needs_by_default(listed.cls)) or "nothing"),
        ("From", source_of(listed.cls)),
        ("Code", f"{listed.cls.__module__}:{listed.cls.__qualname__}"),
        *zip(("Try", ""), _first_commands(listed), strict=False),
    )
    _write_pairs(out, ((key, value) for key, value in pairs if value), style="bold")


def _write_pairs(out: Printer, pairs: Iterable[tuple[str, str]], *, style: str = "") -> None:
    """Two columns; the second is folded under itself."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style=style)
    grid.add_column()
    for key, value in pairs:
        grid.add_row(Text(key), Text(value))
    out.table(grid)


def _first_commands(listed: Listed) -> tuple[str, ...]:
    """Commands to try it: in the simulator where that has the signals, else on a model or on a recording."""
    from worldkv.signals import Signal

    needs = needs_by_default(listed.cls)
    path = "script:RRR360_540" if Signal.ACTION in needs else "generate:tour"
    if Signal.ATTENTION_AHEAD in needs:
        return (
            f"worldkv run {path} --policy full-kv --record tour.safetensors",
            f"worldkv compare tour.safetensors --policy {listed.spec}",
        )
    simulated = needs <= {Signal.POSE, Signal.ACTION, Signal.LANDMARKS}
    return (f"worldkv {'compare' if simulated else 'run'} {path} --policy {listed.spec}",)


def _words(needs: frozenset[Signal]) -> str:
    return ", ".join(sorted(signal.value for signal in needs))
