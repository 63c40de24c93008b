"""Check the tokens that a policy keeps of a chunk: well-formed, and as many as its closed form says."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from worldkv.answers import Eviction, Keep, RaggedKeep
from worldkv.errors import PolicyError, WorldKVError
from worldkv.policy import CachePolicy, Compression
from worldkv.signals import Signal
from worldkv.testing.check import CheckFailed, NotApplicable, check
from worldkv.testing.judged_rollout import judged_rollout
from worldkv.testing.keyed_backend import chunk_tensors, hidden_channels_of, hidden_states
from worldkv.testing.policy_under_test import PolicyUnderTest
from worldkv.testing.recording_policy import Question
from worldkv.testing.scenario import Scenario
from worldkv.testing.strategies import scenarios
from worldkv.views import ChunkView


@check(
    "Kept tokens are whole in number, ascending, unique and in range.",
    kind=CachePolicy,
    scenarios=scenarios,
)
def keep_is_well_formed(under_test: PolicyUnderTest, scenario: Scenario) -> None:
    """Of every chunk stored or shrunk in a rollout, and of one with keys."""

    def judge(question: Question) -> None:
        if question.kind == "compress":
            _well_formed(question.name, question.answer, question.shown[0], under_test)
        elif question.kind == "evict" and isinstance(question.answer, Eviction):
            window = question.shown[0]
            for chunk, keep in question.answer.shrink.items():
                if chunk in window.ids:
                    _well_formed(f"{question.name}, shrinking chunk {chunk}", keep, window.chunk(chunk), under_test)

    judged_rollout(under_test, scenario, judge)
    for is_shrunk in (False, True):
        for has_keys in (True, False):
            chunk = _chunk(scenario, under_test, has_keys=has_keys, is_shrunk=is_shrunk)
            if has_keys or not under_test.is_data_dependent:
                told = "compress of a chunk that was shrunk" if is_shrunk else "compress"
                _well_formed(told, _kept(under_test, chunk), chunk, under_test)


@check("Counts without keys are the counts with keys: the closed form holds.", kind=CachePolicy, scenarios=scenarios)
def keep_matches_closed_form(under_test: PolicyUnderTest, scenario: Scenario) -> None:
    """In all, and of each latent frame."""
    if under_test.is_data_dependent:
        raise NotApplicable("how much it keeps depends on keys, and it says so")
    for is_shrunk in (False, True):
        shown = _chunk(scenario, under_test, has_keys=True, is_shrunk=is_shrunk)
        without = _chunk(scenario, under_test, has_keys=False, is_shrunk=is_shrunk)
        _same_counts(shown, _kept(under_test, shown), _kept(under_test, without))


def _same_counts(shown: ChunkView, real: Any, counted: Any) -> None:
    """Refuse what keeps one number of tokens, or bytes, with keys and another without."""
    if not isinstance(real, Keep | RaggedKeep) or not isinstance(counted, Keep | RaggedKeep):
        raise CheckFailed(f"compress answered {type(real).__name__}; answer a Keep")
    if real.count != counted.count:
        raise CheckFailed(
            f"of {shown.tokens} tokens compress keeps {real.count} with keys but says {counted.count} without; the "
            "simulator counts by the second. Make the closed form (kept_tokens) the real count, or set "
            "data_dependent = True"
        )
    if real.bytes(shown.geometry) != counted.bytes(shown.geometry):
        raise CheckFailed(
            f"compress stores {real.bytes(shown.geometry)} bytes with keys but says {counted.bytes(shown.geometry)} "
            "without; give stored_bytes in both"
        )
    if isinstance(real, Keep) and real.tokens is not None:
        frames = _frames_of(real.tokens, shown)
        if not np.allclose(frames, real.frame_tokens):
            raise CheckFailed(
                f"compress says that it keeps {_told(real.frame_tokens)} tokens of the latent frames, its positions "
                f"name {_told(frames)}; count frame_tokens from the positions, a mean over layers and heads"
            )


@check("The anchor frame is kept whole, where that is promised.", kind=CachePolicy, scenarios=scenarios)
def anchor_frame_is_whole(under_test: PolicyUnderTest, scenario: Scenario) -> None:
    """The first latent frame loses no token."""
    if not any(isinstance(part, Compression) and part.keeps_anchor for part in under_test.parts):
        raise NotApplicable("no compression of it promises to keep the anchor frame (keeps_anchor)")
    for has_keys in (False, True):
        if not has_keys and under_test.is_data_dependent:
            continue
        chunk = _chunk(scenario, under_test, has_keys=has_keys)
        keep = _kept(under_test, chunk)
        anchor = round(chunk.frame_tokens[0])
        told = f"with {'' if has_keys else 'no '}keys compress keeps"
        if keep.frame_tokens[0] < anchor:
            raise CheckFailed(
                f"{told} {keep.frame_tokens[0]:g} of the {anchor} tokens of the anchor frame, which it promises to "
                "keep whole; leave the first latent frame out of the pruning, or set keeps_anchor = False"
            )
        if (
            isinstance(keep, Keep)
            and keep.tokens is not None
            and (keep.tokens[..., :anchor] != np.arange(anchor)).any()
        ):
            raise CheckFailed(f"{told} other tokens than 0 to {anchor - 1} first; the anchor frame is these")


def _chunk(scenario: Scenario, under_test: PolicyUnderTest, *, has_keys: bool, is_shrunk: bool = False) -> ChunkView:
    """A chunk on its way to the bank: whole, or shrunk in place before, to a third of its later frames."""
    geometry = scenario.geometry
    per_frame = geometry.tokens_per_frame
    later = (per_frame + 2) // 3 if is_shrunk else per_frame
    frames = (float(per_frame), *(float(later),) * (geometry.frames_per_chunk - 1))
    if not has_keys:
        return ChunkView(1, 3, geometry, frames)
    tensors = tuple(part.copy() for part in chunk_tensors(geometry, 1, scenario.seed))
    keys, values, mass = (np.ascontiguousarray(part[:, :, : round(sum(frames))]) for part in tensors)
    shown = mass if Signal.ATTENTION_MASS in under_test.needs else None
    places = np.broadcast_to(np.arange(keys.shape[2]), keys.shape[:3])
    hidden = None
    if Signal.HIDDEN_STATE in under_test.needs:
        hidden = hidden_states(geometry, 1, scenario.seed, places, hidden_channels_of(under_test.policy))
    asked = keys.mean(axis=2) if Signal.QUERY_SUMMARY in under_test.needs else None
    return ChunkView(1, 3, geometry, frames, keys, lambda: values, shown, hidden, query_summary=asked)


def _kept(under_test: PolicyUnderTest, chunk: ChunkView) -> Any:
    try:
        return under_test.fitted(chunk.geometry).compress(chunk)
    except WorldKVError:
        raise
    except Exception as error:
        place = inspect.getinnerframes(error.__traceback__)[-1] if error.__traceback__ else None
        where = "" if place is None else f" in {place.filename} line {place.lineno}"
        how = "with" if chunk.keys is not None else "without"
        raise CheckFailed(
            f"compress of a chunk {how} keys failed{where}: {type(error).__name__}: {error}; keys are "
            "(layers, kv_heads, tokens, head_dim) in float32, None in the simulator"
        ) from error


def _well_formed(where: str, keep: Any, chunk: ChunkView, under_test: PolicyUnderTest) -> None:
    if not isinstance(keep, Keep | RaggedKeep):
        raise CheckFailed(f"{where} answered {type(keep).__name__}; answer a Keep")
    if isinstance(keep, RaggedKeep) and not under_test.policy.ragged:
        raise CheckFailed(f"{where} answered a RaggedKeep; declare `ragged = True` on the policy")
    try:
        keep.check(chunk.tokens, chunk.geometry)
    except PolicyError as error:
        raise CheckFailed(f"{where}: {error}") from None
    if chunk.keys is not None and keep.tokens is None and keep.count < chunk.tokens:
        raise CheckFailed(
            f"{where} keeps {keep.count} of {chunk.tokens} tokens of a chunk with keys without naming them; give the "
            "positions as Keep.tokens"
        )


def _frames_of(tokens: Any, chunk: ChunkView) -> list[float]:
    """How many of `tokens` lie in each latent frame, a mean over layers and heads."""
    edges = np.cumsum([0, *(round(count) for count in chunk.frame_tokens)])
    rows = tokens.reshape(-1, tokens.shape[-1])
    return [
        float(((rows >= low) & (rows < high)).sum() / len(rows))
        for low, high in zip(edges[:-1], edges[1:], strict=True)
    ]


def _told(counts: Any) -> str:
    return f"({', '.join(f'{count:g}' for count in counts)})"
