"""The program `worldkv`: its commands, and what becomes of everything that can go wrong in one."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

import typer

from worldkv.cli.calibrate import EXAMPLES as CALIBRATE_EXAMPLES
from worldkv.cli.calibrate import HELP as CALIBRATE_HELP
from worldkv.cli.calibrate import calibrate
from worldkv.cli.check import EXAMPLES as CHECK_EXAMPLES
from worldkv.cli.check import HELP as CHECK_HELP
from worldkv.cli.check import check
from worldkv.cli.compare import EXAMPLES as COMPARE_EXAMPLES
from worldkv.cli.compare import HELP as COMPARE_HELP
from worldkv.cli.compare import compare
from worldkv.cli.demo import HELP as DEMO_HELP
from worldkv.cli.demo import demo
from worldkv.cli.exit_codes import BAD_INPUT, CLOSED_PIPE, FINE, INTERRUPTED
from worldkv.cli.explain import EXAMPLES as EXPLAIN_EXAMPLES
from worldkv.cli.explain import HELP as EXPLAIN_HELP
from worldkv.cli.explain import explain
from worldkv.cli.new_policy import EXAMPLES as NEW_POLICY_EXAMPLES
from worldkv.cli.new_policy import HELP as NEW_POLICY_HELP
from worldkv.cli.new_policy import new_policy
from worldkv.cli.options import examples, unwrapped
from worldkv.cli.parity import EXAMPLES as PARITY_EXAMPLES
from worldkv.cli.parity import HELP as PARITY_HELP
from worldkv.cli.parity import parity
from worldkv.cli.policies import HELP as POLICIES_HELP
from worldkv.cli.policies import policies
from worldkv.cli.promote import EXAMPLES as PROMOTE_EXAMPLES
from worldkv.cli.promote import HELP as PROMOTE_HELP
from worldkv.cli.promote import promote
from worldkv.cli.run import EXAMPLES as RUN_EXAMPLES
from worldkv.cli.run import HELP as RUN_HELP
from worldkv.cli.run import run
from worldkv.cli.sweep import EXAMPLES as SWEEP_EXAMPLES
from worldkv.cli.sweep import HELP as SWEEP_HELP
from worldkv.cli.sweep import sweep
from worldkv.cli.trajectory import EXAMPLES as TRAJECTORY_EXAMPLES
from worldkv.cli.trajectory import HELP as TRAJECTORY_HELP
from worldkv.cli.trajectory import trajectory
from worldkv.errors import WorldKVError

_Usage: type[Exception] = next(cls for cls in typer.BadParameter.__mro__ if cls.__name__ == "ClickException")
# typer brings its own click in some releases and uses the installed one in others; this is the right one in both.

app = typer.Typer(
    name="worldkv",
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="KV-cache policies for video world models: what each keeps, moves, forgets and costs on a camera path.",
    epilog=examples(
        "worldkv demo",
        "worldkv compare generate:loop",
        "worldkv compare KITTI_00_gt.txt --plot kitti.png",
        "worldkv policies",
    ),
)
app.command("compare", help=unwrapped(COMPARE_HELP), epilog=examples(*COMPARE_EXAMPLES))(compare)
app.command("sweep", help=unwrapped(SWEEP_HELP), epilog=examples(*SWEEP_EXAMPLES))(sweep)
app.command("trajectory", help=unwrapped(TRAJECTORY_HELP), epilog=examples(*TRAJECTORY_EXAMPLES))(trajectory)
app.command("explain", help=unwrapped(EXPLAIN_HELP), epilog=examples(*EXPLAIN_EXAMPLES))(explain)
app.command("run", help=unwrapped(RUN_HELP), epilog=examples(*RUN_EXAMPLES))(run)
app.command("parity", help=unwrapped(PARITY_HELP), epilog=examples(*PARITY_EXAMPLES))(parity)
app.command("promote", help=unwrapped(PROMOTE_HELP), epilog=examples(*PROMOTE_EXAMPLES))(promote)
app.command("calibrate", help=unwrapped(CALIBRATE_HELP), epilog=examples(*CALIBRATE_EXAMPLES))(calibrate)
app.command("check", help=unwrapped(CHECK_HELP), epilog=examples(*CHECK_EXAMPLES))(check)
app.command("new-policy", help=unwrapped(NEW_POLICY_HELP), epilog=examples(*NEW_POLICY_EXAMPLES))(new_policy)
app.command("policies", help=unwrapped(POLICIES_HELP))(policies)
app.command("demo", help=unwrapped(DEMO_HELP))(demo)


def _print_version(wanted: bool) -> None:
    if wanted:
        from worldkv import __version__

        print(f"worldkv {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Without a command the help is shown."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), nl=False)


def main(arguments: list[str] | None = None) -> int:
    """Run one command line and say how it went.

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
        # Whoever read our output has had enough. What is still buffered must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    except SystemExit:
        return CLOSED_PIPE  # rich leaves this way, and only then; it has pointed standard output elsewhere already
    except WorldKVError as error:
        return _refuse(str(error))
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
        asked = "worldkv" if where is None else where.command_path
        return _refuse(f"{error.format_message().rstrip('.')}; see {asked} --help")  # type: ignore[attr-defined]
    return FINE


def _is_memory(error: Exception) -> bool:
    """Whether memory ran out, by whoever noticed."""
    is_torch = type(error).__name__ == "OutOfMemoryError" or "not enough memory" in str(error)
    return isinstance(error, MemoryError) or is_torch or "can't allocate memory" in str(error)


def _refuse(sentence: str) -> int:
    print(f"worldkv: {' '.join(sentence.split())}", file=sys.stderr)
    return BAD_INPUT
