"""docs/policies.md: every policy and part by its own words, and measured on the recorded paths at three budgets.

    python -m benchmarks.policies_page docs/policies.md

What stands between the page's markers is written anew; what a model has to measure runs on tensors, with random
weights.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from pathlib import Path

from benchmarks.marked_page import write_sections
from benchmarks.policies_duel import at_distances, duel
from benchmarks.policies_measured import BUDGETS, Figures, measured, never_returning, runs_on_tensors
from benchmarks.policies_published import published
from worldkv import PRESETS, CachePolicy, CoverageIndex, Index, Part, is_oracle, needs_of, parse_policy, spec_of
from worldkv.report import claim_of, parts_by_kind, source_of
from worldkv.specs import parameters, policy_classes

FLOOR = ("random", "sliding-window")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--jobs", type=int, default=-1)
    given = parser.parse_args()
    sections = {"policies": policy_table(), "parts": part_table()}
    if given.data.is_dir():
        figures = measured(given.data, given.jobs)
        sections["measured"] = f"{measured_tables(figures)}\n\n{never_returning(given.data)}"
        sections["published"] = published(given.data)
        sections |= {"duel": duel(given.data, given.jobs), "distances": at_distances(given.data, given.jobs)}
    else:
        print(f"no recorded paths in {given.data}: only the lists are written anew", file=sys.stderr)
    write_sections(given.page, sections)
    return 0


def policy_table() -> str:
    """Every installed policy: name, kind, source, eight words, needs."""
    lines = ["| policy | kind | in eight words | needs | source |", "| --- | --- | --- | --- | --- |"]
    for name, cls in policy_classes().items():
        policy = cls()
        assert isinstance(policy, CachePolicy)
        words = (inspect.getmodule(cls).__doc__ or "").splitlines()[0].partition(":")[2].strip(" .")
        needs = ", ".join(sorted(signal.value for signal in needs_of(policy))) or "nothing"
        lines.append(f"| `{name}` | {kind_of(policy)} | {words} | {needs} | {source_of(cls)} |")
    return "\n".join(lines)


def kind_of(policy: CachePolicy) -> str:
    """What sort of policy it is, read from what it is made of."""
    if is_oracle(policy):
        return "oracle"
    indices = [part for part in policy.parts() if isinstance(part, Index | CoverageIndex)]
    if indices:
        return f"retrieval by `{spec_of(indices[0]).partition(':')[0]}`"
    if any(part.data_dependent for part in policy.parts()):
        return "token selection"
    if "retrieved_frames" in parameters(type(policy)):
        return "retrieval without an index"
    return "window" if policy.is_bounded else "unbounded"


def part_table() -> str:
    """Every part under the key that takes it."""
    lines = ["| key | part | what it does | source |", "| --- | --- | --- | --- |"]
    for kind, parts in parts_by_kind().items():
        for name, cls in parts.items():
            lines.append(f"| `{kind}` | `{name}` | {claim_of(cls)} | {_source(cls)} |")
    return "\n".join(lines)


def _source(cls: type[Part]) -> str:
    return source_of(cls).replace("|", "/")


def measured_tables(figures: dict[str, dict[str, Figures]]) -> str:
    """One table a path: recall and chunks moved a step, by budget; the floor first, then by recall."""
    text = []
    for path, rows in figures.items():
        text += [f"### {path}", ""]
        text.append("| policy | " + " | ".join(f"{chunks} chunks" for chunks in BUDGETS) + " | own size |")
        text.append("| --- |" + " --- |" * (len(BUDGETS) + 1))
        ranked = sorted(rows, key=lambda name: (name not in FLOOR, -_best(rows[name]), name))
        for name in ranked:
            at = rows[name].at
            mark = " (tensors)" if runs_on_tensors(parse_policy(name)) else ""
            cells = [at.get(chunks, "-") for chunks in (*BUDGETS, None)]
            text.append(f"| {'**' + name + '**' if name in FLOOR else name}{mark} | " + " | ".join(cells) + " |")
        text.append("")
    whole = PRESETS["lingbot-world-fast-480p"].chunk_bytes / 2**30
    text.append(
        "A cell is recall / chunks' worth of bytes that cross the bus a step, both ways "
        f"(one chunk of lingbot-world-fast-480p is {whole:.2f} GiB); `-` where the policy cannot be made that size."
    )
    return "\n".join(text)


def _best(figures: Figures) -> float:
    """Recall at the middle budget; at its own size where that is all there is."""
    return figures.recall.get(BUDGETS[1], figures.recall.get(None, 0.0))


if __name__ == "__main__":
    raise SystemExit(main())
