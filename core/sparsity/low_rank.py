"""Matrix products and pointwise convolutions as two of them with a narrow middle: costs, fits, and nodes.

Of weights W, shape (outputs, inputs), the factors A·B of rank r with the least E‖y − A·B·x‖² are A = U and
B = UᵀW, U holding the first r left singular vectors of W·L, L·Lᵀ being the covariance of the inputs:
reduced-rank regression (Izenman 1975, "Reduced-rank regression for the multivariate linear model").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_pare.graph.edit import Names, add_initializer, drop_unused, take_over
from onnx_pare.sparsity.layers import Layer
from onnx_pare.sparsity.normal_equations import Statistics

if TYPE_CHECKING:
    import onnx_ir as ir

Array = np.ndarray[Any, Any]
# ranks to choose from, as shares of the rank at which two factors cost as much as the weights
SHARES = (0.9, 0.75, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05)
# a narrow middle of a multiple of this fills the vectors of common CPUs
MULTIPLE = 8


@dataclass(frozen=True)
class Product:
    """Two factors of one layer's weights.

    Attributes:
        left: Shape (outputs, rank).
        right: Shape (rank, inputs).
    """

    left: Array
    right: Array

    @property
    def rank(self) -> int:
        """The width of the middle."""
        return int(self.left.shape[1])

    def dense(self) -> Array:
        """Return weights that compute the same, shape (outputs, inputs)."""
        return np.asarray(self.left @ self.right)


class LowRank:
    """Two thin layers for one."""

    ops = ("Conv", "Gemm", "MatMul")

    def refuses(self, layer: Layer) -> str:
        """Return why a layer cannot be replaced; empty if it can."""
        if layer.window.groups > 1 or layer.window.positions > 1:
            return "not a pointwise convolution"
        return ""

    def ranks(self, layer: Layer) -> Sequence[int]:
        """Return some ranks that are cheaper, multiples of 8 where there are any."""
        outputs, inputs = layer.rows()[0].shape
        even = outputs * inputs / (outputs + inputs)
        rounded = {int(share * even) // MULTIPLE * MULTIPLE or int(share * even) for share in SHARES}
        return sorted(rank for rank in rounded if 0 < rank < even)

    def macs(self, layer: Layer, rank: int) -> int:
        """Return r·(inputs + outputs)."""
        return int(rank * sum(layer.rows()[0].shape))

    def decompose(self, layer: Layer, rank: int) -> Product:
        """Return the truncated SVD of the weights."""
        weights = layer.rows()[0].astype(np.float64)
        return _product(weights, weights @ weights.T, rank)

    def fit(self, statistics: Statistics, layer: Layer, rank: int, *, quick: bool = False) -> Product:
        """Return the factors whose outputs are nearest to those wanted; there is no quicker way."""
        weights = statistics.solve()[0]
        return _product(weights, weights @ statistics.xx[0] @ weights.T, rank)

    def emit(self, layer: Layer, factors: Product, bias: Array | None, names: Names) -> None:
        """Put two nodes in the place of the layer's."""
        make = _convolutions if layer.node.op_type == "Conv" else _products
        nodes = make(layer, factors, None if bias is None else bias.astype(np.float32), names)
        graph = layer.node.graph
        assert graph is not None
        for node in nodes:
            node.outputs[0].name = names.new(f"{node.name}_output")
        take_over(layer.result, nodes[-1].outputs[0])
        graph.insert_before(layer.node, nodes)
        constants = layer.node.inputs[1:]
        graph.remove(layer.node, safe=True)
        drop_unused(graph, constants)


def _product(weights: Array, gram: Array, rank: int) -> Product:
    _, vectors = np.linalg.eigh(gram)
    left = np.ascontiguousarray(vectors[:, ::-1][:, :rank])
    return Product(left, left.T @ weights)


def _convolutions(layer: Layer, factors: Product, bias: Array | None, names: Names) -> list[ir.Node]:
    """Make two pointwise convolutions; strides and pads go with the first."""
    import onnx_ir as ir

    ones = [1] * len(layer.window.kernel)
    base = layer.node.name or "Conv"
    right = _constant(
        layer, factors.right.reshape(*factors.right.shape, *ones), f"{base}/right_weight", names
    )
    left = _constant(layer, factors.left.reshape(*factors.left.shape, *ones), f"{base}/left_weight", names)
    first = ir.node("Conv", [layer.source, right], name=names.new(f"{base}/right"))
    first.attributes.update(layer.node.attributes)
    inputs = [first.outputs[0], left]
    if bias is not None:
        inputs.append(_constant(layer, bias, f"{base}/bias", names))
    return [first, ir.node("Conv", inputs, {"kernel_shape": ones}, name=names.new(f"{base}/left"))]


def _products(layer: Layer, factors: Product, bias: Array | None, names: Names) -> list[ir.Node]:
    """Make a MatMul, and another one or, where there is a bias, a Gemm."""
    import onnx_ir as ir

    base = layer.node.name or layer.node.op_type
    right = _constant(layer, factors.right.T, f"{base}/right_weight", names)
    left = _constant(layer, factors.left.T, f"{base}/left_weight", names)
    first = ir.node("MatMul", [layer.source, right], name=names.new(f"{base}/right"))
    if bias is None:
        return [first, ir.node("MatMul", [first.outputs[0], left], name=names.new(f"{base}/left"))]
    inputs = [first.outputs[0], left, _constant(layer, bias, f"{base}/bias", names)]
    return [first, ir.node("Gemm", inputs, name=names.new(f"{base}/left"))]


def _constant(layer: Layer, array: Array, name: str, names: Names) -> ir.Value:
    graph = layer.node.graph
    assert graph is not None
    return add_initializer(graph, names.new(name), np.ascontiguousarray(array, np.float32))
