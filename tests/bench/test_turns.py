from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from onnx_pare.bench import turns
from onnx_pare.bench.turns import Turns, alone, take_turns

HOLD = """
import sys
from filelock import FileLock
FileLock(sys.argv[1]).acquire()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    yield
    turns._turns.clear()


def test_who_works_alone_measures_at_once() -> None:
    with alone():
        assert turns._turns == []


def test_one_process_at_a_time(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdin is not None
    assert other.stdout.readline() == "held\n"
    said: list[bool] = []
    take_turns(Turns(lock, None, said.append))
    threading.Timer(0.2, other.kill).start()  # the kernel takes the lock from the dead
    with alone():
        assert other.wait(10) != 0
        assert said == [True, False]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to cores")
def test_all_threads_move_to_the_cores_kept_for_it(tmp_path: Path) -> None:
    usual = os.sched_getaffinity(0)
    kept = frozenset({max(usual)})
    stop, running = threading.Event(), threading.Event()
    found: list[set[int]] = []

    def other() -> None:
        running.set()
        stop.wait(10)
        found.append(os.sched_getaffinity(0))

    thread = threading.Thread(target=other)
    thread.start()
    running.wait(10)
    take_turns(Turns(tmp_path / "lock", kept, lambda waits: None))
    with alone():
        assert os.sched_getaffinity(0) == kept
        stop.set()
        thread.join()
    assert found == [kept]
    assert os.sched_getaffinity(0) == usual
