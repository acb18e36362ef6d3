"""What a child of the supervisor does around its work."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from onnx_pare import processes
from onnx_pare.bench.turns import Turns, take_turns
from onnx_pare.zoo.channel import tell
from onnx_pare.zoo.place import Place
from onnx_pare.zoo.task import Task


def do(task: Task, place: Place, scratch: Path, events: int, supervisor: int) -> None:
    """Do the task within its limits, and write what happens and the outcome to `events`.

    `supervisor` is the process that it ends with.
    """
    from onnx_pare.zoo.work import work

    os.setsid()
    processes.die_with(supervisor)
    processes.die_first()
    _use_scratch(scratch)
    if task.limits.memory_bytes is not None:
        _limit_memory(task.limits.memory_bytes)

    say = partial(tell, events)
    if place.lock:
        cores = frozenset(place.measuring) or None
        take_turns(Turns(Path(place.lock), cores, lambda waits: say({"event": "waiting", "waits": waits})))
    _log_to(say, task.verbose)
    say({"event": "result", **work(task, say).to_json()})


def _use_scratch(scratch: Path) -> None:
    """Let temporary files, and what native code prints, go to a folder that is removed afterwards."""
    os.environ["TMPDIR"] = str(scratch)
    tempfile.tempdir = None
    with (scratch / "stderr").open("wb") as complaints, Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(complaints.fileno(), 1)
        os.dup2(complaints.fileno(), 2)
    faulthandler.enable(all_threads=False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started all this


def _limit_memory(memory_bytes: int) -> None:
    """Refuse allocations beyond the limit at once, before the supervisor sees them used; no core dumps."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        limit = memory_bytes + processes.allocated_bytes(os.getpid())
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _log_to(say: Any, verbose: bool) -> None:
    class Told(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            say({"event": "log", "level": record.levelno, "name": record.name, "text": record.getMessage()})

    logger = logging.getLogger("onnx_pare")
    logger.handlers[:] = [Told()]
    logger.setLevel(logging.DEBUG if verbose else logging.WARNING)
