"""`--timeline`: the trace of a run is well formed, nests, and adds up to what the log says of every step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Worldkv
from worldkv.stopwatch import Stopwatch

pytest.importorskip("torch")

CHUNKS, PASSES = 14, 2
MICRO = 1e-3
"""Microseconds within which sums of floats agree."""

Events = list[dict[str, Any]]


@pytest.fixture
def traced(worldkv: Worldkv, tmp_path: Path) -> tuple[Events, list[dict[str, Any]]]:
    trace, log = tmp_path / "trace.json", tmp_path / "steps.jsonl"
    room = ("--host-budget", "20kB", "--chunks", CHUNKS, "--passes", PASSES)
    ran = worldkv(
        "run", "generate:loop", "--policy", "random:retrieved_frames=6", *room, "--timeline", trace, "--log", log
    )
    assert ran.code == 0 and f"{log}, {trace}" in ran.out
    whole = json.loads(trace.read_text())
    assert set(whole) == {"displayTimeUnit", "traceEvents"}
    return whole["traceEvents"], [json.loads(line) for line in log.read_text().splitlines()]


def on_tracks(events: Events) -> dict[str, Events]:
    names = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    found: dict[str, Events] = {name: [] for name in names.values()}
    for event in events:
        if event["ph"] == "X":
            found[names[event["tid"]]].append(event)
    return found


def test_the_trace(traced: tuple[Events, list[dict[str, Any]]]) -> None:
    events, log = traced
    assert_well_formed(events)
    tracks = on_tracks(events)
    assert_nothing_overlaps(tracks)
    assert_steps_add_up(tracks, log)
    assert_passes_hold_their_attention(tracks)
    assert_bytes_are_those_of_the_log(events, tracks, log)


def assert_well_formed(events: Events) -> None:
    """The trace event format: what Perfetto's reader asks of each kind of event."""
    tids = [event["tid"] for event in events if event["name"] == "thread_name"]
    assert len(tids) == len(set(tids)) and [event for event in events if event["name"] == "process_name"]
    for event in events:
        assert event["pid"] == 1 and isinstance(event["name"], str) and event["ph"] in "MXC"
        if event["ph"] == "X":
            assert event["tid"] in tids and event["ts"] >= 0 and event["dur"] >= 0
        elif event["ph"] == "C":
            assert event["ts"] >= 0 and all(isinstance(value, int) for value in event["args"].values())


def assert_nothing_overlaps(tracks: dict[str, Events]) -> None:
    """On one track one slice ends before the next begins."""
    for slices in tracks.values():
        for one, other in zip(slices, slices[1:], strict=False):
            assert one["ts"] + one["dur"] <= other["ts"] + MICRO


def assert_steps_add_up(tracks: dict[str, Events], log: list[dict[str, Any]]) -> None:
    """Each part's slices within a step last as long as the log says of it, to the microsecond."""
    assert [step["name"] for step in tracks["step"]] == [f"step {line['step']}" for line in log]
    parts = {key.removeprefix("measured_").removesuffix("_ms").replace("_", " "): key for key in log[0]}
    for step, line in zip(tracks["step"], log, strict=True):
        assert step["dur"] == pytest.approx(line["measured_ms"] * 1e3, abs=MICRO)
        start, end = step["ts"], step["ts"] + step["dur"]
        for part in ("attention", "compression", "policy", "transfer", "model"):
            names = [part, "waiting for copies"] if part == "transfer" else [part]
            own = [one for name in names for one in tracks.get(name, []) if start - MICRO <= one["ts"] < end - MICRO]
            assert sum(one["dur"] for one in own) == pytest.approx(line[parts[part]] * 1e3, abs=MICRO * 10)
            assert all(one["ts"] + one["dur"] <= end + MICRO for one in own)


def assert_passes_hold_their_attention(tracks: dict[str, Events]) -> None:
    names = ["pass 1", "pass 2", "clean pass"]
    assert [one["name"] for one in tracks["pass"]] == names * CHUNKS
    for one in tracks["attention"]:
        holding = [
            whole
            for whole in tracks["pass"]
            if whole["ts"] - MICRO <= one["ts"] and one["ts"] + one["dur"] <= whole["ts"] + whole["dur"] + MICRO
        ]
        assert len(holding) == 1
    assert len(tracks["attention"]) == CHUNKS * len(names) * 2 * 2  # two layers, each writes and attends


def assert_bytes_are_those_of_the_log(events: Events, tracks: dict[str, Events], log: list[dict[str, Any]]) -> None:
    for edge in ("device to host", "host to device", "host to disk", "disk to host"):
        moved = [line[f"bytes_{edge.replace(' ', '_')}"] for line in log]
        counted = [event["args"]["bytes"] for event in events if event["name"] == f"bytes {edge}"]
        assert counted == moved and any(moved), edge
        assert [one["args"]["bytes"] for one in tracks[edge]] == [one for one in moved if one]


def test_a_stopwatch_tells_every_piece_once() -> None:
    told: list[tuple[tuple[str, ...], float]] = []
    watch = Stopwatch(on_piece=lambda names, start, end: told.append((names, end - start)))
    with watch.span("a"):
        with watch.span("b"):
            pass
        with watch.span("a"):
            pass
    assert [names for names, _ in told] == [("a",), ("a", "b"), ("a",), ("a", "a"), ("a",)]
    counted = watch.lap()
    for name in ("a", "b"):
        assert counted[name] == pytest.approx(sum(seconds for names, seconds in told if names[-1] == name))


@pytest.mark.parametrize("name", ["trace.txt", "no/folder/trace.json"])
def test_a_timeline_that_cannot_be_written_is_refused_before_the_work(worldkv: Worldkv, name: str) -> None:
    ran = worldkv("run", "generate:loop", "--timeline", name)
    assert ran.code == 2 and f"--timeline {name} " in ran.err and not ran.out
