"""The workers of this machine: one thread and one slot each."""

from __future__ import annotations

import queue
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from onnx_pare.remote.cache import DataCache
from onnx_pare.zoo.place import Places
from onnx_pare.zoo.slot import Slot
from onnx_pare.zoo.staging import on_local_files
from onnx_pare.zoo.task import Outcome, Task

# (worker, counted from 0; the model's name; an event of its work)
Listen = Callable[[int, str, Mapping[str, Any]], None]


class LocalWorkers:
    """Runs tasks on this machine, as many at a time as there are places."""

    def __init__(self, places: Places, listen: Listen, scratch: Path) -> None:
        self.width = len(places.places)
        self._data = DataCache(scratch / "data")
        self._scratch = scratch
        self._listen = listen
        self._slots = [Slot(place) for place in places.places]
        self._free: queue.SimpleQueue[int] = queue.SimpleQueue()
        for number in range(self.width):
            self._free.put(number)
        self._threads = ThreadPoolExecutor(self.width, thread_name_prefix="worker")

    def submit(self, task: Task) -> Future[Outcome]:
        """Queue a task."""
        return self._threads.submit(self._run, task)

    def close(self) -> None:
        """Stop what runs, drop what waits."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for slot in self._slots:
            slot.close()
        self._threads.shutdown()

    def _run(self, task: Task) -> Outcome:
        number = self._free.get()
        try:
            self._listen(number, task.name, {"event": "started"})
            outcome = on_local_files(
                task,
                self._slots[number].run,
                lambda event: self._listen(number, task.name, event),
                self._data,
                self._scratch,
            )
            return replace(outcome, worker=f"{socket.gethostname()}/{number}")
        finally:
            self._listen(number, task.name, {"event": "ended"})
            self._free.put(number)
