"""Depthwise-separable convolutions in the place of regular ones: costs, fits, and the nodes that run fastest.

For one position of the output, a regular convolution takes K·C·M multiply-accumulates (K kernel positions,
C input and M output channels); r depthwise filters per channel and a pointwise convolution behind them take
r·C·(K + M). For r = 1: Howard et al. 2017, "MobileNets", section 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from onnx_pare.graph.edit import Names, add_initializer, drop_unused, take_over
from onnx_pare.sparsity import separable
from onnx_pare.sparsity.layers import Layer
from onnx_pare.sparsity.normal_equations import Statistics
from onnx_pare.sparsity.separable import Separable

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnx_pare.graph.shapes import Shapes

Array = np.ndarray[Any, Any]
Form = Literal["sum", "concat", "multiplier"]


@dataclass(frozen=True)
class Dsc:
    """Depthwise and pointwise convolutions.

    Attributes:
        form: How ranks above 1 are written. `sum`: as many pairs of a depthwise and a pointwise convolution,
            added up; `concat`: depthwise convolutions side by side, concatenated for one pointwise;
            `multiplier`: one depthwise convolution with that depth multiplier.
        shapes: Shapes of the model's tensors. With them, a sum that the output goes into becomes part of the
            chain, so that runtimes compute it within a pointwise convolution.
    """

    form: Form = "sum"
    shapes: Shapes | None = None
    ops = ("Conv",)

    def refuses(self, layer: Layer) -> str:
        """Return why a layer cannot be replaced; empty if it can."""
        if layer.window.groups > 1:
            return "a grouped or depthwise convolution"
        return "a pointwise convolution" if layer.window.positions == 1 else ""

    def ranks(self, layer: Layer) -> Sequence[int]:
        """Return all ranks up to that at which nothing is lost."""
        return range(1, layer.window.positions + 1)

    def macs(self, layer: Layer, rank: int) -> int:
        """Return r·C·(K + M)."""
        outputs, channels = layer.weight().shape[:2]
        return int(rank * channels * (layer.window.positions + outputs))

    def decompose(self, layer: Layer, rank: int) -> Separable:
        """Return the truncated SVD of each input channel's weights."""
        return separable.decompose(layer.rows()[0], layer.weight().shape[1], rank)

    def fit(self, statistics: Statistics, layer: Layer, rank: int, *, quick: bool = False) -> Separable:
        """Return the factors whose outputs are nearest to those wanted."""
        sweeps = 1 if quick else separable.SWEEPS
        return separable.fit(statistics, layer.weight().shape[1], rank, layer.rows()[0], sweeps)

    def emit(self, layer: Layer, factors: Separable, bias: Array | None, names: Names) -> None:
        """Put depthwise and pointwise nodes in the place of the convolution."""
        graph = layer.node.graph
        assert graph is not None
        make = _Maker(layer, factors, None if bias is None else bias.astype(np.float32), names)
        joined = self._joined(layer) if self.form == "sum" and factors.rank > 1 else None
        if joined is not None:
            add, other = joined
            take_over(add.outputs[0], make.sum(other))
            graph.insert_before(add, make.nodes)
            graph.remove(add, safe=True)
        else:
            take_over(layer.result, getattr(make, self.form if factors.rank > 1 else "concat")())
            graph.insert_before(layer.node, make.nodes)
        constants = layer.node.inputs[1:]
        graph.remove(layer.node, safe=True)
        drop_unused(graph, constants)

    def _joined(self, layer: Layer) -> tuple[ir.Node, ir.Value] | None:
        """Return the Add that alone reads the output, and its other operand, if the two have one shape."""
        uses = list(layer.result.uses())
        add = uses[0].node if len(uses) == 1 and not layer.result.is_graph_output() else None
        if self.shapes is None or add is None or add.op_type != "Add" or add.domain != "":
            return None
        others = [value for value in add.inputs if value is not None and value is not layer.result]
        known = [self.shapes.get(value.name or "") for value in (layer.result, *others)]
        if len(known) != 2 or known[0] is None or known[1] is None or others[0].const_value is not None:
            return None
        return (
            (add, others[0]) if known[0].shape == known[1].shape and add.graph is layer.node.graph else None
        )


class _Maker:
    """Makes the nodes of one layer."""

    def __init__(self, layer: Layer, factors: Separable, bias: Array | None, names: Names) -> None:
        self._layer, self._bias, self._names = layer, bias, names
        self._filters = factors.depthwise.astype(np.float32)
        self._mixed = factors.pointwise.astype(np.float32)
        self._base = layer.node.name or layer.node.op_type
        self.nodes: list[ir.Node] = []

    def sum(self, start: ir.Value | None = None) -> ir.Value:
        """Add up the pairs, and `start` to the first."""
        parts = [
            self._pointwise(
                self._depthwise(self._filters[:, [index]]), self._mixed[:, :, index], first=index == 0
            )
            for index in range(self._filters.shape[1])
        ]
        total = start
        for part in parts:
            total = part if total is None else self._node("Add", [part, total], "sum")
        assert total is not None
        return total

    def concat(self) -> ir.Value:
        ranks = range(self._filters.shape[1])
        parts = [self._depthwise(self._filters[:, [index]]) for index in ranks]
        joined = self._node("Concat", parts, "concat", axis=1) if len(parts) > 1 else parts[0]
        return self._pointwise(joined, self._mixed.transpose(0, 2, 1))

    def multiplier(self) -> ir.Value:
        return self._pointwise(self._depthwise(self._filters), self._mixed)

    def _depthwise(self, filters: Array) -> ir.Value:
        """Filter every channel with its own filters, shape (channels, multiplier, positions)."""
        node, kernel = self._layer.node, self._layer.window.kernel
        kept = {
            name: value for name, value in node.attributes.items() if name not in ("group", "kernel_shape")
        }
        weight = self._constant(filters.reshape(-1, 1, *kernel), "depthwise_weight")
        inputs = [self._layer.source, weight]
        found = self._node("Conv", inputs, "depthwise", group=len(filters), kernel_shape=kernel)
        self.nodes[-1].attributes.update(kept)
        return found

    def _pointwise(self, source: ir.Value, mixed: Array, *, first: bool = True) -> ir.Value:
        """Mix filtered channels into the outputs; the first of several brings the bias along."""
        ones = [1] * len(self._layer.window.kernel)
        inputs = [source, self._constant(mixed.reshape(len(mixed), -1, *ones), "pointwise_weight")]
        if first and self._bias is not None:
            inputs.append(self._constant(self._bias, "pointwise_bias"))
        return self._node("Conv", inputs, "pointwise", kernel_shape=ones)

    def _constant(self, array: Array, suffix: str) -> ir.Value:
        graph = self._layer.node.graph
        assert graph is not None
        return add_initializer(graph, self._names.new(f"{self._base}/{suffix}"), np.ascontiguousarray(array))

    def _node(self, op: str, inputs: Sequence[ir.Value], suffix: str, **attributes: Any) -> ir.Value:
        import onnx_ir as ir

        node = ir.node(op, inputs, attributes or None, name=self._names.new(f"{self._base}/{suffix}"))
        node.outputs[0].name = self._names.new(f"{self._base}/{suffix}_output")
        self.nodes.append(node)
        return node.outputs[0]
