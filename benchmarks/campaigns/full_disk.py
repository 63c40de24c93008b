"""Fill the disk under outputs and under spilled chunks, at a drawn byte; and cut writes short.

    python -m benchmarks.campaigns.full_disk --trials 40

A disk is a tmpfs of a drawn size where one can be mounted (as root on Linux); "cut short" is a limit on the size of
files (RLIMIT_FSIZE), at which the system takes part of a write and refuses the rest. A command must end with exit code
2 and one sentence and leave no file that is not whole, or finish as on a disk with room. A rollout that has another
way must finish: a second folder, when_lost=go-on, when_full=forget-oldest.
"""

from __future__ import annotations

import random
import shutil
import sys
from contextlib import nullcontext
from pathlib import Path

from benchmarks.campaigns import child, files
from benchmarks.campaigns.outcome import WRONG, Outcome, arguments, work_folder
from benchmarks.campaigns.small_disk import can_mount, small_disk

RUN = "run generate:loop:chunks=16 --passes 1 --no-recall --host-budget 50kB".split()
OUTPUTS = {
    "compare": (
        "compare generate:loop:chunks=12 -p worldkv --json out/a.json --log out/a.jsonl --plot out/a.png"
    ).split(),
    "sweep": (
        "sweep generate:loop:chunks=8 -p worldkv --budgets 4chunks,5chunks --seeds 0 --jobs 1 --out out/a.csv"
    ).split(),
    "run": [*RUN, *"--json out/a.json --plan out/b.jsonl --record out/a.safetensors".split()],
}
SPILLS = {
    "alone": (["--spill-folder", "small"], False),
    "with a second folder": (["--spill-folder", "small", "--spill-folder", "large"], True),
    "going on without the chunk": (["--spill-folder", "small", "--when-lost", "go-on"], True),
    "forgetting the oldest": (["--spill-folder", "small", "--when-full", "forget-oldest"], True),
}


def main() -> int:
    """Run the campaign."""
    options = arguments(__doc__ or "", 40)
    outcome, draw = Outcome("full_disk"), random.Random(options.seed)
    outcome.fact("seed", options.seed)
    child.preload()
    with work_folder() as folder:
        mounts = can_mount(folder / "probe")
        outcome.fact("disk", "tmpfs" if mounts else "none could be mounted; writes cut short only")
        for kind, words in OUTPUTS.items():
            whole = undisturbed(words, folder / f"whole {kind}")
            largest = max(file.stat().st_size for file in (whole / "out").iterdir())
            total = sum(file.stat().st_size for file in (whole / "out").iterdir())
            for number in range(options.trials):
                how = "on a full disk" if mounts and number % 2 else "cut short"
                if options.only is None or options.only in f"{kind} {how}":
                    most = draw.randrange(1, largest) if how == "cut short" else draw.randrange(4096, total + 8192)
                    fill_outputs(outcome, f"outputs of {kind} {how}", words, whole, folder / "trial", most, how)
        whole = undisturbed([*RUN, "--json", "out/a.json", "--plan", "out/b.jsonl"], folder / "whole spill")
        for kind, (more, must_finish) in SPILLS.items():
            for _ in range(options.trials if mounts and (options.only or "spill") in f"spill {kind}" else 0):
                size = draw.randrange(4096, 130_000)
                fill_spill(outcome, f"spill, {kind}", more, must_finish, whole, folder / "trial", size)
    return outcome.finish(options.out)


def undisturbed(words: list[str], folder: Path) -> Path:
    """The folder of a run with room enough."""
    (folder / "out").mkdir(parents=True)
    ended = child.run(words, folder)
    if ended.code != 0:
        raise SystemExit(f"{' '.join(words)} ends with {ended.code}: {ended.said[-500:]}")
    return folder


def fill_outputs(outcome: Outcome, kind: str, words: list[str], whole: Path, folder: Path, most: int, how: str) -> None:
    """One command whose outputs find room for `most` bytes."""
    (folder / "out").mkdir(parents=True)
    on_disk = how != "cut short"
    with small_disk(folder / "out", most) if on_disk else nullcontext():
        ended = child.run(words, folder, None, None if on_disk else max(most, 4096))
        verdict, why = judged(ended, folder, whole)
    outcome.note(kind, verdict, f"{most} bytes: {why}")
    shutil.rmtree(folder)


def fill_spill(
    outcome: Outcome, kind: str, more: list[str], must_finish: bool, whole: Path, folder: Path, size: int
) -> None:
    """One rollout whose first spill folder holds `size` bytes."""
    for name in ("out", "large", "small"):
        (folder / name).mkdir(parents=True)
    with small_disk(folder / "small", size):
        ended = child.run([*RUN, *more, "--json", "out/a.json", "--plan", "out/b.jsonl"], folder)
        left = [file.name for name in ("small", "large") for file in (folder / name).iterdir()]
    gives_up = "--when-lost" in more or "--when-full" in more
    if left:
        verdict, why = WRONG, f"{left} left in the spill folders"
    elif must_finish and ended.code != 0:
        verdict, why = WRONG, f"it ends with {ended.code}: {ended.said[-400:]}"
    elif gives_up and ended.code == 0:
        same = files.is_same(folder / "out" / "b.jsonl", whole / "out" / "b.jsonl")
        verdict, why = "finished" if same else "finished, chunks given up and told", ""
    else:
        verdict, why = judged(ended, folder, whole)
    outcome.note(kind, verdict, f"{size} bytes: {why}")
    shutil.rmtree(folder)


def judged(ended: child.Ended, folder: Path, whole: Path) -> tuple[str, str]:
    """The verdict on a command that may have run out of disk."""
    if ended.code not in (0, 2):
        return WRONG, f"it ends with {ended.code}: {ended.said[-600:]}"
    if "Traceback" in ended.said:
        return WRONG, ended.said[-600:]
    expected = {file.name for file in (whole / "out").iterdir()}
    found = {file.name for file in (folder / "out").iterdir()}
    if found - expected:
        return WRONG, f"{sorted(found - expected)} left behind"
    for name in found:
        file, reference = folder / "out" / name, whole / "out" / name
        try:
            same = files.is_same(file, reference) or (file.suffix == ".csv" and files.rows_are_of(file, reference))
        except Exception as error:
            return WRONG, f"{name} cannot be read: {error}"
        if not same:
            return WRONG, f"{name} differs from that of a run with room"
    if ended.code == 0:
        return ("finished", "") if found == expected else (WRONG, f"it ended well, and {expected - found} are missing")
    sentence = ended.said.strip().splitlines()[-1]
    return ("refused in a sentence", "") if len(sentence) > 20 else (WRONG, f"it says {ended.said!r}")


if __name__ == "__main__":
    sys.exit(main())
