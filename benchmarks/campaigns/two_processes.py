"""Two processes in one folder: rollouts that spill there, sweeps into one file, results under one name.

    python -m benchmarks.campaigns.two_processes --trials 30

Both start at once, one with a delay that is drawn. Each must end as it does alone: rollouts with the same result and no
file left, sweeps with every row of both in the file, and a result that both write is whole, one's or the other's. In
half of the trials one of the two is killed, which must cost the other nothing.
"""

from __future__ import annotations

import random
import shutil
import signal
import sys
import time
from pathlib import Path

from benchmarks.campaigns import child, files
from benchmarks.campaigns.outcome import WRONG, Outcome, arguments, work_folder

RUN = "run generate:loop:chunks=14 --passes 1 --no-recall --host-budget 50kB --spill-folder spill --json".split()
SWEEP = "sweep generate:loop:chunks=8 --budgets 4chunks,5chunks --jobs 1 --no-floor -p worldkv --seeds".split()


def main() -> int:
    """Run the campaign."""
    options = arguments(__doc__ or "", 30)
    outcome, draw = Outcome("two_processes"), random.Random(options.seed)
    outcome.fact("seed", options.seed)
    child.preload()
    pairs = {
        "rollouts into one folder": ([*RUN, "one.json"], [*RUN, "two.json"], None),
        "sweeps into one file": (
            [*SWEEP, "0-2", "--out", "rows.csv"],
            [*SWEEP, "3-5", "--out", "rows.csv"],
            "rows.csv",
        ),
        "one name for two results": ([*RUN, "both.json"], [*RUN, "both.json"], None),
    }
    with work_folder() as folder:
        for kind, (one, two, shared) in pairs.items():
            if options.only and options.only not in kind:
                continue
            alone = folder / kind
            alone.mkdir()
            for words in (one, two):
                whole = child.run(words, alone)
                if whole.code != 0:
                    raise SystemExit(f"{' '.join(words)} ends with {whole.code}: {whole.said[-500:]}")
            for number in range(options.trials):
                after = draw.uniform(0, whole.seconds)
                kill_after = draw.uniform(0, whole.seconds) if number % 2 else None
                verdict, why = together(one, two, alone, folder / "trial", after, kill_after, shared)
                outcome.note(f"{kind}{', one killed' if number % 2 else ''}", verdict, f"{after:.3f} s apart: {why}")
    return outcome.finish(options.out)


def together(
    one: list[str],
    two: list[str],
    alone: Path,
    folder: Path,
    after: float,
    kill_after: float | None,
    shared: str | None,
) -> tuple[str, str]:
    """Start both in `folder`; the verdict on what they leave."""
    folder.mkdir()
    first = child.start(one, folder, folder / "said-1")
    time.sleep(after if kill_after is None else min(after, kill_after))
    second = child.start(two, folder, folder / "said-2")
    sent = None if kill_after is None else signal.SIGKILL
    ends = [
        child.end(first, folder / "said-1", sent, kill_after or 0.0),
        child.end(second, folder / "said-2", None, 0.0),
    ]
    survivors = ends[kill_after is not None :]
    try:
        if any(ended.code != 0 or "Traceback" in ended.said for ended in survivors):
            return WRONG, f"ends {[ended.code for ended in ends]}: {ends[-1].said[-400:]}"
        for file in folder.rglob("*"):
            if file.name.startswith("said") or file.is_dir():
                continue
            reference = alone / file.name
            if not reference.exists() or file.parent != folder:
                if kill_after is None:
                    return WRONG, f"{file.name} is left behind"
            elif file.suffix == ".csv":
                if not files.rows_are_of(file, reference):
                    return WRONG, f"{file.name} has rows that neither made"
            elif not files.is_same(file, reference):
                return WRONG, f"{file.name} differs from that of one alone"
        if shared is not None:
            own = files.rows_of(folder / shared)
            whole = files.rows_of(alone / shared)
            expected = whole if kill_after is None else {key for key in whole if whole[key]["seed"] >= 3}
            lost = [key for key in expected if key not in own]
            if lost:
                return WRONG, f"{len(lost)} of {len(expected)} rows that were written are lost"
        return "as alone", ""
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
