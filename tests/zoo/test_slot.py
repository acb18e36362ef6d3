from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from onnx_pare import processes
from onnx_pare.zoo.place import Place, Places
from onnx_pare.zoo.slot import Slot
from onnx_pare.zoo.task import Kind, Outcome, Status, Task
from onnx_pare.zoo.workers import LocalWorkers

linux = pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for the processes there are")


@pytest.fixture
def slot(place: Place) -> Iterator[Slot]:
    slot = Slot(place)
    yield slot
    slot.close()


@pytest.fixture
def born() -> Callable[[], list[int]]:
    """Return what lists the processes that descend from this one and were not there before."""
    before = set(processes.family(os.getpid()))
    return lambda: [member for member in processes.family(os.getpid()) if member not in before]


def silent(event: Mapping[str, Any]) -> None:
    """Hear nothing."""


@linux
def test_one_supervisor_for_many_tasks(slot: Slot, task: Task, born: Callable[[], list[int]]) -> None:
    assert slot.run(task, silent).status is Status.OK
    [first] = born()
    assert slot.run(task, silent).status is Status.OK
    assert born() == [first]
    slot.close()
    slot.close()
    assert born() == []


@linux
def test_a_supervisor_that_dies_is_replaced(slot: Slot, task: Task, born: Callable[[], list[int]]) -> None:
    assert slot.run(task, silent).status is Status.OK
    os.kill(born()[0], signal.SIGKILL)
    time.sleep(0.1)
    outcomes = [slot.run(task, silent) for _ in range(2)]
    assert outcomes[-1].status is Status.OK
    assert outcomes[0].status is Status.OK or outcomes[0].kind is Kind.KILLED


def test_a_closed_slot_runs_nothing(slot: Slot, task: Task) -> None:
    slot.close()
    assert slot.run(task, silent).kind is Kind.KILLED
    assert not task.job.target.exists()


@linux
def test_closing_stops_what_runs(slot: Slot, task: Task, born: Callable[[], list[int]]) -> None:
    outcomes: list[Outcome] = []
    hang = replace(task, job=replace(task.job, model=Path("/dev/zero")))  # its hash is never done
    thread = threading.Thread(target=lambda: outcomes.append(slot.run(hang, silent)))
    thread.start()
    deadline = time.monotonic() + 60
    while len(born()) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    slot.close()
    thread.join(timeout=30)
    assert [outcome.kind for outcome in outcomes] == [Kind.KILLED]
    assert born() == []


def test_several_at_a_time(place: Place, task: Task, tmp_path: Path) -> None:
    heard: list[tuple[int, str, str]] = []
    places = Places((place, place))
    workers = LocalWorkers(
        places, lambda number, name, event: heard.append((number, name, event["event"])), tmp_path
    )
    targets = [tmp_path / "out" / f"{number}.onnx" for number in range(4)]
    try:
        tasks = [
            replace(
                task,
                name=target.name,
                job=replace(task.job, output=target),
                report=target.with_suffix(".json"),
            )
            for target in targets
        ]
        outcomes = [future.result() for future in [workers.submit(one) for one in tasks]]
    finally:
        workers.close()
    assert [outcome.status for outcome in outcomes] == [Status.OK] * 4
    assert len({target.read_bytes() for target in targets}) == 1
    assert {outcome.worker.rpartition("/")[2] for outcome in outcomes} <= {"0", "1"}
    assert [sum(event == wanted for _, _, event in heard) for wanted in ("started", "ended")] == [4, 4]
