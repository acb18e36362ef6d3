"""Two versions of one model side by side: cost, fidelity, accuracy and latency."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_pare.bench.accuracy import AccuracyPair, accuracy_pair
from onnx_pare.bench.comparable import check_comparable
from onnx_pare.bench.fidelity import Fidelity, compare
from onnx_pare.bench.paired import PairedLatency, measure_pair
from onnx_pare.calibration.data import open_samples
from onnx_pare.calibration.inputs import model_inputs
from onnx_pare.calibration.labelled import Labelled, open_labelled
from onnx_pare.calibration.synthetic import synthetic_samples
from onnx_pare.cost.count import file_summary
from onnx_pare.errors import about
from onnx_pare.graph.limits import check_activations
from onnx_pare.graph.load import load_model
from onnx_pare.graph.runnable import runnable
from onnx_pare.graph.signature import signature
from onnx_pare.progress import Progress, Silent

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.calibration.data import Samples
    from onnx_pare.calibration.preprocess import Preprocessing

SAMPLES, SYNTHETIC_SAMPLES = 128, 32

Shapes = Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class Inputs:
    """What to compare two models on.

    Attributes:
        data: Samples, as `open_samples` takes them; None takes those of `labels`, and without these synthetic
            ones.
        labels: Labelled samples, for accuracy; None measures none.
        preprocess: How images become inputs.
        limit: Samples for fidelity at most; None takes 128, or 32 synthetic ones. Accuracy takes all.
        shapes: Sizes of free dimensions, by input name.
        seed: Seed of synthetic samples and of a choice among too many.
    """

    data: Path | None = None
    labels: Path | None = None
    preprocess: Preprocessing | None = None
    limit: int | None = None
    shapes: Shapes | None = None
    seed: int = 0


@dataclass(frozen=True)
class Versus:
    """Model `a` and model `b`; costs have the keys of the report's `before`."""

    paths: tuple[Path, Path]
    costs: tuple[Mapping[str, Any], Mapping[str, Any]]
    fidelity: Fidelity
    accuracy: AccuracyPair | None
    latency: PairedLatency
    source: str
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return what `pare compare --json` writes."""
        a, b = ({"path": str(path), **cost} for path, cost in zip(self.paths, self.costs, strict=True))
        return {
            "schema": "onnx-pare/compare/1",
            "a": a,
            "b": b,
            "fidelity": self.fidelity.to_json(),
            "accuracy": None if self.accuracy is None else self.accuracy.to_json(),
            "latency": [self.latency.to_json()],
            "source": self.source,
            "warnings": list(self.warnings),
        }


def versus(
    a: Path,
    b: Path,
    inputs: Inputs,
    *,
    threads: int = 1,
    runs: int = 50,
    progress: Progress | None = None,
) -> Versus:
    """Compare two models that have the same inputs and outputs.

    Raises:
        ModelError: One of them does not load or run, or their inputs or outputs differ.
        DataError: The data cannot be used with them.
        UsageError: A shape contradicts them.
    """
    with tempfile.TemporaryDirectory(prefix="onnx-pare-") as folder:
        return _versus((a, b), inputs, threads, runs, Path(folder), progress or Silent())


def _versus(
    paths: tuple[Path, Path], inputs: Inputs, threads: int, runs: int, scratch: Path, progress: Progress
) -> Versus:
    a, b = paths
    models = load_model(a), load_model(b)
    check_comparable(signature(models[0]), signature(models[1]), (a.name, b.name))
    stricter = models[0] if model_inputs(models[1], inputs.shapes).batch is None else models[1]
    labelled = _labelled(stricter, inputs)
    samples = _samples(stricter, inputs)
    feeds = next(iter(samples))
    shapes = {name: feed.shape for name, feed in feeds.items()}
    for path, model in zip((a, b), models, strict=True):
        with about(path):
            check_activations(model, shapes)
    costs = file_summary(models[0], a, shapes), file_summary(models[1], b, shapes)
    loaded = runnable(a, scratch), runnable(b, scratch)
    accuracy = None
    if labelled is not None:
        accuracy = accuracy_pair(*loaded, labelled, threads=threads, progress=progress)
    fidelity = compare(*loaded, samples, threads=threads, progress=progress)
    latency = measure_pair(*loaded, feeds, threads=threads, runs=runs, seed=inputs.seed, progress=progress)
    warnings = (*samples.warnings, *latency.warnings)
    return Versus(paths, costs, fidelity, accuracy, latency, samples.source, warnings)


def _labelled(model: ir.Model, inputs: Inputs) -> Labelled | None:
    if inputs.labels is None:
        return None
    return open_labelled(
        inputs.labels, model, preprocess=inputs.preprocess, shapes=inputs.shapes, seed=inputs.seed
    )


def _samples(model: ir.Model, inputs: Inputs) -> Samples:
    data = inputs.data or inputs.labels
    if data is not None:
        return open_samples(
            data,
            model,
            preprocess=inputs.preprocess,
            limit=inputs.limit or SAMPLES,
            seed=inputs.seed,
            shapes=inputs.shapes,
        )
    count = inputs.limit or SYNTHETIC_SAMPLES
    return synthetic_samples(model, count=count, seed=inputs.seed, shapes=inputs.shapes)
