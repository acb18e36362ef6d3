"""Consoles, progress bars and JSON output, shared by all commands."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onnx_pare.cli.printable import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars

    from onnx_pare.progress import Progress


JsonOption = Annotated[str, typer.Option("--json", metavar="PATH", help="Write JSON to PATH; - is stdout.")]
# columns of a table that goes to a file or another program, where none is given in COLUMNS: nothing wraps
WIDE = 1000


@cache
def out() -> Console:
    """Return the console for results (stdout)."""
    terminal = sys.stdout.isatty()
    wide = None if terminal or "COLUMNS" in os.environ else WIDE
    return _consoles()[0](highlight=False, soft_wrap=not terminal, width=wide, force_terminal=terminal)


@cache
def err() -> Console:
    """Return the console for logs, warnings, errors and progress (stderr)."""
    terminal = sys.stderr.isatty()
    return _consoles()[1](stderr=True, highlight=False, soft_wrap=not terminal, force_terminal=terminal)


@cache
def _consoles() -> tuple[type[Console], type[Console]]:
    """Return the classes of the consoles for stdout and stderr; rich is loaded only now."""
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    class SafeConsole(Console):
        """Shows control characters in the text it is given; only its own reach a terminal."""

        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Iterator[Segment]:
            for segment in super().render(renderable, options):
                yield segment if segment.control else segment._replace(text=printable(segment.text))

    class StdoutConsole(SafeConsole):
        """Carries on when the reader has left (`| head`): that is no failure of the run."""

        def on_broken_pipe(self) -> None:
            _forget_reader()

        def print(self, *objects: Any, **options: Any) -> None:
            with stdout_errors():
                super().print(*objects, **options)

    return StdoutConsole, SafeConsole


@contextmanager
def stdout_errors() -> Iterator[None]:
    """Turn what the system says while stdout is written into an error for the user.

    Raises:
        PareError: stdout cannot be written, other than for want of a reader.
    """
    from onnx_pare.errors import PareError

    try:
        yield
    except OSError as error:
        gone = error.errno == errno.EPIPE
        _forget_reader()
        if not gone:
            raise PareError(f"stdout: cannot be written: {error.strerror or error}") from error


def _forget_reader() -> None:
    """Send what is still written to stdout, such as at exit, nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def write_text(text: str) -> None:
    """Write `text` to stdout as it is.

    Raises:
        PareError: stdout cannot be written.
    """
    with stdout_errors():
        sys.stdout.write(text)
        sys.stdout.flush()


def write_json(data: Mapping[str, Any], path: str) -> None:
    """Write `data` as JSON to `path`, which may be a URL; `-` is stdout.

    Raises:
        OutputError: The file cannot be written.
        PareError: stdout cannot be written.
    """
    from onnx_pare.documents.json_text import json_text
    from onnx_pare.graph.save import publish_text
    from onnx_pare.remote import urls

    if path == "-":
        write_text(json_text(data, sys.stdout.encoding or "ascii"))
    elif urls.is_url(path):
        from onnx_pare.remote.store import put_text

        put_text(json_text(data), path)
    else:
        publish_text(json_text(data), Path(urls.local(path)))


def log_to_stderr(*, verbose: bool, quiet: bool) -> None:
    """Send the library's log to stderr: everything, warnings only, or errors only."""
    import logging

    class Safe(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return printable(super().format(record))

    level = logging.DEBUG if verbose else logging.ERROR if quiet else logging.WARNING
    handler = logging.StreamHandler()
    handler.setFormatter(Safe("%(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("onnx_pare")
    logger.handlers[:] = [handler]
    logger.setLevel(level)


@contextmanager
def progress(enabled: bool) -> Iterator[Progress]:
    """Yield where long work reports to: bars with the time left on a terminal, silence elsewhere."""
    from onnx_pare.progress import Silent

    if not (enabled and err().is_terminal):
        yield Silent()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err(), transient=True) as bars:
        yield _Shown(bars)


class _Shown:
    """A `Progress` on rich's bars; a bar goes when its task is done."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars

    @contextmanager
    def task(self, label: str, total: int | None) -> Iterator[Callable[[int], None]]:
        identifier = self._bars.add_task(label, total=total)
        try:
            yield lambda steps: self._bars.advance(identifier, steps)
        finally:
            self._bars.remove_task(identifier)
