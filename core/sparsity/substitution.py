"""Replacing layers by cheaper ones of some rank: ranks chosen together, weights fitted one after the other.

What kind of replacement it is (`dsc`, `low_rank`) is behind `Kind`. The order of work: `survey` looks at each
layer's inputs once and tells what each rank costs and how far its outputs would be off; `weigh` tells what
that does to the model's outputs; `choose` picks ranks under a budget; `replace` builds and fits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from onnx_pare.calibration.data import Samples
from onnx_pare.calibration.walk import Walk
from onnx_pare.graph.edit import Names, constant
from onnx_pare.progress import Progress
from onnx_pare.sparsity.allocation import Option, allocate
from onnx_pare.sparsity.fitting import Fitting
from onnx_pare.sparsity.layers import Layer, layer_of
from onnx_pare.sparsity.normal_equations import Statistics, collect

if TYPE_CHECKING:
    import onnx_ir as ir

Array = np.ndarray[Any, Any]
# what a layer does to the model's outputs is measured at the rank whose error is nearest to this
PROBED_ERROR = 0.02


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
    """A way to replace layers."""

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
class Choice:
    """One rank for one layer.

    Attributes:
        rank: The rank.
        macs: Multiply-accumulates of one inference.
        error: Mean square error of the layer's outputs, relative to their variance.
    """

    rank: int
    macs: int
    error: float


@dataclass(frozen=True)
class Candidate:
    """A layer that may be replaced.

    Attributes:
        name: The node's name.
        macs: Multiply-accumulates of one inference as it is.
        choices: What is cheaper, by ascending rank.
        probe: The error of some rank, and weights and a bias that compute what it computes.
    """

    name: str
    macs: int
    choices: tuple[Choice, ...]
    probe: tuple[float, Array, Array | None]


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


def survey(
    model: ir.Model, kind: Kind, layers: Sequence[Layer], positions: Mapping[str, int], means: Means
) -> list[Candidate]:
    """Look at the layers' inputs, and return what can be had for each that has a cheaper rank.

    Args:
        model: The model that holds the layers; it is not changed.
        kind: The kind of replacement.
        layers: In the order of the graph.
        positions: How often each layer's weights are applied in one inference, by node name.
        means: What to do it with.

    Raises:
        DataError: The model does not run on the samples.
    """
    found = []
    task = means.progress.task("looking at layers", len(layers))
    with task as advance, _walk(model, means) as walk:
        for layer in layers:
            times = positions[layer.node.name or ""]
            cheaper = [rank for rank in kind.ranks(layer) if kind.macs(layer, rank) < layer.weight().size]
            if cheaper:
                pairs = walk.batches(layer.source, layer.result)
                given = collect(layer.window, len(means.samples), ((x, y) for x, y in pairs))
                if given is not None:
                    found.append(_candidate(kind, layer, cheaper, times, given))
            advance(1)
    return found


def _walk(model: ir.Model, means: Means) -> Walk:
    return Walk(
        model,
        means.samples,
        scratch=means.scratch,
        threads=means.threads,
        largest_bytes=means.largest_bytes,
    )


def _candidate(kind: Kind, layer: Layer, ranks: Sequence[int], times: int, given: Statistics) -> Candidate:
    given = given.ridged(layer.rows())
    total = float(given.yy.sum()) or 1.0
    choices = []
    probe: tuple[float, Array, Array | None] = math.inf, np.zeros(0), None
    for rank in ranks:
        dense = kind.fit(given, layer, rank, quick=True).dense()
        error = max(float(given.error(dense[None]).sum()) / total, 1e-12)
        choices.append(Choice(rank, times * kind.macs(layer, rank), error))
        if abs(math.log(error / PROBED_ERROR)) < abs(math.log(probe[0] / PROBED_ERROR)):
            probe = error, dense, given.bias(dense[None])[0] if layer.takes_bias else None
    return Candidate(layer.node.name or "", times * layer.weight().size, tuple(choices), probe)


def weigh(
    model: ir.Model, candidates: Sequence[Candidate], harm: Callable[[ir.Model], float], progress: Progress
) -> dict[str, float]:
    """Return, for each candidate, the error of the model's outputs for an error of 1 of the layer's.

    Small errors of layers add up in the square, each times its factor; the factor is measured by one
    replacement at a time.

    Args:
        model: The model; it is not changed.
        candidates: What `survey` found.
        harm: Returns the mean square error of a model's outputs, relative to what they should be.
        progress: Told after each.
    """
    factors = {}
    with progress.task("weighing layers", len(candidates)) as advance:
        for candidate in candidates:
            changed = model.clone()
            layer = layer_of(next(node for node in changed.graph if node.name == candidate.name))
            assert layer is not None
            error, dense, bias = candidate.probe
            layer.put(dense, bias, Names(changed))
            factors[candidate.name] = harm(changed) / error
            advance(1)
    return factors


def choose(
    candidates: Sequence[Candidate],
    factors: Mapping[str, float],
    *,
    prices: Callable[[Candidate, Choice | None], float],
    budget: float | None,
    max_error: float = math.inf,
) -> dict[str, int] | None:
    """Return the rank of each layer to be replaced; None if the budget cannot be met.

    Args:
        candidates: What `survey` found.
        factors: What `weigh` found.
        prices: What a layer costs with a choice, or as it is.
        budget: Largest sum of prices; without one, prices are made as low as `max_error` lets them.
        max_error: Largest sum of errors of the model's outputs, where there is no budget.
    """
    options = []
    for candidate in candidates:
        entries = [(prices(candidate, None), 0.0)]
        entries += [
            (prices(candidate, choice), factors[candidate.name] * choice.error)
            for choice in candidate.choices
        ]
        options.append([Option(a, b) if budget is not None else Option(b, a) for a, b in entries])
    chosen = allocate(options, max_error if budget is None else budget)
    if chosen is None:
        return None
    pairs = zip(candidates, chosen, strict=True)
    return {candidate.name: candidate.choices[index - 1].rank for candidate, index in pairs if index}


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
    dense = factors.dense()[None]
    error = float(given.error(dense).sum() / max(float(given.yy.sum()), 1e-30))
    kind.emit(layer, factors, given.bias(dense)[0] if layer.takes_bias else None, names)
    return Replaced(name, rank, error)


def bias_of(layer: Layer) -> Array | None:
    """Return a layer's bias, flat; None if it has none."""
    array = constant(layer.node.inputs[2]) if len(layer.node.inputs) > 2 else None
    return None if array is None else array.reshape(-1)
