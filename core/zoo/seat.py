"""The worker's side of a cluster: what Dask calls there, and the slots that outlive these calls."""

from __future__ import annotations

import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from onnx_pare import __version__
from onnx_pare.hw_profiles.cpu import core_numbers
from onnx_pare.remote.cache import DataCache
from onnx_pare.zoo.place import Place, divide, measuring_lock, memory_share
from onnx_pare.zoo.slot import Slot
from onnx_pare.zoo.staging import on_local_files
from onnx_pare.zoo.task import Kind, Outcome, Task, failed

# log lines of one model that are passed on
MAX_LOG = 100


@dataclass(frozen=True)
class Terms:
    """What holds for all workers of a batch.

    Attributes:
        threads: Threads that latency is measured with; 0: none is measured.
        cwd: The folder that relative paths start from, where a worker has it.
        share_memory: Whether a model may take its seat's share of the memory, whatever its task says.
    """

    threads: int
    cwd: str
    share_memory: bool = False


@dataclass(frozen=True)
class Seat:
    """One model at a time on a worker's machine.

    Attributes:
        number: Which of the machine's seats, from 0.
        of: How many the machine has.
        terms: What holds for all seats of the batch.
    """

    number: int
    of: int
    terms: Terms


@dataclass(frozen=True)
class Done:
    """What became of a task, what its log said, and on which machine that was."""

    outcome: Outcome
    log: tuple[Mapping[str, Any], ...]
    host: str


@dataclass(frozen=True)
class Self:
    """What a worker says of itself: onnx-pare's version, the machine's name, the cores it may use."""

    version: str
    host: str
    cores: tuple[int, ...]


class _Office:
    """What a worker keeps from task to task: a slot for each of its seats, copies of data, scratch."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.data = DataCache(scratch / "data")
        self._slots: dict[int, tuple[Seat, Slot]] = {}

    def slot(self, seat: Seat) -> Slot:
        known, slot = self._slots.get(seat.number, (None, None))
        if slot is not None and known == seat:
            return slot
        if slot is not None:  # other workers came to this machine: the cores are divided anew
            slot.close()
        slot = Slot(self._place(seat))
        self._slots[seat.number] = seat, slot
        return slot

    def close(self) -> None:
        for _, slot in self._slots.values():
            slot.close()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def _place(self, seat: Seat) -> Place:
        scratch = Path(tempfile.mkdtemp(prefix="seat-", dir=self.scratch))
        lock = measuring_lock(self.scratch)
        places = divide(seat.of, seat.terms.threads, core_numbers(), scratch, lock).places
        cwd = seat.terms.cwd if Path(seat.terms.cwd).is_dir() else str(scratch)
        return replace(places[seat.number], cwd=cwd)


# Dask calls functions: what stays between the calls has no other place than the module
_lock = threading.Lock()
_offices: list[_Office] = []


def dask_setup(worker: object) -> None:
    """Ignore Ctrl-C in a worker of a local cluster: it is for the process that started all this."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def introduce() -> Self:
    """Say what this worker is."""
    return Self(__version__, socket.gethostname(), core_numbers())


def run(task: Task, seat: Seat) -> Done:
    """Do a task on this worker and return what became of it; nothing that goes wrong is raised."""
    log: list[Mapping[str, Any]] = []

    def listen(event: Mapping[str, Any]) -> None:
        if event["event"] == "log" and len(log) < MAX_LOG:
            log.append(event)

    if seat.terms.share_memory:
        task = replace(task, limits=replace(task.limits, memory_bytes=memory_share(seat.of)))
    try:
        with _lock:
            office = _office()
            slot = office.slot(seat)
        outcome = on_local_files(task, slot.run, listen, office.data, office.scratch)
    except OSError as error:  # no process can be started, no file be made: this machine's trouble
        outcome = failed(Kind.KILLED, f"the worker cannot work: {error}")
    return Done(outcome, tuple(log), socket.gethostname())


def stop() -> None:
    """Stop what runs on this worker, and give back what was kept for the next task."""
    with _lock:
        offices = [_offices.pop() for _ in list(_offices)]
    for office in offices:
        office.close()


def _office() -> _Office:
    """Return this worker's office; its files lie among Dask's own, which it removes even after a kill."""
    from distributed import get_worker

    if not _offices:
        folder = get_worker().local_directory
        _offices.append(_Office(Path(tempfile.mkdtemp(prefix="onnx-pare-", dir=folder))))
    return _offices[0]
