from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from onnx_pare import processes
from onnx_pare.zoo import child
from onnx_pare.zoo.place import Place
from onnx_pare.zoo.slot import SUPERVISOR
from onnx_pare.zoo.supervisor import Watch
from onnx_pare.zoo.task import Kind, Limits, Outcome, Status, Task

Pipe = tuple[int, int]
Work = Callable[[Task, Place, Path, int, int], None]


def watched(work: Work, task: Task, place: Place, monkeypatch: pytest.MonkeyPatch) -> Outcome:
    """Run `work` in place of a child's own, and return the outcome."""
    monkeypatch.setattr(child, "do", work)
    tasks, _ = os.pipe()
    events = os.open(os.devnull, os.O_WRONLY)
    outcome = Watch(task, place, tasks, events).run()
    assert list(Path(place.scratch).iterdir()) == []
    return outcome


def test_a_task_is_done_in_a_process_of_its_own(
    task: Task, place: Place, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks, _ = os.pipe()
    outcome = Watch(task, place, tasks, pipe[1]).run()
    assert (outcome.status, outcome.kind, outcome.reason) == (Status.OK, None, "")
    assert task.job.target.is_file()
    assert json.loads(task.report.read_text(encoding="utf-8"))["schema"] == "onnx-pare/report/1"
    assert outcome.facts["output"]["size_bytes"] == task.job.target.stat().st_size
    assert outcome.peak_rss_bytes > 1 << 20
    steps = [json.loads(line) for line in os.read(pipe[0], 1 << 16).splitlines()]
    assert steps
    assert {step["event"] for step in steps} <= {"step", "log"}
    assert list(Path(place.scratch).iterdir()) == []


def test_what_is_done_is_left(task: Task, place: Place, pipe: Pipe) -> None:
    tasks, _ = os.pipe()
    done = Watch(task, place, tasks, pipe[1]).run()
    task.job.target.unlink()
    again = Watch(replace(task, recorded=done.key), place, tasks, pipe[1]).run()
    assert again.status is Status.UNCHANGED
    assert not task.job.target.exists()


def test_a_hang_ends_at_the_timeout(task: Task, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    task = replace(task, limits=Limits(timeout_s=0.3))
    outcome = watched(lambda *_: time.sleep(60), task, place, monkeypatch)
    assert (outcome.status, outcome.kind) == (Status.FAILED, Kind.TIMEOUT)
    assert outcome.reason == "did not end within 0.3 s"
    assert 0.3 <= outcome.seconds < 20


def test_waiting_for_a_turn_is_no_hang(task: Task, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(task: Task, place: Place, scratch: Path, events: int, supervisor: int) -> None:
        for waits in (True, False):
            os.write(events, json.dumps({"event": "waiting", "waits": waits}).encode() + b"\n")
            time.sleep(0.8 if waits else 0)
        os.write(events, json.dumps({"event": "result", **Outcome(Status.OK).to_json()}).encode() + b"\n")

    task = replace(task, limits=Limits(timeout_s=0.5))
    assert watched(work, task, place, monkeypatch).status is Status.OK


def test_a_crash_in_native_code_is_named(task: Task, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(*_: object) -> None:
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGSEGV)

    outcome = watched(work, task, place, monkeypatch)
    assert (outcome.kind, outcome.reason) == (Kind.CRASH, "crashed with SIGSEGV")


def test_an_end_without_a_word_is_a_crash(task: Task, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = watched(lambda *_: os._exit(7), task, place, monkeypatch)
    assert (outcome.kind, outcome.reason) == (Kind.CRASH, "ended with code 7")


def test_a_kill_from_outside_is_no_crash(task: Task, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = watched(lambda *_: os.kill(os.getpid(), signal.SIGKILL), task, place, monkeypatch)
    assert outcome.kind is Kind.KILLED
    assert "SIGKILL" in outcome.reason


@pytest.mark.skipif(sys.platform != "linux", reason="memory of other processes is read from /proc")
def test_memory_beyond_the_limit_ends_it(task: Task, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(*_: object) -> None:
        held = [np.ones(1 << 20) for _ in range(200)]
        time.sleep(60 + len(held))

    limit = processes.memory_bytes(os.getpid()) + (100 << 20)
    outcome = watched(work, replace(task, limits=Limits(None, limit)), place, monkeypatch)
    assert outcome.kind is Kind.MEMORY
    assert outcome.reason == f"took more than {limit / 1e6:.0f} MB of memory"


@pytest.mark.skipif(sys.platform != "linux", reason="memory of other processes is read from /proc")
def test_memory_of_its_own_children_counts(task: Task, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(*_: object) -> None:
        code = "import time; x = b'x' * (300 << 20); time.sleep(60)"
        subprocess.run([sys.executable, "-c", code], start_new_session=True)

    limit = processes.memory_bytes(os.getpid()) + (100 << 20)
    outcome = watched(work, replace(task, limits=Limits(60, limit)), place, monkeypatch)
    assert outcome.kind is Kind.MEMORY


def test_leftovers_of_a_killed_child_go(task: Task, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    part = task.job.target.with_name(".net.onnx.abc.part")

    def work(task: Task, *_: object) -> None:
        part.parent.mkdir()
        part.touch()
        os._exit(9)

    watched(work, task, place, monkeypatch)
    assert part.parent.is_dir()
    assert not part.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for the processes there are")
def test_nothing_outlives_the_process_that_asked(task: Task, place: Place) -> None:
    """The supervisor's stdin ends as the kernel closes it, whatever ended its parent."""
    command = [sys.executable, "-m", SUPERVISOR, json.dumps(place.to_json())]
    supervisor = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=place.scratch)
    assert supervisor.stdin is not None
    threading.Timer(0.2, supervisor.stdin.close).start()
    assert supervisor.wait(timeout=30) == 0
