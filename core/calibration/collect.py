"""Running a model over the samples with some of its inner tensors in view."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from onnx_pare.calibration.data import Samples
from onnx_pare.calibration.estimate import estimate
from onnx_pare.calibration.observers import Array, Observer
from onnx_pare.errors import DataError
from onnx_pare.graph.save import remove_model, write_model
from onnx_pare.graph.session import Feeds, Session, SessionError
from onnx_pare.graph.shapes import infer
from onnx_pare.progress import Advance, Progress

if TYPE_CHECKING:
    import onnx_ir as ir

logger = logging.getLogger(__name__)
Kind = TypeVar("Kind", bound=Observer)
# activations fetched from one run; larger batches gain no speed
FETCH_BYTES = 16 << 20
MAX_BATCH = 32
# activations of one sample that are in view together; more take several runs over the samples
GROUP_BYTES = 256 << 20


def observe(
    model: ir.Model,
    observers: Mapping[str, Kind],
    samples: Samples,
    *,
    scratch: Path,
    threads: int,
    progress: Progress,
    label: str = "calibrating",
) -> Mapping[str, Kind]:
    """Show every activation of the named tensors to its observer, one run of the model per batch.

    Memory holds the activations of one batch, whatever the number of samples, and of `GROUP_BYTES` at most
    unless one activation alone is larger.

    Args:
        model: The model; it is not changed.
        observers: An observer for each tensor name of the main graph. Graph inputs are allowed; a weight that
            a caller may override is shown as the model has it.
        samples: What to run it on.
        scratch: Folder for the temporary model file.
        threads: Threads of the onnxruntime session.
        progress: Told after each batch; the first one tells how long all will take, which the log says too.
        label: What the progress is called.

    Returns:
        `observers`.

    Raises:
        DataError: onnxruntime cannot run the model on the samples.
    """
    weights = {name for name in observers if name in model.graph.initializers}
    for name in weights:
        default = model.graph.initializers[name].const_value
        if default is not None:
            observers[name].update(default.numpy())
    running = {name: observer for name, observer in observers.items() if name not in weights}
    for group in _groups(model, running, samples):
        with exposed(model, list(group), scratch) as path:
            session = Session(path, threads=threads)
            _run_over(session, group, samples, progress, label)
    return observers


def _groups(model: ir.Model, observers: Mapping[str, Kind], samples: Samples) -> Iterator[Mapping[str, Kind]]:
    """Split the observers so that the activations of one sample stay below `GROUP_BYTES` together."""
    shapes = infer(model, {name: feed.shape for name, feed in next(samples.batches(1))[0].items()})
    group: dict[str, Kind] = {}
    size_bytes = 0
    for name, observer in observers.items():
        own = shapes[name].size_bytes if name in shapes else 0
        if group and size_bytes + own > GROUP_BYTES:
            yield group
            group, size_bytes = {}, 0
        group[name] = observer
        size_bytes += own
    if group:
        yield group


def _run_over(
    session: Session, observers: Mapping[str, Kind], samples: Samples, progress: Progress, label: str
) -> None:
    fetched = [name for name in observers if name not in session.inputs]
    fed = [name for name in observers if name in session.inputs]
    advance: Advance | None = None
    with ExitStack() as task:
        for feeds, count in _batches(session, fetched, samples):
            start = time.perf_counter()
            found = dict(zip(fetched, _run(session, feeds, fetched, samples), strict=True))
            for name, array in (*found.items(), *((name, feeds[name]) for name in fed)):
                observers[name].update(_rows(array, feeds, count))
            if advance is None:
                told = estimate(len(samples), count, time.perf_counter() - start, _size_bytes(found, feeds))
                logger.info("%s %s", label, told)
                advance = task.enter_context(progress.task(f"{label} {told}", len(samples)))
            advance(count)


def _size_bytes(*groups: Mapping[str, Array]) -> int:
    return sum(array.nbytes for group in groups for array in group.values())


def _batches(session: Session, fetched: Sequence[str], samples: Samples) -> Iterator[tuple[Feeds, int]]:
    """Yield batches as large as pays: a first run tells how much one sample fetches."""
    feeds, _ = next(samples.batches(1))
    sample_bytes = sum(array.nbytes for array in _run(session, feeds, fetched, samples))
    yield from samples.batches(max(1, min(MAX_BATCH, FETCH_BYTES // max(sample_bytes, 1))))


def _run(session: Session, feeds: Feeds, fetched: Sequence[str], samples: Samples) -> list[Array]:
    try:
        return session.run(feeds, fetched) if fetched else []
    except SessionError as error:
        raise DataError(f"{samples.source}: the model does not run on it: {error}") from error


def _rows(array: Array, feeds: Feeds, count: int) -> Array:
    """Return the rows of `array` that belong to samples: the last batch of a fixed size is padded."""
    batch = max((feed.shape[0] for feed in feeds.values() if feed.ndim), default=1)
    return array[:count] if array.ndim and array.shape[0] == batch > count else array


@contextmanager
def exposed(model: ir.Model, names: Sequence[str], scratch: Path) -> Iterator[Path]:
    """Yield the path of a copy of the model that has the named tensors as outputs too."""
    import onnx_ir as ir

    copy = model.clone()
    values = ir.convenience.create_value_mapping(copy.graph, include_subgraphs=False)
    present = {value.name for value in (*copy.graph.outputs, *copy.graph.inputs)}
    copy.graph.outputs.extend(values[name] for name in names if name not in present)
    handle, file = tempfile.mkstemp(suffix=".onnx", dir=scratch)
    os.close(handle)
    path = Path(file)
    try:
        write_model(copy, path)
        yield path
    finally:
        remove_model(path)
