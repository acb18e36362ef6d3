"""The two commands, `optimize` and `pare`, and what an error becomes: a message and an exit code."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from onnx_pare.cli.ending import clean
from onnx_pare.cli.printable import printable

if TYPE_CHECKING:
    import typer

HELP = "Pare an ONNX model down to its target: smaller, faster, and proven."
EPILOG = "Add --debug to any command for the traceback of an error."
DEBUG = "--debug"
LONGEST_LINE = 1000


def optimize() -> None:
    """Run `optimize`."""
    _run(_optimize_app)


def pare() -> None:
    """Run `pare`."""
    _run(_pare_app)


def _optimize_app() -> typer.Typer:
    from onnx_pare.cli.optimize import optimize

    app = _app()
    app.command(epilog=EPILOG, name="optimize")(optimize)
    return app


def _pare_app() -> typer.Typer:
    from onnx_pare.cli import bench, compare, demo, doctor, inspect, passes, profiles, recipes, version, zoo
    from onnx_pare.cli import optimize as optimize_command

    app = _app(no_args_is_help=True, epilog=EPILOG)
    app.callback()(version.version)
    app.command("optimize", epilog=EPILOG)(optimize_command.optimize)
    app.command("bench")(bench.bench)
    app.command("inspect")(inspect.inspect)
    app.command("compare")(compare.compare)
    app.add_typer(profiles.app, name="profiles")
    app.add_typer(passes.app, name="passes")
    app.add_typer(recipes.app, name="recipes")
    app.add_typer(zoo.app, name="zoo")
    app.command("demo")(demo.demo)
    app.command("doctor")(doctor.doctor)
    return app


def _app(**options: Any) -> typer.Typer:
    import typer

    # plain help: as markup, `[default: …]` in a help text would vanish, and boxes take their time
    return typer.Typer(
        help=HELP, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, **options
    )


def _run(make: Callable[[], Callable[[], object]]) -> None:
    """Make an app and run it; an error becomes its message on stderr and its exit code."""
    debug = DEBUG in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != DEBUG]
    _prepare_streams()
    _quiet_libraries()
    try:
        with clean():
            make()()
    except SystemExit as ended:
        if ended.code == 128 + signal.SIGINT:
            _say("interrupted")
        raise
    except Exception as error:
        if debug:
            raise
        from onnx_pare.cli.failures import explained

        failure = explained(error)
        _say(failure.message, failure.hint)
        sys.exit(failure.exit_code)


def _say(message: str, hint: str = "") -> None:
    try:
        print(f"error: {_shown(message)}", file=sys.stderr)
        if hint:
            print(f"  {_shown(hint)}", file=sys.stderr)
    except OSError:  # nobody listens: what is left is the exit code
        return


def _shown(text: str) -> str:
    """Return text with long lines cut, safe to show."""
    lines = (line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}…" for line in text.split("\n"))
    return printable("\n".join(lines))


def _quiet_libraries() -> None:
    """Keep what libraries log off the terminal: what matters of it is said in our own words."""
    for name in ("onnx_ir", "PIL"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _prepare_streams() -> None:
    """Make sure that stdout and stderr are there and take any text: closed ones, and encodings like ASCII."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
