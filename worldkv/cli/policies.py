"""`worldkv policies`: every policy, what it takes, needs and comes from; or all that one says of itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

if TYPE_CHECKING:
    from worldkv.policy import Part
    from worldkv.signals import Signal

HELP = """List every policy: its name, parameters with their defaults, what it needs to know, and where it comes from.

Below them stand the parts that [cyan]composed:[/cyan] puts together, as in
[cyan]composed:index=pose,selector=spread,least_gap_chunks=4[/cyan]. Where several parts take a parameter of one name,
[cyan]age-penalty.penalty=0.3[/cyan] says whose it is. Sizes count latent frames; write
[cyan]retrieved_chunks=6[/cyan] for [cyan]retrieved_frames=18[/cyan] where a chunk has three.

Name some, and each is told in full, what its parameters mean included:
[cyan]worldkv policies worldkv hysteresis[/cyan]."""

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME", help="Policies or parts to tell in full, file.py:Class too; all in short if none is named."
    ),
]


class Listed(NamedTuple):
    """A class under the name and in the spec string that a user writes."""

    name: str
    spec: str
    cls: type[Part]


def policies(names: Names = None) -> None:
    """See `HELP`."""
    from worldkv.report.tables import console

    if names:
        found = [listed for name in names for listed in _named(name)]
        for number, listed in enumerate(found):
            if number:
                print()
            _print_whole(listed)
        return
    for listed in _policies():
        _print_short(listed)
        print()
    console().print("Parts of composed, and parts of parts\n", style="bold")
    for listed in _parts():
        _print_short(listed)
        print()
    _say(("One in full, with the meaning of its parameters: worldkv policies NAME", "dim"))


def _policies() -> Iterator[Listed]:
    from worldkv.specs.names import policy_classes

    yield from (Listed(name, name, cls) for name, cls in policy_classes().items())


def _parts() -> Iterator[Listed]:
    from worldkv.report.catalog import parts_by_kind, spec_with

    for kind, parts in parts_by_kind().items():
        for name, cls in parts.items():
            yield Listed(f"{kind}={name}", spec_with(kind, name), cls)


def _named(name: str) -> Sequence[Listed]:
    """What a user may mean by a name or a spec: a policy, a part by any of its names, or both.

    Raises:
        SpecError: nothing is called so.
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


def _print_short(listed: Listed) -> None:
    from worldkv.report.catalog import claim_of, needs_by_default, parameters_of, source_of

    _say((listed.name, "bold cyan"), "  ", claim_of(listed.cls))
    takes = ", ".join(f"{taken.name}={taken.default}" for taken in parameters_of(listed.cls))
    for key, value, style in (
        ("takes", takes, ""),
        ("needs", _words(needs_by_default(listed.cls)), ""),
        ("from", source_of(listed.cls), "dim"),
    ):
        if value:
            _say(f"    {key}  ", (value, style))


def _print_whole(listed: Listed) -> None:
    from worldkv.report.catalog import needs_by_default, paragraphs_of, parameters_of, source_of

    _say((listed.name, "bold cyan"))
    for paragraph in paragraphs_of(listed.cls):
        _say(paragraph)
        print()
    takes = parameters_of(listed.cls)
    if takes:
        _say(("Takes", "bold"))
        _print_pairs((f"  {taken.name}={taken.default}", taken.meaning) for taken in takes)
        print()
    pairs = (
        ("Needs", _words(needs_by_default(listed.cls)) or "nothing"),
        ("From", source_of(listed.cls)),
        ("Code", f"{listed.cls.__module__}:{listed.cls.__qualname__}"),
        *zip(("Try", ""), _first_commands(listed), strict=False),
    )
    _print_pairs(((key, value) for key, value in pairs if value), style="bold")


def _print_pairs(pairs: Iterable[tuple[str, str]], *, style: str = "") -> None:
    """Two columns; the second is folded under itself."""
    from rich.table import Table
    from rich.text import Text

    from worldkv.report.tables import console, print_table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style=style)
    grid.add_column()
    for key, value in pairs:
        grid.add_row(Text(key), Text(value))
    print_table(console(), grid)


def _first_commands(listed: Listed) -> tuple[str, ...]:
    """What shows it at work: the simulator where it knows enough, else a model, or a recorded run of one."""
    from worldkv.report.catalog import needs_by_default
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


def _say(*pieces: str | tuple[str, str]) -> None:
    from rich.text import Text

    from worldkv.report.tables import console

    out = console()
    out.print(Text.assemble(*pieces), soft_wrap=not out.is_terminal)
