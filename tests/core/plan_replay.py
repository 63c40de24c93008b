"""Replay of a step plan by docs/step-plans.md alone: what lies where, with nothing of the package but the lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

BANK = ("spare", "host", "disk")
Tokens = dict[tuple[int, int], NDArray[np.int64]]
"""By layer and head: which of its generated tokens a chunk still has."""


class PlanReplay:
    """Five dictionaries of places, chunk to bytes, and what is known of each chunk's tokens.

    Attributes:
        places: `window`, `staging`, `spare`, `host` and `disk`.
        counts: tokens of every chunk since it was last cut or stored.
        in_window, in_bank: which tokens the copy there has.
    """

    def __init__(self, geometry: dict[str, Any]) -> None:
        self._heads = [(layer, head) for layer in range(geometry["layers"]) for head in range(geometry["kv_heads"])]
        self.places: dict[str, dict[int, int]] = {place: {} for place in ("window", "staging", *BANK)}
        self.counts: dict[int, int] = {}
        self.in_window: dict[int, Tokens] = {}
        self.in_bank: dict[int, Tokens] = {}

    def step(self, line: dict[str, Any]) -> dict[str, list[int]]:
        """Carry out one line; by pass (`begin`, `first_pass`) the chunks that lay in the window then, ascending."""
        attended = {}
        at = "begin"
        for move in line["moves"]:
            if move["at"] != at:
                attended[at] = sorted(self.places["window"])
                at = move["at"]
            self._carry_out(move)
        assert at == "commit", "the chunk's own entry is always there"
        return attended

    def _carry_out(self, move: dict[str, Any]) -> None:
        op, chunk, source, target, size = (move[key] for key in ("op", "chunk", "from", "to", "bytes"))
        window = self.places["window"]
        if op == "commit":
            assert (source, target) == (None, "window") and chunk not in window
            window[chunk], self.counts[chunk] = size, move["tokens"]
            self.in_window[chunk] = {place: np.arange(move["tokens"]) for place in self._heads}
        elif op == "shrink":
            assert source == target == "window"
            window[chunk] -= size
            if move["at"] == "commit":
                self.in_window[chunk] = self._cut(chunk, move)
                self.counts[chunk] = move["tokens"]
            else:
                assert "kept" not in move and move["tokens"] == self.counts[chunk]
                self.in_window[chunk] = self.in_bank[chunk]
        elif op == "store":
            assert source == "window" and chunk in window and target in BANK
            self.places[target][chunk] = size
            self.in_bank[chunk] = self._cut(chunk, move)
            self.counts[chunk] = move["tokens"]
        elif op in ("fetch", "prefetch"):
            assert source in BANK and self.places[source][chunk] == size, "a copy; the bank keeps its own"
            assert target == {"fetch": "window", "prefetch": "staging"}[op] and chunk not in self.places[target]
            self.places[target][chunk] = move["window_bytes"]
            if op == "fetch":
                self.in_window[chunk] = self.in_bank[chunk]
        elif op in ("land", "spill"):
            if op == "land":
                assert (source, target) == ("staging", "window")
            else:
                assert BANK.index(source) < BANK.index(target), "further down"
            assert self.places[source].pop(chunk) == size and chunk not in self.places[target]
            self.places[target][chunk] = size
            if op == "land":
                self.in_window[chunk] = self.in_bank[chunk]
        else:
            assert source in {"drop": ("window",), "unstage": ("staging",), "forget": BANK}[op]
            assert target is None and self.places[source].pop(chunk) == size

    def _cut(self, chunk: int, move: dict[str, Any]) -> Tokens:
        held = self.in_window[chunk]
        if "kept" not in move:
            return held
        kept, cut = move["kept"], {}
        for layer, head in self._heads:
            named = kept
            for index in (layer, head):
                named = named[index] if named and isinstance(named[0], list) else named
            cut[layer, head] = held[layer, head][np.array(named, np.int64)]
        return cut


def rollouts(lines: Iterable[str]) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Header and steps of every rollout in a file; lines of rollouts one behind the other."""
    header: dict[str, Any] | None = None
    steps: list[dict[str, Any]] = []
    for line in map(json.loads, lines):
        if line["record"] == "header":
            if header is not None:
                yield header, steps
            header, steps = line, []
        else:
            assert header is not None and line["policy"] == header["policy"]
            assert line.get("budget") == header.get("budget")
            steps.append(line)
    assert header is not None
    yield header, steps
