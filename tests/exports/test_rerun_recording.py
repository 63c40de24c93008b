"""`--rerun`: the recording, read back by Rerun's own reader."""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worldkv import Comparison, compare
from worldkv.errors import OutputError
from worldkv.exports.step_facts import step_facts

CHUNKS = 30
HAS_RERUN = importlib.util.find_spec("rerun") is not None
needs_rerun = pytest.mark.skipif(not HAS_RERUN, reason="needs rerun-sdk (make browser-tests)")


@pytest.fixture(scope="module")
def result() -> Comparison:
    return compare("generate:tour:rooms=4,seed=1", ["worldkv", "sliding-window"], geometry="tiny", chunks=CHUNKS)


@pytest.fixture(scope="module")
def columns(result: Comparison, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[int | None, Any]]:
    """By entity and component its values by step, under None where it is still."""
    file = tmp_path_factory.mktemp("rerun") / "tour.rrd"
    result.rerun(file)
    found: dict[str, dict[int | None, Any]] = {}
    for path, steps, name, values in _chunks(file):
        found.setdefault(f"{path} {name}", {}).update(zip(steps, values, strict=True))
    return found


def _chunks(file: Path) -> Iterator[tuple[str, list[int | None], str, list[Any]]]:
    from rerun.chunk import RrdReader

    for chunk in RrdReader(file).stream():
        batch = chunk.to_record_batch()
        steps = batch.column("step").to_pylist() if "step" in batch.schema.names else [None] * batch.num_rows
        for name in batch.schema.names:
            if ":" in name:
                yield str(chunk.entity_path), steps, name.partition(":")[2], batch.column(name).to_pylist()


def escaped(name: str) -> str:
    """A part of an entity's path as Rerun writes it: letters, digits, `_`, `-` and `.` as they are."""
    return re.sub(r"([^\w.-])", r"\\\1", name)


@needs_rerun
def test_the_camera_stands_where_the_path_says(result: Comparison, columns: Any) -> None:
    camera = result.path.chunked.camera
    moved, turned = columns["/world/camera translation"], columns["/world/camera mat3x3"]
    for step in range(CHUNKS):
        np.testing.assert_allclose(moved[step][0], camera.positions[step], rtol=1e-5, atol=1e-5)
        told = np.array(turned[step][0]).reshape(3, 3).T  # column by column
        np.testing.assert_allclose(told, camera.rotations[step], atol=1e-6)


@needs_rerun
@pytest.mark.parametrize("place", [0, 1])
def test_chunks_stand_under_what_they_are_to_each_step(result: Comparison, columns: Any, place: int) -> None:
    row, name = result.compared.rows[place], result.reported.names[place]
    landmarks = result.compared.setup.landmarks
    assert landmarks is not None
    positions = result.path.chunked.camera.positions
    for one in step_facts(row, result.compared.setup):
        step, wanted = one.attended.step, {"sink": one.sink, "recent": one.recent}
        wanted["retrieved"] = np.array(one.attended.retrieved, np.int64)
        for role, ids in wanted.items():
            told = columns.get(f"/world/{name}/{role} positions", {}).get(step, [])
            np.testing.assert_allclose(np.reshape(told, (-1, 3)), positions[ids], rtol=1e-5, atol=1e-5)
        missed = columns.get(f"/world/{name}/missed positions", {}).get(step, [])
        np.testing.assert_allclose(np.reshape(missed, (-1, 3)), landmarks.positions[one.missed], rtol=1e-5, atol=1e-5)
        frusta = columns.get(f"/world/{name}/frusta strips", {}).get(step, [])
        assert len(frusta) == len(one.attended.retrieved)


@needs_rerun
def test_a_frustum_opens_along_the_camera(result: Comparison, columns: Any) -> None:
    """The tip is the camera; the corners lie ahead of it, at half the field of view to either side."""
    camera, path = result.path.chunked.camera, result.path.chunked
    fetched = [one.attended for one in step_facts(result.compared.rows[0], result.compared.setup)]
    step = next(one.step for one in fetched if one.retrieved)
    strips = columns[f"/world/{result.reported.names[0]}/frusta strips"][step]
    half = math.radians(path.trajectory.field_of_view[0] / 2)
    for chunk, strip in zip(fetched[step].retrieved, np.array(strips), strict=True):
        local = (strip - camera.positions[chunk]) @ camera.rotations[chunk]
        np.testing.assert_allclose(local[0], 0, atol=1e-5)
        corners = local[np.abs(local).max(axis=1) > 1e-4]
        np.testing.assert_allclose(np.abs(corners[:, 0]) / corners[:, 2], math.tan(half), rtol=1e-4)


@needs_rerun
def test_curves_are_the_numbers_of_the_rollouts(result: Comparison, columns: Any) -> None:
    for row, name in zip(result.compared.rows, result.reported.names, strict=True):
        told = columns[f"/curves/predicted/{escaped(name)} scalars"]
        assert [told[step][0] for step in range(CHUNKS)] == pytest.approx((row.rollout.seconds * 1e3).tolist())


@needs_rerun
def test_a_world_has_its_pictures(tmp_path: Path) -> None:
    pytest.importorskip("skimage")
    painted = compare("script:R_L_R_L90_360", ["sliding-window"], world="rooms", chunks=5, baselines=False)
    painted.rerun(tmp_path / "world.rrd")
    blobs = {
        path: values
        for path, _, name, values in _chunks(tmp_path / "world.rrd")
        if path.startswith("/pictures/") and name == "blob"
    }
    assert set(blobs) == {r"/pictures/as\ it\ was", "/pictures/sliding-window"}
    for pictures in blobs.values():
        assert len(pictures) == 5 and all(bytes(one[0]).startswith(b"\x89PNG") for one in pictures)


@needs_rerun
def test_the_document_is_in_it(result: Comparison, columns: Any) -> None:
    ((text,),) = columns["/document text"].values()
    assert all(note in text for note in result.notes) and '"revisit_recall"' in text


def test_without_rerun_the_install_line_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "rerun" else find(name, *more))
    with pytest.raises(OutputError, match=r"pip install 'worldkv\[rerun\]'"):
        compare("generate:loop", geometry="tiny", chunks=2, recall=False, policies="full-kv").rerun(tmp_path / "a.rrd")


def test_another_suffix_is_refused(result: Comparison, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"must end in \.rrd"):
        result.rerun(tmp_path / "a.txt")
