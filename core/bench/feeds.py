"""One batch of synthetic input, to time a model on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onnx_pare.calibration.inputs import ModelInputs, model_inputs
from onnx_pare.calibration.synthetic import synthetic_samples
from onnx_pare.errors import UsageError, about
from onnx_pare.graph.limits import check_activations, check_fits
from onnx_pare.graph.session import Feeds
from onnx_pare.graph.shapes import input_shapes

if TYPE_CHECKING:
    import onnx_ir as ir


def timing_feeds(
    path: Path,
    model: ir.Model,
    *,
    batch: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    seed: int = 0,
) -> Feeds:
    """Return one synthetic sample, repeated to the batch.

    Args:
        path: Where the model comes from, for messages.
        model: The model to feed.
        batch: The batch; None takes the one in `shapes`, the model's own if that is fixed, or 1.
        shapes: Sizes of free dimensions, by input name.
        seed: Seed of the sample.

    Raises:
        ModelError: A free dimension has no size.
        UsageError: The model cannot run at this batch, or `shapes` contradicts it.
    """
    with about(path):
        inputs = model_inputs(model, shapes)
        sizes = input_shapes(model, shapes, batch=batch or 1)
        sample = next(iter(synthetic_samples(model, count=1, seed=seed, shapes=shapes)))
        check_activations(model, sizes)
    rows = _rows(inputs, sizes)
    if batch is not None and rows is not None and rows != batch:
        raise UsageError(
            f"{path}: --batch {batch}, but its batch is {rows}", hint="Leave out --batch for this model."
        )
    if inputs.batch is not None or rows is None:
        return sample
    return repeated(sample, inputs, rows)


def timing_shapes(
    path: Path,
    model: ir.Model,
    *,
    batch: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> tuple[dict[str, tuple[int, ...]], int, int]:
    """Return input shapes to predict at, their batch, and how many times that is the batch asked for.

    Where it is not run, a model with a fixed batch can be predicted for a multiple of it.

    Raises:
        ModelError: A free dimension has no size.
        UsageError: The batch cannot be reached, or `shapes` contradicts the model.
    """
    with about(path):
        inputs = model_inputs(model, shapes)
        sizes = input_shapes(model, shapes, batch=batch or 1)
    rows = _rows(inputs, sizes)
    wanted = batch or rows or 1
    if rows is None and wanted != 1:
        raise UsageError(f"{path}: --batch {batch}, but it has no batch axis", hint="Leave out --batch.")
    if wanted % (rows or 1):
        raise UsageError(
            f"{path}: --batch {batch}, but its batch is {rows}", hint="Give a multiple of it, or none."
        )
    return sizes, rows or 1, wanted // (rows or 1)


def repeated(sample: Feeds, inputs: ModelInputs, batch: int) -> Feeds:
    """Return one sample `batch` times, along the axis of each input that counts samples.

    Raises:
        ModelError: An input would be larger than the memory there is.
    """
    counted = [(spec.name, spec.axis) for spec in inputs.specs if spec.axis is not None]
    for name, _ in counted:
        shape, size_bytes = sample[name].shape, sample[name].nbytes
        check_fits(f"{batch} samples of input '{name}'", shape, batch * size_bytes)
    return sample | {name: np.repeat(sample[name], batch, axis=axis) for name, axis in counted}


def _rows(inputs: ModelInputs, sizes: Mapping[str, Sequence[int]]) -> int | None:
    """Return the size of the axis that counts samples, None if no input has one."""
    if inputs.batch is not None:
        return inputs.batch
    return next((sizes[spec.name][spec.axis] for spec in inputs.specs if spec.axis is not None), None)
