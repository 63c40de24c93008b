"""docs/trained-world.md: tables of what `benchmarks.trained_study` measured, means over seeds with 95 % intervals."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.marked_page import write_sections
from benchmarks.trained_study import CLAIMED, KEEPS, STUDIES
from worldkv.backends.models import training_record

_T = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78}
"""Student's t for 95 % by number of seeds."""


def write_page(page: Path, found: dict[str, Any]) -> None:
    """Write every section of the page whose figures are there."""
    sections = {
        "training": training(),
        "claims": claims(found, "claims"),
        "rotary": claims(found, "rotary"),
        "free": claims(found, "free"),
        "policies": policies(found),
        "pruning": pruning(found),
        "equal tokens": equal_tokens(found),
        "dilution": line(found, "dilution"),
        "positions": line(found, "positions"),
        "banks": line(found, "banks"),
    }
    write_sections(page, {name: content or "Not measured yet." for name, content in sections.items()})


def training() -> str:
    """How each model was trained and what it reached on held-out clips."""
    lines = [
        "| model | seed, steps, minutes | machine | loss, first and last | exact, with / without | near return |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for positions in ("rays", "rotary"):
        record = training_record(positions)
        told = record["checkpoints"]
        looked = [entry for entry in told if "exact_with" in entry]
        exact, near = (
            f"{looked[-1][f'{kind}_with']:.1f} / {looked[-1][f'{kind}_without']:.1f} dB" if looked else "-"
            for kind in ("exact", "near")
        )
        lines.append(
            f"| `{positions}` | {record['recipe']['seed']}, {record['steps']:,}, {record['minutes']:.0f} | "
            f"{record['machine']} | {told[0]['loss']:.2f}, {told[-1]['loss']:.2f} | {exact} | {near} |"
        )
    return "\n".join(lines)


def claims(found: dict[str, Any], study: str) -> str:
    """The six policies on every path: dB over all revisits and over exact returns, and the memory gap."""
    lines = []
    for path in STUDIES[study].paths:
        entries = _entries(found, study, path)
        if not entries:
            continue
        gaps = [entry["memory_gap"] for entry in entries if entry["memory_gap"]]
        gap = " / ".join(f"{np.mean([g[name] for g in gaps]):.1f}" for name in ("with_memory", "without_memory"))
        lines += [
            f"**{path}**, {len(entries)} seeds; memory gap {gap} dB",
            "",
            "| policy | dB, first visit | dB, truth | dB, exact returns | SSIM, truth | recall |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for spec in CLAIMED:
            told = [_told(entries, spec, figure) for figure in ("psnr_visit", "psnr_truth", "psnr_exact")]
            ssim, recall = (_told(entries, spec, figure, 2) for figure in ("ssim_truth", "revisit_recall"))
            lines.append(f"| `{spec}` | {' | '.join(told)} | {ssim} | {recall} |")
        lines.append("")
    return "\n".join(lines)


def policies(found: dict[str, Any]) -> str:
    """Every policy on every path, dB against the truth, and how recall ranks them."""
    from scipy.stats import spearmanr

    study = STUDIES["policies"]
    paths = [path for path in study.paths if _entries(found, "policies", path)]
    if not paths:
        return ""
    lines = ["| policy | " + " | ".join(paths) + " |", "| --- |" + " --- |" * len(paths)]
    for spec in study.policies:
        cells = [
            f"{_told(_entries(found, 'policies', path), spec, 'psnr_truth', interval=False)} / "
            f"{_told(_entries(found, 'policies', path), spec, 'revisit_recall', 2, interval=False)}"
            for path in paths
        ]
        lines.append(f"| `{spec}` | " + " | ".join(cells) + " |")
    rhos = []
    for path in paths:
        entries = _entries(found, "policies", path)
        pairs = [
            tuple(
                np.mean([entry["rows"][spec][figure] for entry in entries])
                for figure in ("revisit_recall", "psnr_truth")
            )
            for spec in study.policies
        ]
        rhos.append(float(spearmanr(*np.array(pairs).T).statistic))
    lines.append("| **Spearman, recall and dB** | " + " | ".join(f"**{rho:.2f}**" for rho in rhos) + " |")
    return "\n".join(lines)


def pruning(found: dict[str, Any]) -> str:
    """Ways to drop as many tokens, by keep ratio: dB over exact returns and all revisits."""
    lines = []
    names = ("World Compression", "pooled", "keydiff", "stride", "random tokens", "like the anchor")
    for path in STUDIES["pruning"].paths:
        entries = _entries(found, "pruning", path)
        if not entries:
            continue
        lines += [
            f"**{path}**, {len(entries)} seeds; all tokens {_told(entries, 'keep 1', 'psnr_truth')}",
            "",
            "| tokens by | " + " | ".join(f"keep {keep}" for keep in KEEPS) + " |",
            "| --- |" + " --- |" * len(KEEPS),
        ]
        for name in names:
            cells = [_told(entries, f"{name} {keep}", "psnr_truth") for keep in KEEPS]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def equal_tokens(found: dict[str, Any]) -> str:
    """Ways to fill WorldKV's window: dB, and bytes moved."""
    lines = []
    for path in STUDIES["equal tokens"].paths:
        entries = _entries(found, "equal tokens", path)
        if not entries:
            continue
        lines += [
            f"**{path}**, {len(entries)} seeds",
            "",
            "| way | dB, first visit | dB, truth | dB, exact returns | window tokens | MiB moved |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for name in STUDIES["equal tokens"].policies:
            told = [_told(entries, name, figure) for figure in ("psnr_visit", "psnr_truth", "psnr_exact")]
            rows = [entry["rows"][name] for entry in entries]
            moved = np.mean([row["bytes_device_to_host"] + row["bytes_host_to_device"] for row in rows]) / 2**20
            lines.append(f"| {name} | {' | '.join(told)} | {rows[0]['window_tokens_peak']:,} | {moved:.1f} |")
        lines.append("")
    return "\n".join(lines)


def line(found: dict[str, Any], study: str) -> str:
    """One row a path, one column a policy: dB against the truth."""
    wanted = STUDIES[study]
    lines = ["| path | " + " | ".join(wanted.policies) + " |", "| --- |" + " --- |" * len(wanted.policies)]
    for path in wanted.paths:
        if entries := _entries(found, study, path):
            cells = [_told(entries, name, "psnr_truth") for name in wanted.policies]
            lines.append(f"| {path}, {len(entries)} seeds | " + " | ".join(cells) + " |")
    return "\n".join(lines) if len(lines) > 2 else ""


def _entries(found: dict[str, Any], study: str, path: str) -> list[dict[str, Any]]:
    keys = (f"{study}|{path}|{seed}" for seed in range(STUDIES[study].seeds))
    return [found[key] for key in keys if key in found]


def _told(entries: Iterable[dict[str, Any]], name: str, figure: str, digits: int = 1, *, interval: bool = True) -> str:
    """Mean over seeds and half of its 95 % interval."""
    values = [entry["rows"][name].get(figure) for entry in entries]
    told = np.array([value for value in values if value is not None], float)
    if not len(told):
        return "-"
    spread = (
        f" ± {_T[len(told)] * told.std(ddof=1) / len(told) ** 0.5:.{digits}f}" if len(told) in _T and interval else ""
    )
    return f"{told.mean():.{digits}f}{spread}"
