"""Kill commands at random moments, by SIGKILL, SIGTERM and SIGINT; what they leave is whole, right, or not there.

    python -m benchmarks.campaigns.kills --trials 300

A trial starts a command and signals it at a moment drawn evenly from its whole time. Files that it was to write must be
missing or as in a run that nothing disturbed; a sweep's rows must be rows of the whole sweep, and a sweep that is
started again must end in the rows of one that was never stopped. SIGTERM and SIGINT must leave nothing else behind;
after SIGKILL unfinished files may lie there, and chunks that do must agree with their checksums.
"""

from __future__ import annotations

import inspect
import random
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.campaigns import child, files
from benchmarks.campaigns.outcome import WRONG, Outcome, arguments, work_folder

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
ENDINGS = {signal.SIGKILL: (-9,), signal.SIGTERM: (128 + 15, -15), signal.SIGINT: (130,)}
SWEEP = "generate:loop:chunks=10 -p worldkv -p random --budgets 4chunks,6chunks --seeds 0-1 --out rows.csv".split()
COMMANDS = {
    "sweep, one process": ["sweep", *SWEEP, "--jobs", "1"],
    "sweep, two workers": ["sweep", *SWEEP, "--jobs", "2"],
    "run, spilling": (
        "run generate:loop:chunks=14 --passes 1 --no-recall --host-budget 50kB --spill-folder spill --json run.json "
        "--log run.jsonl --plan plan.jsonl --record run.safetensors"
    ).split(),
    "run, saving": (
        "run generate:loop:chunks=12 --passes 1 --no-recall --host-budget 50kB --spill-folder spill --json run.json "
        "--plan plan.jsonl --save world --save-every 1"
    ).split(),
    "compare": (
        "compare generate:loop:chunks=12 -p worldkv --json compare.json --log compare.jsonl --plot compare.png"
    ).split(),
    "promote": (
        "promote worldkv generate:loop:chunks=8 --chunks 6 --passes 1 --examples 1 --machine worldkv-project-page "
        "--json promote.json"
    ).split(),
}
AGAIN = 10
"""Of so many killed sweeps one is started again; a killed run that saves its world is resumed every time."""


def main() -> int:
    """Run the campaign."""
    options = arguments(__doc__ or "", 300)
    outcome, draw = Outcome("kills"), random.Random(options.seed)
    outcome.fact("seed", options.seed)
    child.preload()
    with work_folder() as name:
        for kind, words in COMMANDS.items():
            if (options.only and options.only not in kind) or ("--save" in words and not can_save()):
                continue
            reference = name / kind
            for undisturbed in (reference, name / "twice"):
                shutil.rmtree(undisturbed, ignore_errors=True)
                undisturbed.mkdir()
                whole = child.run(words, undisturbed)
                if whole.code not in (0, 1):
                    raise SystemExit(f"{' '.join(words)} ends with {whole.code}: {whole.said[-500:]}")
            own = files.own_keys(reference, name / "twice")
            outcome.fact(f"keys of {kind} not compared", list(own))
            outcome.fact(f"seconds of {kind}", round(whole.seconds, 2))
            for number in range(options.trials):
                folder = name / "trial"
                folder.mkdir()
                sent, after = SIGNALS[number % 3], draw.uniform(0, 1.02 * whole.seconds)
                ended = child.end(child.start(words, folder), folder / "said", sent, after)
                verdict, why = judged(ended, sent, folder, reference, own)
                if verdict == "stopped" and "--save" in words:
                    verdict, why = resumed(words, folder, reference, own)
                if verdict == "stopped" and kind.startswith("sweep") and number % AGAIN == 0:
                    verdict, why = continued(words, folder, reference)
                outcome.note(
                    kind, verdict, f"{signal.Signals(sent).name} after {after:.3f} s, seed {options.seed}: {why}"
                )
                shutil.rmtree(folder)
    return outcome.finish(options.out)


def judged(
    ended: child.Ended, sent: signal.Signals, folder: Path, reference: Path, own: tuple[str, ...]
) -> tuple[str, str]:
    """The verdict on what a signalled command left, and why it is wrong."""
    if ended.code is None:
        return WRONG, "it hangs"
    if "Traceback" in ended.said:
        return WRONG, ended.said[-800:]
    has_ended = ended.code in (0, 1)
    if not has_ended and ended.code not in ENDINGS[sent]:
        return WRONG, f"it ends with {ended.code}: {ended.said[-300:]}"
    expected = {file.name for file in reference.iterdir()}
    for file in folder.rglob("*"):
        where = file.relative_to(folder)
        if file.is_dir() or file.name == "said" or where.parts[0] == "world":
            continue
        if file.name in expected and len(where.parts) == 1:
            try:
                same = files.is_same(file, reference / file.name, own) or (
                    file.suffix == ".csv" and files.rows_are_of(file, reference / file.name)
                )
            except Exception as error:
                return WRONG, f"{where} cannot be read: {error}"
            if not same:
                return WRONG, f"{where} differs from an undisturbed run's"
        elif sent is not signal.SIGKILL or has_ended:
            return WRONG, f"{where} is left behind"
        elif file.suffix == ".safetensors" and len(where.parts) > 1 and not files.chunk_is_whole(file):
            return WRONG, f"{where} does not agree with its checksum"
    missing = [name for name in expected - {"said", "world"} if has_ended and not (folder / name).exists()]
    if missing:
        return WRONG, f"it ended, and {', '.join(missing)} are missing"
    return ("finished before" if has_ended else "stopped"), ""


def can_save() -> bool:
    """Whether this version of worldkv saves worlds."""
    from worldkv.cli.app import app

    return "save" in {option.name for command in app.registered_commands for option in _options(command.callback)}


def _options(function: Callable[..., None] | None) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values()) if function else []


def resumed(words: list[str], folder: Path, reference: Path, own: tuple[str, ...]) -> tuple[str, str]:
    """The verdict on a run that goes on where its world was saved last."""
    again = child.run([*words, "--resume", "world"], folder)
    if again.code == 2 and "Traceback" not in again.said and not list(folder.glob("world/*.json")):
        return "stopped before anything was saved", ""
    if again.code != 0:
        return WRONG, f"resumed it ends with {again.code}: {again.said[-400:]}"
    if not files.is_same(folder / "run.json", reference / "run.json", own):
        return WRONG, "resumed it ends in another result"
    return "stopped, and resumed to the same result", ""


def continued(words: list[str], folder: Path, reference: Path) -> tuple[str, str]:
    """The verdict on a sweep that is started again where it was killed."""
    again = child.run(words, folder)
    if again.code != 0:
        return WRONG, f"started again it ends with {again.code}: {again.said[-300:]}"
    if not files.is_same(folder / "rows.csv", reference / "rows.csv"):
        return WRONG, "started again it ends in other rows"
    return "stopped, and went on to the same rows", ""


if __name__ == "__main__":
    sys.exit(main())
