"""The workers of a batch: those of this machine, or of a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx_pare.cli.batch import Wanted
    from onnx_pare.cli.board import Board
    from onnx_pare.zoo.batch import Batch, Workers
    from onnx_pare.zoo.items import Item


@contextmanager
def open_workers(wanted: Wanted, batch: Batch, scratch: Path, shown: Board) -> Iterator[Workers]:
    """Yield the workers; they are stopped afterwards, with whatever they are at.

    Raises:
        UsageError: The cluster's address is none, or what is asked for contradicts it.
        ClusterError: The cluster cannot be used.
    """
    from onnx_pare.zoo.batch import measured_threads

    threads = measured_threads(batch.items)
    opened = _cluster(wanted, batch, threads, scratch, shown) if wanted.cluster else None
    with opened or _local(wanted.jobs or 1, threads, scratch, shown) as workers:
        try:
            yield workers
        finally:
            workers.close()


@contextmanager
def _local(jobs: int, threads: int, scratch: Path, shown: Board) -> Iterator[Workers]:
    from onnx_pare.hw_profiles.cpu import core_numbers
    from onnx_pare.zoo.place import divide, measuring_lock
    from onnx_pare.zoo.workers import LocalWorkers

    places = divide(jobs, threads, core_numbers(), scratch, measuring_lock(scratch))
    if places.note:
        shown.note(places.note)
    yield LocalWorkers(places, shown.hear, scratch)


@contextmanager
def _cluster(wanted: Wanted, batch: Batch, threads: int, scratch: Path, shown: Board) -> Iterator[Workers]:
    from onnx_pare.errors import UsageError
    from onnx_pare.zoo.cluster import ClusterWorkers
    from onnx_pare.zoo.dask_client import open_client
    from onnx_pare.zoo.seat import Terms

    if wanted.jobs is not None:
        raise UsageError(
            "--jobs and --cluster: a cluster has as many jobs as its workers have threads",
            hint="Leave out --jobs; --cluster local:N starts N workers.",
        )
    _check_reach(batch.items, wanted.output or "")
    terms = Terms(threads, str(Path.cwd()), share_memory=wanted.memory is None)
    with open_client(wanted.cluster, scratch) as client:
        workers = ClusterWorkers(client, terms, shown.hear)
        shown.note(f"cluster {wanted.cluster}: {workers.width} models at a time")
        yield workers


def _check_reach(items: Sequence[Item], output: str) -> None:
    """Find out whether the workers see the same files.

    Raises:
        UsageError: Some lie in the memory of this process.
    """
    from onnx_pare.errors import UsageError
    from onnx_pare.remote.urls import scheme
    from onnx_pare.zoo.items import recipes

    sections = [part for recipe in recipes(items) for part in (recipe.calibration, recipe.evaluation)]
    data = [part.data for part in sections if part is not None and part.data is not None]
    names = (name for names in ([output], (item.model for item in items), data) for name in names)
    if any(scheme(name) == "memory" for name in names):
        raise UsageError(
            "memory:// lies in one process: the workers of a cluster do not see it",
            hint="Use an object store, or a folder that all machines share.",
        )
