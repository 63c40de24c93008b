"""The conformance kit: what it needs, and its report as JSON."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from worldkv.errors import SpecError

if TYPE_CHECKING:
    from worldkv.testing import Report


def require_hypothesis() -> None:
    """Refuse where the kit's one extra is missing.

    Raises:
        SpecError: hypothesis is not installed.
    """
    if importlib.util.find_spec("hypothesis") is None:
        raise SpecError("worldkv check needs hypothesis, which is not installed; pip install 'worldkv[testing]'")


def keep_hypothesis_out_of(folder: str) -> None:
    """Let hypothesis keep its notes in `folder`, not where the user stands."""
    from hypothesis.configuration import set_hypothesis_home_dir

    set_hypothesis_home_dir(folder)


def reproducible(report: Report, *, timing: bool) -> dict[str, Any]:
    """The report as JSON; without seconds of questions, which are not the same twice, unless asked for."""
    document = report.document()
    for one in document["checks"]:
        if not timing:
            one["figures"] = {name: value for name, value in one["figures"].items() if ".seconds " not in name}
    return document
