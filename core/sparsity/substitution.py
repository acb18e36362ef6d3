"""Replacing layers by cheaper ones of some rank, their weights fitted one after the other.

What kind of replacement it is (`dsc`, `low_rank`) is behind `Kind`; `choosing` tells the rank of each layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from onnx_pare.calibration.data import Samples
from onnx_pare.graph.edit import Names, constant
from onnx_pare.progress import Progress
from onnx_pare.sparsity.fitting import Fitting
from onnx_pare.sparsity.layers import Layer, layer_of
from onnx_pare.sparsity.normal_equations import Statistics

if TYPE_CHECKING:
    import onnx_ir as ir

Array = np.ndarray[Any, Any]
# what is below is rounding
SMALLEST_ERROR = 1e-12


class Factors(Protocol):
    """What replaces one layer's weights."""

    @property
    def rank(self) -> int:
        """Its rank."""
        ...

    def dense(self) -> Array:
        """Return weights that compute the same, shape (outputs, inputs)."""
        ...


class Kind(Protocol):
    """A way to replace layers.

    Attributes:
        ops: The operators of layers that it is about.
    """

    @property
    def ops(self) -> Sequence[str]: ...  # noqa: D102

    def refuses(self, layer: Layer) -> str:
        """Return why a layer cannot be replaced; empty if it can."""
        ...

    def ranks(self, layer: Layer) -> Sequence[int]:
        """Return the ranks to choose from, in ascending order."""
        ...

    def macs(self, layer: Layer, rank: int) -> int:
        """Return the multiply-accumulates for one position of the output."""
        ...

    def decompose(self, layer: Layer, rank: int) -> Factors:
        """Return the factors nearest to the weights."""
        ...

    def fit(self, statistics: Statistics, layer: Layer, rank: int, *, quick: bool = False) -> Factors:
        """Return the factors whose outputs are nearest to those wanted; `quick`: roughly."""
        ...

    def emit(self, layer: Layer, factors: Any, bias: Array | None, names: Names) -> None:
        """Put nodes in the place of the layer's node."""
        ...


@dataclass(frozen=True)
class Means:
    """What there is to do it with.

    Attributes:
        samples: Calibration samples.
        scratch: Folder for temporary files.
        threads: Threads of onnxruntime sessions.
        progress: Where to tell that work advances.
        largest_bytes: Size of the model's largest activation for one sample.
    """

    samples: Samples
    scratch: Path
    threads: int
    progress: Progress
    largest_bytes: int = 0


@dataclass(frozen=True)
class Replaced:
    """What became of one layer.

    Attributes:
        name: The node's name.
        rank: The rank.
        error: Mean square error of its outputs, inputs as they now are, relative to the variance of those
            wanted; None where nothing was fitted.
    """

    name: str
    rank: int
    error: float | None


def relative_error(given: Statistics, rows: Array) -> float:
    """Return the mean square error of a layer's outputs, relative to their variance."""
    return max(float(given.error(rows).sum()) / max(float(given.yy.sum()), 1e-30), SMALLEST_ERROR)


def replace(
    model: ir.Model, kind: Kind, ranks: Mapping[str, int], means: Means, *, fitted: bool = True
) -> list[Replaced]:
    """Replace layers in place, and return what became of each.

    Args:
        model: The model to change.
        kind: The kind of replacement.
        ranks: Ranks by node name.
        means: What to do it with.
        fitted: Fit each layer to the original outputs, on inputs as the layers replaced before make them;
            else weights are decomposed as they are.

    Raises:
        DataError: The model does not run on the samples.
    """
    layers = [layer for node in model.graph if node.name in ranks and (layer := layer_of(node)) is not None]
    names = Names(model)
    if not fitted:
        for layer in layers:
            kind.emit(layer, kind.decompose(layer, ranks[layer.node.name or ""]), bias_of(layer), names)
        return [Replaced(layer.node.name or "", ranks[layer.node.name or ""], None) for layer in layers]
    found = []
    fitting = Fitting(
        model.clone(),
        model,
        [layer.node for layer in layers],
        means.samples,
        scratch=means.scratch,
        threads=means.threads,
        largest_bytes=means.largest_bytes,
    )
    with means.progress.task("fitting layers", len(layers)) as advance, fitting:
        for layer in layers:
            rank = ranks[layer.node.name or ""]
            found.append(_fit(kind, layer, rank, fitting.statistics(layer), names))
            advance(1)
    return found


def _fit(kind: Kind, layer: Layer, rank: int, given: Statistics | None, names: Names) -> Replaced:
    name = layer.node.name or ""
    if given is None:
        kind.emit(layer, kind.decompose(layer, rank), bias_of(layer), names)
        return Replaced(name, rank, None)
    given = given.ridged(layer.rows())
    factors = kind.fit(given, layer, rank)
    rows = factors.dense()[None]
    kind.emit(layer, factors, given.bias(rows)[0] if layer.takes_bias else None, names)
    return Replaced(name, rank, relative_error(given, rows))


def bias_of(layer: Layer) -> Array | None:
    """Return a layer's bias, flat; None if it has none."""
    array = constant(layer.node.inputs[2]) if len(layer.node.inputs) > 2 else None
    return None if array is None else array.reshape(-1)
