"""`--report`: the page of every command that writes one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Worldkv
from tests.exports.page_reader import Page
from worldkv.experiments import promotion_stages
from worldkv.experiments.promotion import Promotion

COMMANDS = {
    "compare": ("compare", "generate:loop"),
    "run": ("run", "generate:loop"),
    "sweep": ("sweep", "generate:loop", "--out", "rows.csv"),
    "promote": ("promote", "worldkv", "generate:loop"),
}


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", ["page.htm", "page", "no/folder/page.html"])
def test_a_page_that_cannot_be_written_is_refused_before_the_work(
    worldkv: Worldkv, command: str, name: str, tmp_path: Path
) -> None:
    ran = worldkv(*COMMANDS[command], "--report", name)
    assert ran.code == 2 and f"--report {name} " in ran.err and not ran.out
    assert not list(tmp_path.iterdir())


def test_compare_names_the_page_it_wrote(worldkv: Worldkv, tmp_path: Path) -> None:
    ran = worldkv("compare", "generate:loop", "--geometry", "tiny", "--chunks", 12, "--report", "page.html")
    assert ran.code == 0 and ran.out.rstrip().endswith("Written: page.html")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_run_has_measured_times(worldkv: Worldkv) -> None:
    pytest.importorskip("torch")
    ran = worldkv("run", "generate:loop", "--chunks", 12, "--passes", 1, "--report", "p.html", "--json", "-")
    page = Page(Path("p.html").read_bytes())
    assert page.head["document"] == ran.document
    (row,) = ran.document["rows"]
    (seconds,) = page.rows("measured_step")
    assert sum(seconds) / 1e3 == pytest.approx(row["measured_seconds"])
    parts = [one["key"] for one in page.head["series"] if one["key"].startswith("measured_")]
    total = sum(sum(page.rows(part)[0]) for part in parts if part != "measured_step")
    assert total == pytest.approx(sum(seconds))


def test_a_world_has_pictures(worldkv: Worldkv) -> None:
    pytest.importorskip("skimage")
    words = ("--world", "rooms", "--chunks", 14, "--policy", "sliding-window", "--no-floor")
    ran = worldkv("compare", "script:R_L_R_L90_360", *words, "--report", "p.html", "--json", "-")
    page = Page(Path("p.html").read_bytes())
    assert page.head["document"] == ran.document
    pictures = page.head["pictures"]
    assert [pictures["rows"], pictures["columns"]] == ran.document["world"]["picture"]
    for name in ("truth", "row0"):
        for when in ("now", "first"):
            assert bytes(page.column(f"pictures.{name}.{when}")).startswith(b"\x89PNG")
    (psnr,) = page.rows("psnr_visit")
    told = {one["step"]: one["psnr_visit"] for one in ran.document["rows"][0]["revisits"]}
    assert told and all(psnr[step] == pytest.approx(value) for step, value in told.items() if value is not None)


def test_a_sweep_has_all_its_rows(worldkv: Worldkv) -> None:
    options = ("--geometry", "tiny", "--budgets", "20%", "--seeds", "0-1", "--policy", "worldkv", "--jobs", 1)
    ran = worldkv("sweep", "generate:loop", "--out", "rows.csv", *options, "--report", "page.html")
    assert ran.code == 0 and "Written: rows.csv, page.html" in ran.out
    head = Page(Path("page.html").read_bytes()).head
    rows = Path("rows.csv").read_text().splitlines()[1:]
    assert len(head["document"]["rows"]) == len(rows)
    assert head["names"] == ["sliding-window", "random", "worldkv"] and head["references"] == []


def test_a_promotion_shows_verdict_and_rows(worldkv: Worldkv, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr(
        promotion_stages, "check", lambda *_: {"passed": True, "checks": [], "counts": {"passed": 0}}
    )  # ten seconds by itself
    options = ("--chunks", 12, "--passes", 1, "--examples", 1, "--machine", "worldkv-project-page")
    worldkv("promote", "worldkv", "generate:loop", *options, "--json", "p.json", "--report", "p.html")
    page, document = Page(Path("p.html").read_bytes()), json.loads(Path("p.json").read_text())
    verdict = page.head["verdict"]
    assert {key: verdict[key] for key in ("verdict", "reasons", "remarks")} == {
        key: document[key] for key in ("verdict", "reasons", "remarks")
    }
    assert {one["stage"]: one["status"] for one in verdict["stages"]} == {
        name: stage["status"] for name, stage in document["stages"].items()
    }
    for row, simulated, measured in zip(
        page.head["document"]["rows"],
        document["stages"]["simulate"]["rows"],
        document["stages"]["run"]["rows"],
        strict=True,
    ):
        assert row == {**measured, **simulated}
    assert page.rows("measured_step")


def test_a_promotion_that_cannot_be_simulated_shows_its_verdict() -> None:
    stages = {"check": {"status": "failed", "message": ""}, "simulate": {"status": "failed", "message": "<b>no</b>"}}
    told = {"verdict": "not promoted", "reasons": ["it failed"], "remarks": [], "stages": stages}
    Promotion({"spec": "mine", "trajectory": "<i>path</i>", **told}).report("p.html")
    page = Page(Path("p.html").read_bytes())
    assert page.head["verdict"]["reasons"] == ["it failed"] and "names" not in page.head
    assert "<i>path</i>" in page.parts["title"] and ("id", "verdict") in page.attributes
