"""Run the conformance kit on policies and parts: `check` and its result."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worldkv.errors import SpecError
from worldkv.experiments.defaults import CHECK_EXAMPLES
from worldkv.experiments.progress import SILENT, Progress
from worldkv.experiments.result import Result

if TYPE_CHECKING:
    from worldkv.policy import Part
    from worldkv.report.printer import Printer
    from worldkv.testing import Report


@dataclass(frozen=True, repr=False, eq=False)
class CheckResult(Result):
    """Findings of the conformance kit on policies and parts.

    Attributes:
        reports: one for each, in the order given.
        examples: rollouts that a check tries.
        seed: of the search for rollouts.
        timing: whether seconds of policy calls are reported beside counts.
    """

    reports: tuple[Report, ...]
    examples: int
    seed: int
    timing: bool = False

    @property
    def passed(self) -> bool:
        """Whether no check failed or was blocked."""
        return all(report.passed for report in self.reports)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One row for each check and each policy or part."""
        return [{"subject": report.subject, **vars(one)} for report in self.reports for one in report.findings]

    def to_dict(self) -> dict[str, Any]:
        """The document of `worldkv check --json`."""
        return {
            "reports": [reproducible(report, timing=self.timing) for report in self.reports],
            "examples": self.examples,
            "seed": self.seed,
            "passed": self.passed,
        }

    def write(self, out: Printer) -> None:
        """See `Result.write`."""
        from worldkv.report.check_tables import write_report

        for report in self.reports:
            write_report(out, report, timing=self.timing)

    def __repr__(self) -> str:
        summaries = (
            f"{report.subject}: {len(report.wrong)} of {len(report.findings)} checks not met"
            if report.wrong
            else f"{report.subject}: all of {len(report.findings)} checks met or skipped"
            for report in self.reports
        )
        return f"CheckResult of {'; '.join(summaries)}"


def check(
    policies: Sequence[str | Part | type[Part]] | str | Part | type[Part],
    *,
    examples: int = CHECK_EXAMPLES,
    seed: int = 0,
    only: Sequence[str] | None = None,
    timing: bool = False,
    progress: Progress = SILENT,
) -> CheckResult:
    """Run every check of the conformance kit that concerns the given policies or parts.

    Args:
        policies: spec strings or objects, one or several.
        examples: rollouts that a check tries; some hundreds are thorough.
        seed: the same seed tries the same rollouts.
        only: names of checks; by default all that concern each.
        timing: whether seconds of policy calls are reported beside counts.
        progress: where each check is reported before it runs.

    Raises:
        SpecError: neither policy nor part, an unknown check, or hypothesis is missing.
    """
    require_hypothesis()
    from worldkv.testing import examine
    from worldkv.testing.kit import checks_for, put_under_test

    several = policies if isinstance(policies, Sequence) and not isinstance(policies, str) else [policies]
    reports = []
    with hypothesis_folder():
        for one in several:
            subject = put_under_test(one() if isinstance(one, type) else one)
            total = len(only or checks_for(subject))
            done = 0

            def begun(name: str, spec: object = one, total: int = total) -> None:
                nonlocal done
                done += 1
                progress.begin(f"{spec}: {name.replace('_', ' ')} ({done} of {total})")

            reports.append(examine(subject, examples=examples, seed=seed, only=only, on_check=begun))
    return CheckResult(tuple(reports), examples, seed, timing)


def require_hypothesis() -> None:
    """Raise where hypothesis, which the kit needs, is missing.

    Raises:
        SpecError: hypothesis is not installed.
    """
    if importlib.util.find_spec("hypothesis") is None:
        raise SpecError("worldkv check needs hypothesis, which is not installed; pip install 'worldkv[testing]'")


@contextmanager
def hypothesis_folder() -> Iterator[None]:
    """Let hypothesis write its files into a temporary folder, not into the working directory."""
    from hypothesis import configuration

    before = getattr(configuration, "__hypothesis_home_directory", None)
    with tempfile.TemporaryDirectory(prefix="worldkv-") as folder:
        configuration.set_hypothesis_home_dir(folder)
        try:
            yield
        finally:
            configuration.set_hypothesis_home_dir(before)


def reproducible(report: Report, *, timing: bool) -> dict[str, Any]:
    """The report as JSON; seconds of policy calls, which differ from run to run, only with `timing`."""
    document = report.document()
    for one in document["checks"]:
        if not timing:
            one["figures"] = {name: value for name, value in one["figures"].items() if ".seconds " not in name}
    return document
