"""Sizes of report pages and how fast a browser opens them; the picture of one for the README.

python -m benchmarks.report_page [FOLDER OF RECORDED PATHS [PICTURE.png]] (make browser-tests installs what it needs)
"""

from __future__ import annotations

import io
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.exports.chromium import OpenPage, browser
from worldkv import compare

ROUNDS = 5
PICTURE = {"x": 0, "y": 0, "width": 1180, "height": 1080}
PLACE = "#policy=worldkv&step=291"
_MOVE_ALL = """() => {
  const slider = document.getElementById("step"), steps = +slider.max + 1, began = performance.now();
  for (let step = 0; step < steps; step++) { slider.value = step; slider.dispatchEvent(new Event("input")); }
  return (performance.now() - began) / steps;
}"""


def main() -> None:
    """Print a line for each page, or draw the picture."""
    data = Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data")
    if len(sys.argv) > 2:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "kitti.html"
            compare(data / "kitti" / "KITTI_00_gt.txt").report(file)
            draw(file, Path(sys.argv[2]))
        return
    sources: dict[str, Path | str] = {
        "KITTI 00, 5 policies": data / "kitti" / "KITTI_00_gt.txt",
        "a tour of 2,000 chunks, 5 policies": "generate:tour:rooms=12,seed=1,chunks=2000",
    }
    with tempfile.TemporaryDirectory() as folder, browser() as started:
        for place, (name, source) in enumerate(sources.items()):
            result, file = compare(source), Path(folder) / f"{place}.html"
            began = time.perf_counter()
            result.report(file)
            written = time.perf_counter() - began
            opened = []
            for _ in range(ROUNDS):
                began = time.perf_counter()
                page = OpenPage(started, file)
                opened.append(time.perf_counter() - began)
                moved = page.page.evaluate(_MOVE_ALL)
                page.close()
            print(
                f"{name} ({result.path.chunked.num_chunks:,} chunks): written in {written:.1f} s, "
                f"{file.stat().st_size / 1e6:.2f} MB, opens in {statistics.median(opened):.2f} s, "
                f"{moved:.1f} ms a step of the slider"
            )


def draw(file: Path, picture: Path) -> None:
    """Save the top of a page at a step that misses something."""
    from PIL import Image

    with browser() as started:
        page = OpenPage(started, file, PLACE, viewport={"width": PICTURE["width"], "height": 900})
        shot = page.page.screenshot(clip=PICTURE, full_page=True)
        page.close()
    small = Image.open(io.BytesIO(shot)).convert("RGB").quantize(64, dither=Image.Dither.NONE)
    small.save(picture, optimize=True)


if __name__ == "__main__":
    main()
