"""The observer of a tagged cache names every token that is not where its layout says it is, and the place."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.backends.rollouts import PASSES, generate, loop
from worldkv.backends.cache import WorldCache
from worldkv.backends.tags import TAG_CHANNELS
from worldkv.geometry import CacheGeometry
from worldkv.parity.observer import TensorObserver
from worldkv.parity.record import ExecutedStep
from worldkv.policies import RandomRetrieval
from worldkv.scene import scene_of

GEOMETRY = CacheGeometry(2, 2, 2, 8, 2, 3, itemsize=4, rope_frames=1 << 16, branches=2)
POLICY = RandomRetrieval(retrieved_frames=3, sink_frames=3, recent_frames=3)
STEPS, ATTENDED = 7, 4
"""Steps of a rollout, and chunks attended at the last of them: sink, retrieved, recent, its own."""
DIGIT = {"chunk": 1, "token": 3, "layer": 4, "head": 5, "branch": 6, "plane": 7}
"""The debug channel of each, the lower digit where there are two."""
Tamper = Callable[[Tensor, Tensor], None]

layers, planes, branches, heads = (st.integers(0, 1) for _ in range(4))
places = st.integers(0, ATTENDED * GEOMETRY.chunk_tokens - 1)


def last_step(layer: int, number: int, tamper: Tamper) -> ExecutedStep:
    """The last step as observed if `tamper` changed what a layer's attention was given in pass `number`."""
    path = loop(GEOMETRY)
    with WorldCache(POLICY, GEOMETRY, scene=scene_of(path.chunked, None), is_tagged=True) as cache:
        observer = TensorObserver(cache)
        watch, views = cache.on_attend, [0]
        assert watch is not None

        def tampered(at: int, keys: Tensor, values: Tensor) -> None:
            keys, values = keys.clone(), values.clone()
            if views[0] == ((STEPS - 1) * PASSES + number) * GEOMETRY.layers + layer:
                tamper(keys, values)
            views[0] += 1
            watch(at, keys, values)

        cache.on_attend = tampered
        for step in range(STEPS):
            generate(cache, path, step)
            observed = observer.commit()
            assert step == STEPS - 1 or not observed.faults
    return observed


def test_an_untouched_rollout_has_no_faults_and_counts_what_is_attended() -> None:
    observed = last_step(0, 0, lambda keys, values: None)
    assert observed.faults == ()
    assert observed.attended_tokens == ATTENDED * GEOMETRY.chunk_tokens and len(observed.attended) == ATTENDED - 1
    assert len(observed.retrieved) == 1 and set(observed.retrieved) < set(observed.attended)


@given(st.sampled_from(sorted(DIGIT)), layers, planes, branches, heads, places, st.integers(0, PASSES - 1))
def test_one_wrong_number_of_one_token_is_told_in_any_pass(
    field: str, layer: int, plane: int, branch: int, head: int, place: int, number: int
) -> None:
    def tamper(*parts: Tensor) -> None:
        parts[plane][branch, head, place, DIGIT[field] - TAG_CHANNELS] += 9

    observed = last_step(layer, number, tamper)
    what = f"layer {layer} {('keys', 'values')[plane]}"
    if field == "chunk":
        where = f"{what}, branch {branch}, head {head}: place {place} holds a token of chunk "
        assert any(fault.startswith(where) for fault in observed.faults)
    elif field == "token":
        assert f"layer {layer}: keys and values that stand side by side are of different tokens" in observed.faults
    else:
        was = {"layer": layer, "head": head, "branch": branch, "plane": plane}[field]
        assert observed.faults == (f"{what}: place {place} was computed for {field} {was + 9}",)


@given(layers, st.integers(0, ATTENDED - 1), st.integers(1, GEOMETRY.chunk_tokens - 1))
def test_tokens_of_a_chunk_out_of_order_are_told(layer: int, nth: int, later: int) -> None:
    first = nth * GEOMETRY.chunk_tokens

    def tamper(keys: Tensor, values: Tensor) -> None:
        for part in (keys, values):
            tags = part[..., -TAG_CHANNELS:]
            tags[..., [first, first + later], :] = tags[..., [first + later, first], :].clone()

    faults = last_step(layer, PASSES - 1, tamper).faults
    assert len(faults) == 1 and faults[0].startswith(f"layer {layer} keys: chunk ")
    assert faults[0].endswith("'s tokens are not in ascending order")


@pytest.mark.parametrize("number", range(PASSES))
def test_fewer_tokens_than_the_table_has_are_counted_in_the_last_pass(number: int) -> None:
    path = loop(GEOMETRY)
    with WorldCache(POLICY, GEOMETRY, scene=scene_of(path.chunked, None), is_tagged=True) as cache:
        observer, views = TensorObserver(cache), [0]
        watch = cache.on_attend
        assert watch is not None

        def cut(at: int, keys: Tensor, values: Tensor) -> None:
            short = views[0] // GEOMETRY.layers % PASSES == number
            views[0] += 1
            watch(at, keys[:, :, : keys.shape[2] - short], values[:, :, : keys.shape[2] - short])

        cache.on_attend = cut
        generate(cache, path, 0)
        observed = observer.commit()
    assert observed.attended_tokens == GEOMETRY.chunk_tokens - (number == PASSES - 1) and observed.faults == ()
