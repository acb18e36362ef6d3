"""The process that runs models one after the other, each in a child of its own; started by `slot.Slot`.

It has imported everything already, so a child starts in milliseconds. It does nothing that could crash, hang
or take memory, and ends with its child as soon as the process that started it is gone.

stdin: pickled tasks, each after its length in 8 bytes. stdout: what happens, one JSON value a line, the last
of a task being `{"event": "result", …}`. Argument: a `Place` as JSON.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pickle
import pkgutil
import select
import shutil
import sys
import tempfile
import time
from pathlib import Path

from onnx_pare import processes
from onnx_pare.zoo.channel import complaint, tell
from onnx_pare.zoo.place import Place
from onnx_pare.zoo.task import Kind, Outcome, Task, failed

# how often the child's memory and time are looked at
LOOK_S = 0.05
# imported inside functions of ours, and slow to import
HEAVY = (
    *("numpy", "onnx", "onnx.checker", "onnx.shape_inference", "onnx_ir", "onnx_ir.passes.common"),
    *("onnxruntime", "PIL.Image", "filelock"),
)
# not for a child: what prints, what starts by itself, and what drives supervisors
_NOT_PRELOADED = ("onnx_pare.cli", "onnx_pare.graph.simplifier_child", "onnx_pare.zoo")


def main() -> None:
    """Run tasks until stdin ends."""
    place = Place.from_json(json.loads(sys.argv[1]))
    place.settle()
    if sys.platform == "linux":  # elsewhere some of these do not survive a fork: each child imports them
        preload()
    events = os.dup(1)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    gc.freeze()
    while (task := _next_task()) is not None:
        outcome = Watch(task, place, 0, events).run()
        tell(events, {"event": "result", **outcome.to_json()})


def preload() -> None:
    """Import everything that a run may need."""
    import onnx_pare

    for name in HEAVY:
        importlib.import_module(name)
    for module in pkgutil.walk_packages(onnx_pare.__path__, "onnx_pare."):
        if not module.name.startswith(_NOT_PRELOADED):
            importlib.import_module(module.name)
    importlib.import_module("onnx_pare.zoo.work")


class Watch:
    """One task's child, watched until it ends.

    Args:
        task: The task.
        place: Where it is done.
        tasks: File descriptor of a pipe from the process that wants the outcome; its end stops the child.
        events: File descriptor that what happens is written to.
    """

    def __init__(self, task: Task, place: Place, tasks: int, events: int) -> None:
        self._task = task
        self._place = place
        self._tasks = tasks
        self._events = events
        self._scratch = Path(tempfile.mkdtemp(prefix="model-", dir=place.scratch))
        self._start = time.monotonic()
        self._waiting_since: float | None = None
        self._waited_s = 0.0
        self._result: Outcome | None = None
        self._unfinished = b""

    def run(self) -> Outcome:
        """Start the child, wait for its end, clean up after it, and return the outcome."""
        reader, writer = os.pipe()
        supervisor, pid = os.getpid(), os.fork()
        if pid == 0:
            os.close(reader)
            _become_child(self._task, self._place, self._scratch, writer, supervisor)
        os.close(writer)
        try:
            stopped = self._watch(pid, reader)
        finally:
            processes.kill_family(pid)
            _, status, usage = os.wait4(pid, 0)
            os.close(reader)
            said = complaint(self._scratch / "stderr")
            self._clean_up()
        outcome = stopped or self._result or _died(status, said)
        peak = processes.peak_bytes(usage)
        return Outcome(**{**vars(outcome), "seconds": time.monotonic() - self._start, "peak_rss_bytes": peak})

    def _watch(self, pid: int, reader: int) -> Outcome | None:
        """Pass on what the child says until it ends; return an outcome if it must be stopped."""
        while True:
            ready, _, _ = select.select([self._tasks, reader], [], [], LOOK_S)
            if self._tasks in ready:  # no task is sent before this one's result: the pipe has ended
                processes.kill_family(pid)
                self._clean_up()
                os._exit(1)
            if reader in ready:
                said = os.read(reader, 1 << 16)
                if not said:
                    return None
                self._hear(said)
            if self._result is None and (stopped := self._beyond_limits(pid)):
                return stopped

    def _hear(self, said: bytes) -> None:
        *lines, self._unfinished = (self._unfinished + said).split(b"\n")
        for line in lines:
            event = json.loads(line)
            if event["event"] == "result":
                del event["event"]
                self._result = Outcome.from_json(event)
            elif event["event"] == "waiting":
                self._wait(event["waits"])
            else:
                tell(self._events, event)

    def _wait(self, waits: bool) -> None:
        if waits:
            self._waiting_since = time.monotonic()
        elif self._waiting_since is not None:
            self._waited_s += time.monotonic() - self._waiting_since
            self._waiting_since = None

    def _beyond_limits(self, pid: int) -> Outcome | None:
        limits = self._task.limits
        worked_s = time.monotonic() - self._start - self._waited_s
        if limits.timeout_s is not None and self._waiting_since is None and worked_s > limits.timeout_s:
            return failed(Kind.TIMEOUT, f"did not end within {limits.timeout_s:g} s")
        if limits.memory_bytes is not None and processes.memory_bytes(pid) > limits.memory_bytes:
            return failed(Kind.MEMORY, f"took more than {limits.memory_bytes / 1e6:.0f} MB of memory")
        return None

    def _clean_up(self) -> None:
        from onnx_pare.graph.save import remove_leftovers

        shutil.rmtree(self._scratch, ignore_errors=True)
        remove_leftovers(self._task.job.target)
        remove_leftovers(self._task.report)


def _become_child(task: Task, place: Place, scratch: Path, writer: int, supervisor: int) -> None:
    """Do the task in this process, which ends here."""
    code = 1
    try:
        from onnx_pare.zoo.child import do

        do(task, place, scratch, writer, supervisor)
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def _died(status: int, said: str) -> Outcome:
    """Return the outcome of a child that ended without saying what became of its task."""
    import signal

    if not os.WIFSIGNALED(status):
        return failed(Kind.CRASH, f"ended with code {os.waitstatus_to_exitcode(status)}{said}")
    name = signal.Signals(os.WTERMSIG(status)).name
    if os.WTERMSIG(status) == signal.SIGKILL:
        return failed(Kind.KILLED, f"killed by {name}: the machine may have run out of memory")
    return failed(Kind.CRASH, f"crashed with {name}{said}")


def _next_task() -> Task | None:
    """Return the next task, None when stdin has ended."""
    header = _read(8)
    if len(header) < 8:
        return None
    task: Task = pickle.loads(_read(int.from_bytes(header, "big")))
    return task


def _read(count: int) -> bytes:
    parts = []
    while count and (part := os.read(0, min(count, 1 << 20))):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


if __name__ == "__main__":
    main()
