"""The page in a real browser: it draws itself, shows what the JSON says, and answers mouse and keys."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.exports import chromium
from tests.exports.chromium import OpenPage
from tests.exports.page_reader import Page
from worldkv import Comparison, compare, sweep
from worldkv.exports.packed_pictures import lit, shown_frames

pytestmark = pytest.mark.browser

NAMED = """() => [...document.querySelectorAll("[role=img], [role=region], input, button")].filter((one) => {
    const by = (one.getAttribute("aria-labelledby") ?? "").split(" ").map((id) => document.getElementById(id));
    const named = one.getAttribute("aria-label") || one.labels?.length || one.textContent.trim();
    return !named && !by.every((other) => other?.textContent);
}).map((one) => one.outerHTML)"""
"""Pictures, regions and controls without a name for a screen reader."""

Open = Callable[..., OpenPage]
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\udcff"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium.browser() as started:
        yield started


@pytest.fixture
def open_page(browser: Any) -> Iterator[Open]:
    """Opens pages; when the test is over none of them may have complained or asked for anything but its file."""
    opened: list[OpenPage] = []

    def open_one(file: Path, address: str = "", **context: Any) -> OpenPage:
        opened.append(OpenPage(browser, file, address, **context))
        return opened[-1]

    yield open_one
    for page in opened:
        told, requests = page.told, page.requests
        page.close()
        assert not told
        assert len(requests) == 1 and requests[0].startswith("file://")


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> tuple[Comparison, Path]:
    result = compare("generate:tour:rooms=4,seed=1", geometry="tiny", chunks=80, host_budget="60kB")
    file = tmp_path_factory.mktemp("page") / "a page #1.html"
    result.report(file)
    return result, file


@pytest.fixture(scope="module")
def read(tour: tuple[Comparison, Path]) -> Page:
    return Page(tour[1].read_bytes())


Tour = tuple[Comparison, Path]


def grouped(number: float, digits: int = 0) -> str:
    return f"{number:,.{digits}f}"


def test_the_table_says_what_the_json_says(open_page: Open, tour: Tour) -> None:
    page, rows = open_page(tour[1]), tour[0].rows
    assert page.cells("policy") == [row["policy"] for row in rows]
    assert page.cells("window tokens") == [grouped(row["window_tokens_peak"]) for row in rows]
    for head, key in (("recall", "revisit_recall"), ("precision", "retrieval_precision")):
        assert page.cells(head) == ["–" if row[key] is None else grouped(row[key], 2) for row in rows]
    assert page.page.locator("#notes li").all_text_contents() == tour[0].notes


def test_a_heading_sorts_and_sorts_back(open_page: Open, tour: Tour) -> None:
    page = open_page(tour[1])
    values = {row["policy"]: row["revisit_recall"] for row in tour[0].rows}
    for order in ("descending", "ascending"):
        page.page.locator("#rows th button", has_text="recall").click()
        sorted_now = [values[name] for name in page.cells("policy")]
        assert sorted_now == sorted(values.values(), reverse=order == "descending")
        assert page.page.locator("#rows th[aria-sort=none]").count() == page.page.locator("#rows thead th").count() - 1
        assert page.page.get_attribute(f"#rows th[aria-sort={order}]", "scope") == "col"
    page.page.keyboard.press("Enter")  # the heading kept the focus
    assert [values[name] for name in page.cells("policy")] == sorted(values.values(), reverse=True)


def test_the_slider_moves_everything(open_page: Open, tour: Tour, read: Page) -> None:
    page = open_page(tour[1])
    page.page.locator("summary").first.click()
    drawn = {}
    for step in (20, 50):
        page.page.locator("#step").fill(str(step))
        assert page.text("#now") == f"{step} of 79" and page.address["step"] == str(step)
        row = read.head["names"].index(page.address["policy"])
        assert f"it attends {grouped(read.rows('tokens')[row][step])} tokens" in page.text("#told")
        bank = sum(
            banked < step <= gone
            for banked, gone in zip(read.column(f"row{row}.banked_at"), read.column(f"row{row}.gone_at"), strict=True)
        )
        assert f"; {bank} chunks lie in the bank." in page.text("#told")
        assert str(page.page.locator("#map > path").nth(0).get_attribute("d")).count("M") == bank
        numbers = page.page.locator("#numbers tbody tr", has_text="Tokens attended").locator("td").all_text_contents()
        assert numbers == [grouped(values[step]) for values in read.rows("tokens")]
        drawn[step] = [
            page.page.get_attribute("#map > polyline", "points"),
            page.page.eval_on_selector("#matrix .cursor", "one => one.style.left"),
            page.page.locator("#curves line.now").first.get_attribute("x1"),
        ]
    assert all(one != other for one, other in zip(drawn[20], drawn[50], strict=True))
    page.page.focus("#step")
    page.page.keyboard.press("ArrowRight")
    assert page.text("#now") == "51 of 79"


def test_keys_move_where_nothing_is_typed(open_page: Open, tour: Tour) -> None:
    page = open_page(tour[1], "#step=10")
    for key, step in (("ArrowRight", 11), ("ArrowLeft", 10), ("End", 79), ("Home", 0)):
        page.page.keyboard.press(key)
        assert page.address["step"] == str(step)


def test_next_and_last_miss_find_them(open_page: Open, tour: Tour, read: Page) -> None:
    name = "sliding-window"
    missed = [step for step, lost in enumerate(read.lists("row1.missed")) if lost]
    assert read.head["names"][1] == name and len(missed) > 3
    page = open_page(tour[1], f"#policy={name}&step=0")
    for step in missed[:3]:
        page.page.click("#miss")
        assert page.address == {"policy": name, "step": str(step)}
        count = len(read.lists("row1.missed")[step])
        assert f"it missed {count};" in page.text("#told")
        crosses = page.page.locator("#map > path").nth(1).get_attribute("d")
        assert crosses.count("M") == count
    page.page.keyboard.press("p")
    assert page.address["step"] == str(missed[2])  # the button has the focus: keys are its own
    page.page.click("#lastmiss")
    assert page.address["step"] == str(missed[1])
    page.page.click("text=full-kv >> nth=0")
    page.page.click("#miss")
    assert page.text("#told") == "This policy misses nothing that is measured."


def test_the_banked_chunk_that_would_have_shown_it_is_named(open_page: Open, tour: Tour, read: Page) -> None:
    would = read.lists("row3.would")
    step = next(step for step, pairs in enumerate(would) if pairs)
    page = open_page(tour[1], f"#policy={read.head['names'][3]}&step={step}")
    chunk, shows = would[step][:2]
    assert f"chunk {chunk}, in the bank, would have shown {shows} of them" in page.text("#told")
    titles = page.page.locator("#map title").all_text_contents()
    assert f"chunk {chunk} would have shown {shows} of what was missed" in titles


def test_choosing_a_policy_changes_the_pictures_and_the_address(open_page: Open, tour: Tour) -> None:
    page = open_page(tour[1])
    copy = "document.querySelector('#matrix canvas').toDataURL()"
    pictures = set()
    for name in ("full-kv", "random"):
        page.page.locator("#rows tbody label", has_text=name).click()
        assert page.address["policy"] == name
        assert page.page.locator("#rows tr.chosen th").all_text_contents() == [name]
        pictures.add(page.page.evaluate(copy))
    assert len(pictures) == 2
    page.page.keyboard.press("ArrowDown")  # the radio buttons are one group
    assert page.address["policy"] == "oracle"


def test_play_goes_on_and_stops(open_page: Open, tour: Tour) -> None:
    page = open_page(tour[1], "#step=5")
    page.page.click("#play")
    page.page.locator("#now", has_text="8 of 79").wait_for()
    assert page.page.get_attribute("#play", "aria-pressed") == "true"
    page.page.click("#play")
    assert page.page.get_attribute("#play", "aria-pressed") == "false"


def test_an_address_points_at_a_place(open_page: Open, tour: Tour) -> None:
    page = open_page(tour[1], "#policy=oracle&step=33")
    assert page.text("#told").startswith("Step 33 under oracle:")
    page.page.evaluate("location.hash = 'policy=random&step=44'")
    page.page.locator("#now", has_text="44 of 79").wait_for()
    assert page.text("#told").startswith("Step 44 under random:")
    for odd in ("#policy=nobody&step=99999", "#step=-4", "#step=x", "#%%%"):
        step = int(open_page(tour[1], odd).address["step"])
        assert 0 <= step < 80


def test_a_click_in_a_curve_or_the_matrix_goes_there(open_page: Open, tour: Tour) -> None:
    page = open_page(tour[1])
    page.page.locator("#matrix").click(position={"x": 3, "y": 50})
    assert int(page.address["step"]) <= 1
    box = page.page.locator("#curves svg").first.bounding_box()
    page.page.locator("#curves svg").first.click(position={"x": box["width"] - 5, "y": 40})
    assert page.address["step"] == "79"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_reads_in_both_schemes(open_page: Open, tour: Tour, scheme: str) -> None:
    """Text and its background are far enough apart (WCAG AA), soft text too."""
    page = open_page(tour[1], color_scheme=scheme)
    for selector in ("h1", ".soft", "#told", "#rows td"):
        colours = page.page.eval_on_selector(
            selector, "one => [getComputedStyle(one).color, getComputedStyle(document.body).backgroundColor]"
        )
        light, other = sorted(map(luminance, colours), reverse=True)
        assert (light + 0.05) / (other + 0.05) >= 4.5


def luminance(colour: str) -> float:
    """Relative luminance of `rgb(r, g, b)`, as WCAG has it."""
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")[:3]]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_a_phone_scrolls_tables_not_the_page(open_page: Open, tour: Tour) -> None:
    page = open_page(tour[1], viewport={"width": 390, "height": 844})
    assert not page.page.evaluate("document.documentElement.scrollWidth > innerWidth")
    columns = page.page.evaluate(
        "getComputedStyle(document.querySelector('.two')).gridTemplateColumns.split(' ').length"
    )
    assert columns == 1


def test_paper_has_the_step_and_no_buttons(open_page: Open, tour: Tour) -> None:
    page = open_page(tour[1], viewport={"width": 794, "height": 1123})  # A4
    page.page.emulate_media(media="print")
    assert not page.page.evaluate("document.documentElement.scrollWidth > innerWidth")
    page.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert not page.page.is_visible("#play") and page.page.is_visible("#told")
    assert page.page.locator("#chunks tbody tr").count() > 3


def test_every_picture_and_control_has_a_name(open_page: Open, tour: Tour) -> None:
    page = open_page(tour[1])
    assert page.page.evaluate(NAMED) == []
    ids = page.page.locator("[id]").evaluate_all("all => all.map(one => one.id)")
    assert len(ids) == len(set(ids))


def test_names_like_markup_are_text(open_page: Open, tmp_path: Path) -> None:
    result = compare("generate:loop", ["worldkv", "sliding-window"], geometry="tiny", chunks=12, baselines=False)
    first = result.compared.rows[0]
    first.candidate = replace(first.candidate, label=HOSTILE)
    result.report(tmp_path / "page.html")
    page = open_page(tmp_path / "page.html")
    shown = HOSTILE.replace("\udcff", "\ufffd")
    assert shown in [cell.replace("\udcff", "\ufffd") for cell in page.cells("policy")]
    assert not page.page.query_selector("img")


def test_pictures_are_those_of_the_world(open_page: Open, tmp_path: Path) -> None:
    pytest.importorskip("skimage")
    from PIL import Image

    result = compare("script:R_L_R_L90_360", ["sliding-window"], world="rooms", chunks=14, baselines=False)
    result.report(tmp_path / "page.html")
    page, world = open_page(tmp_path / "page.html", "#step=11"), result.reported.world
    assert world is not None
    frames, visits = shown_frames(world.world)
    assert visits[11] >= 0, "the case has to come back"
    expected = [
        [lit(film, world.world, which[11]) for film in (world.world.truth, world.pictures[0])]
        for which in (visits, frames)
    ]
    for canvas, picture in zip(page.page.query_selector_all("#films canvas"), sum(expected, []), strict=True):
        data = canvas.evaluate("one => [...one.getContext('2d').getImageData(0, 0, one.width, one.height).data]")
        drawn = np.array(data, np.uint8).reshape(*picture.shape[:2], 4)
        assert np.array_equal(drawn[..., :3], (picture * 255).round().astype(np.uint8))
    assert Image.open(io.BytesIO(page.page.screenshot())).size == (1280, 900)


def test_a_sweep_sorts_and_chooses(open_page: Open, tmp_path: Path) -> None:
    result = sweep("generate:loop", ["worldkv"], budgets="20%,40%", seeds="0-1", geometry="tiny", jobs=1)
    result.report(tmp_path / "page.html")
    page = open_page(tmp_path / "page.html")
    assert len(page.cells("recall")) == len(result.rows)
    page.page.locator("#rows th button", has_text="moved").click()
    moved = json.loads(page.page.text_content("#head"))["document"]["rows"]
    assert page.cells("policy")[0] == max(moved, key=lambda row: row["bytes_moved"])["policy"]
    page.page.locator("#rows tbody button", has_text="worldkv").first.click()
    assert page.address == {"policy": "worldkv"}
    assert page.page.locator("#rows tr.chosen").count() == 4
    assert page.page.locator("#fronts path.chosen").count() == 2
