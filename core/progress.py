"""How long-running code tells that it advances, without knowing who shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]


class Progress(Protocol):
    """Shows named tasks; `cli/` draws bars, tests and libraries stay silent."""

    def task(self, label: str, total: int | None) -> AbstractContextManager[Advance]:
        """Open a task of `total` steps (None: unknown) and yield the function that advances it."""
        ...


class Silent:
    """A `Progress` that shows nothing."""

    @contextmanager
    def task(self, label: str, total: int | None) -> Iterator[Advance]:
        """Yield a function that does nothing."""
        yield lambda steps: None
