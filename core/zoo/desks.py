"""Who works for a batch on a cluster: workers that come and go, and what each can take at a time."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_pare import __version__
from onnx_pare.errors import ClusterError
from onnx_pare.zoo import seat
from onnx_pare.zoo.place import divide
from onnx_pare.zoo.seat import Seat, Self, Terms

if TYPE_CHECKING:
    from distributed import Client

logger = logging.getLogger(__name__)


class Host:
    """A machine with its seats: as many as its workers have threads together.

    A seat that a worker leaves is taken by the next one that comes, so that the others stay as they are.
    """

    def __init__(self, cores: tuple[int, ...], terms: Terms) -> None:
        self._cores = cores
        self._terms = terms
        self._of = 0
        self._taken: set[int] = set()

    def take(self) -> int:
        """Give a seat away and return its number."""
        number = first_free(self._taken)
        self._taken.add(number)
        self._of = max(self._of, len(self._taken))
        return number

    def leave(self, number: int) -> None:
        """Take a seat back."""
        self._taken.discard(number)

    def seat(self, number: int) -> Seat | None:
        """Return a seat as it is now; None if the machine has too few cores to measure beside others."""
        places = divide(self._of, self._terms.threads, self._cores, Path(), Path()).places
        return Seat(number, self._of, self._terms) if number < len(places) else None


class Desk:
    """A thread of a worker.

    Attributes:
        number: Which of all, from 0.
        address: The worker's.
        executor: Runs functions on that worker alone.
    """

    def __init__(self, number: int, address: str, executor: Any, host: Host) -> None:
        self.number = number
        self.address = address
        self.executor = executor
        self._host = host
        self._place = host.take()

    @property
    def seat(self) -> Seat | None:
        """Where it works at the moment; None: it must not, see `Host.seat`."""
        return self._host.seat(self._place)

    def close(self) -> None:
        """Leave the seat to another."""
        self._host.leave(self._place)


class Desks:
    """The desks of a cluster's workers.

    Attributes:
        open: All of them, by number.
    """

    def __init__(self, client: Client, terms: Terms, patience_s: float) -> None:
        """Wait for a worker, and meet those that are there.

        Args:
            client: A client of the cluster.
            terms: What holds for all of them.
            patience_s: How long to wait.

        Raises:
            ClusterError: No worker comes, or one has another version of onnx-pare.
        """
        self.open: dict[int, Desk] = {}
        self._client = client
        self._terms = terms
        self._hosts: dict[tuple[str, tuple[int, ...]], Host] = {}
        self._refused: set[str] = set()
        try:
            client.wait_for_workers(1, timeout=patience_s)
        except (TimeoutError, OSError) as error:
            hint = "Start some: dask worker tcp://SCHEDULER:8786"
            raise ClusterError(f"cluster: no worker came within {patience_s:g} s", hint=hint) from error
        for said in self._meet(client.nthreads()):
            raise ClusterError(said, hint=f"Install onnx-pare {__version__} on every worker.")

    @property
    def width(self) -> int:
        """How many tasks run at a time."""
        return sum(desk.seat is not None for desk in self.open.values())

    def look(self) -> list[Desk]:
        """Meet who came since the last look, and return the desks of those that are gone.

        Raises:
            OSError, TimeoutError: The scheduler does not answer.
        """
        there: Mapping[str, int] = self._client.nthreads()
        gone = [desk for desk in self.open.values() if desk.address not in there]
        for desk in gone:
            del self.open[desk.number]
            desk.close()
        known = {desk.address for desk in self.open.values()} | self._refused
        for said in self._meet({address: there[address] for address in sorted(there.keys() - known)}):
            logger.warning("%s: not used", said)
        return gone

    def stop(self) -> None:
        """Stop what all workers are at; nothing happens to those that are gone."""
        addresses = list({desk.address for desk in self.open.values()})
        if addresses:
            self._client.run(seat.stop, workers=addresses, on_error="ignore")

    def _meet(self, workers: Mapping[str, int]) -> list[str]:
        """Give workers their desks, by their number of threads; return why some get none."""
        if not workers:
            return []
        problems = []
        for address, said in self._client.run(
            seat.introduce, workers=list(workers), on_error="return"
        ).items():
            if problem := _problem(address, said):
                problems.append(problem)
                self._refused.add(address)
                continue
            host = self._hosts.setdefault((said.host, said.cores), Host(said.cores, self._terms))
            for _ in range(workers[address]):
                executor = self._client.get_executor(workers=[address], pure=False, retries=0)
                number = first_free(self.open)
                self.open[number] = Desk(number, address, executor, host)
        return problems


def first_free(taken: set[int] | Mapping[int, object]) -> int:
    """Return the lowest number that is not taken."""
    return next(number for number in range(len(taken) + 1) if number not in taken)


def _problem(address: str, said: Self | BaseException) -> str:
    """Return why a worker cannot be used; empty if it can: it would make other models than this process."""
    if isinstance(said, ImportError):
        return f"worker {address}: onnx-pare cannot be imported there: {said}"
    if isinstance(said, BaseException):
        return f"worker {address}: does not answer: {type(said).__name__}: {said}"
    if said.version != __version__:
        return f"worker {address}: has onnx-pare {said.version}, but this is {__version__}"
    return ""
