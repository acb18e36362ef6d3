"""The two commands, `optimize` and `pare`, and what an error becomes: a message and an exit code."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import typer

from onnx_pare.cli import (
    bench,
    compare,
    demo,
    doctor,
    inspect,
    passes,
    profiles,
    recipes,
)
from onnx_pare.cli import optimize as optimize_command

HELP = "Pare an ONNX model down to its target: smaller, faster, and proven."
EPILOG = "Add --debug to any command for the traceback of an error."
DEBUG = "--debug"
EXIT_FAILED = 3
EXIT_INTERRUPTED = 130


def optimize() -> None:
    """Run `optimize`."""
    app = _app()
    app.command(epilog=EPILOG, name="optimize")(optimize_command.optimize)
    _run(app)


def pare() -> None:
    """Run `pare`."""
    app = _app(no_args_is_help=True, epilog=EPILOG)
    app.callback()(_version)
    app.command("optimize", epilog=EPILOG)(optimize_command.optimize)
    app.command("bench")(bench.bench)
    app.command("inspect")(inspect.inspect)
    app.command("compare")(compare.compare)
    app.add_typer(profiles.app, name="profiles")
    app.add_typer(passes.app, name="passes")
    app.add_typer(recipes.app, name="recipes")
    app.command("demo")(demo.demo)
    app.command("doctor")(doctor.doctor)
    _run(app)


def _app(**options: Any) -> typer.Typer:
    return typer.Typer(help=HELP, add_completion=False, pretty_exceptions_enable=False, **options)


def _print_version(wanted: bool) -> None:
    if wanted:
        from onnx_pare import __version__

        print(f"onnx-pare {__version__}")
        raise typer.Exit


def _version(
    version: bool = typer.Option(
        False, "--version", is_eager=True, callback=_print_version, help="Print the version and exit."
    ),
) -> None:
    """Hold the option `--version`; its callback does the work."""


def _run(app: Callable[..., Any]) -> None:
    """Run an app; an error becomes its message on stderr and its exit code."""
    from onnx_pare.errors import PareError

    debug = DEBUG in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != DEBUG]
    signal.signal(signal.SIGTERM, _terminated)
    try:
        app()
    except PareError as error:
        if debug:
            raise
        _say(error.message, error.hint)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _say("interrupted")
        sys.exit(EXIT_INTERRUPTED)
    except MemoryError:
        if debug:
            raise
        _say("out of memory", "Use fewer calibration samples, or a machine with more memory.")
        sys.exit(EXIT_FAILED)
    except Exception as error:
        if debug:
            raise
        said = " ".join(str(error).split())[:500]
        _say(
            f"internal error: {type(error).__name__}: {said}", "This is a bug in onnx-pare: please report it."
        )
        sys.exit(EXIT_FAILED)


def _say(message: str, hint: str = "") -> None:
    print(f"error: {message}", file=sys.stderr)
    if hint:
        print(f"  {hint}", file=sys.stderr)


def _terminated(number: int, frame: FrameType | None) -> None:
    """End like Ctrl-C does, so that temporary files go."""
    raise SystemExit(128 + number)
