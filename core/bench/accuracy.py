"""Accuracy on labelled data.

Top-1: the fraction of samples for which the class with the highest score is the label. The scores are the
first output that looks like a classifier's (`outputs.class_scores`); a row with NaN is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from onnx_pare.bench.outputs import class_output, class_scores, fed_rows
from onnx_pare.bench.outputs import top1 as top1_of
from onnx_pare.bench.runner import Runner
from onnx_pare.errors import DataError, ModelError
from onnx_pare.graph.runnable import is_large
from onnx_pare.graph.session import HUNGRY, Feeds
from onnx_pare.progress import Progress, Silent

if TYPE_CHECKING:
    from onnx_pare.calibration.labelled import Labelled

# samples run at once where the model's batch is free, as far as their inputs fit into this many bytes
BATCH, BATCH_BYTES = 32, 4 << 20
# these see all samples of a batch at once, so that a sample's result would depend on its neighbours
MIXING_OPS = frozenset({"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"})


@dataclass(frozen=True)
class Accuracy:
    """Accuracy of one model: `value` is the fraction of `samples` that it got right."""

    metric: str
    samples: int
    value: float


@dataclass(frozen=True)
class AccuracyPair:
    """Accuracy of two models on the same samples."""

    metric: str
    samples: int
    before: float
    after: float

    def to_json(self) -> dict[str, Any]:
        """Return the report's `accuracy` entry."""
        return {
            "metric": self.metric,
            "samples": self.samples,
            "before": self.before,
            "after": self.after,
        }


def accuracy_pair(
    before: Path, after: Path, labelled: Labelled, *, threads: int = 1, progress: Progress | None = None
) -> AccuracyPair:
    """Measure the top-1 accuracy of two models; see `top1`."""
    first = top1(before, labelled, threads=threads, progress=progress)
    second = top1(after, labelled, threads=threads, progress=progress)
    return AccuracyPair(first.metric, first.samples, first.value, second.value)


def top1(
    path: Path,
    labelled: Labelled,
    *,
    threads: int = 1,
    batch: int | None = None,
    progress: Progress | None = None,
) -> Accuracy:
    """Measure the top-1 accuracy of the model at `path`.

    Args:
        path: The ONNX file.
        labelled: Samples and labels.
        threads: Threads inside one operator.
        batch: Samples run at once where the model's batch is free. By default up to 32, which changes results
            by float rounding only, and 1 for models with operators that mix samples (`MIXING_OPS`).
        progress: Told of every batch.

    Raises:
        ModelError: The model does not load or run, or has no output that looks like a classifier's.
        DataError: There are no samples, or a label is no class of the model.
    """
    runner = Runner(path, threads=threads, without=HUNGRY if is_large(path) else ())
    size = batch or (1 if mixes_samples(path) else _batch_that_fits(labelled))
    labels, right, seen = labelled.labels, 0, 0
    with (progress or Silent()).task(f"accuracy of {path.name}", len(labels)) as advance:
        for feeds, count in labelled.samples.batches(size):
            scores = _scores(runner, feeds)[:count]
            _check_labels(labels[seen : seen + count], scores.shape[1], labelled.source, path)
            right += int(np.count_nonzero(top1_of(scores) == labels[seen : seen + count]))
            seen += count
            advance(count)
    if seen == 0:
        raise DataError(f"{labelled.source}: no labelled samples")
    return Accuracy("top1", seen, right / seen)


def mixes_samples(path: Path) -> bool:
    """Return whether the model has operators that quantize a whole batch by its common range."""
    from onnx_pare.graph.load import load_model

    model = load_model(path)
    bodies = [*model.graphs(), *model.functions.values()]
    return any(node.op_type in MIXING_OPS for body in bodies for node in body)


def _batch_that_fits(labelled: Labelled) -> int:
    feeds, count = next(iter(labelled.samples.batches(1)), ({}, 1))
    size_bytes = sum(feed.nbytes for feed in feeds.values()) / count
    return max(1, min(BATCH, int(BATCH_BYTES / max(size_bytes, 1))))


def _scores(runner: Runner, feeds: Feeds) -> NDArray[Any]:
    outputs, rows = runner.run(feeds), fed_rows(feeds)
    index = class_output(outputs, rows)
    scores = None if index is None else class_scores(outputs[index], rows)
    if scores is None:
        shapes = ", ".join(str(getattr(output, "shape", "no tensor")) for output in outputs)
        raise ModelError(
            f"{runner.path}: top-1 accuracy needs a float output of shape (batch, classes); found {shapes}",
            hint="Leave out the labels: without them, outputs are still compared with the original's.",
        )
    return scores


def _check_labels(labels: NDArray[np.int64], classes: int, source: str, path: Path) -> None:
    wrong = labels[(labels < 0) | (labels >= classes)]
    if wrong.size:
        raise DataError(
            f"{source}: label {wrong[0]} is no class of {path}, which has {classes} (0 to {classes - 1})"
        )
