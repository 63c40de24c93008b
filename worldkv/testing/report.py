"""The kit's findings, check by check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Status = Literal["passed", "failed", "blocked", "skipped"]
"""Blocked: it could not be judged, because what is checked breaks another check first."""


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        name: the check's name.
        claim: what a correct policy or part does.
        status: how it went.
        seconds: how long it took.
        message: if failed what is wrong and what to fix; if blocked or skipped why.
        example: if failed, the smallest rollout found, in words.
        replay: if failed, Python code that shows it again.
        figures: what the check measured, by name.
    """

    name: str
    claim: str
    status: Status
    seconds: float
    message: str = ""
    example: str | None = None
    replay: str | None = None
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """All findings about one policy or part.

    Attributes:
        subject: its spec or repr.
        findings: in the order of the checks.
    """

    subject: str
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing failed and nothing was blocked."""
        return not self.wrong

    @property
    def wrong(self) -> tuple[Finding, ...]:
        """Findings that failed or were blocked."""
        return tuple(finding for finding in self.findings if finding.status in ("failed", "blocked"))

    def document(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        from worldkv import __version__

        counts = {status: sum(one.status == status for one in self.findings) for status in get_args(Status)}
        checks = [{**vars(finding), "figures": dict(finding.figures)} for finding in self.findings]
        return {
            "worldkv": __version__,
            "subject": self.subject,
            "passed": self.passed,
            "counts": counts,
            "checks": checks,
        }

    def __str__(self) -> str:
        """What is wrong, as an exception would say it."""
        lines = [f"{self.subject}: {len(self.wrong)} of {len(self.findings)} checks are not met"]
        for finding in self.wrong:
            if finding.status == "blocked":
                continue
            lines += ["", f"{finding.name}: {finding.message}"]
            if finding.example:
                lines.append(f"  smallest example: {finding.example}")
            if finding.replay:
                lines += ["  replay:", *(f"    {line}" for line in finding.replay.splitlines())]
        for why, names in self.blocked.items():
            lines += ["", f"{', '.join(names)}: {why}"]
        return "\n".join(lines)

    @property
    def blocked(self) -> dict[str, list[str]]:
        """Names of the checks that were blocked, by the reason."""
        found: dict[str, list[str]] = {}
        for finding in self.findings:
            if finding.status == "blocked":
                found.setdefault(finding.message, []).append(finding.name)
        return found
