"""A Dask cluster that is none: its workers do what the test says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from onnx_pare import __version__
from onnx_pare.zoo import seat
from onnx_pare.zoo.seat import Self
from onnx_pare.zoo.task import Task


class FakeClient:
    """A client of workers by address, with their threads.

    Attributes:
        workers: Those that are there.
        given: What was given to them: address, task, and the future that the test ends.
        stopped: Those that were told to stop.
        gone: Whether the scheduler is.
    """

    def __init__(self, workers: dict[str, int], said: dict[str, str | Exception] | None = None) -> None:
        self.workers = workers
        self.given: list[tuple[str, Task, Future[Any]]] = []
        self.stopped: list[str] = []
        self.gone = False
        self._said = said or {}

    def wait_for_workers(self, count: int, timeout: float) -> None:
        if len(self.workers) < count:
            raise TimeoutError

    def nthreads(self) -> dict[str, int]:
        if self.gone:
            raise OSError("connection refused")
        return dict(self.workers)

    def run(self, function: Callable[..., Any], workers: Sequence[str], on_error: str) -> dict[str, Any]:
        if function is seat.stop:
            self.stopped += workers
            return {}
        return {address: self._introduced(address) for address in workers}

    def get_executor(self, workers: Sequence[str], **options: Any) -> FakeExecutor:
        return FakeExecutor(self, workers[0])

    def _introduced(self, address: str) -> Self | Exception:
        said = self._said.get(address, __version__)
        host = address.split("//")[1].split(":")[0]
        return said if isinstance(said, Exception) else Self(said, host, (0, 1))


class FakeExecutor:
    """Notes what one worker is given."""

    def __init__(self, client: FakeClient, address: str) -> None:
        self._client = client
        self._address = address

    def submit(self, function: Callable[..., Any], task: Task, place: seat.Seat) -> Future[Any]:
        assert function is seat.run
        future: Future[Any] = Future()
        self._client.given.append((self._address, task, future))
        return future
