"""Pruning layer after layer, each fitted to what the original network gives there.

Each layer gets the inputs that the layers pruned before it now make, and its weights are chosen so that its
outputs come nearest to the original's: by least squares, first all of them, then those that remain. Where the
output is added to another branch, that branch's error is made up for as well: the target is the original sum
less what the other branch now gives. `second_order` says what each removed weight costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from onnx_pare.sparsity.linear import Linear
from onnx_pare.sparsity.normal_equations import Statistics, collect
from onnx_pare.sparsity.patterns import Pattern
from onnx_pare.sparsity.second_order import exact_costs, fit, swept_costs

if TYPE_CHECKING:
    import onnx_ir as ir

Array = np.ndarray[Any, Any]
# what a step removes is exact for every row up to this work, one sweep over all rows beyond
EXACT_MACS = 3e10
# costs are found for so much more than what is to be removed on average: rows differ
DEEPER = 0.25
# share of the inputs' mean variance by which weights are held to what they were
RIDGE = 0.01
HELD_BYTES = 256 << 20
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

    def reconstruct(self, layers: Sequence[Linear], patterns: Sequence[Pattern]) -> list[Fit | str]:
        """Prune and fit these layers, in graph order.

        Returns:
            How each came out, or why its smallest weights were zeroed and nothing else.

        Raises:
            DataError: The model does not run on the samples.
        """
        names = Names(self.model)
        found: list[Fit | str] = []
        with self._walk(self.original) as reference, self._walk(self.model) as walk:
            pairs = _Pairs(self, reference, walk)
            with self.progress.task("reconstructing", len(layers)) as advance:
                for layer, pattern in zip(layers, patterns, strict=True):
                    found.append(_prune(layer, pattern, pairs.statistics(layer), names))
                    advance(1)
        return found

    def allocate(self, layers: Sequence[Linear], pattern: Pattern, count: int) -> list[Pattern]:
        """Return a fraction for each layer: those whose outputs suffer least, for what they give, lose most.

        A weight counts as what its removal costs as a share of the variance of its layer's output, and one
        threshold is found for all layers.

        Args:
            layers: The layers, in graph order.
            pattern: What they have in common.
            count: How many of their weights are to go.

        Raises:
            DataError: The model does not run on the samples.
        """
        costs: list[Array] = []
        with self._walk(self.model) as walk:
            pairs = _Pairs(self, walk, walk)
            with self.progress.task("comparing layers", len(layers)) as advance:
                for layer in layers:
                    costs.append(_shares(layer, pattern, pairs.statistics(layer)))
                    advance(1)
        return pattern.spread(lambda: costs, count)

    def _walk(self, model: ir.Model) -> Walk:
        feeds, _ = next(self.samples.batches(1))
        shapes = infer(model, {name: feed.shape for name, feed in feeds.items()})
        sizes = [info.size_bytes for name, info in shapes.items() if name not in model.graph.initializers]
        return Walk(
            model,
            self.samples,
            scratch=self.scratch,
            threads=self.threads,
            held_bytes=HELD_BYTES,
            largest_bytes=max(sizes, default=0),
        )


class _Pairs:
    """What layers get in the changed model, and what they gave in the original."""

    def __init__(self, network: Network, reference: Walk, walk: Walk) -> None:
        import onnx_ir as ir

        graph = network.original.graph
        self._originals = ir.convenience.create_value_mapping(graph, include_subgraphs=False)
        self._places = {node: place for place, node in enumerate(network.model.graph)}
        self._reference, self._walk, self._samples = reference, walk, len(network.samples)

    def statistics(self, layer: Linear) -> Statistics | None:
        """Return the moments of what a layer gets and should give; None if nothing of it is finite."""
        found = collect(layer.window, self._samples, self._batches(layer))
        if found is None or layer.adder is not None:
            return found
        x, y = found.x_mean, found.y_mean  # nothing takes the means: they are to be fitted too
        return Statistics(
            found.xx + x[:, :, None] * x[:, None, :],
            found.xy + x[:, :, None] * y[:, None, :],
            found.yy + y * y,
            np.zeros_like(x),
            np.zeros_like(y),
            found.rows,
        )

    def _batches(self, layer: Linear) -> Iterator[tuple[Array, Array]]:
        if self._walk is self._reference:
            for inputs, outputs in self._walk.batches(layer.input, layer.output):
                yield inputs, outputs
            return
        other = self._other(layer)
        added = [] if other is None else [other]
        gets = self._walk.batches(layer.input, *added)
        gives = self._reference.batches(self._original(layer.output), *map(self._original, added))
        for (inputs, *now), (outputs, *before) in zip(gets, gives, strict=True):
            if now and now[0].shape == outputs.shape:
                outputs = outputs + before[0] - now[0]
            yield inputs, outputs

    def _other(self, layer: Linear) -> ir.Value | None:
        """Return what is added to the layer's output, if all that makes it lies behind already."""
        other = layer.residual()
        maker = None if other is None else other.producer()
        return other if maker is not None and self._places[maker] < self._places[layer.node] else None

    def _original(self, value: ir.Value) -> ir.Value:
        return self._originals[value.name or ""]


def _prune(layer: Linear, pattern: Pattern, statistics: Statistics | None, names: Names) -> Fit | str:
    if statistics is None:
        pattern.zero_smallest(layer.weight)
        return "its inputs or outputs are not finite"
    prior = layer.prior()
    ridged = statistics.ridged(prior, RIDGE)
    best = ridged.solve()
    zeros = prior == 0
    costs = _costs(layer, pattern, ridged.xx, best, zeros)
    gone = layer.rows(pattern.mask(layer.weight, layer.from_rows(costs))) | zeros
    weights = fit(ridged.xx, best, gone, prior)
    share = [_share_db(statistics, rows) for rows in (np.where(gone, 0, prior), weights)]
    layer.write(weights, statistics.bias(weights), names)
    return Fit(*share)


def _share_db(statistics: Statistics, weights: Array) -> float:
    error, signal = float(statistics.error(weights).sum()), float(statistics.yy.sum())
    return -10 * log10(max(error / signal, SMALLEST_SHARE)) if signal > 0 else -10 * log10(SMALLEST_SHARE)


def _shares(layer: Linear, pattern: Pattern, statistics: Statistics | None) -> Array:
    """Return what each weight costs as a share of the variance of the layer's output; float32."""
    prior = layer.prior()
    if statistics is None:
        return np.full(prior.shape, np.inf, np.float32)
    ridged = statistics.ridged(prior, RIDGE)
    costs = _costs(layer, pattern, ridged.xx, prior, prior == 0, depth=1.0)
    signal = max(float(statistics.yy.sum()), float(np.finfo(np.float32).tiny))
    return np.asarray(costs / signal, np.float32)


def _costs(
    layer: Linear, pattern: Pattern, gram: Array, weights: Array, zeros: Array, depth: float | None = None
) -> Array:
    """Return what the removal of each weight costs, shape (groups, outputs, inputs)."""
    inputs = weights.shape[2]
    order = np.arange(inputs)
    if pattern.kept is not None:  # groups run over channels: those come last
        order = order.reshape(-1, layer.positions).T.reshape(-1)
    turned = gram[:, order][:, :, order], weights[:, :, order], zeros[:, :, order]
    depth = min(1.0, pattern.sparsity + DEEPER) if depth is None else depth
    if weights.size / pattern.grain.rows * depth * inputs**2 <= EXACT_MACS:
        costs = exact_costs(*turned, pattern.grain, depth)
    else:
        costs = np.stack([swept_costs(*group, pattern.choose) for group in zip(*turned, strict=True)])
    found = np.empty_like(costs)
    found[:, :, order] = costs
    return found
