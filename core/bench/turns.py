"""Measuring latency while other models are worked on: one process at a time, on cores of its own.

A process that works alone measures at once. One of several workers first calls `take_turns`; from then on
each measurement waits for a lock that all workers share, and runs on the cores kept for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Turns:
    """How this process measures among others.

    Attributes:
        lock: The file whose lock is held while one of them measures.
        cores: Logical cores to measure on, which nothing else runs on meanwhile; None: those it works on.
        waiting: Told True when a measurement begins to wait for its turn, and False when it has it.
    """

    lock: Path
    cores: frozenset[int] | None
    waiting: Callable[[bool], None]


# how often it is looked whether the turn has come
POLL_S = 0.01
# cores and clock are the machine's, so one setting per process is what there is to set
_turns: list[Turns] = []


def take_turns(turns: Turns) -> None:
    """Measure among others from now on."""
    _turns[:] = [turns]


@contextmanager
def alone() -> Iterator[None]:
    """Wait until nobody else measures, and hold the turn and its cores while the context lasts.

    The lock is the kernel's: a process that is killed gives it back.
    """
    if not _turns:
        yield
        return
    from filelock import FileLock

    turns = _turns[0]
    lock = FileLock(turns.lock)
    turns.waiting(True)
    lock.acquire(poll_interval=POLL_S)
    turns.waiting(False)
    try:
        with _on(turns.cores):
            yield
    finally:
        lock.release()


@contextmanager
def _on(cores: frozenset[int] | None) -> Iterator[None]:
    """Run every thread of this process on these cores while the context lasts."""
    if cores is None or not hasattr(os, "sched_setaffinity"):
        yield
        return
    usual = os.sched_getaffinity(0)
    _move_threads(cores)
    try:
        yield
    finally:
        _move_threads(usual)


def _move_threads(cores: frozenset[int] | set[int]) -> None:
    for thread in Path("/proc/self/task").iterdir():
        try:
            os.sched_setaffinity(int(thread.name), cores)
        except ProcessLookupError:  # it has ended
            continue
