"""Consoles, progress bars and JSON output, shared by all commands."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars

    from onnx_pare.progress import Progress


@cache
def out() -> Console:
    """Return the console for results (stdout)."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


@cache
def err() -> Console:
    """Return the console for logs, warnings, errors and progress (stderr)."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def write_json(data: Mapping[str, Any], path: str) -> None:
    """Write `data` as JSON to `path`, `-` being stdout.

    Raises:
        OutputError: The file cannot be written.
    """
    from onnx_pare.graph.save import publish_text

    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if path == "-":
        sys.stdout.write(text)
    else:
        publish_text(text, Path(path))


def log_to_stderr(*, verbose: bool, quiet: bool) -> None:
    """Send the library's log to stderr: everything, warnings only, or errors only."""
    import logging

    level = logging.DEBUG if verbose else logging.ERROR if quiet else logging.WARNING
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
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
