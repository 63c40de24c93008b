"""A result as a recording for the Rerun viewer: camera, frusta, attended chunks, curves and pictures, step by step."""

from __future__ import annotations

import importlib.util
import json
import uuid
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from worldkv.errors import OutputError, printable
from worldkv.exports.packed_pictures import lit, png_of, shown_frames
from worldkv.exports.series import series_of
from worldkv.exports.step_facts import StepFacts, step_facts
from worldkv.files import finite
from worldkv.pose import frustum_tangents

if TYPE_CHECKING:
    from worldkv.exports.reported import Reported
    from worldkv.pose import Array

STEP = "step"
"""The timeline of everything that changes."""

ROLES = {"sink": "#56b4e9", "recent": "#009e73", "other": "#8a8a8a", "retrieved": "#0072b2", "would_show": "#cc79a7"}
"""The colours of chunks, as on the page."""
_MISSED = "#d55e00"
_FRUSTUM = 0.15
"""How far a frustum reaches, as a share of the view distance."""
_NAMESPACE = uuid.UUID("5f0c3f6a-6f3e-4b57-9a52-7d1c1a52b1f4")


def require_rerun() -> None:
    """Refuse where the Rerun SDK is not installed, before any work is done.

    Raises:
        OutputError: it is not.
    """
    if importlib.util.find_spec("rerun") is None:
        raise OutputError("--rerun needs the Rerun SDK, which is not installed; pip install 'worldkv[rerun]'")


def recording(reported: Reported) -> bytes:
    """The recording as an `.rrd` file; the same rows give the same entities and values.

    Raises:
        OutputError: the Rerun SDK is not installed.
    """
    require_rerun()
    import rerun

    title = printable(f"{reported.document['trajectory']['name']}, {len(reported.rows)} rows")
    stream = rerun.RecordingStream("worldkv", recording_id=uuid.uuid5(_NAMESPACE, json.dumps(reported.names)))
    kept = stream.memory_recording()
    stream.set_log_time_enabled(False)
    stream.set_log_tick_enabled(False)
    stream.send_recording_name(title)
    names = [printable(name) for name in reported.names]
    _log_still(stream, reported)
    _log_camera(stream, reported)
    num_missed = [_log_row(stream, reported, place, name) for place, name in enumerate(names)]
    _log_curves(stream, reported, names, np.array(num_missed, np.int64))
    if reported.world is not None:
        _log_pictures(stream, reported, names)
    stream.send_blueprint(_blueprint(reported, names))
    stream.flush()
    return bytes(kept.drain_as_bytes())


def _log_still(stream: Any, reported: Reported) -> None:
    """What does not change: axes, the path, walls, and the document's notes."""
    import rerun

    from worldkv.plots.path import MapProjection

    projection = MapProjection.of(reported.path)
    upright = 3 - projection.across - projection.along
    is_up = (projection.across, projection.along) == ((upright + 1) % 3, (upright + 2) % 3)
    axes = getattr(rerun.ViewCoordinates, f"RIGHT_HAND_{'XYZ'[upright]}_{'UP' if is_up else 'DOWN'}")
    stream.log("world", axes, static=True)
    positions = reported.path.chunked.camera.frame_positions.reshape(-1, 3)
    stream.log("world/path", rerun.LineStrips3D([positions], colors=_rgba("#8a8a8a")), static=True)
    walls = reported.path.chunked.trajectory.walls
    if walls is not None:
        ends = np.full((len(walls), 2, 3), positions[:, 1].mean())
        ends[:, :, [0, 2]] = walls
        stream.log("world/walls", rerun.LineStrips3D(ends, colors=_rgba("#8a8a8a")), static=True)
    told = {key: reported.document[key] for key in ("trajectory", "rows", "notes")}
    notes = "\n".join(f"- {printable(note)}" for note in reported.document["notes"])
    text = f"{notes}\n\n```json\n{json.dumps(finite(told), indent=1)}\n```\n"
    stream.log("document", rerun.TextDocument(text, media_type="text/markdown"), static=True)


def _log_camera(stream: Any, reported: Reported) -> None:
    """The camera of every chunk, with its field of view."""
    import rerun

    camera, trajectory = reported.path.chunked.camera, reported.path.chunked.trajectory
    tangent_x, tangent_y = frustum_tangents(trajectory.field_of_view)
    steps = rerun.TimeColumn(STEP, sequence=range(len(camera.positions)))
    moved = rerun.Transform3D.columns(translation=camera.positions, mat3x3=camera.rotations)
    stream.send_columns("world/camera", indexes=[steps], columns=moved)
    pinhole = rerun.Pinhole(
        focal_length=1.0,
        width=2 * tangent_x,
        height=2 * tangent_y,
        image_plane_distance=_FRUSTUM * reported.path.chunked.view_distance,
    )
    stream.log("world/camera", pinhole, static=True)


def _log_row(stream: Any, reported: Reported, place: int, name: str) -> list[int]:
    """The chunks of every step of a row by what they are to it, and what it missed; how many landmarks those are."""
    import rerun

    setup, camera = reported.setup, reported.path.chunked.camera
    facts = list(step_facts(reported.rows[place], setup))
    steps = rerun.TimeColumn(STEP, sequence=range(len(facts)))
    for role, colour in ROLES.items():
        chunks = [_of_role(one, role) for one in facts]
        if any(map(len, chunks)):
            path = _path("world", name, role)
            stream.log(
                path, rerun.Points3D.from_fields(colors=_rgba(colour), radii=rerun.Radius.ui_points(4)), static=True
            )
            _send_ragged(stream, path, steps, rerun.Points3D, "positions", [camera.positions[ids] for ids in chunks])
    frusta = [_frusta(reported, one.attended.retrieved) for one in facts]
    if any(map(len, frusta)):
        path = _path("world", name, "frusta")
        stream.log(path, rerun.LineStrips3D.from_fields(colors=_rgba(ROLES["retrieved"])), static=True)
        _send_ragged(stream, path, steps, rerun.LineStrips3D, "strips", frusta)
    if setup.landmarks is not None and any(len(one.missed) for one in facts):
        path = _path("world", name, "missed")
        stream.log(
            path, rerun.Points3D.from_fields(colors=_rgba(_MISSED), radii=rerun.Radius.ui_points(2)), static=True
        )
        missed = [setup.landmarks.positions[one.missed] for one in facts]
        _send_ragged(stream, path, steps, rerun.Points3D, "positions", missed)
    return [len(one.missed) for one in facts]


def _of_role(facts: StepFacts, role: str) -> NDArray[np.int64]:
    if role == "retrieved":
        return np.array(facts.attended.retrieved, np.int64)
    if role == "would_show":
        return np.array([chunk for chunk, _ in facts.would], np.int64)
    ids: NDArray[np.int64] = getattr(facts, role)
    return ids


def _send_ragged(stream: Any, path: str, steps: Any, kind: Any, field: str, lists: Sequence[Array]) -> None:
    """A list of points or strips for every step, empty lists too: what was shown before is gone then."""
    joined = np.concatenate([one for one in lists if len(one)])
    columns = kind.columns(**{field: joined}).partition([len(one) for one in lists])
    stream.send_columns(path, indexes=[steps], columns=columns)


def _frusta(reported: Reported, chunks: Sequence[int]) -> Array:
    """The edges of what the cameras of chunks see, near them, one strip a chunk `(chunks, 11, 3)`."""
    camera = reported.path.chunked.camera
    tangent_x, tangent_y = frustum_tangents(reported.path.chunked.trajectory.field_of_view)
    corners = np.array([[x * tangent_x, y * tangent_y, 1.0] for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))])
    tip = np.zeros(3)
    a, b, c, d = corners * _FRUSTUM * reported.path.chunked.view_distance
    strip = np.array([tip, a, b, tip, c, b, c, d, tip, d, a])
    ids = list(chunks)
    return np.asarray(strip @ camera.rotations[ids].transpose(0, 2, 1) + camera.positions[ids][:, None])


def _log_curves(stream: Any, reported: Reported, names: Sequence[str], num_missed: NDArray[np.int64]) -> None:
    """Every number of every step, one entity a number and row."""
    import rerun

    from worldkv.plots.style import colours

    palette = colours(reported.names)
    for one in series_of(reported, num_missed):
        for name, label, values in zip(names, reported.names, one.values, strict=True):
            path = _path("curves", one.key, name)
            told = np.flatnonzero(np.isfinite(values))
            steps = rerun.TimeColumn(STEP, sequence=told)
            stream.log(path, rerun.SeriesLines(names=name, colors=_rgba(palette[label])), static=True)
            stream.send_columns(path, indexes=[steps], columns=rerun.Scalars.columns(scalars=values[told]))


def _log_pictures(stream: Any, reported: Reported, names: Sequence[str]) -> None:
    """The view of every step as it was and as every row shows it."""
    import rerun

    assert reported.world is not None
    world, (frames, _) = reported.world.world, shown_frames(reported.world.world)
    for name, film in zip(["as it was", *names], [world.truth, *reported.world.pictures], strict=True):
        path = _path("pictures", name)
        for step, frame in enumerate(frames.tolist()):
            stream.set_time(STEP, sequence=step)
            picture = rerun.EncodedImage(contents=png_of(lit(film, world, frame)), media_type="image/png")
            stream.log(path, picture)
    stream.reset_time()


def _blueprint(reported: Reported, names: Sequence[str]) -> Any:
    """The first look: the world, the drawn curves beside it, pictures below."""
    import rerun.blueprint as look

    drawn = [one for one in series_of(reported, np.zeros((len(names), 0), np.int64)) if one.is_drawn]
    curves = [look.TimeSeriesView(origin=f"/curves/{one.key}", name=one.name) for one in drawn]
    views = [look.Horizontal(look.Spatial3DView(origin="/world", name="From the path"), look.Vertical(*curves))]
    if reported.world is not None:
        pictures = [look.Spatial2DView(origin=f"/{_path('pictures', name)}", name=name) for name in _shown(names)]
        views.append(look.Horizontal(*pictures))
    return look.Blueprint(look.Vertical(*views, row_shares=[3, 1][: len(views)]), collapse_panels=True)


def _shown(names: Sequence[str]) -> Iterator[str]:
    yield "as it was"
    yield from names


def _rgba(colour: str) -> int:
    """`#rrggbb` as Rerun takes it."""
    return int(colour.removeprefix("#") + "ff", 16)


def _path(*parts: str) -> str:
    """The path of an entity, its parts escaped."""
    import rerun

    return "/".join(rerun.escape_entity_path_part(part) for part in parts)
