from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from onnx_pare.errors import ClusterError
from onnx_pare.zoo import cluster
from onnx_pare.zoo.cluster import ClusterWorkers
from onnx_pare.zoo.dask_client import open_client
from onnx_pare.zoo.seat import Done, Terms
from onnx_pare.zoo.task import Kind, Outcome, Status, Task
from tests.zoo.fake_dask import FakeClient

TERMS = Terms(0, str(Path.cwd()))
A, B, C = "tcp://a:1", "tcp://b:1", "tcp://c:1"


@pytest.fixture
def client() -> FakeClient:
    return FakeClient({A: 1, B: 1})


@pytest.fixture
def heard() -> list[tuple[int, str, str]]:
    return []


@pytest.fixture
def workers(
    client: FakeClient, heard: list[tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> Iterator[ClusterWorkers]:
    monkeypatch.setattr(cluster, "LOOK_S", 0.01)
    made = ClusterWorkers(client, TERMS, lambda n, name, event: heard.append((n, name, event["event"])))
    yield made
    made.close()


def named(task: Task, *names: str) -> list[Task]:
    return [replace(task, name=name) for name in names]


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline, "that never came"
        time.sleep(0.005)


def end(given: tuple[str, Task, Future[Any]], outcome: Outcome | None = None) -> None:
    given[2].set_result(Done(outcome or Outcome(Status.OK), (), given[0].split("//")[1][0]))


def test_idle_workers_get_one_task_each(
    client: FakeClient, workers: ClusterWorkers, task: Task, heard: list[tuple[int, str, str]]
) -> None:
    futures = [workers.submit(one) for one in named(task, "1", "2", "3")]
    until(lambda: len(client.given) == 2)
    assert [(address, one.name) for address, one, _ in client.given] == [(A, "1"), (B, "2")]
    end(client.given[1])
    assert futures[1].result(10).worker == f"b/{B}"
    until(lambda: len(client.given) == 3)
    assert client.given[2][:2] == (B, replace(task, name="3"))
    for given in (client.given[0], client.given[2]):
        end(given)
    assert [future.result(10).status for future in futures] == [Status.OK] * 3
    assert heard[:2] == [(0, "1", "started"), (1, "2", "started")]
    assert workers.width == 2


def test_what_the_log_said_is_passed_on(
    client: FakeClient, workers: ClusterWorkers, task: Task, heard: list[tuple[int, str, str]]
) -> None:
    future = workers.submit(task)
    until(lambda: len(client.given) == 1)
    client.given[0][2].set_result(Done(Outcome(Status.OK), ({"event": "log"},), "a"))
    future.result(10)
    assert (0, task.name, "log") in heard


def test_a_task_whose_worker_died_is_tried_elsewhere(
    client: FakeClient, workers: ClusterWorkers, task: Task
) -> None:
    future = workers.submit(task)
    until(lambda: len(client.given) == 1)
    del client.workers[A]
    until(lambda: len(client.given) == 2)
    assert client.given[1][:2] == (B, task)
    assert client.given[0][2].cancelled()
    end(client.given[1])
    assert future.result(10).status is Status.OK
    until(lambda: workers.width == 1)


@pytest.mark.parametrize("how", ["gone", "killed", "cancelled"])
def test_it_is_tried_elsewhere_twice_at_most(
    client: FakeClient, workers: ClusterWorkers, task: Task, how: str
) -> None:
    from distributed.scheduler import KilledWorker

    future = workers.submit(task)
    for count in (1, 2, 3):
        until(lambda count=count: len(client.given) == count)  # type: ignore[misc]
        address, _, running = client.given[-1]
        client.workers.pop(address)
        client.workers[f"tcp://new:{count}"] = 1
        if how == "killed":
            running.set_exception(KilledWorker("run-1", None, 0))
        elif how == "cancelled":
            running.cancel()
    outcome = future.result(10)
    assert (outcome.status, outcome.kind) == (Status.FAILED, Kind.KILLED)
    assert outcome.reason.startswith("3 workers died at it: tcp://")
    assert len(client.given) == 3


def test_what_a_worker_raises_is_a_failure_of_the_model(
    client: FakeClient, workers: ClusterWorkers, task: Task
) -> None:
    future = workers.submit(task)
    until(lambda: len(client.given) == 1)
    client.given[0][2].set_exception(RuntimeError("cannot be unpickled"))
    outcome = future.result(10)
    assert (outcome.kind, outcome.reason) == (Kind.INTERNAL, f"{A}: cannot be unpickled")


def test_newcomers_get_what_waits(client: FakeClient, workers: ClusterWorkers, task: Task) -> None:
    for one in named(task, "1", "2", "3"):
        workers.submit(one)
    client.workers[C] = 1
    until(lambda: len(client.given) == 3)
    assert client.given[2][0] == C
    assert workers.width == 3


def test_a_scheduler_that_is_gone_ends_all(client: FakeClient, workers: ClusterWorkers, task: Task) -> None:
    futures = [workers.submit(one) for one in named(task, "1", "2", "3")]
    until(lambda: len(client.given) == 2)
    client.gone = True
    for future in [*futures, workers.submit(task)]:
        with pytest.raises(ClusterError, match=r"the scheduler does not answer \(OSError\)"):
            future.result(10)


def test_all_workers_gone(
    client: FakeClient, workers: ClusterWorkers, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "PATIENCE_S", 0.1)
    future = workers.submit(task)
    client.workers.clear()
    with pytest.raises(ClusterError, match="all workers are gone"):
        future.result(10)


def test_what_goes_wrong_in_the_thread_ends_all(
    client: FakeClient, workers: ClusterWorkers, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "nthreads", lambda: 1 / 0)
    with pytest.raises(ClusterError, match="ZeroDivisionError"):
        workers.submit(task).result(10)


def test_closing_stops_the_workers_and_drops_what_waits(client: FakeClient, task: Task) -> None:
    workers = ClusterWorkers(client, TERMS, lambda *heard: None)
    futures = [workers.submit(one) for one in named(task, "1", "2", "3")]
    until(lambda: len(client.given) == 2)
    workers.close()
    assert sorted(client.stopped) == [A, B]
    for future in futures:
        with pytest.raises(CancelledError):
            future.result(10)


def test_a_cluster_of_two_processes(task: Task, tmp_path: Path) -> None:
    targets = [tmp_path / "out" / f"{number}.onnx" for number in range(3)]
    with open_client("local:2", tmp_path) as client:
        workers = ClusterWorkers(client, replace(TERMS, threads=1), lambda *heard: None)
        try:
            tasks = [
                replace(
                    task, name=path.name, job=replace(task.job, output=path), report=path.with_suffix(".json")
                )
                for path in targets
            ]
            outcomes = [future.result(100) for future in [workers.submit(one) for one in tasks]]
        finally:
            workers.close()
    assert [outcome.reason for outcome in outcomes] == [""] * 3
    assert len({path.read_bytes() for path in targets}) == 1
    assert len({outcome.worker for outcome in outcomes}) == 2
    assert list(tmp_path.rglob("onnx-pare-*")) == []
