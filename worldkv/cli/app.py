"""The program `worldkv`: its commands, and one line for every error."""

from __future__ import annotations

import inspect
import io
import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from worldkv.cli import (
    benchmark,
    calibrate,
    check,
    compare,
    demo,
    explain,
    gpu_check,
    new_policy,
    parity,
    policies,
    promote,
    run,
    sweep,
    trajectory,
)
from worldkv.cli.exit_codes import BAD_INPUT, CLOSED_PIPE, FINE, INTERRUPTED
from worldkv.cli.options import examples, unwrapped
from worldkv.errors import WorldKVError

_Usage: type[Exception] = next(cls for cls in typer.BadParameter.__mro__ if cls.__name__ == "ClickException")
# typer brings its own click in some releases and uses the installed one in others; this is the right one in both.

app = typer.Typer(
    name="worldkv",
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Design, compare and test KV-cache policies for video world models.\n\n"
    "Such a model generates a video chunk by chunk, and attends over the keys and values of earlier chunks. A cache "
    "policy decides which chunks stay in the window that attention reads, which go to the bank (host memory or disk), "
    "and which are retrieved for the current camera view.",
    epilog=examples(
        "worldkv demo",
        "worldkv compare generate:loop",
        "worldkv compare KITTI_00_gt.txt --plot kitti.png",
        "worldkv policies",
    ),
)

COMMANDS: tuple[tuple[Callable[..., None], tuple[str, ...]], ...] = (
    (compare.compare, compare.EXAMPLES),
    (sweep.sweep, sweep.EXAMPLES),
    (benchmark.benchmark, benchmark.EXAMPLES),
    (trajectory.trajectory, trajectory.EXAMPLES),
    (explain.explain, explain.EXAMPLES),
    (run.run, run.EXAMPLES),
    (parity.parity, parity.EXAMPLES),
    (promote.promote, promote.EXAMPLES),
    (calibrate.calibrate, calibrate.EXAMPLES),
    (gpu_check.gpu_check, gpu_check.EXAMPLES),
    (check.check, check.EXAMPLES),
    (new_policy.new_policy, new_policy.EXAMPLES),
    (policies.policies, ()),
    (demo.demo, ()),
)
"""Every command and its examples, in the order of the help page; the help is the docstring."""

for _command, _examples in COMMANDS:
    app.command(
        _command.__name__.replace("_", "-"),
        help=unwrapped(inspect.getdoc(_command) or ""),
        epilog=examples(*_examples) if _examples else None,
    )(_command)


def _print_version(wanted: bool) -> None:
    if wanted:
        from worldkv import __version__

        print(f"worldkv {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Show the help where no command is given."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), nl=False)


def main(arguments: list[str] | None = None) -> int:
    """Run one command line.

    Args:
        arguments: the words after `worldkv`; the process's own where None.

    Returns:
        The exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without UTF-8 gets escapes, not a traceback
    try:
        code = _run(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader closed standard output. What is still buffered must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    except SystemExit:
        return CLOSED_PIPE  # rich leaves this way, and only then; it has pointed standard output elsewhere already
    except WorldKVError as error:
        return _refuse(str(error))
    except RecursionError:
        return _refuse("a value is nested too deep to be read; write it flat")
    except (RuntimeError, MemoryError) as error:
        if not _is_memory(error):
            raise
        return _refuse("there is not enough memory for this; take a smaller geometry, fewer chunks or smaller budgets")
    except OSError as error:
        return _refuse(f"{error.filename or 'a file'} cannot be used ({error.strerror or error}); check path and disk")
    return code


def _run(arguments: list[str]) -> int:
    command = typer.main.get_command(app)
    try:
        with command.make_context("worldkv", list(arguments)) as context:
            command.invoke(context)
    except typer.Exit as leave:
        return leave.exit_code
    except typer.Abort:
        return INTERRUPTED
    except _Usage as error:
        where = getattr(error, "ctx", None)
        command_path = "worldkv" if where is None else where.command_path
        return _refuse(f"{error.format_message().rstrip('.')}; see {command_path} --help")  # type: ignore[attr-defined]
    return FINE


def _is_memory(error: Exception) -> bool:
    """Whether Python or torch ran out of memory."""
    is_torch = type(error).__name__ == "OutOfMemoryError" or "not enough memory" in str(error)
    return isinstance(error, MemoryError) or is_torch or "can't allocate memory" in str(error)


def _refuse(sentence: str) -> int:
    sentence = str(WorldKVError(sentence))  # escaped and shortened, whoever wrote it
    print(f"worldkv: {' '.join(sentence.split())}", file=sys.stderr)
    return BAD_INPUT
