"""The repository's own tests, on the device."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator

from worldkv.experiments.gpu_check.check import ROOT, Figure, NotRunError, Setting
from worldkv.experiments.gpu_check.packages import FOR_TESTS, install_line, missing

CONTRACT = ("tests/backends",)
NUMERICS = tuple(f"tests/backends/test_{name}.py" for name in ("numerics", "faults", "going_back"))
REHEARSED = ("tests/backends/test_device_ops.py",)


def run_contract(setting: Setting) -> Iterator[Figure]:
    """The tests that need an accelerator: does the seam keep its contract?"""
    yield from _tested(setting, REHEARSED if setting.is_rehearsal else CONTRACT, ("-m", "accelerator"), most_skipped=0)


def run_numerics(setting: Setting) -> Iterator[Figure]:
    """Tests that run on the CPU otherwise: numbers, faults, going back."""
    yield from _tested(setting, REHEARSED if setting.is_rehearsal else NUMERICS, ("-x",), most_skipped=None)


def _tested(
    setting: Setting, paths: tuple[str, ...], words: tuple[str, ...], most_skipped: int | None
) -> Iterator[Figure]:
    absent = missing(FOR_TESTS)
    if absent:
        raise NotRunError(f"the tests need {', '.join(absent)}; {install_line(absent)}")
    if not (ROOT / paths[0]).exists():
        raise NotRunError(f"there is no {paths[0]} beside the package; run it from a checkout of the repository")
    # -W default: other versions of the libraries may warn, and the configuration makes warnings errors.
    options = ("-q", "-W", "default", "-p", "no:cacheprovider", "--tb=line", "-rfE")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *paths, *words, *options],
        cwd=ROOT,
        env={**os.environ, "WORLDKV_TEST_DEVICE": setting.device},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    yield from figures_of(done.stdout + done.stderr, done.returncode, most_skipped)


def figures_of(said: str, code: int, most_skipped: int | None) -> list[Figure]:
    """What pytest's last lines say; `most_skipped` is None where any number may be."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    counts = {
        word: int(number)
        for number, word in re.findall(r"(\d+) (passed|failed|skipped|errors?)\b", "".join(lines[-1:]))
    }
    passed, skipped = counts.get("passed", 0), counts.get("skipped", 0)
    failed = counts.get("failed", 0) + counts.get("error", 0) + counts.get("errors", 0)
    named = [line for line in lines if line.startswith(("FAILED ", "ERROR "))][:3]
    told = f"{passed} passed, {failed} failed" + (f": {'; '.join(named)}" if named else "")
    is_whole = code == 0 and passed > 0 and failed == 0
    found = [
        Figure(
            "tests",
            "every one passed",
            told if counts else f"pytest ended with code {code}: {lines[-1] if lines else 'it said nothing'}",
            is_whole,
            "Copies or waits do not do here what they do on the CPU: believe no number below.",
        )
    ]
    if most_skipped is not None:
        otherwise = "The tests did not see the accelerator: they prove nothing."
        found.append(Figure("skipped", f"{most_skipped}", f"{skipped}", skipped <= most_skipped, otherwise))
    return found
