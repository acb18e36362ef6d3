"""Choosing a rank for each layer, for all together.

`survey` looks at each layer's inputs once and tells what each rank costs and how far outputs would be off;
`weigh` tells what that does to the model's outputs; `choose` picks ranks under a budget.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_pare.calibration.walk import Walk
from onnx_pare.graph.edit import Names
from onnx_pare.progress import Progress
from onnx_pare.sparsity.allocation import Option, allocate
from onnx_pare.sparsity.layers import Layer, layer_of
from onnx_pare.sparsity.normal_equations import Statistics, collect
from onnx_pare.sparsity.substitution import Kind, Means, relative_error

if TYPE_CHECKING:
    import onnx_ir as ir

Array = np.ndarray[Any, Any]
# what a layer does to the model's outputs is measured at the rank whose error is nearest to this
PROBED_ERROR = 0.02


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
class Probe:
    """A layer as it would be, as weights of the layer that it is.

    Attributes:
        error: Mean square error of its outputs, relative to their variance.
        rows: Weights, shape (1, outputs, inputs).
        bias: Shape (1, outputs); None if the layer takes none.
    """

    error: float
    rows: Array
    bias: Array | None


@dataclass(frozen=True)
class Candidate:
    """A layer that may be replaced.

    Attributes:
        name: The node's name.
        macs: Multiply-accumulates of one inference as it is.
        choices: What is cheaper, by ascending rank.
        probe: What it does at one of these ranks.
    """

    name: str
    macs: int
    choices: tuple[Choice, ...]
    probe: Probe


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
                    given = given if layer.takes_bias else given.through_origin()
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
    choices, probe = [], None
    for rank in ranks:
        rows = kind.fit(given, layer, rank, quick=True).dense()[None]
        error = relative_error(given, rows)
        choices.append(Choice(rank, times * kind.macs(layer, rank), error))
        if probe is None or _distance(error) < _distance(probe.error):
            probe = Probe(error, rows.astype(np.float32), given.bias(rows) if layer.takes_bias else None)
    assert probe is not None
    return Candidate(layer.node.name or "", times * layer.weight().size, tuple(choices), probe)


def _distance(error: float) -> float:
    """Return how far from that at which layers are weighed."""
    return abs(math.log(error / PROBED_ERROR))


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
            trial = model.clone()
            layer = layer_of(next(node for node in trial.graph if node.name == candidate.name))
            assert layer is not None
            layer.put(candidate.probe.rows, candidate.probe.bias, Names(trial))
            factors[candidate.name] = harm(trial) / candidate.probe.error
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


def foreseen(
    candidates: Sequence[Candidate], factors: Mapping[str, float], ranks: Mapping[str, int]
) -> float:
    """Return the error of the model's outputs that ranks are expected to cause, relative to their power."""
    return sum(
        factors[candidate.name] * choice.error
        for candidate in candidates
        for choice in candidate.choices
        if ranks.get(candidate.name) == choice.rank
    )
