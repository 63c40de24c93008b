"""The page of a mutation run, docs/mutants.md, and whether the run is good enough."""

from __future__ import annotations

import datetime
import tomllib
from pathlib import Path

from benchmarks.machine import machine
from benchmarks.mutants_read import Mutant

MOST_ALIVE = 0.1
"""Of all mutants."""
MOST_EXCUSED = 20

EXCUSED = Path(__file__).with_name("mutants_excused.toml")
PARTS = "worldkv/parts/"

HEADER = """# Mutants

A mutant is the code with one small change: `<` for `<=`, `None` for an argument, a text in capitals. One that no test
notices is *alive*. Changed are the engine, the tiers and the three main policies, and the parts these policies are made
of.

`make mutants` makes this page, in a copy of the tree; which files and which tests is `[tool.mutmut]` in
`pyproject.toml`. mutmut changes neither decorated functions (properties) nor defaults of fields.
"""


def page(mutants: list[Mutant], minutes: float, processes: int) -> str:
    """The whole page in Markdown."""
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    lines = [HEADER, f"{date}, {minutes:.0f} minutes with {processes} processes. {machine()}.", ""]
    lines += ["| file | mutants | killed | of these timed out | alive | of these excused |", "|" + " --- |" * 6]
    main = [mutant for mutant in mutants if not mutant.file.startswith(PARTS)]
    parts = [mutant for mutant in mutants if mutant.file.startswith(PARTS)]
    for group, name in ((main, "engine, tiers, policies"), (parts, "their parts")):
        for file in dict.fromkeys(mutant.file for mutant in group):
            lines.append(_row(f"`{file}`", [mutant for mutant in group if mutant.file == file]))
        if group:
            lines.append(_row(f"**{name}**", group))
    lines.append(_row("**all**", mutants))
    reasons = excuses()
    alive = [mutant for mutant in mutants if mutant.fate == "alive"]
    lines += ["", "## Excused: no test can tell them from the code", ""]
    lines += [f"{_change(mutant)} {reasons[_key(mutant)]}" for mutant in alive if _key(mutant) in reasons] or ["None."]
    lines += ["", "## Alive and not excused", ""]
    lines += [_change(mutant) for mutant in alive if _key(mutant) not in reasons] or ["None."]
    return "\n".join(lines) + "\n"


def verdict(mutants: list[Mutant]) -> list[str]:
    """What is wrong with the run, a sentence each; empty if it is good enough."""
    faults = []
    alive = [mutant for mutant in mutants if mutant.fate == "alive"]
    if len(alive) > MOST_ALIVE * len(mutants):
        faults.append(
            f"{len(alive)} of {len(mutants)} mutants are alive, more than {MOST_ALIVE:.0%}; test what they change"
        )
    stale = set(excuses()) - {_key(mutant) for mutant in alive}
    faults += [f"{EXCUSED.name} excuses a change that is not alive, take it out: {': '.join(key)}" for key in stale]
    if len(excuses()) > MOST_EXCUSED:
        faults.append(f"{EXCUSED.name} excuses {len(excuses())} mutants, more than {MOST_EXCUSED}; test some of them")
    return faults


def excuses() -> dict[tuple[str, str, str], str]:
    """Why each excused mutant is as good as the code, by file, line before and line after."""
    entries = tomllib.loads(EXCUSED.read_text())["excused"]
    return {(entry["file"], entry["before"], entry["after"]): entry["reason"] for entry in entries}


def _key(mutant: Mutant) -> tuple[str, str, str]:
    return mutant.file, mutant.before, mutant.after


def _row(name: str, group: list[Mutant]) -> str:
    alive = [mutant for mutant in group if mutant.fate == "alive"]
    late = sum(mutant.fate == "timed out" for mutant in group)
    excused = sum(_key(mutant) in excuses() for mutant in alive)
    share = f"{len(alive)} ({100 * len(alive) / len(group):.1f} %)"
    return f"| {name} | {len(group)} | {len(group) - len(alive)} | {late} | {share} | {excused} |"


def _change(mutant: Mutant) -> str:
    return f"- `{mutant.file}:{mutant.line}` {mutant.function}\n  `{mutant.before}`\n  becomes `{mutant.after}`" + (
        "." if _key(mutant) in excuses() else ""
    )
