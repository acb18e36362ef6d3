"""Fitting what is left of a network's layers to what the whole of them gave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_pare.graph.edit import Names
from onnx_pare.sparsity.fitting import Fitting
from onnx_pare.sparsity.layers import Layer, layer_of
from onnx_pare.sparsity.normal_equations import MOST_INPUTS, Statistics
from onnx_pare.sparsity.substitution import Means

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.graph.shapes import Shapes

# an error of the outputs so small is rounding: there is nothing to be gained
ROUNDING = 1e-7


def refit(
    original: ir.Model,
    changed: ir.Model,
    cuts: Mapping[ir.Value, Mapping[int, Any]],
    shapes: Shapes,
    means: Means,
) -> list[str]:
    """Fit the layers that read fewer channels than they did, in place, and return their names.

    Args:
        original: The network before.
        changed: The network with channels removed.
        cuts: For each of its values that lost channels, by axis, whether each position stays.
        shapes: Shapes of the original's tensors.
        means: What to do it with.

    Raises:
        DataError: One of the networks does not run on the samples.
    """
    found = [layer for node in changed.graph if (layer := layer_of(node)) is not None]
    layers = [layer for layer in found if _is_fitted(layer, cuts, shapes)]
    names = Names(changed)
    fitting = Fitting(
        original,
        changed,
        [layer.node for layer in layers],
        means.samples,
        scratch=means.scratch,
        threads=means.threads,
        largest_bytes=means.largest_bytes,
    )
    fitted = []
    with means.progress.task("fitting layers", len(layers)) as advance, fitting:
        for layer in layers:
            given = fitting.statistics(layer, _kept(layer, cuts))
            if given is not None and _solve(layer, given, names):
                fitted.append(layer.node.name or "")
            advance(1)
    return fitted


def _is_fitted(layer: Layer, cuts: Mapping[ir.Value, Mapping[int, Any]], shapes: Shapes) -> bool:
    """Tell whether a layer lost inputs, and nothing else but outputs."""
    axis = 1 if layer.window.kernel else len(shapes[layer.source.name or ""].shape) - 1
    lost = cuts.get(layer.source, {})
    return (
        set(lost) == {axis}
        and set(cuts.get(layer.result, {})) <= {axis}
        and layer.rows().shape[2] <= MOST_INPUTS
    )


def _kept(layer: Layer, cuts: Mapping[ir.Value, Mapping[int, Any]]) -> np.ndarray[Any, Any] | None:
    """Return which outputs a layer still has; None if all."""
    (keep,) = cuts.get(layer.result, {}).values() or (None,)
    return None if keep is None else np.flatnonzero(keep)


def _solve(layer: Layer, given: Statistics, names: Names) -> bool:
    """Give a layer the weights of least error, if that is any less."""
    rows = layer.rows()
    if float(given.error(rows).sum()) <= ROUNDING * float(given.yy.sum()):
        return False
    weights = given.ridged(rows).solve()
    layer.put(weights, given.bias(weights) if layer.takes_bias else None, names)
    return True
