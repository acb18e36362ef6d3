"""Pruning layer after layer, the weights that remain fitted to what the original network gives there.

Each layer is fitted twice by least squares to the targets of `fitting`: first all its weights, from which
`second_order` finds what the removal of each would cost, then those that remain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log10
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_pare.calibration.data import Samples
from onnx_pare.calibration.walk import Walk
from onnx_pare.graph.edit import Names
from onnx_pare.graph.shapes import infer
from onnx_pare.progress import Progress
from onnx_pare.sparsity.fitting import Fitting
from onnx_pare.sparsity.layers import FITTED_OPS, Layer, layer_of
from onnx_pare.sparsity.normal_equations import Statistics, collect
from onnx_pare.sparsity.patterns import Pattern
from onnx_pare.sparsity.prunable import Weight
from onnx_pare.sparsity.second_order import exact_costs, fit, stepped_costs

if TYPE_CHECKING:
    import onnx_ir as ir

Array = np.ndarray[Any, Any]
# costs are exact for every row up to this work
EXACT_MACS = 1e9
# exact costs are found for so much more than what is to be removed on average: rows differ
DEEPER = 0.25
# share of the inputs' mean variance by which weights are held to what they were; more where rows are few
RIDGE = 0.01
# the square of the inputs is what fitting holds in memory
MOST_INPUTS = 8192
SMALLEST_SHARE = 1e-20


@dataclass(frozen=True)
class Fit:
    """How near the outputs of a layer came to the original's, over the calibration samples.

    Attributes:
        zeroed_db: Signal to noise, had the weights that remain stayed as they were, in dB.
        fitted_db: The same, as they were fitted.
    """

    zeroed_db: float
    fitted_db: float


@dataclass(frozen=True)
class Target:
    """A layer to be pruned.

    Attributes:
        weight: Its weight.
        layer: The layer.
    """

    weight: Weight
    layer: Layer

    def costs(self, pattern: Pattern, gram: Array, weights: Array, depth: float) -> Array:
        """Return what the removal of each weight costs, in the weight's shape.

        Args:
            pattern: What is to become zero.
            gram: Shape (groups, inputs, inputs).
            weights: Shape (groups, outputs of a group, inputs).
            depth: Fraction of the weights up to which costs matter.
        """
        inputs = weights.shape[2]
        order = np.arange(inputs)
        zeros = self.layer.rows() == 0
        deeper = min(1.0, depth + DEEPER)
        exact = weights.size / pattern.grain.rows * deeper * inputs**2 <= EXACT_MACS
        gram = gram if exact else gram.astype(np.float32)
        if pattern.kept is not None:  # groups run over channels: those come last
            order = order.reshape(-1, self.layer.window.positions).T.reshape(-1)
            gram = gram[:, order[:, None], order]
        turned = gram, weights[:, :, order], zeros[:, :, order]
        if exact:
            found = exact_costs(*turned, pattern.grain, deeper)
        else:
            found = stepped_costs(*turned, pattern.choose, depth)
        costs = np.empty_like(found)
        costs[:, :, order] = found
        return self.weight.from_matrix(costs.reshape(-1, inputs), self.weight.read().shape)

    def shares(self, pattern: Pattern, statistics: Statistics | None) -> Array:
        """Return the costs as shares of the variance of the layer's output, float32."""
        prior = self.layer.rows().astype(np.float64)
        if statistics is None:
            return np.full(self.weight.read().shape, np.inf, np.float32)
        costs = self.costs(pattern, statistics.ridged(prior, _ridge(statistics)).xx, prior, depth=1.0)
        signal = max(float(statistics.yy.sum()), float(np.finfo(np.float32).tiny))
        return np.asarray(costs / signal, np.float32)

    def prune(self, pattern: Pattern, statistics: Statistics | None, names: Names) -> Fit | str:
        """Prune the layer and fit it; return how it came out, or why its smallest weights went instead."""
        if statistics is None:
            pattern.zero_smallest(self.weight)
            return "its inputs or outputs are not finite"
        prior = self.layer.rows().astype(np.float64)
        ridged = statistics.ridged(prior, _ridge(statistics))
        best = ridged.solve()
        costs = self.costs(pattern, ridged.xx, best, pattern.sparsity)
        gone = self.weight.to_matrix(pattern.mask(self.weight, costs)).reshape(prior.shape) | (prior == 0)
        weights = fit(ridged.xx.astype(np.float32), best, gone, prior)
        found = Fit(*(_share_db(statistics, rows) for rows in (np.where(gone, 0, prior), weights)))
        self.layer.put(weights, statistics.bias(weights) if self.layer.takes_bias else None, names)
        return found


@dataclass(frozen=True)
class Network:
    """A model that is being pruned, and what it is fitted to.

    Attributes:
        original: The model as it was: what it gives is the target.
        model: The model; its layers are changed in place.
        samples: What both run on.
        scratch: Folder for temporary files.
        threads: Threads of onnxruntime sessions.
        progress: Told after each layer.
    """

    original: ir.Model
    model: ir.Model
    samples: Samples
    scratch: Path
    threads: int
    progress: Progress

    def reconstruct(self, targets: Sequence[tuple[Target, Pattern]]) -> list[Fit | str]:
        """Prune and fit layers, given in graph order.

        Returns:
            How each came out, or why its smallest weights were zeroed and nothing else.

        Raises:
            DataError: The model does not run on the samples.
        """
        names = Names(self.model)
        found: list[Fit | str] = []
        nodes = [target.layer.node for target, _ in targets]
        settings: dict[str, Any] = self._settings()
        with (
            Fitting(self.original, self.model, nodes, self.samples, **settings) as fitting,
            self.progress.task("reconstructing", len(targets)) as advance,
        ):
            for target, pattern in targets:
                found.append(target.prune(pattern, fitting.statistics(target.layer), names))
                advance(1)
        return found

    def allocate(self, targets: Sequence[Target], pattern: Pattern, count: int) -> list[Pattern]:
        """Return a fraction for each layer: those whose outputs suffer least, for what they give, lose most.

        A weight counts as what its removal costs as a share of the variance of its layer's output, and one
        threshold is found for all layers.

        Args:
            targets: The layers, in graph order.
            pattern: What they have in common.
            count: How many of their weights are to go.

        Raises:
            DataError: The model does not run on the samples.
        """
        costs: list[Array] = []
        settings: dict[str, Any] = self._settings()
        with (
            Walk(self.model, self.samples, **settings) as walk,
            self.progress.task("comparing layers", len(targets)) as advance,
        ):
            for target in targets:
                layer = target.layer
                pairs = ((x, y) for x, y in walk.batches(layer.source, layer.result))
                costs.append(target.shares(pattern, collect(layer.window, len(self.samples), pairs)))
                advance(1)
        return pattern.spread(lambda: costs, count)

    def _settings(self) -> dict[str, Any]:
        feeds, _ = next(self.samples.batches(1))
        shapes = infer(self.model, {name: feed.shape for name, feed in feeds.items()})
        weights = self.model.graph.initializers
        largest = max((info.size_bytes for name, info in shapes.items() if name not in weights), default=0)
        return {"scratch": self.scratch, "threads": self.threads, "largest_bytes": largest}


def target_of(weight: Weight, graph: ir.Graph) -> Target | str:
    """Return a layer that can be fitted, or why it cannot be."""
    node = weight.nodes[0]
    for reason, holds in (
        (f"{node.op_type} is not fitted", node.op_type not in FITTED_OPS),
        ("several nodes share its weights", len(weight.nodes) > 1),
        ("it is inside of a subgraph", node.graph is not graph),
    ):
        if holds:
            return reason
    layer = layer_of(node)
    if layer is None:
        return "it transposes or scales, has a computed bias, or weights that are not float32 or no matrix"
    inputs = layer.rows().shape[2]
    if inputs > MOST_INPUTS:
        return f"it has {inputs} inputs, more than {MOST_INPUTS}"
    return Target(weight, layer)


def _ridge(statistics: Statistics) -> float:
    return RIDGE * (1 + int(statistics.xx.shape[1]) / statistics.rows)


def _share_db(statistics: Statistics, weights: Array) -> float:
    error, signal = float(statistics.error(weights).sum()), float(statistics.yy.sum())
    share = error / signal if signal > 0 else 0.0
    return -10 * log10(max(share, SMALLEST_SHARE))
