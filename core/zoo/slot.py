"""A slot: runs one model at a time, each in a process of its own, and survives whatever happens to it."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

from onnx_pare.zoo.channel import complaint
from onnx_pare.zoo.place import Place
from onnx_pare.zoo.task import Kind, Outcome, Task, failed

SUPERVISOR = "onnx_pare.zoo.supervisor"
# numpy's matrix products start a thread per core otherwise, whatever cores the process is bound to
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")

Listen = Callable[[Mapping[str, Any]], None]


class Slot:
    """A supervisor process, started when first needed and again if it ended; for one thread at a time."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._lock = threading.Lock()

    def run(self, task: Task, listen: Listen) -> Outcome:
        """Do a task and return what became of it.

        Args:
            task: The task.
            listen: Called with events of the work: `step` (label, done, total), `log` (level, name, text).
        """
        if (process := self._started()) is None:
            return failed(Kind.KILLED, "stopped before it began")
        tasks, events = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
        with suppress(BrokenPipeError):
            _send(task, tasks)
            while line := events.readline():
                event = json.loads(line)
                if event["event"] == "result":
                    return Outcome.from_json({key: event[key] for key in event if key != "event"})
                listen(event)
        return failed(
            Kind.KILLED, f"its supervisor ended with code {process.wait()}{complaint(_log(self._place))}"
        )

    def close(self) -> None:
        """Stop what runs, and the supervisor; may be called from another thread, and twice."""
        with self._lock:
            self._closed = True
            process = self._process
        if process is None or process.stdin is None:
            return
        with suppress(BrokenPipeError):
            process.stdin.close()
        process.wait()

    def _started(self) -> subprocess.Popen[bytes] | None:
        """Return the running supervisor; None once the slot is closed."""
        with self._lock:
            if self._closed:
                return None
            if self._process is None or self._process.poll() is not None:
                self._process = _start(self._place)
            return self._process


def _start(place: Place) -> subprocess.Popen[bytes]:
    # started in the scratch folder: `-m` puts the working folder first on the import path
    with _log(place).open("wb") as complaints:
        return subprocess.Popen(
            [sys.executable, "-m", SUPERVISOR, json.dumps(place.to_json())],
            cwd=place.scratch,
            env={**os.environ, **dict.fromkeys(_THREADS, str(place.threads))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            start_new_session=True,
        )


def _log(place: Place) -> Path:
    return Path(place.scratch) / "supervisor.log"


def _send(task: Task, stream: IO[bytes]) -> None:
    data = pickle.dumps(task)
    stream.write(len(data).to_bytes(8, "big") + data)
    stream.flush()
