"""The workers of a Dask cluster: each model runs on one of them, in a process of its own."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from onnx_pare.errors import ClusterError
from onnx_pare.zoo import seat
from onnx_pare.zoo.desks import Desk, Desks
from onnx_pare.zoo.seat import Done, Terms
from onnx_pare.zoo.task import Kind, Outcome, Task, failed
from onnx_pare.zoo.workers import Listen

if TYPE_CHECKING:
    from distributed import Client

logger = logging.getLogger(__name__)

# a model whose worker died is tried on another one so many times
RETRIES = 2
# how often it is looked at which workers there are
LOOK_S = 1.0
# how long to wait for a worker where there is none, or none any more
PATIENCE_S = 60.0


@dataclass
class _Try:
    """A task, where its outcome goes, the workers that died at it, and what runs it now."""

    task: Task
    result: Future[Outcome]
    died: list[str] = field(default_factory=list)
    running: Future[Done] | None = None


class ClusterWorkers:
    """Runs tasks on the workers of a Dask cluster, as many at a time as these have threads.

    One thread does all that is done here, one event after the other. It gives every task to one worker by
    name: so it knows which tasks are lost with a worker, counts how often, and whoever else uses the cluster
    keeps his own rules for retries.

    Attributes:
        width: How many tasks run at a time; changes as workers come and go.
    """

    def __init__(self, client: Client, terms: Terms, listen: Listen) -> None:
        """Meet the workers.

        Args:
            client: A client of the cluster.
            terms: What holds for all of them.
            listen: Told what happens.

        Raises:
            ClusterError: No worker comes, or one has another version of onnx-pare.
        """
        self._desks = Desks(client, terms, PATIENCE_S)
        self.width = self._desks.width
        self._listen = listen
        self._events: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._waiting: deque[_Try] = deque()
        self._at: dict[Desk, _Try] = {}
        self._lost: ClusterError | None = None
        self._looked = self._met = time.monotonic()
        self._thread = threading.Thread(target=self._work, name="cluster", daemon=True)
        self._thread.start()

    def submit(self, task: Task) -> Future[Outcome]:
        """Queue a task; its future ends with a ClusterError if the cluster is gone."""
        one = _Try(task, Future())
        self._events.put(partial(self._take, one))
        return one.result

    def close(self) -> None:
        """Stop what runs, drop what waits; the cluster goes on."""
        self._events.put(None)
        self._thread.join()
        if self._lost is None:
            with suppress(OSError, TimeoutError):  # a scheduler that is gone has nothing to stop
                self._desks.stop()

    def _work(self) -> None:
        """Do what the events say until None comes, and look after the workers meanwhile."""
        event: Callable[[], None] | None = self._look
        while event is not None:
            try:
                event()
                if time.monotonic() - self._looked >= LOOK_S:
                    self._look()
                self._hand_out()
            except Exception as error:  # whatever Dask raises: nobody else would hear of it
                logger.debug("the cluster's thread failed", exc_info=True)
                self._lose(f"{type(error).__name__}: {error}")
            event = self._next()
        for one in self._open():
            one.result.cancel()

    def _next(self) -> Callable[[], None] | None:
        try:
            return self._events.get(timeout=LOOK_S)
        except queue.Empty:
            return self._look

    def _take(self, one: _Try) -> None:
        if self._lost is None:
            self._waiting.append(one)
        else:
            one.result.set_exception(self._lost)

    def _hand_out(self) -> None:
        """Give what waits to those that are idle."""
        for desk in self._desks.open.values():
            if self._waiting and desk not in self._at and (place := desk.seat) is not None:
                one = self._at[desk] = self._waiting.popleft()
                self._listen(desk.number, one.task.name, {"event": "started"})
                one.running = desk.executor.submit(seat.run, one.task, place)
                one.running.add_done_callback(partial(self._tell, desk))

    def _tell(self, desk: Desk, running: Future[Done]) -> None:
        self._events.put(partial(self._ended, desk, running))

    def _ended(self, desk: Desk, running: Future[Done]) -> None:
        """Take what a worker returned."""
        from distributed.scheduler import KilledWorker

        if desk not in self._at or self._at[desk].running is not running:
            return  # given up before, as the worker was gone
        error = None if running.cancelled() else running.exception()
        if running.cancelled() or isinstance(error, KilledWorker):
            self._died(desk)
            self._look()  # before it is given another task
        elif error is not None:
            self._free(desk).result.set_result(failed(Kind.INTERNAL, f"{desk.address}: {error}"))
        else:
            self._done(desk, running.result())

    def _done(self, desk: Desk, done: Done) -> None:
        one = self._at[desk]
        for event in done.log:
            self._listen(desk.number, one.task.name, event)
        self._free(desk).result.set_result(replace(done.outcome, worker=f"{done.host}/{desk.address}"))

    def _died(self, desk: Desk) -> None:
        """Try a task elsewhere, whose worker is gone, unless that happened too often."""
        one = self._free(desk)
        one.died.append(desk.address)
        logger.warning("%s: worker %s died at it", one.task.name, desk.address)
        if len(one.died) <= RETRIES:
            self._waiting.appendleft(one)
        else:
            reason = f"{len(one.died)} workers died at it: {', '.join(one.died)}"
            one.result.set_result(failed(Kind.KILLED, reason))

    def _free(self, desk: Desk) -> _Try:
        one = self._at.pop(desk)
        if one.running is not None:
            one.running.cancel()
        self._listen(desk.number, one.task.name, {"event": "ended"})
        return one

    def _look(self) -> None:
        """See which workers came and which are gone."""
        self._looked = time.monotonic()
        if self._lost is not None:
            return
        try:
            gone = self._desks.look()
        except (OSError, TimeoutError) as error:
            self._lose(f"the scheduler does not answer ({type(error).__name__})")
            return
        for desk in gone:
            if desk in self._at:
                self._died(desk)
        self.width = self._desks.width
        if self._desks.open:
            self._met = self._looked
        elif self._looked - self._met > PATIENCE_S:
            self._lose(f"all workers are gone, and none came back within {PATIENCE_S:g} s")

    def _lose(self, why: str) -> None:
        """End everything: no task can be run any more."""
        hint = "What is recorded is intact: run the same command again once the cluster is back."
        self._lost = ClusterError(f"cluster: {why}", hint=hint)
        for one in self._open():
            one.result.set_exception(self._lost)
        self._waiting.clear()
        self._at.clear()

    def _open(self) -> list[_Try]:
        return [*self._waiting, *self._at.values()]
